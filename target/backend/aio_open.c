/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a device or file, and saying why not. What somebody else uses is refused unless forced:
 * two writers that do not know of each other destroy a file system. Devices are opened exclusively
 * (O_EXCL; the kernel refuses what is mounted, swap, part of an array or open elsewhere with
 * O_EXCL), files are locked against a second target (flock), and a file behind a loop device is
 * refused too.
 */
#include "target/backend/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

/* What a predecessor that was killed had in the device keeps it open until it has ended, by
 * io_uring a little longer than the process is there. */
#define BUSY_GRACE_MS 1000
#define BUSY_RETRY_MS 10

/* ---- who uses it ----------------------------------------------------------------------------- */

/* Where a device is mounted: 0 and the mount point. */
static int find_mount(dev_t dev, char *point, size_t bytes)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int err = -ENOENT;

	if (!f)
		return -ENOENT;
	/* id parent major:minor root mount-point ... */
	while (err && getline(&line, &size, f) > 0) {
		unsigned int maj;
		unsigned int min;
		int at = 0;

		if (sscanf(line, "%*d %*d %u:%u %*s %n", &maj, &min, &at) < 2 || !at ||
		    makedev(maj, min) != dev)
			continue;
		snprintf(point, bytes, "%.*s", (int)strcspn(line + at, " \n"), line + at);
		err = 0;
	}
	free(line);
	fclose(f);
	return err;
}

/* Which loop device has this file: 0 and its name. */
static int find_loop(const struct stat *st, char *name, size_t bytes)
{
	glob_t found;
	int err = -ENOENT;

	if (glob("/sys/block/loop*/loop/backing_file", 0, NULL, &found))
		return -ENOENT;
	for (size_t i = 0; err && i < found.gl_pathc; i++) {
		const char *disk = found.gl_pathv[i] + strlen("/sys/block/");
		char path[4096] = "";
		struct stat other;
		FILE *f = fopen(found.gl_pathv[i], "re");

		if (!f)
			continue;
		if (fgets(path, sizeof(path), f))
			path[strcspn(path, "\n")] = '\0';
		fclose(f);
		if (stat(path, &other) < 0 || other.st_dev != st->st_dev ||
		    other.st_ino != st->st_ino)
			continue;
		snprintf(name, bytes, "/dev/%.*s", (int)strcspn(disk, "/"), disk);
		err = 0;
	}
	globfree(&found);
	return err;
}

/* 0: go on, because it was forced. */
static int refuse_busy(const struct aio_volume *v, const struct bk_spec *spec, const char *why)
{
	if (spec->is_forced) {
		log_warning("%s: %s; opened because it was forced: what else writes to it will "
			    "damage data",
			    v->path, why);
		return 0;
	}
	log_error("%s: %s; release it first (umount, swapoff, losetup -d ...) or add ',force' if "
		  "you are sure",
		  v->path, why);
	return -EBUSY;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int refuse_open(const struct aio_volume *v, const struct bk_spec *spec, int err)
{
	bool is_ro_hint = !spec->is_read_only && (err == -EACCES || err == -EPERM || err == -EROFS);

	if (err == -EINVAL)
		log_error("%s: its file system cannot do direct I/O (O_DIRECT); put the file on "
			  "another one (ext4, "
			  "xfs), or use ram:SIZE for a volume in memory",
			  v->path);
	else if (err == -ETXTBSY)
		log_error("%s: cannot be written to: it is a running program or swap space",
			  v->path);
	else
		log_error("%s: cannot open it for %s: %s%s", v->path,
			  spec->is_read_only ? "reading" : "reading and writing", strerror(-err),
			  is_ro_hint ? "; run as a user who may, or export it read-only: add ',ro'"
				     : "");
	return err;
}

/* The kernel tells nobody when it has let go of a file, so this is about time. False: it is up. */
static bool wait_a_moment(int *left_ms)
{
	const struct timespec moment = {.tv_nsec = BUSY_RETRY_MS * (long)NS_PER_MS};

	if (*left_ms <= 0)
		return false;
	*left_ms -= BUSY_RETRY_MS;
	nanosleep(&moment, NULL);
	return true;
}

/* -1 and errno. */
static int open_exclusively(const char *path, int flags, int grace_ms)
{
	int fd;

	do {
		fd = open(path, flags | O_EXCL);
	} while (fd < 0 && errno == EBUSY && wait_a_moment(&grace_ms));
	return fd;
}

/* Readers share; a writer wants it alone. -1 and errno. */
static int lock_file(int fd, bool is_read_only)
{
	int grace_ms = BUSY_GRACE_MS;
	int r;

	do {
		r = flock(fd, (is_read_only ? LOCK_SH : LOCK_EX) | LOCK_NB);
	} while (r < 0 && errno == EWOULDBLOCK && wait_a_moment(&grace_ms));
	return r;
}

static int open_device(struct aio_volume *v, const struct bk_spec *spec, const struct stat *st,
		       int flags)
{
	char point[256];
	char why[320] = "it is in use by another program, a file system, swap or an array";
	bool is_mounted = !find_mount(st->st_rdev, point, sizeof(point));

	v->fd = open_exclusively(v->path, flags, is_mounted ? 0 : BUSY_GRACE_MS);
	if (v->fd >= 0)
		return 0;
	if (errno != EBUSY)
		return refuse_open(v, spec, -errno);
	if (is_mounted)
		snprintf(why, sizeof(why), "it is mounted on %s", point);
	if (refuse_busy(v, spec, why) < 0)
		return -EBUSY;
	v->fd = open(v->path, flags);
	return v->fd < 0 ? refuse_open(v, spec, -errno) : 0;
}

static int open_file(struct aio_volume *v, const struct bk_spec *spec, const struct stat *st,
		     int flags)
{
	char loop[64];
	char why[128];

	v->fd = open(v->path, flags);
	if (v->fd < 0)
		return refuse_open(v, spec, -errno);
	if (lock_file(v->fd, spec->is_read_only) < 0) {
		if (errno != EWOULDBLOCK)
			log_warning("%s: cannot be locked against other targets: %s", v->path,
				    strerror(errno));
		else if (refuse_busy(v, spec, "another brp-target or volume has it open") < 0)
			return -EBUSY;
	}
	if (find_loop(st, loop, sizeof(loop)))
		return 0;
	snprintf(why, sizeof(why), "it is attached to %s", loop);
	return refuse_busy(v, spec, why);
}

static int refuse_type(const struct aio_volume *v, const struct stat *st)
{
	const char *what = "neither a block device nor a file";

	if (S_ISDIR(st->st_mode))
		what = "a directory";
	else if (S_ISCHR(st->st_mode))
		what = "a character device";
	log_error("%s: is %s; a volume is a block device or a regular file", v->path, what);
	return S_ISDIR(st->st_mode) ? -EISDIR : -ENOTBLK;
}

static int refuse_missing(const struct aio_volume *v, int err)
{
	const char *hint = "";

	if (err == -ENOENT)
		hint = strncmp(v->path, "/dev/", 5) ? "; make it first: truncate -s SIZE FILE"
						    : "; lsblk lists the devices there are";
	log_error("%s: cannot open it: %s%s", v->path, strerror(-err), hint);
	return err;
}

static int open_path(struct aio_volume *v, const struct bk_spec *spec)
{
	int flags = (spec->is_read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC;
	struct stat st;

	/* Looked at before it is opened: opening a tape or a pipe can block or rewind. */
	if (stat(v->path, &st) < 0)
		return refuse_missing(v, -errno);
	v->is_device = S_ISBLK(st.st_mode);
	if (v->is_device)
		return open_device(v, spec, &st, flags);
	if (S_ISREG(st.st_mode))
		return open_file(v, spec, &st, flags);
	return refuse_type(v, &st);
}

int aio_open(const struct bk_spec *spec, struct bk_volume **ret_volume)
{
	struct aio_volume *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->fd = -1;
	v->volume.ops = &aio_ops;
	aio_slow_init(&v->slow);
	v->path = strdup(spec->path);
	r = v->path ? open_path(v, spec) : -ENOMEM;
	if (!r)
		r = aio_choose_engine(v, spec);
	if (!r)
		r = aio_probe(v, spec);
	if (r < 0) {
		aio_ops.close(&v->volume);
		return r;
	}
	v->volume.kind = v->is_device ? "device" : "file";
	aio_identify(v, &v->volume.info);
	aio_say_engine(v);
	*ret_volume = &v->volume;
	return 0;
}
