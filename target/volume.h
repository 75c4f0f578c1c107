/* SPDX-License-Identifier: BSD-2-Clause */
/* Volumes: what is exported under which name. The table is constant while the server runs. */
#ifndef TARGET_VOLUME_H
#define TARGET_VOLUME_H

#include "brp/codec.h"
#include "common/fabric/fabric.h"
#include "target/backend/backend.h"
#include "target/gate.h"

/* Fabrics a target can serve at once: tcp and verbs. */
#define TARGET_MAX_FABRICS 2

struct volume_config {
	char name[BRP_VOLUME_NAME_BYTES];
	struct bk_spec spec; /* its texts point into `text` or constants */
	char *text;          /* owned: the copy of --dev that spec points into */
};

struct volume {
	/* constant after volume_open() */
	char name[BRP_VOLUME_NAME_BYTES];
	struct bk_volume *bk;
	struct bk_info info;
	struct fabric_mem
		*memory[TARGET_MAX_FABRICS]; /* whole of a memory volume, by fabric; else NULL */

	struct gate gate; /* has its own lock */
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

/* Flags as the given access sees them (protocol.md 4.2). */
uint32_t volume_flags(const struct volume *v, bool is_read_only_session);

#endif
