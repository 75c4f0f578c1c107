/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries as files; see registry.h. */
#include "initiator/ctl/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "brp/status.h"
#include "brp/uri.h"
#include "common/log.h"
#include "initiator/ctl/links.h"
#include "initiator/ctl/path.h"

#define DEFAULT_DIR "/run/brp"

const char *registry_dir(void)
{
	const char *dir = getenv("BRP_RUN_DIR");

	return dir && *dir ? dir : DEFAULT_DIR;
}

void registry_path(char path[PATH_MAX], const char *name, const char *suffix)
{
	path_format(path, "%s/%s%s", registry_dir(), name, suffix);
}

int registry_lock(void)
{
	char path[PATH_MAX];
	int err = 0;
	int fd;

	if (mkdir(registry_dir(), 0755) < 0 && errno != EEXIST)
		err = -errno;
	registry_path(path, "lock", "");
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EACCES) /* O_CREAT needs the folder, reading does not */
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = err ? err : -errno;
		log_error("%s: %s", registry_dir(), strerror(-err));
		return err;
	}
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR) {
			err = -errno;
			log_error("%s: cannot be locked: %s", path, strerror(-err));
			close(fd);
			return err;
		}
	}
	return fd;
}

/* ---- one entry ------------------------------------------------------------------------------- */

const char *registry_uuid_text(const uint8_t uuid[16], char text[REG_UUID_BYTES])
{
	struct brp_uuid u;

	memcpy(u.b, uuid, sizeof(u.b));
	brp_uuid_format(&u, text);
	return text;
}

json_t *registry_entry_json(const struct reg_entry *e)
{
	return json_pack("{ss ss ss ss ss ss ss si si si sI}", "name", e->name, "uri", e->uri,
			 "host", e->host, "volume", e->volume, "volume_uuid", e->volume_uuid,
			 "node", e->node, "front_end", e->front, "front_end_id", e->front_id,
			 "supervisor_pid", (int)e->supervisor, "server_pid", (int)e->server,
			 "since", (json_int_t)e->since_s);
}

int registry_write(const struct reg_entry *e)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	json_t *j = registry_entry_json(e);
	int err = 0;

	registry_path(path, e->name, ".json");
	registry_path(fresh, e->name, ".json.new");
	if (!j)
		err = -ENOMEM;
	else if (json_dump_file(j, fresh, JSON_INDENT(2)))
		err = -EIO;
	else if (rename(fresh, path) < 0)
		err = -errno;
	json_decref(j);
	if (err) {
		unlink(fresh);
		log_error("%s: cannot be written: %s", path, strerror(-err));
	}
	return err;
}

static void take_text(const json_t *j, const char *key, char *to, size_t bytes)
{
	const char *s = json_string_value(json_object_get(j, key));

	snprintf(to, bytes, "%s", s ? s : "");
}

static json_int_t take_int(const json_t *j, const char *key, json_int_t otherwise)
{
	const json_t *v = json_object_get(j, key);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

int registry_read(const char *name, struct reg_entry *ret_entry)
{
	struct reg_entry e = {0};
	char path[PATH_MAX];
	json_error_t error;
	json_t *j;

	registry_path(path, name, ".json");
	if (access(path, R_OK) < 0)
		return -errno;
	j = json_load_file(path, 0, &error);
	if (!j) {
		log_error("%s: line %d: %s", path, error.line, error.text);
		return -EINVAL;
	}
	snprintf(e.name, sizeof(e.name), "%s", name);
	take_text(j, "uri", e.uri, sizeof(e.uri));
	take_text(j, "host", e.host, sizeof(e.host));
	take_text(j, "volume", e.volume, sizeof(e.volume));
	take_text(j, "volume_uuid", e.volume_uuid, sizeof(e.volume_uuid));
	take_text(j, "node", e.node, sizeof(e.node));
	take_text(j, "front_end", e.front, sizeof(e.front));
	e.front_id = (int)take_int(j, "front_end_id", -1);
	e.supervisor = (pid_t)take_int(j, "supervisor_pid", 0);
	e.server = (pid_t)take_int(j, "server_pid", 0);
	e.since_s = take_int(j, "since", 0);
	json_decref(j);
	*ret_entry = e;
	return 0;
}

void registry_remove(const struct reg_entry *e)
{
	static const char *const suffixes[] = {".json", ".json.new", ".sock", ".lock"};
	char path[PATH_MAX];

	links_remove(e);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		registry_path(path, e->name, suffixes[i]);
		if (unlink(path) < 0 && errno != ENOENT)
			log_warning("%s: cannot be removed: %s", path, strerror(errno));
	}
	links_tell_udev(e);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* The device's lock, if nobody has it; -EWOULDBLOCK: somebody does. */
static int try_lock(const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	registry_path(path, name, ".lock");
	fd = open(path, O_RDONLY | O_CLOEXEC | flags, 0644);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int registry_reserve(struct reg_entry *e, int *ret_lock_fd)
{
	for (unsigned int i = 0; i < REG_MAX; i++) {
		int fd, err;

		snprintf(e->name, sizeof(e->name), "brp%u", i);
		/* A link without an entry is somebody else's. */
		if (links_name_taken(e->name))
			continue;
		fd = try_lock(e->name, O_CREAT);
		if (fd == -EWOULDBLOCK)
			continue;
		if (fd < 0) {
			log_error("%s: %s: cannot be locked: %s", registry_dir(), e->name,
				  strerror(-fd));
			return fd;
		}
		err = registry_write(e);
		if (err) {
			close(fd);
			return err;
		}
		*ret_lock_fd = fd;
		return 0;
	}
	log_error("%s: all %d names are taken", registry_dir(), REG_MAX);
	return -ENOSPC;
}

/* ---- all entries ----------------------------------------------------------------------------- */

/* "brp12.json" -> 12; -1: not an entry. */
static int entry_number(const char *file)
{
	unsigned int n;
	int end = 0;

	if (sscanf(file, "brp%4u.json%n", &n, &end) != 1 || end == 0 || file[end] || n >= REG_MAX)
		return -1;
	return (int)n;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* *ret_numbers: free(). */
static int scan(int **ret_numbers)
{
	struct dirent **files;
	int nr_files = scandir(registry_dir(), &files, NULL, NULL);
	int n = 0;

	if (nr_files < 0)
		return -errno;
	*ret_numbers = calloc((size_t)nr_files + 1, sizeof(**ret_numbers));
	for (int i = 0; i < nr_files; i++) {
		int number = entry_number(files[i]->d_name);

		if (*ret_numbers && number >= 0)
			(*ret_numbers)[n++] = number;
		free(files[i]);
	}
	free(files);
	if (!*ret_numbers)
		return -ENOMEM;
	qsort(*ret_numbers, (size_t)n, sizeof(**ret_numbers), by_number);
	return n;
}

/* Who may write here made the devices, or is root. */
static bool may_clean_up(void)
{
	return access(registry_dir(), W_OK) == 0;
}

/* Whether the entry is there and to be shown. */
static bool look_at(const char *name, struct reg_entry *ret_entry)
{
	int fd;

	if (registry_read(name, ret_entry))
		return false;
	fd = try_lock(name, 0);
	if (fd == -EWOULDBLOCK)
		return true;
	if (!may_clean_up()) {
		ret_entry->is_dead = true;
	} else {
		log_notice("%s: %s: nobody serves it any more, cleaning up", name, ret_entry->uri);
		registry_reap(ret_entry);
	}
	if (fd >= 0)
		close(fd);
	return ret_entry->is_dead;
}

static int list_locked(struct reg_entry **ret_entries)
{
	int *numbers;
	int n = scan(&numbers);
	int found = 0;

	if (n < 0)
		return n;
	*ret_entries = calloc((size_t)n + 1, sizeof(**ret_entries));
	for (int i = 0; *ret_entries && i < n; i++) {
		char name[REG_NAME_BYTES];

		snprintf(name, sizeof(name), "brp%d", numbers[i]);
		found += look_at(name, &(*ret_entries)[found]);
	}
	free(numbers);
	return *ret_entries ? found : -ENOMEM;
}

int registry_list(struct reg_entry **ret_entries)
{
	int lock, n;

	*ret_entries = NULL;
	if (access(registry_dir(), F_OK) < 0)
		return 0;
	lock = registry_lock();
	if (lock < 0)
		return lock;
	n = list_locked(ret_entries);
	close(lock);
	return n;
}

bool registry_same_uri(const char *a, const char *b)
{
	struct brp_uri u, v;
	const char *why;

	if (brp_uri_parse(a, &u, &why) || brp_uri_parse(b, &v, &why))
		return !strcmp(a, b);
	if (u.transport != v.transport || u.port != v.port || strcasecmp(u.host, v.host) != 0 ||
	    u.has_volume != v.has_volume || u.by_uuid != v.by_uuid)
		return false;
	if (u.by_uuid)
		return !memcmp(u.volume_uuid.b, v.volume_uuid.b, sizeof(u.volume_uuid.b));
	return !strcmp(u.volume_name, v.volume_name);
}

/* The node a path leads to. */
static bool is_node(const char *dev, const struct reg_entry *e)
{
	char real[PATH_MAX];

	return e->node[0] &&
	       (!strcmp(dev, e->node) || (realpath(dev, real) && !strcmp(real, e->node)));
}

static bool is_meant(const char *dev, const struct reg_entry *e)
{
	char link[PATH_MAX];

	links_path(link, e->name);
	if (!strcmp(dev, e->name) || !strcmp(dev, link))
		return true;
	return strstr(dev, "://") ? registry_same_uri(dev, e->uri) : is_node(dev, e);
}

int registry_find_locked(const char *dev, struct reg_entry *ret_entry)
{
	struct reg_entry *entries = NULL;
	int n = list_locked(&entries);
	int err = n < 0 ? n : -ENOENT;

	for (int i = 0; i < n && err; i++) {
		if (!is_meant(dev, &entries[i]))
			continue;
		*ret_entry = entries[i];
		err = 0;
	}
	free(entries);
	return err;
}

int registry_find(const char *dev, struct reg_entry *ret_entry)
{
	int lock, err;

	if (access(registry_dir(), F_OK) < 0)
		return -ENOENT;
	lock = registry_lock();
	if (lock < 0)
		return lock;
	err = registry_find_locked(dev, ret_entry);
	close(lock);
	return err;
}

int registry_find_node(const char *node, struct reg_entry *ret_entry)
{
	int *numbers;
	int n = scan(&numbers);
	int err = -ENOENT;

	for (int i = 0; i < n && err; i++) {
		char name[REG_NAME_BYTES];
		struct reg_entry e;

		snprintf(name, sizeof(name), "brp%d", numbers[i]);
		if (registry_read(name, &e) || strcmp(e.node, node) != 0)
			continue;
		*ret_entry = e;
		err = 0;
	}
	if (n >= 0)
		free(numbers);
	return err;
}
