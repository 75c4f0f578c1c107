/* SPDX-License-Identifier: BSD-2-Clause */
/* doctor: this machine, but for RDMA. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/strparse.h"
#include "initiator/ctl/doctor.h"
#include "initiator/ctl/links.h"
#include "initiator/ctl/registry.h"
#include "initiator/dev/front.h"

#define CAP_IPC_LOCK_BIT  14 /* linux/capability.h */
#define CAP_SYS_ADMIN_BIT 21
#define ENOUGH_MEMLOCK    (64ull << 20)

static bool has_capability(unsigned int bit)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long caps = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	}
	if (f)
		fclose(f);
	return caps >> bit & 1;
}

void doctor_check_permissions(struct doctor *d)
{
	char dev[PATH_MAX];

	if (has_capability(CAP_SYS_ADMIN_BIT))
		doctor_add(d, "permissions", FINDING_OK, NULL, "block devices can be made");
	else
		doctor_add(d, "permissions", FINDING_BAD,
			   "run brp-initiator as root (sudo); in a container: --privileged",
			   "making block devices needs CAP_SYS_ADMIN");
	links_path(dev, "");
	if (access(dev, W_OK) < 0)
		doctor_add(d, "permissions", FINDING_BAD, "run brp-initiator as root (sudo)",
			   "%s cannot be written: %s", dev, strerror(errno));
	if (access(registry_dir(), W_OK) < 0 && errno != ENOENT)
		doctor_add(d, "permissions", FINDING_BAD, "run brp-initiator as root (sudo)",
			   "%s cannot be written: %s", registry_dir(), strerror(errno));
}

void doctor_check_memlock(struct doctor *d)
{
	struct rlimit lim = {0};

	getrlimit(RLIMIT_MEMLOCK, &lim);
	if (lim.rlim_cur == RLIM_INFINITY || has_capability(CAP_IPC_LOCK_BIT))
		doctor_add(d, "memlock", FINDING_OK, NULL, "memory can be locked without limit");
	else if (lim.rlim_cur >= ENOUGH_MEMLOCK)
		doctor_add(d, "memlock", FINDING_OK, NULL, "%llu KiB can be locked",
			   (unsigned long long)lim.rlim_cur >> 10);
	else
		doctor_add(
			d, "memlock", FINDING_WARN,
			"ulimit -l unlimited; for a unit: LimitMEMLOCK=infinity; for users: a file "
			"in /etc/security/limits.d",
			"only %llu KiB can be locked: RDMA and a device that memory pressure must "
			"not stop need more",
			(unsigned long long)lim.rlim_cur >> 10);
}

static void check_io_uring(struct doctor *d)
{
	char text[64];

	if (!doctor_read(text, sizeof(text), "/proc/sys/kernel/io_uring_disabled") ||
	    text[0] == '0')
		doctor_add(d, "kernel", FINDING_OK, NULL, "io_uring is not switched off");
	else
		doctor_add(
			d, "kernel", FINDING_WARN, "sysctl kernel.io_uring_disabled=0",
			"io_uring is switched off (kernel.io_uring_disabled = %s): no ublk devices",
			text);
}

static void check_aio(struct doctor *d)
{
	char used_text[64], max_text[64];
	uint64_t used, max;

	if (!doctor_read(used_text, sizeof(used_text), "/proc/sys/fs/aio-nr") ||
	    !doctor_read(max_text, sizeof(max_text), "/proc/sys/fs/aio-max-nr") ||
	    parse_u64(used_text, 0, UINT64_MAX, &used) || parse_u64(max_text, 0, UINT64_MAX, &max))
		return;
	if (used + used / 4 < max)
		doctor_add(d, "kernel", FINDING_OK, NULL, "%llu of %llu aio requests are in use",
			   (unsigned long long)used, (unsigned long long)max);
	else
		doctor_add(d, "kernel", FINDING_WARN, "sysctl fs.aio-max-nr=1048576",
			   "%llu of %llu aio requests are in use: a target on this machine may "
			   "find none",
			   (unsigned long long)used, (unsigned long long)max);
}

void doctor_check_kernel(struct doctor *d)
{
	struct utsname u;

	if (uname(&u) == 0)
		doctor_add(d, "kernel", FINDING_OK, NULL, "Linux %s on %s", u.release, u.machine);
	check_io_uring(d);
	check_aio(d);
}

void doctor_check_fronts(struct doctor *d)
{
	const struct front_ops *ops;
	unsigned int usable = 0;

	for (unsigned int i = 0; (ops = front_at(i)); i++) {
		char why[256];

		if (front_probe(ops, why, sizeof(why)) == 0) {
			doctor_add(d, ops->name, FINDING_OK, NULL, "can be used%s",
				   usable++ ? "" : ", and is what --device auto takes");
			continue;
		}
		/* The front end's own words: the reason, with the command that mends it. */
		doctor_add(d, ops->name, FINDING_WARN, why, "cannot be used here");
	}
	if (!usable)
		doctor_add(d, "front ends", FINDING_BAD,
			   "make one of them work; without any, nbdkit with BRP's plugin needs no "
			   "kernel "
			   "device",
			   "none can be used: no block device can be made here");
	if (access("/dev/loop-control", F_OK) == 0)
		doctor_add(d, "loop", FINDING_OK, NULL, "loop devices are there");
	else
		doctor_add(d, "loop", FINDING_WARN, "modprobe loop",
			   "there are no loop devices: the front end fuse needs one");
}

void doctor_check_devices(struct doctor *d)
{
	struct reg_entry *entries;
	int n = registry_list(&entries);

	if (n < 0) {
		doctor_add(d, "devices", FINDING_WARN, "run brp-initiator as root (sudo)",
			   "%s cannot be read: %s", registry_dir(), strerror(-n));
		return;
	}
	for (int i = 0; i < n; i++) {
		if (entries[i].is_dead)
			doctor_add(d, "devices", FINDING_WARN, "run 'brp-initiator list' as root",
				   "%s (%s) was left behind by processes that were killed",
				   entries[i].name, entries[i].uri);
	}
	doctor_add(d, "devices", FINDING_OK, NULL, "%d connected", n);
	free(entries);
}
