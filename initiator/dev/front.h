/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Front ends: what makes a local block device of a session. Each is one const struct front_ops
 * behind a meson feature of its own; the table in front_table.c has those that were built, the best
 * first. Callers use the checked wrappers below and never look into the table's functions.
 *
 * One device is made and taken down by one thread, the owner. The front end has a thread for each
 * queue, which alone uses brp_session_queue(session, i) from create to stop. Errors are negative
 * errno; the front end logs what went wrong, once.
 */
#ifndef INITIATOR_DEV_FRONT_H
#define INITIATOR_DEV_FRONT_H

#include <stddef.h>
#include <stdint.h>

#include "brp/brp.h"

#define FRONT_MAX_QUEUES 256
#define FRONT_MAX_DEPTH  4096
#define FRONT_NO_ID      -1

struct front_config {
	struct brp_session *session; /* connected; outlives the front end */
	struct brp_info info;        /* of that session */
	unsigned int nr_queues;      /* 1...info.queues */
	unsigned int queue_depth;    /* requests of the kernel at once per queue,
					1...info.queue_depth */
	const char *name; /* the device's, e.g. "brp0"; constant, outlives the front end */
	int recover_id;   /* front.id that a killed predecessor left, or FRONT_NO_ID */

	/* The front end ended by itself, error says why: any thread, at most once, maybe before
	 * create has returned. The owner then calls front_stop() as always. */
	void (*gone)(void *arg, int error);
	void *arg;
};

struct front {
	const struct front_ops *ops;
	char path[64]; /* the block device, e.g. /dev/ublkb0 */
	int id;        /* its number, for recover_id and cleanup; FRONT_NO_ID where there is none */
};

struct front_ops {
	const char *name; /* what --device calls it: "ublk", "nbd", "fuse" */

	/* 0: can be used on this machine now. Else an error, and why gets the reason with the
	 * command that mends it. */
	int (*probe)(char *why, size_t why_bytes);

	/* The device is there and usable on return. -EOPNOTSUPP: recover_id given and this kernel
	 * cannot recover. */
	int (*create)(const struct front_config *c, struct front **ret_front);

	/* The volume has another size now. -EOPNOTSUPP where the kernel cannot follow. */
	int (*resize)(struct front *f, uint64_t size_bytes);

	/* Removes the device, after the I/O in flight, and joins the threads. */
	int (*stop)(struct front *f);

	/* Frees; after stop, whatever that returned. */
	void (*destroy)(struct front *f);

	/* Removes what a killed process left of device `id`, so that nothing hangs on it.
	 * -EOPNOTSUPP where the kernel does that alone. */
	int (*cleanup)(int id);
};

extern const struct front_ops ublk_front;
extern const struct front_ops nbd_front;
extern const struct front_ops fuse_front;

/* ---- the table and its checked wrappers ------------------------------------------------------ */

/* Those built in, in the order --device auto tries them; NULL behind the last. */
const struct front_ops *front_at(unsigned int index);
/* NULL: not known, or not built in. */
const struct front_ops *front_find(const char *name);

int front_probe(const struct front_ops *ops, char *why, size_t why_bytes);
int front_create(const struct front_ops *ops, const struct front_config *c,
		 struct front **ret_front);
int front_resize(struct front *f, uint64_t size_bytes);
int front_stop(struct front *f);
void front_destroy(struct front *f); /* NULL is fine */
int front_cleanup(const struct front_ops *ops, int id);

#endif
