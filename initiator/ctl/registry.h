/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is connected: /run/brp (or $BRP_RUN_DIR). For each device
 *
 *	brpN.json   its entry, replaced as a whole
 *	brpN.lock   locked (flock) by its supervisor and its serving process as long as one lives
 *	brpN.sock   the control socket of the serving process
 *
 * and `lock`, which whoever adds, removes or judges entries holds. An entry whose lock can be taken
 *is stale: registry_list() and registry_find() clean it up.
 *
 * One thread of each process uses this.
 */
#ifndef INITIATOR_CTL_REGISTRY_H
#define INITIATOR_CTL_REGISTRY_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define REG_NAME_BYTES 16
#define REG_URI_BYTES  512
#define REG_UUID_BYTES 37
#define REG_MAX        4096 /* devices */

struct reg_entry {
	char name[REG_NAME_BYTES]; /* "brp0" */
	char uri[REG_URI_BYTES];   /* as given */
	char host[256];
	char volume[128];
	char volume_uuid[REG_UUID_BYTES]; /* empty until known */
	char node[64];                    /* the real block device; empty until it is there */
	char front[16];                   /* likewise */
	int front_id;
	pid_t supervisor;
	pid_t server;
	int64_t since_s; /* CLOCK_REALTIME */
	bool is_dead;    /* not in the file: nobody serves it, and we are not allowed to clean up */
};

const char *registry_dir(void);
/* "DIR/NAMESUFFIX" */
void registry_path(char path[PATH_MAX], const char *name, const char *suffix);

/* Makes the folder if it is not there and takes the lock of the whole. A descriptor to close, or a
 * negative errno (said). */
int registry_lock(void);

/*
 * The lowest free name, for e->uri; with the registry locked. Fills in e->name and writes the
 * entry. *ret_lock_fd (close-on-exec) is the device's lock, held: it goes to the supervisor.
 */
int registry_reserve(struct reg_entry *e, int *ret_lock_fd);

int registry_write(const struct reg_entry *e);
int registry_read(const char *name, struct reg_entry *ret_entry); /* -ENOENT: none such */
/* Files and links; the registry is locked, and the device is gone. */
void registry_remove(const struct reg_entry *e);

/* All entries, sorted by number; stale ones are cleaned up first. *ret_entries: free(). A count or
 * a negative errno. */
int registry_list(struct reg_entry **ret_entries);

/*
 * dev: /dev/brp0, brp0, the real node, any link to it, or a URI. -ENOENT: no such device.
 */
int registry_find(const char *dev, struct reg_entry *ret_entry);
int registry_find_locked(const char *dev, struct reg_entry *ret_entry); /* the registry is locked */

/* By the real node; neither locks nor cleans up. */
int registry_find_node(const char *node, struct reg_entry *ret_entry);

/* Whether two URIs name the same volume of the same target. */
bool registry_same_uri(const char *a, const char *b);

/* Removes the device of an entry nobody serves, then the entry; the registry is locked. */
void registry_reap(const struct reg_entry *e);

json_t *registry_entry_json(const struct reg_entry *e);

/* Returns text. */
const char *registry_uuid_text(const uint8_t uuid[16], char text[REG_UUID_BYTES]);

#endif
