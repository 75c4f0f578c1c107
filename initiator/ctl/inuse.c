/* SPDX-License-Identifier: BSD-2-Clause */
/* Who uses a block device; see inuse.h. */
#include "initiator/ctl/inuse.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/util.h"
#include "initiator/ctl/path.h"

#define MAX_DEVICES 257 /* the disk and its partitions */

struct devices {
	unsigned int n;
	struct {
		unsigned int major, minor;
		char name[64]; /* below /dev and /sys/block/DISK */
	} dev[MAX_DEVICES];
};

/* ---- mounts ---------------------------------------------------------------------------------- */

/* proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw" */
int inuse_mountinfo_line(const char *line, unsigned int major, unsigned int minor, char *ret_where,
			 size_t bytes)
{
	unsigned int ma, mi;
	int at = 0;

	if (sscanf(line, "%*s %*s %u:%u %*s %n", &ma, &mi, &at) != 2 || !at || ma != major ||
	    mi != minor)
		return 0;
	snprintf(ret_where, bytes, "%.*s", (int)strcspn(line + at, " \n"), line + at);
	return 1;
}

static bool mounted_in(const char *mountinfo, const struct devices *d, char *where, size_t bytes)
{
	FILE *f = fopen(mountinfo, "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	if (!f)
		return false; /* the process has ended */
	while (!found && getline(&line, &room, f) > 0) {
		for (unsigned int i = 0; i < d->n && !found; i++)
			found = inuse_mountinfo_line(line, d->dev[i].major, d->dev[i].minor, where,
						     bytes);
	}
	free(line);
	fclose(f);
	return found;
}

/* Processes share few mount namespaces: each is read once. */
struct namespaces {
	size_t n, room;
	ino_t *seen;
};

static bool is_new(struct namespaces *ns, ino_t ino)
{
	for (size_t i = 0; i < ns->n; i++) {
		if (ns->seen[i] == ino)
			return false;
	}
	if (ns->n == ns->room) {
		size_t room = ns->room ? 2 * ns->room : 16;
		ino_t *seen = reallocarray(ns->seen, room, sizeof(*seen));

		if (!seen)
			return true; /* then it may be read twice */
		ns->seen = seen;
		ns->room = room;
	}
	ns->seen[ns->n++] = ino;
	return true;
}

static int check_mounts(const struct devices *d, char *why, size_t why_bytes)
{
	struct namespaces ns = {0};
	DIR *proc = opendir("/proc");
	char where[PATH_MAX];
	struct dirent *de;
	bool found = false;

	if (!proc)
		return -errno;
	while (!found && (de = readdir(proc))) {
		char path[PATH_MAX];
		struct stat st;

		if (!isdigit((unsigned char)de->d_name[0]))
			continue;
		path_format(path, "/proc/%s/ns/mnt", de->d_name);
		if (stat(path, &st) < 0 || !is_new(&ns, st.st_ino))
			continue;
		path_format(path, "/proc/%s/mountinfo", de->d_name);
		found = mounted_in(path, d, where, sizeof(where));
		if (found)
			snprintf(why, why_bytes, "it is mounted on %s: umount it first", where);
	}
	closedir(proc);
	free(ns.seen);
	return found ? -EBUSY : 0;
}

/* ---- swap, holders --------------------------------------------------------------------------- */

int inuse_swaps_line(const char *line, const char *node)
{
	size_t n = strcspn(line, " \t");

	return n == strlen(node) && !strncmp(line, node, n);
}

static int check_swaps(const struct devices *d, char *why, size_t why_bytes)
{
	FILE *f = fopen("/proc/swaps", "re");
	char *line = NULL;
	size_t room = 0;
	int err = 0;

	if (!f)
		return 0; /* a kernel without swap */
	while (!err && getline(&line, &room, f) > 0) {
		for (unsigned int i = 0; i < d->n && !err; i++) {
			char node[80];

			snprintf(node, sizeof(node), "/dev/%s", d->dev[i].name);
			if (!inuse_swaps_line(line, node))
				continue;
			snprintf(why, why_bytes, "%s is swap space: swapoff it first", node);
			err = -EBUSY;
		}
	}
	free(line);
	fclose(f);
	return err;
}

static int check_holders(const struct devices *d, char *why, size_t why_bytes)
{
	for (unsigned int i = 0; i < d->n; i++) {
		char path[PATH_MAX];
		struct dirent *de;
		DIR *dir;

		path_format(path, "/sys/dev/block/%u:%u/holders", d->dev[i].major, d->dev[i].minor);
		dir = opendir(path);
		while (dir && (de = readdir(dir))) {
			if (de->d_name[0] == '.')
				continue;
			snprintf(why, why_bytes, "%s is held by %s: take that down first",
				 d->dev[i].name, de->d_name);
			closedir(dir);
			return -EBUSY;
		}
		if (dir)
			closedir(dir);
	}
	return 0;
}

/* ---- everything ------------------------------------------------------------------------------ */

static void add_device(struct devices *d, const char *name, const char *sys)
{
	char path[PATH_MAX];
	unsigned int ma, mi;
	FILE *f;

	path_format(path, "%s/dev", sys);
	f = fopen(path, "re");
	if (!f)
		return; /* no device: one of the folder's other entries */
	if (d->n < MAX_DEVICES && fscanf(f, "%u:%u", &ma, &mi) == 2) {
		d->dev[d->n].major = ma;
		d->dev[d->n].minor = mi;
		snprintf(d->dev[d->n].name, sizeof(d->dev[d->n].name), "%s", name);
		d->n++;
	}
	fclose(f);
}

/* The disk and its partitions: folders in its own whose names begin with its name. */
static void find_devices(const char *node, const struct stat *st, struct devices *d)
{
	const char *disk = strrchr(node, '/') + 1;
	char sys[64], path[PATH_MAX];
	struct dirent *de;
	DIR *dir;

	d->n = 0;
	snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u", major(st->st_rdev), minor(st->st_rdev));
	add_device(d, disk, sys);
	dir = opendir(sys);
	while (dir && (de = readdir(dir))) {
		if (strncmp(de->d_name, disk, strlen(disk)) != 0)
			continue;
		path_format(path, "%s/%s", sys, de->d_name);
		add_device(d, de->d_name, path);
	}
	if (dir)
		closedir(dir);
}

static int check_exclusive(const char *node, char *why, size_t why_bytes)
{
	int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	int err = fd < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	if (err == -ENXIO || err == -ENODEV || err == -ENOENT)
		return 0; /* it is gone */
	if (err == -EBUSY)
		snprintf(why, why_bytes, "a program has opened it exclusively: see 'fuser -v %s'",
			 node);
	return err;
}

int inuse_check(const char *node, char *why, size_t why_bytes)
{
	struct devices *d;
	struct stat st;
	int err;

	why[0] = '\0';
	if (stat(node, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	d = malloc(sizeof(*d));
	if (!d) {
		snprintf(why, why_bytes, "it cannot be told whether it is in use: no memory");
		return -EBUSY;
	}
	find_devices(node, &st, d);
	err = check_mounts(d, why, why_bytes);
	err = err ? err : check_swaps(d, why, why_bytes);
	err = err ? err : check_holders(d, why, why_bytes);
	err = err ? err : check_exclusive(node, why, why_bytes);
	free(d);
	if (err && err != -EBUSY)
		snprintf(why, why_bytes, "it cannot be told whether it is in use: %s",
			 strerror(-err));
	return err ? -EBUSY : 0;
}
