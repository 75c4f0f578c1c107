/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The send queue. ring[] mirrors it: a place per work request, found again by its sequence number,
 * which is the wr_id. Completions of a reliable queue pair come in order (IBTA 10.8.5), so one
 * signalled work request also tells of all before.
 *
 * Signalling. Messages alone are signalled only every signal_every-th, often enough that a full set
 * of slots or a full send queue always has a completion to come. A chain with pushes or pulls is
 * signalled at its end, at its last pull, and every VERBS_SIGNAL_EVERY. Whether a completion also
 * wakes anybody is verbs_cq.c's business.
 */
#include "common/fabric/verbs.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "common/log.h"

static struct verbs_sqe *sqe_at(struct verbs_conn *c, uint64_t seq)
{
	return &c->ring[seq & c->ring_mask];
}

static bool has_room(const struct verbs_conn *c)
{
	return c->sq_head - c->sq_done < c->sq_size;
}

static struct verbs_sqe *sqe_add(struct verbs_conn *c, struct fabric_xfer *x,
				 enum ibv_wr_opcode opcode)
{
	struct verbs_sqe *e = sqe_at(c, c->sq_head);

	*e = (struct verbs_sqe){.wr = {.wr_id = c->sq_head, .opcode = opcode}, .x = x};
	if (c->sq_head != c->sq_posted)
		sqe_at(c, c->sq_head - 1)->wr.next = &e->wr;
	c->sq_head++;
	c->unsignalled++;
	return e;
}

static void signal_sqe(struct verbs_conn *c, struct verbs_sqe *e)
{
	e->wr.send_flags |= IBV_SEND_SIGNALED;
	c->unsignalled = (uint32_t)(c->sq_head - 1 - e->wr.wr_id);
}

/* Somebody waits for its end: a request whose data is to come, or a buffer that others need. */
static bool is_awaited(const struct verbs_conn *c, const struct fabric_xfer *x)
{
	return x->done_bytes == VERBS_PULL ||
	       (x->done_bytes == VERBS_PUSH && fabric_push_is_awaited(&c->params, x));
}

static void set_sge(struct verbs_sqe *e, const struct fabric_xfer *x, uint32_t lkey)
{
	e->sge = (struct ibv_sge){.addr = (uintptr_t)x->local, .length = x->bytes, .lkey = lkey};
	e->wr.sg_list = &e->sge;
	e->wr.num_sge = 1;
}

static void add_send(struct verbs_conn *c, struct fabric_xfer *x)
{
	struct verbs_sqe *e = sqe_add(c, x, IBV_WR_SEND);

	set_sge(e, x, c->bufs.mr->lkey);
	if (x->bytes <= c->max_inline_bytes)
		e->wr.send_flags |= IBV_SEND_INLINE;
	if (c->unsignalled >= c->signal_every)
		signal_sqe(c, e);
}

static void add_bulk(struct verbs_conn *c, struct fabric_xfer *x, enum ibv_wr_opcode opcode)
{
	struct verbs_sqe *e = sqe_add(c, x, opcode);

	set_sge(e, x, verbs_mr(c, x->mem)->lkey);
	c->awaited += is_awaited(c, x);
	e->wr.wr.rdma.remote_addr = x->addr;
	e->wr.wr.rdma.rkey = x->key;
	if (x->is_notice && opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
		e->wr.imm_data = htobe32(x->notice);
	if (c->unsignalled >= MIN(VERBS_SIGNAL_EVERY, c->signal_every) ||
	    (opcode == IBV_WR_RDMA_READ && x->bytes >= VERBS_BIG_PULL))
		signal_sqe(c, e);
}

static struct fabric_xfer *pop_xfer(struct list *head)
{
	return list_entry(list_pop(head), struct fabric_xfer, link);
}

/* Pulls leave first: their requests are small and the answer takes a round trip. */
static void take_pulls(struct verbs_conn *c)
{
	bool any = false;

	while (c->pulls_due && c->reads < c->read_depth && has_room(c)) {
		add_bulk(c, pop_xfer(&c->pulls), IBV_WR_RDMA_READ);
		c->pulls_due--;
		c->reads++;
		any = true;
	}
	if (any)
		signal_sqe(c, sqe_at(c, c->sq_head - 1));
}

static void take_tx(struct verbs_conn *c)
{
	bool any_push = false;

	while (c->tx_due && has_room(c)) {
		struct fabric_xfer *x = pop_xfer(&c->tx);

		c->tx_due--;
		if (x->done_bytes == VERBS_SEND) {
			add_send(c, x);
			continue;
		}
		add_bulk(c, x, x->is_notice ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE);
		any_push = true;
	}
	if (any_push)
		signal_sqe(c, sqe_at(c, c->sq_head - 1));
}

/*
 * Hands everything between sq_posted and sq_head to the adapter in one call. A work request that it
 * has no room for stays, with all behind it, in the ring and goes with the next chain.
 */
static void post(struct verbs_conn *c)
{
	struct ibv_send_wr *bad = NULL;
	int rc;

	rc = ibv_post_send(c->id->qp, &sqe_at(c, c->sq_posted)->wr, &bad);
	c->base.stats.send_calls++;
	if (!rc) {
		c->sq_posted = c->sq_head;
		return;
	}
	if (bad)
		c->sq_posted = bad->wr_id;
	if (rc == ENOMEM && c->sq_posted != c->sq_done)
		return;
	log_error("verbs: %s: cannot post: %s", c->base.peer, strerror(rc));
	verbs_fail(c, -rc);
}

/* Receives first: what we send now may be answered before we come back to post them, and an answer
 * that finds none costs the peer a timer. */
void verbs_sq_pump(struct verbs_conn *c)
{
	verbs_rx_repost_due(c);
	if (c->state >= VERBS_DRAINING)
		return;
	take_pulls(c);
	take_tx(c);
	if (c->sq_head != c->sq_posted)
		post(c);
}

/*
 * A signalled RDMA WRITE of no bytes: its key is not looked at, the peer notices nothing
 * (IBTA 9.7.4.1.2). Its completion says that all before is done; on a queue pair in error it is
 * flushed at once and says the same.
 */
void verbs_sq_fence(struct verbs_conn *c)
{
	signal_sqe(c, sqe_add(c, NULL, IBV_WR_RDMA_WRITE));
	post(c);
}

static void retire(struct verbs_conn *c, int status)
{
	struct fabric_xfer *x = sqe_at(c, c->sq_done++)->x;

	if (!x)
		return;
	if (x->done_bytes == VERBS_PULL)
		c->reads--;
	c->awaited -= is_awaited(c, x);
	verbs_tx_finish(c, x, status);
}

/*
 * A send completion. A failed one says for sure that the unsignalled ones before it succeeded, but
 * bytes that end on a disk should not hang on that: pulls and pushes without a success of their
 * own, or behind them, are cancelled.
 */
void verbs_sq_done(struct verbs_conn *c, const struct ibv_wc *wc)
{
	uint64_t seq = wc->wr_id;
	int status = wc->status == IBV_WC_SUCCESS ? 0 : -ECANCELED;

	if (seq - c->sq_done >= c->sq_posted - c->sq_done) {
		log_error("verbs: %s: completion out of order", c->base.peer);
		verbs_fail(c, -EIO);
		return;
	}
	if (status && c->state < VERBS_DRAINING) {
		if (wc->status != IBV_WC_WR_FLUSH_ERR)
			verbs_say_why(c, ibv_wc_status_str(wc->status));
		verbs_fail(c, verbs_wc_error(wc->status));
	}
	while (c->sq_done <= seq)
		retire(c, status);
}

/* Teardown: what never reached the adapter does not any more. */
void verbs_sq_cancel_unposted(struct verbs_conn *c)
{
	while (c->sq_head != c->sq_posted) {
		struct fabric_xfer *x = sqe_at(c, --c->sq_head)->x;

		if (!x)
			continue;
		if (x->done_bytes == VERBS_PULL)
			c->reads--;
		c->awaited -= is_awaited(c, x);
		x->status = -ECANCELED;
		list_add_head(&c->over, &x->link);
	}
	c->unsignalled = 0;
}

void verbs_sq_cancel_posted(struct verbs_conn *c)
{
	while (c->sq_done != c->sq_posted)
		retire(c, -ECANCELED);
}
