/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests at the target: from the jumbo command to the answer. All objects and their small buffers
 * are reserved at login, so the I/O path allocates nothing but large buffers, out of the arena.
 *
 * 	READ, memory volume    FREE ───────────────────────────────▶ [ANSWER] ─▶ [PUSH] ─▶ FREE
 * 	READ                   FREE ─▶ [BUFFER] ─▶ [GATE] ─▶ DEVICE ─▶ [ANSWER] ─▶ [PUSH] ─▶ FREE
 * 	WRITE in-capsule       FREE ─────────────▶ [GATE] ─▶ DEVICE ─▶ ANSWER ─▶ FREE
 * 	WRITE                  FREE ─▶ PULL ─────▶ [GATE] ─▶ DEVICE ─▶ ANSWER ─▶ FREE
 * 	others                 FREE ─────────────▶ [GATE] ─▶ DEVICE ─▶ ANSWER ─▶ FREE
 * 	refused                FREE ─▶ [PULL, data thrown away] ─────▶ ANSWER ─▶ FREE
 *
 * How answers travel is answer.c's.
 */
#ifndef TARGET_REQUEST_H
#define TARGET_REQUEST_H

#include "brp/codec.h"
#include "common/fabric/fabric.h"
#include "target/backend/backend.h"
#include "target/buffers.h"
#include "target/gate.h"

struct conn;

enum request_state {
	REQUEST_FREE,   /* in request_table.free */
	REQUEST_BUFFER, /* READ waits for a buffer, in request_table.starved */
	REQUEST_PULL,   /* the fabric fetches the data; with no buffer yet also in
			   request_table.starved */
	REQUEST_GATE,   /* waits for its turn, --io-mode serial only */
	REQUEST_DEVICE, /* the back end has it */
	REQUEST_ANSWER, /* in request_table.answers, waits for the end of the pass or a send slot */
	REQUEST_PUSH,   /* the fabric sends the data with the notice; its tag is free again */
	REQUEST_STATE_COUNT
};

struct request {
	/* constant */
	struct conn *conn;
	void *small; /* buffer of request_table.small_bytes, or NULL */
	struct region *small_region;

	enum request_state state;
	uint16_t status;  /* ANSWER, and PULL of a refused request: what to answer */
	struct list link; /* free, starved or answers */
	struct brp_request wire;
	struct bk_req bk;
	struct fabric_xfer xfer;
	struct gate_entry gate;
	void *large; /* arena buffer, NULL when none */
	uint32_t data_bytes;
};

struct request_table {
	/* constant after requests_init() */
	struct request *all;
	unsigned int nr_all;
	struct request **by_index; /* [queue depth]: request whose tag is in flight, or NULL */
	uint64_t *last_jumbo; /* [queue depth]: number of the jumbo command that used the index last
			       */
	void *slab;           /* small buffers of all; NULL when the volume needs none */
	size_t slab_bytes;
	size_t small_bytes;
	bool is_in_place;   /* in-capsule data is written from the message */
	const char *memory; /* of a memory volume, else NULL */

	struct list free;
	unsigned int nr_free;
	uint64_t nr_jumbos;     /* received */
	unsigned int nr_busy;   /* not FREE */
	unsigned int nr_pulls;  /* PULL */
	unsigned int nr_pushes; /* PUSH: answered, as far as we are concerned */
	size_t large_bytes;     /* arena buffers held */
	struct list starved;    /* want an arena buffer, in order */
	struct list answers;
	struct list granted; /* gate.lock: struct gate_entry that may pass */
	bool is_holding;     /* a message was sent back for lack of free requests */
	bool is_gathering;   /* the back end was given requests since the last flush */
	struct buffer_waiter waiter;
};

/* Makes an empty table, before anything else. */
void requests_prepare(struct request_table *t);

/* The deepest queue that requests_init() can reserve for c->volume when nobody else is there. */
unsigned int requests_max_depth(const struct conn *c);

/* Reserves everything for c->limits.queue_depth requests on c->volume. -ENOMEM: the target cannot
 * hold more. */
int requests_init(struct conn *c);
/* Nothing is busy. Also for a table that was never or half initialised. */
void requests_finish(struct conn *c);

/* A JUMBO: 0, -EAGAIN (not enough free requests, redeliver), -EPROTO with *ret_what. */
int requests_jumbo(struct conn *c, const void *buf, uint32_t bytes, const char **ret_what);

/* One pass: hands gathered requests to the device, takes finished ones, queues their answers. */
void requests_progress(struct conn *c);

/* Fabric callbacks. */
void requests_pull_done(struct conn *c, struct fabric_xfer *x, int status);
void requests_push_done(struct conn *c, struct fabric_xfer *x, int status);

/* Orders. */
void requests_buffers_back(struct conn *c);
void requests_gate_passed(struct conn *c);

/* The fabric connection is closed: drops all that is not in the device. */
void requests_cancel(struct conn *c);

#endif
