/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The completion queues of a connection, and its sleep.
 *
 * Polling a queue costs no system call; asking for an event, taking one and looking at the CM
 * channel do (on rxe). So an event is asked for only before sleeping and only when the last one was
 * used up; that one is taken just before, when what it told of was answered long ago. The CM is
 * looked at when the owner says so (verbs_look()), or once per sleep for owners that do not,
 * besides every 64th poll for those that never sleep.
 *
 * Receives wake the owner. The end of what was sent mostly interests nobody until something else
 * happens: the send queue has a completion queue of its own, which asks for an event only when
 * somebody waits (needs_send_event()). Both share the channel.
 *
 * Events and completions are loosely coupled: rxe and others post the event after the completion
 * was visible, and an event can come without one (pmem/rpma #1010). Whoever uses edge-triggered
 * epoll loses nothing: the CM is drained before each sleep, and a new completion event is a new
 * edge.
 */
#include "common/fabric/verbs.h"

#include <errno.h>

#include "common/log.h"

#define CM_EVERY  64u /* polls */
#define ACK_EVERY 64u /* events: each ibv_ack_cq_events() takes a mutex */

int verbs_wc_error(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return -ETIMEDOUT;
	case IBV_WC_WR_FLUSH_ERR:
		return -ECONNRESET;
	case IBV_WC_LOC_LEN_ERR:    /* a message beyond our receive buffer */
	case IBV_WC_REM_ACCESS_ERR: /* it named memory that it does not offer */
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_OP_ERR:
		return -EPROTO;
	default:
		return -EIO;
	}
}

static bool fetch(struct verbs_conn *c, struct verbs_cq *q)
{
	int n = ibv_poll_cq(q->cq, VERBS_WC_BATCH, q->wcs);

	if (n < 0) {
		log_error("verbs: %s: cannot poll a completion queue", c->base.peer);
		verbs_fail(c, -EIO);
		n = 0;
	}
	q->nr_wcs = n;
	q->next_wc = 0;
	q->is_empty = n < VERBS_WC_BATCH;
	return n > 0;
}

static int poll_queue(struct verbs_conn *c, struct verbs_cq *q,
		      void (*done)(struct verbs_conn *c, const struct ibv_wc *wc))
{
	int n = 0;

	for (int batch = 0; batch < VERBS_POLL_BATCHES; batch++) {
		if (q->next_wc == q->nr_wcs && !fetch(c, q))
			break;
		while (q->next_wc < q->nr_wcs) {
			done(c, &q->wcs[q->next_wc++]);
			n++;
		}
		if (q->is_empty)
			break;
	}
	q->is_event_due |= q->is_armed && n > 0;
	return n;
}

void verbs_cq_return_receives(struct verbs_conn *c)
{
	struct verbs_cq *q = &c->recv_cq;

	while (q->next_wc < q->nr_wcs || fetch(c, q))
		verbs_rx_done(c, &q->wcs[q->next_wc++]); /* draining: nothing is delivered */
	verbs_rx_repost(c);
}

static struct verbs_cq *owner_of(struct verbs_conn *c, const struct ibv_cq *cq)
{
	return cq == c->recv_cq.cq ? &c->recv_cq : &c->send_cq;
}

static void note_event(struct verbs_cq *q)
{
	q->is_armed = false;
	q->is_event_due = false;
	q->empty_arms = 0;
	if (++q->nr_unacked >= ACK_EVERY) {
		ibv_ack_cq_events(q->cq, q->nr_unacked);
		q->nr_unacked = 0;
	}
}

/* Takes the event that was asked for, when it may be there. */
static void take_event(struct verbs_conn *c, struct verbs_cq *q)
{
	struct ibv_cq *cq;
	void *ctx;

	/* An event without a completion must not keep a level-triggered descriptor ready for ever.
	 */
	if (!q->is_armed || (!q->is_event_due && (++q->empty_arms & 7)))
		return;
	while (q->is_armed) {
		c->base.stats.receive_calls++;
		if (ibv_get_cq_event(c->chan, &cq, &ctx))
			return;
		note_event(owner_of(c, cq));
	}
}

static bool has_unsent(const struct verbs_conn *c)
{
	return c->sq_head != c->sq_posted || c->tx_due || c->pulls_due;
}

/* What was sent first: it makes room for what the receives ask for. */
int verbs_cq_poll(struct verbs_conn *c)
{
	int sent = poll_queue(c, &c->send_cq, verbs_sq_done);

	return sent + poll_queue(c, &c->recv_cq, verbs_rx_done);
}

int verbs_poll(struct fabric_conn *base)
{
	struct verbs_conn *c = to_conn(base);
	int n = 0;

	if (c->state == VERBS_ASKED || c->state == VERBS_CLOSED)
		return 0;
	if (c->is_cm_due || c->state != VERBS_OPEN || ++c->polls % CM_EVERY == 0)
		n += verbs_cm_poll(c);
	n += verbs_tx_finish_over(c);
	if (unlikely(c->rx_count))
		n += verbs_rx_deliver_kept(c);
	n += verbs_cq_poll(c);
	n += verbs_tx_tell_sendable(c);
	verbs_rx_repost_due(c);
	if (has_unsent(c) && c->state < VERBS_DRAINING)
		verbs_sq_pump(c);
	if (unlikely(c->state != VERBS_OPEN || c->is_peer_gone))
		n += verbs_close_progress(c);
	return n;
}

static bool has_work(const struct verbs_conn *c)
{
	return c->recv_cq.next_wc < c->recv_cq.nr_wcs || c->send_cq.next_wc < c->send_cq.nr_wcs ||
	       c->is_cm_due || !list_empty(&c->over) || (c->rx_count && !c->is_held) ||
	       (c->wants_slot && !list_empty(&c->free_slots) && c->state == VERBS_OPEN) ||
	       c->sq_head != c->sq_posted || (c->state != VERBS_OPEN && c->base.was_busy) ||
	       verbs_close_is_due(c);
}

/* Something goes on only when what was sent is done. */
static bool needs_send_event(const struct verbs_conn *c)
{
	return c->awaited || c->wants_slot || c->tx_due || c->pulls_due || c->is_held ||
	       c->state != VERBS_OPEN;
}

/* True: do not sleep. Completions that the check finds stay in wcs[] for the next poll. */
static bool arm_queue(struct verbs_conn *c, struct verbs_cq *q)
{
	int rc;

	if (!q->is_armed) {
		rc = ibv_req_notify_cq(q->cq, 0);
		c->base.stats.receive_calls++;
		if (rc) {
			log_error("verbs: %s: no event from a completion queue: error %d",
				  c->base.peer, rc);
			verbs_fail(c, -EIO);
			return true;
		}
		q->is_armed = true;
	}
	return fetch(c, q);
}

int verbs_arm(struct fabric_conn *base)
{
	struct verbs_conn *c = to_conn(base);

	if (c->state == VERBS_ASKED || c->state == VERBS_CLOSED)
		return 0;
	/* Under load there is always something more: spare the event. */
	if (has_work(c) || fetch(c, &c->recv_cq))
		return 1;
	take_event(c, &c->recv_cq);
	take_event(c, &c->send_cq);
	if (arm_queue(c, &c->recv_cq))
		return 1;
	if (needs_send_event(c) && arm_queue(c, &c->send_cq))
		return 1;
	if (!c->params.is_looking)
		c->is_cm_due = verbs_cm_peek(c);
	return c->is_cm_due;
}

void verbs_look(struct fabric_conn *base)
{
	to_conn(base)->is_cm_due = true;
}
