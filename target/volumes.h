/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of volumes, which changes while the target runs. server.lock guards it; nothing on the
 * I/O path looks at it. A connection takes a reference when it asks for a volume (volumes_get())
 * and gives it back when the last of its requests is out of the device (volumes_put()), so what it
 * uses cannot go away under it.
 *
 * Removing takes a volume out of the table at once: its name is free and nobody new gets it. Its
 * connections are told, finish what is in flight and leave; the last one hands the volume to the
 * control thread, which closes it (that may take long).
 *
 * Control thread: the program's main thread. It alone adds, removes, resizes and closes.
 */
#ifndef TARGET_VOLUMES_H
#define TARGET_VOLUMES_H

#include "brp/codec.h"
#include "target/volume.h"

struct conn;
struct server;

/* ---- control thread ---- */

/* Opens, registers and publishes. What goes wrong is logged. -EEXIST: the name is taken. */
int volumes_add(struct server *s, const struct volume_config *c, bool is_configured);
/* -ENOENT: no such volume (logged). Returns at once; it is closed when its last user has left. */
int volumes_remove(struct server *s, const char *name);
/* As bk_resize(); its users are told when the size changed. */
int volumes_resize(struct server *s, const char *name, uint64_t set_bytes, bool may_shrink,
		   uint64_t *ret_bytes);
/* Closes what was removed and has no users any more. */
void volumes_close_removed(struct server *s);
/* All without users: unregisters and closes. The others stay and are named in the log. */
void volumes_close_all(struct server *s);
/* The one of this name, or NULL. The control thread needs no lock and no reference to look. */
struct volume *volumes_find(struct server *s, const char *name);

/* One of this name was removed and still has users. */
bool volumes_is_closing(struct server *s, const char *name);

/* ---- any thread ---- */

/* c->volume becomes the one that c->login names, with a reference. False: there is none. */
bool volumes_get(struct server *s, struct conn *c);
/* What the login names was removed while the target ran, and nothing of that name has come since.
 * The last TARGET_MAX_GONE are known. */
bool volumes_was_removed(struct server *s, const struct brp_login *login);
/* Gives it back. server.lock is held; harmless without a volume. */
void volumes_put(struct server *s, struct conn *c);
/* Entries of a LIST_REPLY from `first` on, at most max; *ret_total: volumes in all. */
unsigned int volumes_list(struct server *s, uint32_t first, unsigned int max,
			  struct brp_list_entry *ret_entries, uint32_t *ret_total);

#endif
