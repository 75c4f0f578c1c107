/* SPDX-License-Identifier: BSD-2-Clause */
/* Links below /dev; see links.h. */
#include "initiator/ctl/links.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "initiator/ctl/path.h"

static const char *dev_dir(void)
{
	const char *dir = getenv("BRP_DEV_DIR");

	return dir && *dir ? dir : "/dev";
}

void links_path(char path[PATH_MAX], const char *name)
{
	path_format(path, "%s/%s", dev_dir(), name);
}

/* What may stand in a file name and in udev's SYMLINK; a host may be an IPv6 address. */
static void plain(char *s)
{
	for (; *s; s++) {
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:",
			    *s))
			*s = '_';
	}
}

void links_leaf(const struct reg_entry *e, char leaf[LINKS_NAME_BYTES])
{
	leaf[0] = '\0';
	if (!e->host[0] || !e->volume[0])
		return;
	snprintf(leaf, LINKS_NAME_BYTES, "%s-%s", e->host, e->volume);
	plain(leaf);
}

void links_names(const struct reg_entry *e, char names[LINKS_NR][LINKS_NAME_BYTES])
{
	char leaf[LINKS_NAME_BYTES];

	for (unsigned int i = 0; i < LINKS_NR; i++)
		names[i][0] = '\0';
	links_leaf(e, leaf);
	snprintf(names[0], LINKS_NAME_BYTES, "%s", e->name);
	/* A host and a volume have at most 383 characters. */
	if (leaf[0])
		snprintf(names[1], LINKS_NAME_BYTES, "brp/by-name/%.400s", leaf);
	if (e->volume_uuid[0])
		snprintf(names[2], LINKS_NAME_BYTES, "brp/by-id/%s", e->volume_uuid);
}

bool links_name_taken(const char *name)
{
	struct reg_entry e;
	char path[PATH_MAX];
	struct stat st;

	links_path(path, name);
	return lstat(path, &st) == 0 && registry_read(name, &e) == -ENOENT;
}

static int make_folders(void)
{
	static const char *const folders[] = {"brp", "brp/by-name", "brp/by-id"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		links_path(path, folders[i]);
		if (mkdir(path, 0755) < 0 && errno != EEXIST) {
			int err = -errno;

			log_error("%s: cannot be made: %s", path, strerror(-err));
			return err;
		}
	}
	return 0;
}

/* As udev writes them: relative, but for a node that is not below the folder. */
static void content(const char *name, const char *node, char text[PATH_MAX])
{
	const char *ups = strchr(name, '/') ? "../../" : "";
	size_t n = strlen(dev_dir());

	if (!strncmp(node, dev_dir(), n) && node[n] == '/')
		path_format(text, "%s%s", ups, node + n + 1);
	else
		path_format(text, "%s", node);
}

static bool leads_to(const char *path, const char *text)
{
	char now[PATH_MAX];
	ssize_t n = readlink(path, now, sizeof(now) - 1);

	if (n < 0)
		return false;
	now[n] = '\0';
	return !strcmp(now, text);
}

/* Replaces atomically: whoever opens the path finds the old or the new device. */
static int make_one(const char *name, const struct reg_entry *e)
{
	char path[PATH_MAX], fresh[PATH_MAX], text[PATH_MAX], leaf[PATH_MAX];
	int err;

	links_path(path, name);
	content(name, e->node, text);
	if (leads_to(path, text))
		return 0;
	if (strchr(name, '/') && access(path, F_OK) == 0) {
		log_notice("%s: stays with the other device of this volume", path);
		return 0;
	}
	snprintf(leaf, sizeof(leaf), "brp/.%s.new", e->name);
	links_path(fresh, leaf);
	/* The folder decides what a relative link means; a rename moves only the name. */
	unlink(fresh);
	if (symlink(text, fresh) == 0 && rename(fresh, path) == 0)
		return 0;
	err = -errno;
	unlink(fresh);
	log_error("%s: the link cannot be made: %s", path, strerror(-err));
	return err;
}

int links_make(const struct reg_entry *e)
{
	char names[LINKS_NR][LINKS_NAME_BYTES];
	int err = make_folders();

	links_names(e, names);
	for (unsigned int i = 0; i < LINKS_NR && !err; i++) {
		if (names[i][0])
			err = make_one(names[i], e);
	}
	return err;
}

void links_tell_udev(const struct reg_entry *e)
{
	static const char change[] = "change";
	const char *name = strrchr(e->node, '/');
	char path[PATH_MAX];
	int fd;

	if (!name)
		return;
	snprintf(path, sizeof(path), "/sys/class/block%s/uevent", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* no block device, or not for us to say */
	if (write(fd, change, sizeof(change) - 1) < 0)
		log_warning("%s: udev cannot be told: %s", e->name, strerror(errno));
	close(fd);
}

void links_remove(const struct reg_entry *e)
{
	char names[LINKS_NR][LINKS_NAME_BYTES];

	if (!e->node[0])
		return;
	links_names(e, names);
	for (unsigned int i = 0; i < LINKS_NR; i++) {
		char path[PATH_MAX], text[PATH_MAX];

		links_path(path, names[i]);
		content(names[i], e->node, text);
		if (names[i][0] && leads_to(path, text) && unlink(path) < 0)
			log_warning("%s: cannot be removed: %s", path, strerror(errno));
	}
}
