/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The merge engine: when requests leave, and in which messages (design: seed paper 4.1;
 * protocol.md 5.1).
 *
 * Gathered requests are a ring of slot numbers; messages are built from its head in one go, so no
 * message is half begun while others (a KEEPALIVE_REPLY) want to be sent. Modes:
 *
 *	off	  a message holds one request and leaves at once
 *	adaptive  nothing on the wire: leaves at once. Else gathered until a completion arrives, the
 * message is full, or the submitter ends its batch
 *	always	  gathered until the window is over or the message is full, whatever the load
 *
 * A request that is not mergeable takes along what is gathered, as the last one of the message.
 *
 * Messages of one burst are flushed together when it ends; at once when something waits for them to
 * arrive: the wire was idle, or a message's worth has piled up.
 */
#include "initiator/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void ini_merge_resize(struct brp_queue *q, uint32_t max_message_bytes)
{
	const struct brp_options *opt = &q->session->opt;
	struct ini_merge *m = &q->merge;
	uint32_t message_bytes = MIN(max_message_bytes, q->params.send_bytes);
	uint32_t wanted = opt->merge == BRP_MERGE_OFF ? 1 : opt->merge_max_requests;
	uint32_t fitting = (message_bytes - BRP_HEADER_BYTES) / BRP_REQUEST_BYTES;
	uint32_t allowed = MIN(wanted, q->limits.max_requests);
	uint32_t room;

	m->max_requests = MIN(allowed, fitting);
	room = message_bytes - BRP_HEADER_BYTES - m->max_requests * BRP_REQUEST_BYTES;
	m->max_capsule_bytes = MIN(room, BRP_MAX_CAPSULE_BYTES);
	m->in_capsule_bytes = MIN(q->limits.in_capsule_bytes, m->max_capsule_bytes);
}

int ini_merge_open(struct brp_queue *q, uint32_t max_message_bytes)
{
	const struct brp_options *opt = &q->session->opt;
	struct ini_merge *m = &q->merge;
	uint32_t ring = 1;

	m->mode = opt->merge;
	m->window_ns = opt->merge_window_us * NS_PER_US;
	m->max_bytes = opt->merge_max_bytes;
	ini_merge_resize(q, max_message_bytes);
	while (ring < q->nr_slots)
		ring *= 2;
	m->mask = ring - 1;
	m->fifo = malloc(ring * sizeof(*m->fifo));
	return m->fifo ? 0 : -ENOMEM;
}

void ini_merge_clear(struct brp_queue *q)
{
	q->merge.count = 0;
	q->merge.capsule_bytes = 0;
	q->merge.window_end_ns = 0;
	q->merge.is_blocked = false;
}

void ini_merge_close(struct brp_queue *q)
{
	ini_merge_clear(q);
	free(q->merge.fifo);
	q->merge.fifo = NULL;
}

/* Data of this request that would travel inside the message. */
static uint32_t capsule_bytes(const struct ini_merge *m, const struct ini_slot *slot)
{
	return slot->op == BRP_OP_WRITE && slot->bytes <= m->in_capsule_bytes ? slot->bytes : 0;
}

static bool is_large(const struct ini_merge *m, const struct ini_slot *slot)
{
	return slot->bytes > m->max_bytes;
}

static struct ini_slot *gathered(const struct brp_queue *q, uint32_t i, uint16_t *ret_index)
{
	*ret_index = q->merge.fifo[(q->merge.head + i) & q->merge.mask];
	return &q->slots[*ret_index];
}

static int by_seq(const void *a, const void *b, void *arg)
{
	const struct brp_queue *q = arg;
	uint64_t seq_a = q->slots[*(const uint16_t *)a].seq;
	uint64_t seq_b = q->slots[*(const uint16_t *)b].seq;

	return seq_a < seq_b ? -1 : seq_a > seq_b;
}

void ini_merge_refill(struct brp_queue *q)
{
	struct ini_merge *m = &q->merge;

	ini_merge_clear(q);
	m->head = 0;
	for (uint32_t i = 0; i < q->nr_slots; i++) {
		if (q->slots[i].state != INI_SLOT_GATHERED)
			continue;
		m->fifo[m->count++] = (uint16_t)i;
		m->capsule_bytes += capsule_bytes(m, &q->slots[i]);
	}
	qsort_r(m->fifo, m->count, sizeof(*m->fifo), by_seq, q);
	m->is_blocked = true;
	m->blocked_reason = INI_SENT_KICK;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* How many from the head of the ring go into the next message; at least one. */
static uint32_t pick(const struct brp_queue *q)
{
	const struct ini_merge *m = &q->merge;
	uint32_t max = MIN(m->count, m->max_requests);
	uint32_t bytes = 0;
	uint16_t index;

	for (uint32_t n = 0; n < max; n++) {
		const struct ini_slot *slot = gathered(q, n, &index);
		uint32_t more = capsule_bytes(m, slot);

		if (more > m->max_capsule_bytes - bytes)
			return n;
		bytes += more;
		if (is_large(m, slot))
			return n + 1;
	}
	return max;
}

/* Where the request's data is: in this message at `offset`, or in memory that the target may now
 * use. */
static int place_data(struct brp_queue *q, uint16_t index, uint32_t offset, struct iovec *iov,
		      struct brp_request *r)
{
	struct ini_slot *slot = &q->slots[index];
	int err;

	iov->iov_len = 0;
	if (slot->bytes == 0)
		return 0;
	if (capsule_bytes(&q->merge, slot) > 0) {
		r->flags |= BRP_REQ_IN_CAPSULE;
		r->addr = offset;
		*iov = (struct iovec){.iov_base = slot->buf, .iov_len = slot->bytes};
		return 0;
	}
	err = fabric_expose(q->conn->fabric, r->tag, slot->buf, slot->bytes, slot->mem,
			    slot->op == BRP_OP_READ ? FABRIC_MEM_REMOTE_WRITE
						    : FABRIC_MEM_REMOTE_READ,
			    &r->key, &r->addr);
	slot->is_exposed = err == 0;
	return err;
}

static int encode(struct brp_queue *q, uint16_t index, void *at, uint32_t offset, struct iovec *iov)
{
	struct ini_slot *slot = &q->slots[index];
	struct brp_request r = {
		.op = slot->op,
		.flags = slot->flags,
		.tag = brp_tag(slot->generation, index),
		.lba = slot->lba,
		.blocks = slot->blocks,
	};
	int err = place_data(q, index, offset, iov, &r);

	if (unlikely(slot->op == BRP_OP_FLUSH))
		slot->flush_round = ini_stable_flush_sent(q->session);
	if (err == 0)
		brp_encode_request(at, &r);
	return err;
}

static void count_message(struct brp_queue *q, uint32_t n, enum ini_reason reason)
{
	uint64_t *by_reason[] = {
		[INI_SENT_IDLE] = &q->stats.sent_idle,
		[INI_SENT_FULL] = &q->stats.sent_full,
		[INI_SENT_COMPLETION] = &q->stats.sent_completion,
		[INI_SENT_KICK] = &q->stats.sent_kick,
		[INI_SENT_WINDOW] = &q->stats.sent_window,
		[INI_SENT_LARGE] = &q->stats.sent_large,
	};

	ini_count(by_reason[reason], 1);
	ini_count(&q->stats.messages, 1);
	ini_count(&q->stats.requests, n);
	ini_count(&q->stats.requests_per_message[31 - __builtin_clz(n)], 1);
}

static void mark_sent(struct brp_queue *q, uint32_t n)
{
	struct ini_merge *m = &q->merge;
	uint16_t index;

	for (uint32_t i = 0; i < n; i++) {
		struct ini_slot *slot = gathered(q, i, &index);

		slot->state = INI_SLOT_SENT;
		m->capsule_bytes -= capsule_bytes(m, slot);
	}
	m->head = (m->head + n) & m->mask;
	m->count -= n;
	q->on_wire += n;
	q->fresh += n;
}

/* The first n gathered requests as one message. -EAGAIN: no send slot. */
static int send_message(struct brp_queue *q, uint32_t n, enum ini_reason reason)
{
	uint32_t head_bytes = BRP_HEADER_BYTES + n * BRP_REQUEST_BYTES;
	struct iovec iov[BRP_MAX_JUMBO_REQUESTS];
	char *buf = fabric_msg_begin(q->conn->fabric, head_bytes);
	uint32_t bytes = 0;
	unsigned int nr_iov = 0;
	uint16_t index;
	int err = 0;

	if (!buf)
		return -EAGAIN;
	for (uint32_t i = 0; i < n && err == 0; i++) {
		gathered(q, i, &index);
		err = encode(q, index, buf + BRP_HEADER_BYTES + i * BRP_REQUEST_BYTES,
			     head_bytes + bytes, &iov[nr_iov]);
		bytes += (uint32_t)iov[nr_iov].iov_len;
		nr_iov += iov[nr_iov].iov_len > 0;
	}
	if (err == 0) {
		brp_encode_jumbo_header(buf, q->limits.epoch, (uint16_t)n, bytes);
		err = fabric_msg_commit(q->conn->fabric, head_bytes, iov, nr_iov);
	}
	/*
	 * The memory was checked at submission and the tag is ours, so this is the connection
	 * failing. What the target may or may not have of these requests is settled by closed().
	 */
	mark_sent(q, n);
	if (err < 0) {
		ini_error_set(&q->conn->why, err, "sending to %s failed",
			      fabric_conn_peer(q->conn->fabric));
		ini_conn_close(q->conn, err, true);
		return err;
	}
	count_message(q, n, reason);
	q->conn->is_dirty = true;
	q->conn->nr_sent++;
	return 0;
}

/* Everything gathered, in as many messages as it takes. */
static void send_all(struct brp_queue *q, enum ini_reason reason)
{
	struct ini_merge *m = &q->merge;

	m->window_end_ns = 0;
	while (m->count > 0 && !m->is_blocked && q->is_up) {
		int r = send_message(q, pick(q), reason);

		if (r == -EAGAIN) {
			m->is_blocked = true;
			m->blocked_reason = reason;
			/* What is committed must leave, or no slot ever gets free. */
			ini_conn_flush(q->conn);
		}
	}
}

static void send_and_flush(struct brp_queue *q, enum ini_reason reason)
{
	send_all(q, reason);
	ini_conn_flush(q->conn);
}

/* ---- when ------------------------------------------------------------------------------------ */

static bool window_is_over(struct ini_merge *m)
{
	uint64_t now = now_ns();

	if (m->window_end_ns == 0)
		m->window_end_ns = now + m->window_ns;
	return now >= m->window_end_ns;
}

void ini_merge_add(struct brp_queue *q, uint16_t index, bool is_more)
{
	struct ini_merge *m = &q->merge;
	const struct ini_slot *slot = &q->slots[index];
	uint32_t more = capsule_bytes(m, slot);

	if (more > 0 && m->capsule_bytes + more > m->max_capsule_bytes)
		send_and_flush(q, INI_SENT_FULL);
	m->fifo[(m->head + m->count) & m->mask] = index;
	m->count++;
	m->capsule_bytes += more;
	if (m->is_blocked)
		return;
	if (q->on_wire == 0 && m->mode != BRP_MERGE_ALWAYS && !is_more)
		send_and_flush(q, INI_SENT_IDLE);
	else if (m->count >= m->max_requests)
		send_and_flush(q, INI_SENT_FULL);
	else if (is_large(m, slot))
		send_all(q, INI_SENT_LARGE);
	else if (m->mode == BRP_MERGE_ALWAYS && window_is_over(m))
		send_and_flush(q, INI_SENT_WINDOW);
}

void ini_merge_kick(struct brp_queue *q, enum ini_reason reason)
{
	struct ini_merge *m = &q->merge;

	if (m->count > 0 && !m->is_blocked) {
		if (m->mode != BRP_MERGE_ALWAYS)
			send_all(q, reason);
		else if (window_is_over(m))
			send_all(q, INI_SENT_WINDOW);
	}
	ini_conn_flush(q->conn);
}

void ini_merge_sendable(struct brp_queue *q)
{
	if (!q->merge.is_blocked)
		return;
	q->merge.is_blocked = false;
	send_all(q, q->merge.blocked_reason);
}
