/* SPDX-License-Identifier: BSD-2-Clause */
/* The start of a device's processes; see connect.h. */
#include "initiator/ctl/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "initiator/ctl/control.h"
#include "initiator/ctl/ctl.h"
#include "initiator/ctl/process.h"

#define MAX_ARGS (VOLUME_MAX_ARGS + 16)
#define NR_FDS   2 /* report, lock */

/* Reserves a name unless the volume is connected; the registry is locked meanwhile, so that of two
 * at once only one does. */
static int reserve(const struct volume_options *opt, struct reg_entry *ret_entry, int *ret_lock_fd)
{
	struct reg_entry e = {.front_id = -1, .since_s = (int64_t)time(NULL)};
	int lock = registry_lock();
	int err;

	if (lock < 0)
		return lock;
	/* Cleans up stale ones first. */
	err = registry_find_locked(opt->uri, ret_entry);
	if (err == -ENOENT) {
		snprintf(e.uri, sizeof(e.uri), "%s", opt->uri);
		err = registry_reserve(&e, ret_lock_fd);
		*ret_entry = e;
	} else if (!err) {
		err = -EEXIST;
	}
	close(lock);
	return err;
}

static int start_supervisor(const struct volume_options *opt, const struct connect_how *how,
			    const char *name, const int fds[NR_FDS])
{
	char *argv[MAX_ARGS];
	char option[REG_NAME_BYTES + 8];
	unsigned int n = 0;

	snprintf(option, sizeof(option), "--name=%s", name);
	/* systemd(1): see supervise.c. */
	argv[n++] = (char *)"@" CTL_PROGRAM;
	argv[n++] = (char *)"supervise";
	argv[n++] = option;
	for (unsigned int i = 0; i < MIN(how->verbosity, 2u); i++)
		argv[n++] = (char *)"-v";
	for (unsigned int i = 0; i < opt->nr_args; i++)
		argv[n++] = opt->args[i];
	argv[n++] = (char *)opt->uri;
	argv[n] = NULL;
	return process_start(argv, fds, NR_FDS, true);
}

static int read_report(int fd, const char *name, struct reg_entry *ret_entry, char *why,
		       size_t why_bytes)
{
	int err;
	json_t *j = control_read(fd, -1, &err);
	const char *text = json_string_value(json_object_get(j, "error"));

	if (!j) {
		snprintf(why, why_bytes, "its background process ended without a word: %s",
			 strerror(-err));
		return -EIO;
	}
	if (!json_is_true(json_object_get(j, "ok"))) {
		json_int_t e = json_integer_value(json_object_get(j, "errno"));

		snprintf(why, why_bytes, "%s", text ? text : "no reason given");
		err = e > 0 && e < 4096 ? -(int)e : -EIO;
	} else {
		err = registry_read(name, ret_entry);
		if (err)
			snprintf(why, why_bytes, "it is gone again");
	}
	json_decref(j);
	return err;
}

static void forget(const struct reg_entry *e)
{
	int lock = registry_lock();

	if (lock < 0)
		return;
	registry_remove(e);
	close(lock);
}

static int launch(const struct volume_options *opt, const struct connect_how *how, int lock_fd,
		  struct reg_entry *e, char *why, size_t why_bytes)
{
	int report[2];
	int fds[NR_FDS];
	int err;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	fds[0] = report[1];
	fds[1] = lock_fd;
	err = start_supervisor(opt, how, e->name, fds);
	close(report[1]);
	if (err) {
		snprintf(why, why_bytes, "no background process can be started: %s",
			 strerror(-err));
		forget(e);
		close(lock_fd);
	} else {
		close(lock_fd); /* theirs now: they alone keep it */
		err = read_report(report[0], e->name, e, why, why_bytes);
	}
	close(report[0]);
	return err;
}

/* -EIO whatever the reason: exit statuses tell about devices and targets. */
static int check_log_file(const struct volume_options *opt, char *why, size_t why_bytes)
{
	int fd;

	if (!opt->log_file[0])
		return 0;
	fd = open(opt->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0) {
		snprintf(why, why_bytes, "%s: cannot be written: %s", opt->log_file,
			 strerror(errno));
		return -EIO;
	}
	close(fd);
	return 0;
}

int connect_volume(const struct volume_options *opt, const struct connect_how *how,
		   struct reg_entry *ret_entry, char *why, size_t why_bytes)
{
	int err = check_log_file(opt, why, why_bytes);
	int lock_fd;

	if (err)
		return err;
	err = reserve(opt, ret_entry, &lock_fd);
	if (err == -EEXIST) {
		snprintf(why, why_bytes, "connected already, as %s", ret_entry->name);
		return how->idempotent ? 0 : err;
	}
	if (err) {
		snprintf(why, why_bytes, "%s: %s%s", registry_dir(), strerror(-err),
			 err == -EACCES || err == -EPERM ? ": run this as root" : "");
		return err;
	}
	return launch(opt, how, lock_fd, ret_entry, why, why_bytes);
}
