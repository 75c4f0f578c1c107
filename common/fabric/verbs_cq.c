/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The completion queue of a connection, and its sleep.
 *
 * Polling the queue costs no system call; asking for an event, taking one and looking at the CM
 * channel do (on rxe). So an event is asked for only before sleeping and only when the last one was
 * used up, it is taken only when one may be there, and the CM is looked at once per sleep, in
 * verbs_arm(), besides every 64th poll for owners that never sleep.
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

static bool fetch(struct verbs_conn *c)
{
	int n = ibv_poll_cq(c->cq, VERBS_WC_BATCH, c->wcs);

	if (n < 0) {
		log_error("verbs: %s: cannot poll the completion queue", c->base.peer);
		verbs_fail(c, -EIO);
		n = 0;
	}
	c->nr_wcs = n;
	c->next_wc = 0;
	c->is_empty = n < VERBS_WC_BATCH;
	return n > 0;
}

int verbs_cq_poll(struct verbs_conn *c)
{
	int n = 0;

	for (int batch = 0; batch < VERBS_POLL_BATCHES; batch++) {
		if (c->next_wc == c->nr_wcs && !fetch(c))
			break;
		while (c->next_wc < c->nr_wcs) {
			const struct ibv_wc *wc = &c->wcs[c->next_wc++];

			if (wc->wr_id & VERBS_RECV_FLAG)
				verbs_rx_done(c, wc);
			else
				verbs_sq_done(c, wc);
			n++;
		}
		if (c->is_empty)
			break;
	}
	return n;
}

void verbs_cq_return_receives(struct verbs_conn *c)
{
	while (c->next_wc < c->nr_wcs || fetch(c)) {
		const struct ibv_wc *wc = &c->wcs[c->next_wc++];

		if (wc->wr_id & VERBS_RECV_FLAG)
			verbs_rx_done(c, wc); /* draining: nothing is delivered */
	}
	verbs_rx_repost(c);
}

/* Takes the event that was asked for, when it may be there. */
static void take_event(struct verbs_conn *c, bool had_completions)
{
	struct ibv_cq *cq;
	void *ctx;

	if (!c->is_armed)
		return;
	/* An event without a completion must not keep a level-triggered descriptor ready for ever.
	 */
	if (!had_completions && !c->is_event_late && (++c->empty_polls & 7))
		return;
	c->base.stats.receive_calls++;
	if (ibv_get_cq_event(c->chan, &cq, &ctx)) {
		c->is_event_late = c->is_event_late || had_completions;
		return;
	}
	c->is_armed = false;
	c->is_event_late = false;
	if (++c->nr_unacked >= ACK_EVERY) {
		ibv_ack_cq_events(c->cq, c->nr_unacked);
		c->nr_unacked = 0;
	}
}

static bool has_unsent(const struct verbs_conn *c)
{
	return c->sq_head != c->sq_posted || c->tx_due || c->pulls_due;
}

int verbs_poll(struct fabric_conn *base)
{
	struct verbs_conn *c = to_conn(base);
	int n = 0, completions;

	if (c->state == VERBS_ASKED || c->state == VERBS_CLOSED)
		return 0;
	if (c->event || c->state != VERBS_OPEN || ++c->polls % CM_EVERY == 0)
		n += verbs_cm_poll(c);
	n += verbs_tx_finish_over(c);
	n += verbs_rx_deliver_kept(c);
	completions = verbs_cq_poll(c);
	take_event(c, completions > 0);
	n += completions + verbs_tx_tell_sendable(c);
	verbs_rx_repost(c);
	if (has_unsent(c) && c->state < VERBS_DRAINING)
		verbs_sq_pump(c);
	return n + verbs_close_progress(c);
}

static bool has_work(const struct verbs_conn *c)
{
	return c->next_wc < c->nr_wcs || c->event || !list_empty(&c->over) ||
	       (c->rx_count && !c->is_held) ||
	       (c->wants_slot && !list_empty(&c->free_slots) && c->state == VERBS_OPEN) ||
	       c->sq_head != c->sq_posted || verbs_close_is_due(c);
}

/* Completions that the check finds stay in wcs[] for the next poll. */
int verbs_arm(struct fabric_conn *base)
{
	struct verbs_conn *c = to_conn(base);
	int rc;

	if (c->state == VERBS_ASKED || c->state == VERBS_CLOSED)
		return 0;
	if (has_work(c))
		return 1;
	if (!c->is_armed) {
		rc = ibv_req_notify_cq(c->cq, 0);
		c->base.stats.receive_calls++;
		if (rc) {
			log_error("verbs: %s: no event from the completion queue: error %d",
				  c->base.peer, rc);
			verbs_fail(c, -EIO);
			return 1;
		}
		c->is_armed = true;
		c->empty_polls = 0;
	}
	return fetch(c) || verbs_cm_peek(c);
}
