/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of a front end whose kernel interface copies data (fuse, nbd, nbdkit): a fixed table of
 * slots with their memory, registered once. Nothing allocates after dev_pool_create().
 *
 * A slot has a small buffer of its own, which most requests fit into. What is longer borrows units
 * from a stock that the slots share; the data is then in pieces (dev_slot_iov()), and each piece
 * is a request to libbrp. A slot is done when all its pieces are.
 *
 *	dev_slot_get() ── dev_slot_reserve() ── fill in ── dev_slot_submit() ──▶ done() ──
 *dev_slot_put()
 *
 * A pool belongs to one thread: the one that uses its queue.
 */
#ifndef INITIATOR_DEV_SLOTS_H
#define INITIATOR_DEV_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "brp/brp.h"
#include "common/list.h"

#define DEV_SMALL_BYTES (64u << 10) /* a multiple of every block size */
#define DEV_UNIT_BYTES  (1u << 20)
#define DEV_MAX_UNITS   33u                  /* 32 MiB that do not start in the small buffer */
#define DEV_MAX_IOV     (1u + DEV_MAX_UNITS) /* pieces of a slot */

struct dev_pool;

struct dev_slot {
	/* constant */
	struct dev_pool *pool;
	char *data; /* the small buffer, page-aligned; head_bytes before it are the front end's */

	/* the front end's; filled in between get and submit */
	enum brp_io_op op;
	unsigned int flags; /* BRP_FUA */
	uint64_t offset;    /* bytes; as in struct brp_io */
	uint64_t bytes;
	uint64_t cookie; /* what the kernel calls the request */

	/* the pool's */
	struct list link;      /* free, waiting, or the front end's while it has the slot */
	uint64_t given_bytes;  /* handed to libbrp so far */
	unsigned int nr_parts; /* in flight */
	int result;            /* first error */
	bool is_given;         /* all parts are */
	uint16_t nr_units;
	uint16_t units[DEV_MAX_UNITS];
};

struct dev_pool_config {
	struct brp_session *session;
	struct brp_queue *queue;
	unsigned int nr_slots;
	unsigned int nr_units;
	size_t head_bytes; /* at most a page */
	/* Every slot once after dev_slot_submit(), maybe from within it; the slot is the front
	 * end's again. */
	void (*done)(void *arg, struct dev_slot *slot, int result);
	void *arg;
};

/* Called by the thread that owns the session: it registers memory. */
int dev_pool_create(const struct dev_pool_config *c, struct dev_pool **ret_pool);

/*
 * Requests that libbrp still has keep their memory: then this frees nothing, and what comes later
 * from brp_disconnect() finds everything in place. NULL is fine.
 */
void dev_pool_destroy(struct dev_pool *p);

struct dev_slot *dev_slot_get(struct dev_pool *p); /* NULL: all are in use */
void dev_slot_put(struct dev_slot *slot);          /* with its units */

/* Room for `bytes` of data. False: not enough units now, nothing changed. */
bool dev_slot_reserve(struct dev_slot *slot, uint64_t bytes);
/* Gives back the units beyond what `bytes` need. */
void dev_slot_trim(struct dev_slot *slot, uint64_t bytes);

/* Memory of data bytes [from, from + bytes) of the slot; iov has DEV_MAX_IOV entries. How many were
 * filled. */
unsigned int dev_slot_iov(const struct dev_slot *slot, uint64_t from, uint64_t bytes,
			  struct iovec *iov);

/* Gives the request to libbrp, or as soon as its queue has room. brp_kick() is the caller's. */
void dev_slot_submit(struct dev_slot *slot);

/* There is a slot, and units for so much data in it. */
bool dev_pool_has_room(const struct dev_pool *p, uint64_t bytes);
/* Slots submitted and not done. */
unsigned int dev_pool_in_flight(const struct dev_pool *p);

#endif
