/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending. Messages, pushes and exposed writes become segments (an iovec each, in the ring that
 * sendmsg() is given), heads of messages and frame headers are staged, everything else is sent from
 * where it lies. One sendmsg() takes it all, or what the kernel has room for; the rest waits for
 * EPOLLOUT.
 *
 * The queue never grows: a message is begun only when the ring has room for the longest one and for
 * everything that the depth allows besides.
 */
#include "common/fabric/tcp.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/crc32c.h"
#include "common/log.h"

/* Heads of messages that the peer does not take; normally KiB. */
#define MAX_STAGE_BYTES (4u << 20)
#define MAX_MSG_SEGS    4096u
#define MAX_JOIN_BYTES  (32u << 10) /* joined messages give their slots back together */
#define MSG_SEGS        (1u + TCP_MAX_GATHER)

/* ---- room ------------------------------------------------------------------------------------ */

static uint64_t power_of_two(uint64_t v)
{
	return v <= 1 ? 1 : 1ull << (64 - __builtin_clzll(v - 1));
}

/* Pushes and exposed writes: header and data each. */
static uint32_t xfer_segs(const struct fabric_params *p)
{
	return 2 * p->depth;
}

static uint32_t total_segs(const struct fabric_params *p)
{
	uint64_t msgs = MIN((uint64_t)p->send_count * MSG_SEGS, (uint64_t)MAX_MSG_SEGS);

	return (uint32_t)power_of_two(msgs + 2 * xfer_segs(p));
}

static uint64_t stage_bytes(const struct fabric_params *p)
{
	uint64_t one = align_up((uint64_t)p->send_bytes + TCP_MAX_FRAME_BYTES, 8);
	uint64_t all = MIN(one * p->send_count, (uint64_t)MAX_STAGE_BYTES);

	return power_of_two(MAX(all, 2 * one));
}

size_t tcp_tx_bytes(const struct fabric_params *p)
{
	size_t per_seg = sizeof(struct iovec) + sizeof(struct tcp_seg) + TCP_MAX_FRAME_BYTES;

	return align_up(stage_bytes(p), 4096) + align_up(total_segs(p) * per_seg, 4096);
}

void tcp_tx_init(struct tcp_conn *c, char *p)
{
	struct tcp_tx *tx = &c->tx;

	tx->nr_segs = total_segs(&c->params);
	tx->stage_bytes = stage_bytes(&c->params);
	tx->stage = p;
	p += align_up(tx->stage_bytes, 4096);
	tx->iov = (struct iovec *)p;
	p += tx->nr_segs * sizeof(struct iovec);
	tx->seg = (struct tcp_seg *)p;
	p += tx->nr_segs * sizeof(struct tcp_seg);
	tx->hdr = (uint8_t(*)[TCP_MAX_FRAME_BYTES])p;
}

static uint32_t free_segs(const struct tcp_tx *tx)
{
	return tx->nr_segs - (tx->tail - tx->head);
}

/* Where `bytes` contiguous bytes of stage may begin; false: no room. */
static bool find_stage(struct tcp_tx *tx, uint32_t bytes, uint64_t *ret_at)
{
	uint64_t at = align_up(tx->stage_tail, 8);
	uint64_t off = at & (tx->stage_bytes - 1);

	if (off + bytes > tx->stage_bytes)
		at += tx->stage_bytes - off;
	if (at + bytes - tx->stage_head > tx->stage_bytes)
		return false;
	*ret_at = at;
	return true;
}

static bool find_room(struct tcp_conn *c, uint32_t head_bytes, uint64_t *ret_at)
{
	struct tcp_tx *tx = &c->tx;

	return tx->nr_msgs < c->params.send_count &&
	       free_segs(tx) >= MSG_SEGS + xfer_segs(&c->params) &&
	       find_stage(tx, c->frame_bytes + head_bytes, ret_at);
}

/* ---- queueing -------------------------------------------------------------------------------- */

static struct tcp_seg *add_seg(struct tcp_tx *tx, void *base, uint32_t bytes)
{
	uint32_t i = tx->tail++ & (tx->nr_segs - 1);

	assert(tx->tail - tx->head <= tx->nr_segs);
	tx->iov[i] = (struct iovec){.iov_base = base, .iov_len = bytes};
	tx->seg[i] = (struct tcp_seg){.tag = TCP_NO_TAG};
	return &tx->seg[i];
}

/* What stands before a payload; crc is the payload's. */
static void put_frame(const struct tcp_conn *c, void *at, const struct brp_frame *f, uint32_t crc)
{
	struct brp_digests d;

	brp_encode_frame(at, f);
	if (!c->has_digest)
		return;
	d = (struct brp_digests){.header = crc32c(0, at, BRP_FRAME_BYTES), .payload = crc};
	brp_encode_digests((char *)at + BRP_FRAME_BYTES, &d);
}

/* A DATA frame. */
static struct tcp_seg *add_data(struct tcp_conn *c, void *base, uint32_t bytes, uint32_t key,
				uint8_t flags)
{
	struct tcp_tx *tx = &c->tx;
	struct brp_frame f = {
		.type = BRP_FRAME_DATA, .flags = flags, .length_bytes = bytes, .key = key};
	uint8_t *hdr = tx->hdr[tx->tail & (tx->nr_segs - 1)];

	put_frame(c, hdr, &f, c->has_digest ? crc32c(0, base, bytes) : 0);
	add_seg(tx, hdr, c->frame_bytes);
	return add_seg(tx, base, bytes);
}

void *tcp_msg_begin(struct fabric_conn *base, uint32_t head_bytes)
{
	struct tcp_conn *c = to_tcp(base);
	struct tcp_tx *tx = &c->tx;

	if (unlikely(c->state != TCPC_OPEN || head_bytes > c->params.send_bytes))
		return NULL;
	if (unlikely(!find_room(c, head_bytes, &tx->begun_at))) {
		tx->is_wanting = true;
		return NULL;
	}
	tx->begun_bytes = head_bytes;
	tx->first_tag = TCP_NO_TAG;
	return tx->stage + (tx->begun_at & (tx->stage_bytes - 1)) + c->frame_bytes;
}

static uint32_t message_crc(const char *head, uint32_t head_bytes, const struct iovec *data,
			    unsigned int nr_data)
{
	uint32_t crc = crc32c(0, head, head_bytes);

	for (unsigned int i = 0; i < nr_data; i++)
		crc = crc32c(crc, data[i].iov_base, data[i].iov_len);
	return crc;
}

/* Frame header and head; joined to the segment before when that ends where this begins. */
static struct tcp_seg *add_head(struct tcp_conn *c, uint32_t head_bytes, uint32_t message_bytes,
				const struct iovec *data, unsigned int nr_data)
{
	struct tcp_tx *tx = &c->tx;
	struct brp_frame f = {.type = BRP_FRAME_MESSAGE, .length_bytes = message_bytes};
	char *at = tx->stage + (tx->begun_at & (tx->stage_bytes - 1));
	uint32_t bytes = c->frame_bytes + head_bytes;
	uint32_t last = (tx->tail - 1) & (tx->nr_segs - 1);
	uint32_t crc = 0;

	if (c->has_digest)
		crc = message_crc(at + c->frame_bytes, head_bytes, data, nr_data);
	put_frame(c, at, &f, crc);
	if (!tcp_tx_is_empty(tx) && tx->seg[last].stage_end != 0 &&
	    tx->seg[last].stage_end == tx->begun_at &&
	    tx->iov[last].iov_len + bytes <= MAX_JOIN_BYTES &&
	    (char *)tx->iov[last].iov_base + tx->iov[last].iov_len == at) {
		tx->iov[last].iov_len += bytes;
		return &tx->seg[last];
	}
	return add_seg(tx, at, bytes);
}

/* Data of the writes that the message announces, right behind it. */
static void add_exposed(struct tcp_conn *c)
{
	struct tcp_tx *tx = &c->tx;

	for (uint32_t tag = tx->first_tag; tag != TCP_NO_TAG; tag = c->exposed[tag].next) {
		struct tcp_exposed *e = &c->exposed[tag];
		struct tcp_seg *s = add_data(c, e->base, e->bytes, e->key, 0);

		s->tag = tag;
		e->seg = (uint32_t)(s - tx->seg);
		c->base.stats.bytes_sent += e->bytes;
	}
	tx->first_tag = TCP_NO_TAG;
}

static bool sum_data(const struct iovec *data, unsigned int nr_data, uint32_t room,
		     uint32_t *ret_bytes)
{
	uint32_t sum = 0;

	if (nr_data > TCP_MAX_GATHER)
		return false;
	for (unsigned int i = 0; i < nr_data; i++) {
		if (data[i].iov_len > room - sum)
			return false;
		sum += (uint32_t)data[i].iov_len;
	}
	*ret_bytes = sum;
	return true;
}

int tcp_msg_commit(struct fabric_conn *base, uint32_t head_bytes, const struct iovec *data,
		   unsigned int nr_data)
{
	struct tcp_conn *c = to_tcp(base);
	struct tcp_tx *tx = &c->tx;
	struct tcp_seg *s;
	uint32_t data_bytes;

	if (unlikely(c->state != TCPC_OPEN))
		return -ENOTCONN;
	if (unlikely(head_bytes > tx->begun_bytes))
		return -EINVAL;
	if (unlikely(!sum_data(data, nr_data, c->params.send_bytes - head_bytes, &data_bytes)))
		return -EMSGSIZE;
	s = add_head(c, head_bytes, head_bytes + data_bytes, data, nr_data);
	tx->stage_tail = tx->begun_at + c->frame_bytes + head_bytes;
	tx->begun_bytes = 0;
	s->stage_end = tx->stage_tail;
	for (unsigned int i = 0; i < nr_data; i++) {
		if (data[i].iov_len > 0)
			s = add_seg(tx, data[i].iov_base, (uint32_t)data[i].iov_len);
	}
	s->nr_msgs++;
	tx->nr_msgs++;
	add_exposed(c);
	c->base.stats.messages_sent++;
	c->base.stats.bytes_sent += head_bytes + data_bytes;
	return 0;
}

int tcp_push(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct tcp_conn *c = to_tcp(base);

	if (unlikely(c->state != TCPC_OPEN))
		return -ENOTCONN;
	if (unlikely(c->is_initiator || x->bytes > c->params.max_data_bytes))
		return -EINVAL;
	if (unlikely(free_segs(&c->tx) < 2))
		return -EAGAIN;
	x->status = 0;
	x->done_bytes = 0;
	add_data(c, x->local, x->bytes, x->key, x->is_notice ? BRP_FRAME_NOTICE : 0)->push = x;
	c->base.stats.notices_sent += x->is_notice;
	c->base.stats.bytes_sent += x->bytes;
	return 0;
}

/* ---- exposing -------------------------------------------------------------------------------- */

static void chain_tag(struct tcp_conn *c, uint32_t index)
{
	struct tcp_tx *tx = &c->tx;

	c->exposed[index].next = TCP_NO_TAG;
	if (tx->first_tag == TCP_NO_TAG)
		tx->first_tag = index;
	else
		c->exposed[tx->last_tag].next = index;
	tx->last_tag = index;
}

int tcp_expose(struct fabric_conn *base, uint32_t tag, void *p, uint32_t bytes,
	       struct fabric_mem *mem, unsigned int access, uint32_t *ret_key, uint64_t *ret_addr)
{
	struct tcp_conn *c = to_tcp(base);
	uint32_t index = tag & UINT16_MAX;

	(void)mem;
	if (unlikely(c->state != TCPC_OPEN))
		return -ENOTCONN;
	if (unlikely(!c->is_initiator || index >= c->params.depth || c->exposed[index].access ||
		     c->tx.begun_bytes == 0 || bytes > c->params.max_data_bytes))
		return -EINVAL;
	c->exposed[index] = (struct tcp_exposed){
		.base = p, .bytes = bytes, .key = tag, .access = access, .seg = TCP_NO_TAG};
	if (access == FABRIC_MEM_REMOTE_READ)
		chain_tag(c, index);
	*ret_key = tag;
	*ret_addr = 0;
	return 0;
}

/*
 * The request was answered before all its data was sent. The frame was announced, so the peer gets
 * the bytes it waits for, but zeroes: the memory is the caller's again. They are pages never
 * written to, which cost no memory. With digests the frame would not be what its digest says, and
 * the peer had no right to answer (protocol.md 2.1).
 */
static void tcp_tx_disown(struct tcp_conn *c, struct tcp_exposed *e)
{
	struct tcp_tx *tx = &c->tx;

	if (c->has_digest) {
		log_peer(LOG_WARNING,
			 "%s: answered a write before its data; closing the connection",
			 c->base.peer);
		tcp_fail(c, -EPROTO);
		return;
	}
	if (!tx->zeroes) {
		void *p = mmap(NULL, c->params.max_data_bytes, PROT_READ,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED) {
			tcp_fail(c, -ENOMEM);
			return;
		}
		tx->zeroes = p;
	}
	tx->iov[e->seg].iov_base = tx->zeroes;
	tx->seg[e->seg].tag = TCP_NO_TAG;
}

void tcp_unexpose(struct fabric_conn *base, uint32_t tag)
{
	struct tcp_conn *c = to_tcp(base);
	uint32_t index = tag & UINT16_MAX;
	struct tcp_exposed *e;

	if (unlikely(!c->exposed || index >= c->params.depth))
		return;
	e = &c->exposed[index];
	if (unlikely(e->seg != TCP_NO_TAG))
		tcp_tx_disown(c, e);
	if (unlikely(c->rx.data_exposed == e)) {
		c->rx.data_exposed = NULL;
		c->rx.data_to = NULL;
	}
	e->access = 0;
}

/* ---- out ------------------------------------------------------------------------------------- */

static void finish_seg(struct tcp_conn *c, struct tcp_seg *s)
{
	struct tcp_tx *tx = &c->tx;

	if (s->stage_end)
		tx->stage_head = s->stage_end;
	if (s->tag != TCP_NO_TAG)
		c->exposed[s->tag].seg = TCP_NO_TAG;
	if (s->push) {
		list_add_tail(&tx->done, &s->push->link);
		tx->is_awaited |= fabric_push_is_awaited(&c->params, s->push);
	}
	tx->nr_msgs -= s->nr_msgs;
}

/* The kernel has taken the first `bytes` bytes. Returns false when a segment is left half sent. */
static bool advance(struct tcp_conn *c, size_t bytes)
{
	struct tcp_tx *tx = &c->tx;

	while (bytes > 0) {
		uint32_t i = tx->head & (tx->nr_segs - 1);
		struct iovec *v = &tx->iov[i];

		if (bytes < v->iov_len) {
			v->iov_base = (char *)v->iov_base + bytes;
			v->iov_len -= bytes;
			return false;
		}
		bytes -= v->iov_len;
		finish_seg(c, &tx->seg[i]);
		tx->head++;
	}
	return true;
}

/* A begun message has its place already, so the stage begins anew only without one. */
static void rewind_rings(struct tcp_tx *tx)
{
	tx->head = 0;
	tx->tail = 0;
	if (tx->begun_bytes == 0) {
		tx->stage_head = 0;
		tx->stage_tail = 0;
	}
}

void tcp_tx_send(struct tcp_conn *c)
{
	struct tcp_tx *tx = &c->tx;

	tx->is_blocked = false;
	while (!tcp_tx_is_empty(tx)) {
		uint32_t i = tx->head & (tx->nr_segs - 1);
		uint32_t n = MIN(tx->tail - tx->head, tx->nr_segs - i);
		struct msghdr mh = {.msg_iov = &tx->iov[i],
				    .msg_iovlen = MIN(n, (uint32_t)IOV_MAX)};
		uint32_t end = tx->head + (uint32_t)mh.msg_iovlen;
		ssize_t sent = sendmsg(c->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		c->base.stats.send_calls++;
		if (sent < 0) {
			if (errno == EAGAIN)
				tx->is_blocked = true;
			else
				tx->error = errno == EPIPE ? -ECONNRESET : -errno;
			return;
		}
		/* Less than asked for: no room in the kernel, and it has noted that we wait for
		 * some. */
		if (!advance(c, (size_t)sent) || tx->head != end) {
			tx->is_blocked = true;
			return;
		}
	}
	rewind_rings(tx);
}

void tcp_flush(struct fabric_conn *base)
{
	struct tcp_conn *c = to_tcp(base);

	if (c->state != TCPC_OPEN && c->state != TCPC_CLOSING)
		return;
	if (!tcp_tx_is_empty(&c->tx) && !c->tx.is_blocked && !c->tx.error)
		tcp_tx_send(c);
}

/* ---- reports --------------------------------------------------------------------------------- */

bool tcp_tx_has_report(const struct tcp_conn *c)
{
	const struct tcp_tx *tx = &c->tx;

	return tx->is_awaited ||
	       (tx->is_wanting && tx->nr_msgs < c->params.send_count && tcp_tx_is_empty(tx));
}

static struct fabric_xfer *pop_done(struct tcp_conn *c)
{
	struct list *node = list_pop(&c->tx.done);

	return node ? list_entry(node, struct fabric_xfer, link) : NULL;
}

/* All of them, before anything is received: a peer that has seen a notice uses its tag again at
 * once. */
int tcp_tx_report(struct tcp_conn *c)
{
	const struct fabric_handler *h = c->base.handler;
	struct fabric_xfer *x;
	uint64_t at;
	int n = 0;

	while (c->state != TCPC_DEAD && (x = pop_done(c))) {
		h->push_done(&c->base, x, 0);
		n++;
	}
	c->tx.is_awaited = false;
	if (unlikely(c->tx.is_wanting) && c->state == TCPC_OPEN &&
	    find_room(c, c->params.send_bytes, &at)) {
		c->tx.is_wanting = false;
		h->sendable(&c->base);
		n++;
	}
	return n;
}

/* First those whose bytes were taken, then the others. */
void tcp_tx_cancel(struct tcp_conn *c)
{
	const struct fabric_handler *h = c->base.handler;
	struct tcp_tx *tx = &c->tx;
	struct fabric_xfer *x;

	while ((x = pop_done(c)))
		h->push_done(&c->base, x, 0);
	for (; !tcp_tx_is_empty(tx); tx->head++) {
		struct tcp_seg *s = &tx->seg[tx->head & (tx->nr_segs - 1)];

		if (s->push)
			h->push_done(&c->base, s->push, -ECANCELED);
	}
}
