/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one connection owns on the adapter: completion channel, completion queues, queue pair,
 * message buffers. Made in connect() or accept(), all or nothing. Sizes are asked for, clamped to
 * what the device has, and read back.
 */
#include "common/fabric/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

static uint32_t round_up_pow2(uint32_t v)
{
	uint32_t p = 1;

	while (p < v)
		p <<= 1;
	return p;
}

/* At most this many receives can be unpolled: our own, or all shared ones (every buffer completes
 * once before it is posted again). So their completion queue cannot overrun. */
static uint32_t max_receives(const struct verbs_conn *c)
{
	return c->srq ? c->srq->room : c->nr_receives;
}

static int check_limits(struct verbs_conn *c)
{
	const struct ibv_device_attr *attr = &c->dev->attr;
	uint64_t want = (uint64_t)c->params.send_count + c->params.depth;
	uint32_t receives = max_receives(c);
	struct ibv_port_attr port;
	int rc;

	rc = ibv_query_port(c->dev->ctx, c->id->port_num, &port);
	if (rc)
		return -rc;
	if (c->params.max_data_bytes > port.max_msg_sz || c->params.send_bytes > port.max_msg_sz) {
		log_error("verbs: the device moves at most %u bytes at once, %u wanted",
			  port.max_msg_sz, MAX(c->params.max_data_bytes, c->params.send_bytes));
		return -EINVAL;
	}
	if (receives > (uint32_t)attr->max_qp_wr || receives + 16 > (uint32_t)attr->max_cqe) {
		log_error(
			"verbs: %u receives wanted, the device has %d per queue and %d completions",
			receives, attr->max_qp_wr, attr->max_cqe);
		return -EINVAL;
	}
	want = MIN(want, (uint64_t)VERBS_MAX_SQ);
	want = MIN(want, (uint64_t)attr->max_qp_wr - VERBS_RESERVED_SQ);
	want = MIN(want, (uint64_t)attr->max_cqe - VERBS_RESERVED_SQ);
	c->sq_size = (uint32_t)MAX(want, (uint64_t)4);
	return 0;
}

static int create_cq(struct verbs_conn *c, struct verbs_cq *q, uint32_t cqes, unsigned int vector)
{
	errno = 0;
	q->cq = ibv_create_cq(c->dev->ctx, (int)cqes, NULL, c->chan, (int)vector);
	if (!q->cq)
		return errno ? -errno : -ENOMEM;
	return 0;
}

static int create_cqs(struct verbs_conn *c)
{
	unsigned int vector = __atomic_fetch_add(&c->dev->next_vector, 1, __ATOMIC_RELAXED);
	int rc;

	errno = 0;
	c->chan = ibv_create_comp_channel(c->dev->ctx);
	if (!c->chan)
		return errno ? -errno : -ENOMEM;
	rc = verbs_set_nonblock(c->chan->fd);
	if (rc)
		return rc;
	vector %= (unsigned int)MAX(c->dev->ctx->num_comp_vectors, 1);
	rc = create_cq(c, &c->send_cq, c->sq_size + VERBS_RESERVED_SQ, vector);
	return rc ? rc : create_cq(c, &c->recv_cq, max_receives(c), vector);
}

/* Devices announce max_qp_wr for the smallest work requests; how many fit with inline data is only
 * known by trying. */
static int create_qp(struct verbs_conn *c)
{
	uint32_t inline_bytes = VERBS_INLINE_BYTES;

	for (;;) {
		struct ibv_qp_init_attr attr = {
			.send_cq = c->send_cq.cq,
			.recv_cq = c->recv_cq.cq,
			.srq = c->srq ? c->srq->srq : NULL,
			.qp_type = IBV_QPT_RC,
			.cap =
				{
					.max_send_wr = c->sq_size + VERBS_RESERVED_SQ,
					.max_recv_wr = c->nr_receives,
					.max_send_sge = 1,
					.max_recv_sge = 1,
					.max_inline_data = inline_bytes,
				},
		};

		if (!rdma_create_qp(c->id, c->dev->pd, &attr)) {
			c->max_inline_bytes = attr.cap.max_inline_data;
			return 0;
		}
		if (errno != EINVAL && errno != ENOMEM)
			return -errno;
		if (inline_bytes)
			inline_bytes = 0;
		else if (c->sq_size > 16)
			c->sq_size /= 2;
		else
			return -errno;
	}
}

static int create_buffers(struct verbs_conn *c)
{
	uint32_t nr_slots = c->params.send_count;
	size_t slots_bytes;
	int rc;

	c->slot_bytes = (uint32_t)align_up(c->params.send_bytes, 64);
	c->recv_bytes = c->srq ? c->srq->buf_bytes : (uint32_t)align_up(c->params.recv_bytes, 64);
	slots_bytes = align_up((size_t)nr_slots * c->slot_bytes, 4096);
	rc = verbs_region_create(c->dev, slots_bytes + (size_t)c->nr_receives * c->recv_bytes,
				 &c->bufs);
	if (rc)
		return rc;
	c->recv_base = c->srq ? c->srq->base : c->bufs.base + slots_bytes;
	c->slots = calloc(nr_slots, sizeof(*c->slots));
	c->ring_mask = round_up_pow2(c->sq_size + VERBS_RESERVED_SQ) - 1;
	c->ring = calloc(c->ring_mask + 1, sizeof(*c->ring));
	c->rx_size = max_receives(c);
	c->rx = calloc(c->rx_size, sizeof(*c->rx));
	if (!c->slots || !c->ring || !c->rx)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr_slots; i++) {
		c->slots[i].x.local = c->bufs.base + (size_t)i * c->slot_bytes;
		c->slots[i].x.done_bytes = VERBS_SEND;
		list_add_tail(&c->free_slots, &c->slots[i].x.link);
	}
	c->signal_every = MAX(MIN(nr_slots, c->sq_size) / 2, 1u);
	return 0;
}

/* c->id is bound to c->dev, c->srq is set for an accepted connection. On failure verbs_qp_free()
 * cleans up. */
int verbs_qp_create(struct verbs_conn *c)
{
	int rc;

	c->nr_receives = c->srq ? 0 : c->params.recv_count + VERBS_REPOST_DUE;
	rc = check_limits(c);
	if (rc)
		return rc;
	rc = create_cqs(c);
	if (!rc)
		rc = create_qp(c);
	if (rc == -ENOMEM)
		verbs_log_memlock("queues of a connection", (size_t)c->sq_size * 512);
	else if (rc) /* a peer that left already makes it EINVAL */
		log_peer(LOG_WARNING, "verbs: %s: no queue pair: %s", c->base.peer, strerror(-rc));
	if (!rc)
		rc = create_buffers(c);
	if (!rc && !c->srq)
		rc = verbs_rx_post_all(c);
	return rc;
}

/* The CM leaves the receiver-not-ready timer at 0, which means 655 ms. Allowed from ready-to-send
 * to itself. */
void verbs_qp_established(struct verbs_conn *c)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RTS, .min_rnr_timer = VERBS_MIN_RNR_TIMER};
	int rc = ibv_modify_qp(c->id->qp, &attr, IBV_QP_STATE | IBV_QP_MIN_RNR_TIMER);

	if (rc)
		log_debug("verbs: %s: receiver-not-ready timer not set: %s", c->base.peer,
			  strerror(rc));
}

void verbs_qp_destroy(struct verbs_conn *c)
{
	if (c->id && c->id->qp)
		rdma_destroy_qp(c->id);
}

/* Destroying a completion queue waits until each event taken was acknowledged
 * (ibv_get_cq_event(3)). */
static void destroy_cq(struct verbs_conn *c, struct verbs_cq *q)
{
	int rc;

	if (!q->cq)
		return;
	ibv_ack_cq_events(q->cq, q->nr_unacked);
	rc = ibv_destroy_cq(q->cq);
	if (rc)
		log_error("verbs: %s: cannot destroy completion queue: %s", c->base.peer,
			  strerror(rc));
	q->cq = NULL;
}

/* The queue pair is gone. */
void verbs_qp_free(struct verbs_conn *c)
{
	destroy_cq(c, &c->send_cq);
	destroy_cq(c, &c->recv_cq);
	if (c->chan)
		ibv_destroy_comp_channel(c->chan);
	verbs_region_destroy(&c->bufs);
	free(c->slots);
	free(c->ring);
	free(c->rx);
	c->chan = NULL;
	c->slots = NULL;
	c->ring = NULL;
	c->rx = NULL;
}
