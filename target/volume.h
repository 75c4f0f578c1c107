/* SPDX-License-Identifier: BSD-2-Clause */
/* One volume: what --dev says, opened and registered. Their table is in volumes.h. */
#ifndef TARGET_VOLUME_H
#define TARGET_VOLUME_H

#include "brp/codec.h"
#include "common/fabric/fabric.h"
#include "target/backend/backend.h"
#include "target/buffers.h"
#include "target/counters.h"
#include "target/gate.h"

struct volume_config {
	char name[BRP_VOLUME_NAME_BYTES];
	struct bk_spec spec; /* its texts point into `text` or constants */
	char *text;          /* owned: the copy of --dev that spec points into */
	char *dev;           /* owned: --dev as it was given, to compare */
};

struct volume {
	/* constant after volume_open() */
	char name[BRP_VOLUME_NAME_BYTES];
	char *dev; /* --dev as it was given */
	struct bk_volume *bk;
	struct bk_info info; /* its size is that of the start: see size_bytes */
	struct fabric_mem
		*memory[TARGET_MAX_FABRICS]; /* whole of a memory volume, by fabric; else NULL */

	struct gate gate; /* has its own lock */

	atomic_ullong size_bytes;    /* now; any thread */
	struct buffer_share buffers; /* any thread */

	/* server.lock */
	struct list link;      /* in server.volumes; removed: in server.removed */
	unsigned int nr_users; /* connections that are logged in or want to */
	bool is_removed;
	bool is_configured;    /* the configuration names it, not the control socket */
	struct io_counters io; /* of the connections that have left */
};

/*
 * Parses what --dev takes:
 * PATH|ram:SIZE|null:SIZE[,name=NAME][,ro][,block=BYTES][,cache=writethrough|writeback][,node=N]
 * [,force][,fault=PLAN]. fault= takes the rest of the text. 0, or -EINVAL (logged). Freed by
 * volume_config_finish().
 */
int volume_config_parse(const char *dev, struct volume_config *ret_config);
void volume_config_finish(struct volume_config *c);

int volume_open(const struct volume_config *c, bool is_serial, struct volume **ret_volume);
void volume_close(struct volume *v); /* no connection uses it; NULL is fine */

/* Registers a memory volume with fabric f, known as number `index`. Nothing to do for other
 * volumes. */
int volume_register(struct volume *v, struct fabric *f, unsigned int index);
void volume_unregister(struct volume *v, unsigned int index);

uint64_t volume_blocks(const struct volume *v);

/* Flags as the given access sees them (protocol.md 4.2). */
uint32_t volume_flags(const struct volume *v, bool is_read_only_session);

#endif
