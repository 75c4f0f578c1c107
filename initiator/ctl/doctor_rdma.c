/* SPDX-License-Identifier: BSD-2-Clause */
/* doctor: RDMA devices, as sysfs shows them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/strparse.h"
#include "initiator/ctl/doctor.h"
#include "initiator/ctl/path.h"

#define SYSFS     "/sys/class/infiniband"
#define MAX_GIDS  256
#define SMALL_MTU 4200 /* a page and the headers of RoCE */

static void check_user_access(struct doctor *d)
{
	if (access("/dev/infiniband/rdma_cm", R_OK | W_OK) == 0)
		doctor_add(d, "rdma", FINDING_OK, NULL, "connections can be managed");
	else if (errno == ENOENT)
		doctor_add(d, "rdma", FINDING_WARN,
			   "modprobe rdma_ucm; in a container: --device /dev/infiniband",
			   "/dev/infiniband/rdma_cm is not there: no RDMA connections");
	else
		doctor_add(d, "rdma", FINDING_WARN, "run as root, or add a udev rule for the group",
			   "/dev/infiniband/rdma_cm: %s", strerror(errno));
}

/* Unused entries are zero. */
static bool is_zero_gid(const char *gid)
{
	return strspn(gid, "0:") == strlen(gid);
}

/* How many GIDs of RoCE version 2 (or InfiniBand) there are. */
static unsigned int count_gids(const char *dev, const char *port)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MAX_GIDS; i++) {
		char gid[64], type[64];

		if (!doctor_read(gid, sizeof(gid), SYSFS "/%s/ports/%s/gids/%u", dev, port, i))
			break;
		if (is_zero_gid(gid))
			continue;
		if (!doctor_read(type, sizeof(type), SYSFS "/%s/ports/%s/gid_attrs/types/%u", dev,
				 port, i))
			continue;
		n += strcmp(type, "RoCE v1") != 0 && strcmp(type, "IB/RoCE v1") != 0;
	}
	return n;
}

static void check_mtu(struct doctor *d, const char *dev, const char *port)
{
	char netdev[64], text[32];
	uint32_t mtu;

	if (!doctor_read(netdev, sizeof(netdev), SYSFS "/%s/ports/%s/gid_attrs/ndevs/0", dev,
			 port) ||
	    !doctor_read(text, sizeof(text), "/sys/class/net/%s/mtu", netdev) ||
	    parse_u32(text, 0, UINT32_MAX, &mtu))
		return;
	if (mtu >= SMALL_MTU) {
		doctor_add(d, "rdma", FINDING_OK, NULL, "%s/%s is on %s, MTU %u", dev, port, netdev,
			   mtu);
		return;
	}
	doctor_add(d, "rdma", FINDING_WARN,
		   "ip link set dev NETDEV mtu 9000, on both ends, if the switch carries it",
		   "%s/%s is on %s, MTU %u: 4 KiB take several packets", dev, port, netdev, mtu);
}

static void check_port(struct doctor *d, const char *dev, const char *port)
{
	char state[64] = "?", layer[64] = "?";
	unsigned int gids;

	doctor_read(state, sizeof(state), SYSFS "/%s/ports/%s/state", dev, port);
	doctor_read(layer, sizeof(layer), SYSFS "/%s/ports/%s/link_layer", dev, port);
	if (!strstr(state, "ACTIVE")) {
		doctor_add(d, "rdma", FINDING_WARN,
			   "ip link set dev NETDEV up; see 'rdma link' and the cable",
			   "%s/%s (%s) is not active: %s", dev, port, layer, state);
		return;
	}
	gids = count_gids(dev, port);
	if (gids || !strcmp(layer, "InfiniBand"))
		doctor_add(d, "rdma", FINDING_OK, NULL, "%s/%s (%s) is active, %u usable addresses",
			   dev, port, layer, gids);
	else
		doctor_add(d, "rdma", FINDING_WARN, "ip addr add ADDRESS/LENGTH dev NETDEV",
			   "%s/%s has no RoCE v2 address (GID): its interface has no IP address",
			   dev, port);
	check_mtu(d, dev, port);
}

static void check_ports(struct doctor *d, const char *dev)
{
	char path[PATH_MAX];
	struct dirent *de;
	DIR *dir;

	path_format(path, SYSFS "/%s/ports", dev);
	dir = opendir(path);
	while (dir && (de = readdir(dir))) {
		if (de->d_name[0] != '.')
			check_port(d, dev, de->d_name);
	}
	if (dir)
		closedir(dir);
}

void doctor_check_rdma(struct doctor *d)
{
	DIR *dir = opendir(SYSFS);
	struct dirent *de;
	unsigned int n = 0;

	while (dir && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		n++;
		check_ports(d, de->d_name);
	}
	if (dir)
		closedir(dir);
	if (n)
		check_user_access(d);
	else
		doctor_add(d, "rdma", FINDING_WARN,
			   "for a soft one: modprobe rdma_rxe; rdma link add rxe0 type rxe netdev "
			   "NETDEV",
			   "there is no RDMA device: brp+tcp:// works, brp:// does not");
}
