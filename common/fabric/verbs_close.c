/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a connection: one way for all of them.
 *
 *  1. Stop posting. An orderly close by us first waits (FLUSHING) until what was queued is sent and
 * acknowledged. Messages are mostly unsignalled, so a fence behind them tells when.
 *  2. rdma_disconnect(), which also moves the queue pair to error; again by ourselves, should the
 * CM have lost interest.
 *  3. Drain (DRAINING). On a queue pair in error everything posted is flushed. A marker posted now
 * is flushed behind all the rest (the kernel's ib_drain_qp() does the same); LAST_WQE_REACHED is
 * not relied on (SPDK #1697, rxe lacks it). Our own receives are counted home; those of a shared
 * queue go on to serve others, and late completions of them are legal.
 *  4. Destroy the queue pair: from here on the adapter cannot touch our memory. Destroy the id, so
 * that a peer that was just connecting learns of it. Cancel every xfer left. closed().
 *  5. fabric_conn_destroy(): acknowledge events by the number taken, completion queue, channel,
 * buffers, CM channel.
 *
 * An orderly end of the peer and its death look alike: the CM says DISCONNECTED. Messages and
 * pushes without a completion prove nothing, since the peer may have them and left before its
 * adapter said so (seen with rxe); a pull cut off does prove that it left its own request behind,
 * and only that makes -ECONNRESET of it.
 *
 * What a device says asynchronously (ibv_get_async_event(3)) is not read: it repeats what comes
 * another way. A queue pair that fails (QP_FATAL) flushes its receives, or its next send when they
 * are shared; an idle one of a target answers its initiator's KEEPALIVE no more. A port that is
 * down is found by the adapter's retries or by keep-alive. A device that goes away (DEVICE_FATAL)
 * makes the CM say DEVICE_REMOVAL. (Not a soft one: rxe waits until no process has it open, and
 * goes on working until then.)
 *
 * Steps 1 to 4 run from fabric_poll() and do not block but for the kernel's own work. The CM's
 * time-wait state is the kernel's business once the id is destroyed.
 */
#include "common/fabric/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* Step 2, from any state. Callbacks come later, from verbs_close_progress(). */
static void shut_down(struct verbs_conn *c, int error)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
	enum verbs_state was = c->state;
	int rc;

	if (was >= VERBS_DRAINING)
		return;
	c->state = VERBS_DRAINING;
	c->error = error;
	c->was_left = was == VERBS_OPEN && c->is_peer_gone;
	verbs_sq_cancel_unposted(c);
	verbs_rx_drop_kept(c);
	if (!c->id->qp)
		return;
	if (was >= VERBS_CONNECTING)
		rdma_disconnect(c->id); /* fails when there is nothing to disconnect */
	rc = ibv_modify_qp(c->id->qp, &attr, IBV_QP_STATE);
	if (rc)
		log_debug("verbs: %s: queue pair not moved to error: %s", c->base.peer,
			  strerror(rc));
	if (!verbs_sq_idle(c)) {
		verbs_sq_fence(c);
		c->has_no_marker = c->sq_posted != c->sq_head;
		verbs_sq_cancel_unposted(c);
	}
}

/* A library that connects, again and again maybe, must not write to its program's stderr. */
void verbs_say_why(struct verbs_conn *c, const char *why)
{
	if (c->state >= VERBS_DRAINING)
		return;
	c->base.why = why;
	if (c->is_passive)
		log_peer(LOG_WARNING, "verbs: %s: connection lost: %s", c->base.peer, why);
}

void verbs_fail(struct verbs_conn *c, int error)
{
	shut_down(c, error);
}

void verbs_close(struct fabric_conn *base, bool is_abort)
{
	struct verbs_conn *c = to_conn(base);

	if (c->state == VERBS_ASKED)
		return;
	if (is_abort || c->state < VERBS_OPEN) {
		shut_down(c, 0);
		return;
	}
	if (c->state != VERBS_OPEN)
		return;
	verbs_flush(base);
	if (c->state != VERBS_OPEN)
		return;
	c->state = VERBS_FLUSHING;
	c->pulls_due = 0;
}

static bool is_flushed(const struct verbs_conn *c)
{
	return !c->tx_due && verbs_sq_idle(c);
}

/* A device that was removed flushes nothing any more; without a marker, destroying the queue pair
 * has to do. */
static bool is_drained(const struct verbs_conn *c)
{
	if (c->error == -ENODEV || c->has_no_marker || !c->id->qp)
		return true;
	return verbs_sq_idle(c) && (c->srq || !c->was_open || !c->nr_posted);
}

/* The peer left in order: what it sent before is delivered first, unless the handler holds it up.
 */
static bool may_follow_peer(const struct verbs_conn *c)
{
	return c->is_peer_gone && verbs_cq_is_empty(c) && (c->is_held || !c->rx_count);
}

bool verbs_close_is_due(const struct verbs_conn *c)
{
	switch (c->state) {
	case VERBS_OPEN:
		return c->is_peer_gone;
	case VERBS_FLUSHING:
		return c->is_peer_gone || is_flushed(c) || (!c->tx_due && !c->has_fence);
	case VERBS_DRAINING:
		return is_drained(c);
	default:
		return false;
	}
}

/* rdma_destroy_id() waits until all events taken of the id are acknowledged; never called from
 * inside one (SPDK #3118). */
static void destroy_id(struct verbs_conn *c)
{
	if (c->event)
		rdma_ack_cm_event(c->event);
	c->event = NULL;
	if (c->id)
		rdma_destroy_id(c->id);
	c->id = NULL;
}

/* Step 4. */
static void finish(struct verbs_conn *c)
{
	verbs_qp_destroy(c);
	verbs_cq_poll(c); /* buffers of the shared queue that came home meanwhile */
	verbs_rx_repost(c);
	destroy_id(c); /* a peer that was still connecting learns it only by this */
	verbs_sq_cancel_posted(c);
	verbs_tx_cancel_all(c);
	c->state = VERBS_CLOSED;
	c->base.is_closed = true;
	c->base.handler->closed(&c->base, c->error);
}

int verbs_close_progress(struct verbs_conn *c)
{
	switch (c->state) {
	case VERBS_OPEN:
		if (!may_follow_peer(c))
			return 0;
		shut_down(c, 0);
		return 1;
	case VERBS_FLUSHING:
		if (is_flushed(c) || may_follow_peer(c)) {
			shut_down(c, 0);
			return 1;
		}
		if (c->tx_due || c->has_fence)
			return 0;
		c->has_fence = true;
		verbs_sq_fence(c);
		return 1;
	case VERBS_DRAINING:
		if (!is_drained(c) || !verbs_cq_is_empty(c))
			return 0;
		finish(c);
		return 1;
	default:
		return 0;
	}
}

/* Step 5; also for half-made connections and those nobody waited for. */
void verbs_conn_destroy(struct fabric_conn *base)
{
	struct verbs_conn *c = to_conn(base);

	if (c->id && c->state == VERBS_ASKED)
		rdma_reject(c->id, NULL, 0);
	else if (c->id && c->state < VERBS_CLOSED)
		shut_down(c, 0);
	verbs_qp_destroy(c);
	if (c->recv_cq.cq && c->state != VERBS_CLOSED)
		verbs_cq_return_receives(c);
	verbs_qp_free(c);
	if (c->srq)
		verbs_srq_put(c->dev);
	destroy_id(c);
	if (c->cm)
		rdma_destroy_event_channel(c->cm);
	free(c);
}
