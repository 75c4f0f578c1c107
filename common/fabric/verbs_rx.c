/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receiving. The initiator's connections have receives of their own. Accepted connections share
 * those of their device, so that memory is bounded however many there are; when all are used the
 * adapter answers "receiver not ready" and the initiators' adapters try again (protocol.md 2.2).
 *
 * A buffer is the adapter's from posting to completion, then ours: messages are handed out in place
 * and the buffer is posted again after the callback. When the handler answers -EAGAIN the message
 * and all receives behind it are kept, in order, in the ring rx.
 *
 * Two peculiarities of shared receive queues: flushed receives belong to no connection, so none are
 * waited for; and a connection that dies in the middle of a message may take its buffer with it
 * (rxe does, silently). Therefore the queue is made anew when the last connection has left.
 */
#include "common/fabric/verbs.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "common/log.h"

/* ---- posting ---- */

/* One chain of those that callbacks have given back. wrs and sges are the caller's. */
static void build_chain(const struct verbs_conn *c, struct ibv_recv_wr *wrs, struct ibv_sge *sges)
{
	for (unsigned int i = 0; i < c->nr_repost; i++) {
		uint32_t buf = c->repost[i];

		sges[i] = (struct ibv_sge){
			.addr = (uintptr_t)c->recv_base + (uint64_t)buf * c->recv_bytes,
			.length = c->recv_bytes,
			.lkey = c->srq ? verbs_srq_lkey(c->srq, buf) : c->bufs.mr->lkey,
		};
		wrs[i] = (struct ibv_recv_wr){
			.wr_id = VERBS_RECV_FLAG | buf,
			.next = i + 1 < c->nr_repost ? &wrs[i + 1] : NULL,
			.sg_list = &sges[i],
			.num_sge = 1,
		};
	}
}

static unsigned int nr_before(const struct ibv_recv_wr *wrs, const struct ibv_recv_wr *bad,
			      unsigned int n)
{
	return bad >= wrs && bad < wrs + n ? (unsigned int)(bad - wrs) : 0;
}

/* Posts what callbacks have given back. What a full queue refuses is kept for the next time. */
void verbs_rx_repost(struct verbs_conn *c)
{
	struct ibv_recv_wr wrs[VERBS_REPOST_BATCH], *bad = NULL;
	struct ibv_sge sges[VERBS_REPOST_BATCH];
	unsigned int n = c->nr_repost, posted = n;
	int rc;

	if (!n)
		return;
	if (!c->srq && c->state >= VERBS_DRAINING) { /* would only be flushed */
		c->nr_repost = 0;
		return;
	}
	build_chain(c, wrs, sges);
	rc = c->srq ? ibv_post_srq_recv(c->srq->srq, wrs, &bad)
		    : ibv_post_recv(c->id->qp, wrs, &bad);
	c->base.stats.receive_calls++;
	if (rc) {
		posted = nr_before(wrs, bad, n);
		memmove(c->repost, c->repost + posted, (n - posted) * sizeof(c->repost[0]));
		log_peer(LOG_ERROR, "verbs: %s: cannot post receives: %s", c->base.peer,
			 strerror(rc));
	}
	c->nr_repost = n - posted;
	if (!c->srq)
		c->nr_posted += posted;
	if (rc && c->nr_repost == VERBS_REPOST_BATCH)
		verbs_fail(c, -rc);
}

static void give_back(struct verbs_conn *c, uint32_t buf)
{
	if (c->nr_repost == VERBS_REPOST_BATCH)
		verbs_rx_repost(c);
	if (c->nr_repost < VERBS_REPOST_BATCH)
		c->repost[c->nr_repost++] = buf;
}

int verbs_rx_post_all(struct verbs_conn *c)
{
	for (uint32_t i = 0; i < c->nr_receives; i++) {
		give_back(c, i);
		if (c->nr_repost == VERBS_REPOST_BATCH || i + 1 == c->nr_receives)
			verbs_rx_repost(c);
	}
	return c->nr_posted == c->nr_receives ? 0 : -ENOMEM;
}

/* ---- delivery ---- */

static bool may_deliver(const struct verbs_conn *c)
{
	return c->state == VERBS_OPEN;
}

/* Returns false when the handler wants it later. */
static bool deliver(struct verbs_conn *c, const struct verbs_rx *rx)
{
	const char *buf = c->recv_base + (size_t)rx->buf * c->recv_bytes;
	int rc;

	if (rx->is_notice) {
		c->base.stats.notices_received++;
		c->base.handler->notice(&c->base, rx->value);
		return true;
	}
	rc = c->base.handler->message(&c->base, buf, rx->value);
	if (rc == -EAGAIN)
		return false;
	c->base.stats.messages_received++;
	c->base.stats.bytes_received += rx->value;
	return true;
}

static void keep(struct verbs_conn *c, const struct verbs_rx *rx)
{
	assert(c->rx_count < c->rx_size); /* as many places as buffers */
	c->rx[(c->rx_head + c->rx_count++) % c->rx_size] = *rx;
}

static void receive(struct verbs_conn *c, const struct verbs_rx *rx)
{
	if (!may_deliver(c)) {
		give_back(c, rx->buf);
		return;
	}
	if (c->rx_count) {
		keep(c, rx);
		return;
	}
	if (deliver(c, rx)) {
		give_back(c, rx->buf);
		return;
	}
	if (!may_deliver(c)) { /* closed by the very callback */
		give_back(c, rx->buf);
		return;
	}
	keep(c, rx);
	c->is_held = true;
}

/* A completion with VERBS_RECV_FLAG. */
void verbs_rx_done(struct verbs_conn *c, const struct ibv_wc *wc)
{
	struct verbs_rx rx = {.buf = (uint32_t)wc->wr_id};

	if (!c->srq)
		c->nr_posted--;
	if (wc->status != IBV_WC_SUCCESS) {
		give_back(c, rx.buf);
		if (wc->status != IBV_WC_WR_FLUSH_ERR)
			verbs_say_why(c, ibv_wc_status_str(wc->status));
		verbs_fail(c, verbs_wc_error(wc->status));
		return;
	}
	/* A message may overtake the CM's last packet; it proves the connection as well. */
	if (c->state == VERBS_CONNECTING)
		verbs_cm_connected(c);
	rx.is_notice = wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM;
	rx.value = rx.is_notice ? be32toh(wc->imm_data) : wc->byte_len;
	if (rx.is_notice && may_deliver(c))
		c->base.stats.bytes_received += wc->byte_len;
	receive(c, &rx);
}

void verbs_rx_drop_kept(struct verbs_conn *c)
{
	for (; c->rx_count; c->rx_count--) {
		give_back(c, c->rx[c->rx_head].buf);
		c->rx_head = (c->rx_head + 1) % c->rx_size;
	}
	c->is_held = false;
}

/* After fabric_resume(): what was kept back, in order. */
int verbs_rx_deliver_kept(struct verbs_conn *c)
{
	int n = 0;

	while (c->rx_count && !c->is_held && may_deliver(c)) {
		struct verbs_rx rx = c->rx[c->rx_head];

		if (!deliver(c, &rx)) {
			c->is_held = may_deliver(c);
			break;
		}
		c->rx_head = (c->rx_head + 1) % c->rx_size;
		c->rx_count--;
		give_back(c, rx.buf);
		n++;
	}
	if (c->rx_count && !may_deliver(c))
		verbs_rx_drop_kept(c);
	return n;
}

void verbs_resume(struct fabric_conn *base)
{
	to_conn(base)->is_held = false;
}
