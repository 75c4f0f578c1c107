/* SPDX-License-Identifier: BSD-2-Clause */
/* Steps of a request that request.c and answer.c take for every I/O; not for others. */
#ifndef TARGET_REQUEST_STATE_H
#define TARGET_REQUEST_STATE_H

#include <assert.h>

#include "target/conn.h"

extern const bool request_may_follow[REQUEST_STATE_COUNT][REQUEST_STATE_COUNT]; /* [from][to] */

/* It has one; those who wait for buffers are told. */
void request_put_large(struct request *r);

static inline void request_set_state(struct request *r, enum request_state to)
{
	struct request_table *t = &r->conn->requests;

	assert(request_may_follow[r->state][to]);
	t->nr_pulls = t->nr_pulls + (to == REQUEST_PULL) - (r->state == REQUEST_PULL);
	t->nr_pushes = t->nr_pushes + (to == REQUEST_PUSH) - (r->state == REQUEST_PUSH);
	r->state = to;
}

/* The peer may use the tag again as soon as it can know the answer. */
static inline void request_untag(struct request *r)
{
	r->conn->requests.by_index[brp_tag_index(r->wire.tag)] = NULL;
}

/* Back to the table. */
static inline void request_release(struct request *r)
{
	struct conn *c = r->conn;
	struct request_table *t = &c->requests;

	if (r->large)
		request_put_large(r);
	request_set_state(r, REQUEST_FREE);
	list_add_head(&t->free, &r->link); /* warm in the cache */
	t->nr_free++;
	t->nr_busy--;
	if (unlikely(t->is_holding)) {
		t->is_holding = false;
		fabric_resume(c->fc);
	}
}

#endif
