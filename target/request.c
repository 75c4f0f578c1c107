/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "brp/status.h"
#include "common/log.h"
#include "target/answer.h"
#include "target/request_state.h"
#include "target/server.h"
#include "target/warm.h"

/* A request that was answered may linger in PUSH until the fabric says so: some more objects than
 * tags. */
#define MAX_LINGERING 64u
/* Moving this much takes longer than waking a thread: a follower is promoted first. */
#define PROMOTE_BYTES (256u << 10)

const bool request_may_follow[REQUEST_STATE_COUNT][REQUEST_STATE_COUNT] = {
	[REQUEST_FREE] = {[REQUEST_BUFFER] = true,
			  [REQUEST_PULL] = true,
			  [REQUEST_GATE] = true,
			  [REQUEST_DEVICE] = true,
			  [REQUEST_ANSWER] = true,
			  [REQUEST_PUSH] = true},
	[REQUEST_BUFFER] = {[REQUEST_GATE] = true, [REQUEST_DEVICE] = true, [REQUEST_FREE] = true},
	[REQUEST_PULL] = {[REQUEST_GATE] = true,
			  [REQUEST_DEVICE] = true,
			  [REQUEST_ANSWER] = true,
			  [REQUEST_FREE] = true},
	[REQUEST_GATE] = {[REQUEST_DEVICE] = true, [REQUEST_FREE] = true},
	[REQUEST_DEVICE] = {[REQUEST_PUSH] = true, [REQUEST_ANSWER] = true, [REQUEST_FREE] = true},
	[REQUEST_ANSWER] = {[REQUEST_PUSH] = true, [REQUEST_FREE] = true},
	[REQUEST_PUSH] = {[REQUEST_FREE] = true},
};

/* ---- table ----------------------------------------------------------------------------------- */

static void retry_buffers(struct buffer_waiter *w)
{
	struct request_table *t = container_of(w, struct request_table, waiter);

	conn_order(container_of(t, struct conn, requests), CONN_ORDER_BUFFER);
}

static void gate_granted(struct gate_entry *e)
{
	struct request *r = container_of(e, struct request, gate);

	list_add_tail(&r->conn->requests.granted, &e->link);
	conn_order(r->conn, CONN_ORDER_GATE);
}

static void init_request(struct conn *c, struct request *r, unsigned int i, struct region *region)
{
	struct request_table *t = &c->requests;

	r->conn = c;
	r->state = REQUEST_FREE;
	r->gate.granted = gate_granted;
	list_init(&r->gate.link);
	list_init(&r->xfer.link);
	list_init(&r->bk.link);
	if (t->slab) {
		r->small = (char *)t->slab + i * t->small_bytes;
		r->small_region = region;
	}
	list_add_tail(&t->free, &r->link);
	t->nr_free++;
}

void requests_prepare(struct request_table *t)
{
	list_init(&t->free);
	list_init(&t->starved);
	list_init(&t->answers);
	list_init(&t->granted);
	list_init(&t->waiter.link);
	t->waiter.retry = retry_buffers;
}

/*
 * A memory volume is read and written in place: no small buffers. In serial mode data must wait
 * somewhere; and with digests what is sent must stay as it was when its digest was made, which
 * memory that others write to does not.
 */
static bool needs_small_buffers(const struct conn *c)
{
	return c->server->opt.is_serial || c->has_digest || !c->volume->info.is_inline ||
	       !bk_map(c->volume->bk, 0, c->volume->info.block_bytes);
}

unsigned int requests_max_depth(const struct conn *c)
{
	size_t bytes = c->server->buffers.max_buffer_bytes;

	if (!needs_small_buffers(c))
		return BRP_MAX_QUEUE_DEPTH;
	return (unsigned int)(bytes / BRP_DEFAULT_IN_CAPSULE_BYTES) - MAX_LINGERING;
}

int requests_init(struct conn *c)
{
	struct request_table *t = &c->requests;
	struct region *region = NULL;
	unsigned int depth = c->limits.queue_depth;
	size_t memory_bytes;
	int err = 0;

	t->nr_all = depth + MIN(depth, MAX_LINGERING);
	t->all = calloc(t->nr_all, sizeof(*t->all));
	t->by_index = calloc(depth, sizeof(*t->by_index));
	t->last_jumbo = calloc(depth, sizeof(*t->last_jumbo));
	t->is_in_place = c->volume->info.is_inline && !c->server->opt.is_serial &&
			 c->volume->info.align_bytes <= 1;
	t->small_bytes = BRP_DEFAULT_IN_CAPSULE_BYTES;
	t->memory = bk_memory(c->volume->bk, &memory_bytes);
	if (!t->all || !t->by_index || !t->last_jumbo)
		return -ENOMEM;
	if (needs_small_buffers(c)) {
		t->slab_bytes = t->nr_all * t->small_bytes;
		err = buffers_reserve(&c->server->buffers, t->slab_bytes, &t->slab, &region);
	}
	if (err) {
		t->slab = NULL;
		return err;
	}
	for (unsigned int i = 0; i < t->nr_all; i++)
		init_request(c, &t->all[i], i, region);
	return 0;
}

void requests_finish(struct conn *c)
{
	struct request_table *t = &c->requests;

	assert(t->nr_busy == 0);
	if (t->slab)
		buffers_release(&c->server->buffers, t->slab, t->slab_bytes);
	free(t->last_jumbo);
	free(t->by_index);
	free(t->all);
	t->slab = NULL;
	t->last_jumbo = NULL;
	t->by_index = NULL;
	t->all = NULL;
}

static struct request *take(struct request_table *t)
{
	struct list *node = list_pop(&t->free);

	t->nr_free--;
	t->nr_busy++;
	return list_entry(node, struct request, link);
}

void request_put_large(struct request *r)
{
	struct conn *c = r->conn;
	struct request_table *t = &c->requests;

	buffers_put(&c->server->buffers, &c->volume->buffers, r->large, r->data_bytes);
	r->large = NULL;
	t->large_bytes -= r->data_bytes;
	/* Those who wait for our own share to shrink are told by nobody else. */
	if (unlikely(!list_empty(&t->starved)))
		conn_order(c, CONN_ORDER_BUFFER);
}

/* ---- device ---------------------------------------------------------------------------------- */

static void submit(struct request *r)
{
	struct conn *c = r->conn;

	request_set_state(r, REQUEST_DEVICE);
	c->requests.is_gathering = true;
	bk_submit(c->queue, &r->bk);
}

static void to_device(struct request *r, void *data)
{
	struct conn *c = r->conn;
	uint32_t block_bytes = c->limits.block_bytes;

	r->bk.op = (enum brp_op)r->wire.op;
	r->bk.is_fua = r->wire.flags & BRP_REQ_FUA;
	r->bk.offset = r->wire.lba * block_bytes;
	r->bk.bytes = (uint64_t)r->wire.blocks * block_bytes;
	r->bk.buf = data;
	if (unlikely(c->volume->gate.is_serial)) {
		request_set_state(r, REQUEST_GATE);
		if (!gate_enter(&c->volume->gate, &r->gate))
			return;
	}
	submit(r);
}

static void *buffer_of(const struct request *r)
{
	return r->large ? r->large : r->small;
}

static void device_done(struct request *r)
{
	struct conn *c = r->conn;

	gate_leave(&c->volume->gate);
	if (unlikely(c->is_fabric_closed)) {
		request_release(r);
	} else if (unlikely(r->bk.result)) {
		io_count(&c->io, IO_COUNT_errors, 1);
		log_peer(LOG_WARNING, "%s: %s of %llu bytes at %llu failed: %s", c->volume->name,
			 brp_op_name(r->wire.op), (unsigned long long)r->bk.bytes,
			 (unsigned long long)r->bk.offset, strerror(-r->bk.result));
		answer_status(r, brp_status_from_errno(r->bk.result));
	} else if (r->wire.op == BRP_OP_READ) {
		answer_data(r, r->bk.buf, r->xfer.mem);
	} else {
		answer_status(r, BRP_ST_OK);
	}
}

static void poll_device(struct conn *c)
{
	struct bk_req *done[32];
	unsigned int n;

	do {
		n = bk_poll(c->queue, done, ARRAY_SIZE(done));
		for (unsigned int i = 0; i < n; i++)
			device_done(container_of(done[i], struct request, bk));
	} while (n == ARRAY_SIZE(done));
}

void requests_progress(struct conn *c)
{
	struct request_table *t = &c->requests;

	if (!c->queue)
		return;
	if (t->is_gathering) {
		t->is_gathering = false;
		bk_flush(c->queue);
	}
	if (bk_in_flight(c->queue))
		poll_device(c);
	if (!list_empty(&t->answers) && !c->is_fabric_closed)
		answers_send(c);
}

/* ---- buffers --------------------------------------------------------------------------------- */

/*
 * No connection may hold more than its share of the buffers: a peer that asks for a lot and then
 * does not send or take the data must not starve the others.
 */
static int get_large(struct request *r)
{
	struct conn *c = r->conn;
	struct request_table *t = &c->requests;
	struct region *region;

	if (t->large_bytes && t->large_bytes + r->data_bytes > c->server->opt.buffer_bytes / 8)
		return -EAGAIN;
	if (buffers_get(&c->server->buffers, &c->volume->buffers, r->data_bytes, &t->waiter,
			&r->large, &region)) {
		r->large = NULL;
		return -EAGAIN;
	}
	t->large_bytes += r->data_bytes;
	r->xfer.mem = region->memory[c->fabric_index];
	return 0;
}

/* A buffer for the request's data, or -EAGAIN: in the queue of the starved. Nobody overtakes those
 * who wait already. */
static int get_buffer(struct request *r)
{
	struct request_table *t = &r->conn->requests;

	if (r->small && r->data_bytes <= t->small_bytes) {
		r->xfer.mem = r->small_region->memory[r->conn->fabric_index];
		return 0;
	}
	if (list_empty(&t->starved) && !get_large(r))
		return 0;
	list_add_tail(&t->starved, &r->link);
	return -EAGAIN;
}

static int feed(struct request *r)
{
	int err = get_large(r);

	if (err)
		return err;
	list_del(&r->link);
	if (r->state == REQUEST_PULL) {
		r->xfer.local = r->large;
		fabric_pull_ready(r->conn->fc, &r->xfer);
	} else {
		to_device(r, r->large);
	}
	return 0;
}

void requests_buffers_back(struct conn *c)
{
	struct request_table *t = &c->requests;

	while (!list_empty(&t->starved)) {
		if (feed(list_entry(t->starved.next, struct request, link)))
			return;
	}
}

void requests_gate_passed(struct conn *c)
{
	struct list *node;

	if (!c->volume)
		return;
	while ((node = gate_take(&c->volume->gate, &c->requests.granted)))
		submit(container_of(node, struct request, gate.link));
}

/* ---- starting -------------------------------------------------------------------------------- */

static void start_read(struct request *r)
{
	struct conn *c = r->conn;
	void *data = NULL;

	if (!c->has_digest)
		data = bk_map(c->volume->bk, r->wire.lba * c->limits.block_bytes, r->data_bytes);
	if (data) {
		answer_data(r, data, c->volume->memory[c->fabric_index]);
		return;
	}
	if (get_buffer(r)) {
		request_set_state(r, REQUEST_BUFFER);
		return;
	}
	to_device(r, buffer_of(r));
}

static void start_write_in_capsule(struct request *r, const void *msg)
{
	const void *data = (const char *)msg + r->wire.addr;

	if (r->conn->requests.is_in_place) {
		to_device(r, (void *)(uintptr_t)data);
		return;
	}
	memcpy(r->small, data, r->data_bytes);
	to_device(r, r->small);
}

static void start_pull(struct request *r, bool is_discard)
{
	struct conn *c = r->conn;

	r->xfer.bytes = r->data_bytes;
	r->xfer.key = r->wire.key;
	r->xfer.addr = r->wire.addr;
	r->xfer.is_notice = false;
	r->xfer.is_discard = is_discard;
	r->xfer.local = NULL;
	r->xfer.mem = NULL;
	if (!is_discard && !get_buffer(r))
		r->xfer.local = buffer_of(r);
	request_set_state(r, REQUEST_PULL);
	if (fabric_pull(c->fc, &r->xfer))
		requests_pull_done(c, &r->xfer, -ECANCELED);
}

static bool has_data_to_pull(const struct request *r)
{
	return r->wire.op == BRP_OP_WRITE && !(r->wire.flags & BRP_REQ_IN_CAPSULE) && r->data_bytes;
}

static void start(struct request *r, const void *msg)
{
	enum brp_status_code st = brp_check_request(&r->wire, &r->conn->limits);

	r->data_bytes = brp_request_data_bytes(&r->wire, &r->conn->limits);
	r->status = st;
	if (likely(st == BRP_ST_OK))
		io_count_request(&r->conn->io, r->wire.op, r->data_bytes);
	if (unlikely(r->data_bytes >= PROMOTE_BYTES))
		pool_promote(r->conn->server->pool);
	if (unlikely(st != BRP_ST_OK)) {
		if (has_data_to_pull(r))
			start_pull(r, true);
		else
			answer_status(r, st);
	} else if (r->wire.op == BRP_OP_READ) {
		start_read(r);
	} else if (has_data_to_pull(r)) {
		start_pull(r, false);
	} else if (r->wire.op == BRP_OP_WRITE) {
		start_write_in_capsule(r, msg);
	} else {
		to_device(r, NULL);
	}
}

/* Answered within this very pass is in flight too, as far as the peer can know. */
static bool is_in_flight(struct request_table *t, uint16_t index)
{
	bool is_twice = t->last_jumbo[index] == t->nr_jumbos;

	t->last_jumbo[index] = t->nr_jumbos;
	return is_twice || t->by_index[index];
}

int requests_jumbo(struct conn *c, const void *buf, uint32_t bytes, const char **ret_what)
{
	struct request_table *t = &c->requests;
	struct brp_request wire[BRP_MAX_JUMBO_REQUESTS];
	int n = brp_decode_jumbo(buf, bytes, &c->limits, wire);

	if (n < 0) {
		*ret_what = "malformed jumbo command";
		return -EPROTO;
	}
	if (unlikely((unsigned int)n > t->nr_free)) {
		t->is_holding = true;
		return -EAGAIN;
	}
	t->nr_jumbos++;
	warm_requests(c, wire, n);
	for (int i = 0; i < n; i++) {
		struct request *r;

		if (is_in_flight(t, brp_tag_index(wire[i].tag))) {
			*ret_what = "tag in flight used again";
			return -EPROTO;
		}
		r = take(t);
		t->by_index[brp_tag_index(wire[i].tag)] = r;
		r->wire = wire[i];
		start(r, buf);
	}
	return 0;
}

/* ---- fabric callbacks ------------------------------------------------------------------------ */

void requests_pull_done(struct conn *c, struct fabric_xfer *x, int status)
{
	struct request *r = container_of(x, struct request, xfer);

	conn_heard(c);
	if (status) {
		list_del(&r->link); /* may be starved */
		request_untag(r);
		request_release(r);
	} else if (r->status != BRP_ST_OK) {
		answer_status(r, (enum brp_status_code)r->status);
	} else {
		to_device(r, x->local);
	}
}

void requests_push_done(struct conn *c, struct fabric_xfer *x, int status)
{
	(void)status; /* a failed push comes with closed() */
	conn_heard(c);
	request_release(container_of(x, struct request, xfer));
}

/* ---- the end --------------------------------------------------------------------------------- */

static void cancel_list(struct list *head)
{
	struct list *node;

	while ((node = list_pop(head)))
		request_release(list_entry(node, struct request, link));
}

/* Waiting at the gate: taken out. Granted but not yet submitted: hands its turn on. */
static void cancel_at_gate(struct conn *c)
{
	struct request_table *t = &c->requests;
	struct gate *g = &c->volume->gate;
	struct list *node;

	for (unsigned int i = 0; i < t->nr_all; i++) {
		struct request *r = &t->all[i];

		if (r->state == REQUEST_GATE && gate_cancel(g, &r->gate))
			request_release(r);
	}
	while ((node = gate_take(g, &t->granted))) {
		gate_leave(g);
		request_release(container_of(node, struct request, gate.link));
	}
}

void requests_cancel(struct conn *c)
{
	struct request_table *t = &c->requests;

	if (!t->all)
		return;
	buffers_forget(&c->server->buffers, &t->waiter);
	cancel_list(&t->starved);
	cancel_list(&t->answers);
	if (c->volume->gate.is_serial)
		cancel_at_gate(c);
}
