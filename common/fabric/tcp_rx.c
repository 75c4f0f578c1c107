/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receiving. One recvmsg() takes what is there into a buffer that begins at its start again
 * whenever it ran empty; messages are handed over from within it. Inside a DATA frame the rest of
 * it is received straight to where it belongs, and what follows it into the buffer by the same
 * call. Nothing the peer sends is trusted: brp_decode_frame() bounds a frame, and a DATA frame must
 * be exactly the one that is due.
 */
#include "common/fabric/tcp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/crc32c.h"
#include "common/log.h"

#define BUFFER_BYTES (256u << 10)
/* System calls of one pass. What answers the messages leaves when it ends, and the peer is to go on
 * while we receive more. Measured: docs/results/path.md, "TCP at depth 128". */
#define READ_BUDGET 2
/*
 * A train of frames from this size on is read frame by frame, with little read ahead and copied;
 * smaller ones many per call. Measured with 8 to 128 KiB frames at depth 32, thresholds from 4 to
 * 32 KiB differ by less than the noise of the machine.
 */
#define BULK_BYTES       (16u << 10)
#define BULK_AHEAD_BYTES 4096u
#define DRAIN_BYTES      (1u << 20)
#define ALIGNMENT        8u

size_t tcp_rx_bytes(const struct fabric_params *p)
{
	uint64_t longest = (uint64_t)p->recv_bytes + TCP_MAX_FRAME_BYTES;

	return align_up(MAX(2 * longest, (uint64_t)BUFFER_BYTES), 4096);
}

void tcp_rx_init(struct tcp_conn *c, char *p)
{
	c->rx.buf = p;
	c->rx.bytes = (uint32_t)tcp_rx_bytes(&c->params);
	c->rx.need = BRP_FRAME_BYTES;
}

static void break_stream(struct tcp_conn *c, const char *what)
{
	log_peer(LOG_WARNING, "%s: %s; closing the connection", c->base.peer, what);
	tcp_fail(c, -EPROTO);
}

/* ---- digests --------------------------------------------------------------------------------- */

static bool check_digest(struct tcp_conn *c, uint32_t got, uint32_t want, const char *of)
{
	if (likely(got == want))
		return true;
	log_peer(LOG_WARNING,
		 "%s: %s digest is %08x, not %08x: bytes were damaged on the way; closing the "
		 "connection",
		 c->base.peer, of, got, want);
	c->base.stats.digest_errors++;
	tcp_fail(c, -EBADMSG);
	return false;
}

/* The frame header at head; notes what the payload's digest has to be. */
static bool check_header(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	const char *at = rx->buf + rx->head;
	struct brp_digests d;

	brp_decode_digests(at + BRP_FRAME_BYTES, &d);
	rx->digest = d.payload;
	return check_digest(c, crc32c(0, at, BRP_FRAME_BYTES), d.header, "header");
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* The frame's data is in place. */
static void end_data(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	struct fabric_xfer *x = rx->data_pull;
	struct tcp_exposed *e = rx->data_exposed;

	if (c->has_digest && !check_digest(c, rx->data_crc, rx->digest, "data"))
		return;
	rx->data_pull = NULL;
	rx->data_exposed = NULL;
	if (x && x->done_bytes == x->bytes) {
		list_del(&x->link);
		c->base.handler->pull_done(&c->base, x, 0);
	} else if (e && rx->is_data_notice) {
		c->base.stats.notices_received++;
		c->base.handler->notice(&c->base, e->key);
	}
}

/* At `at` lie the next bytes of the frame's data. */
static void got_data(struct tcp_conn *c, const char *at, uint32_t bytes)
{
	struct tcp_rx *rx = &c->rx;

	if (c->has_digest)
		rx->data_crc = crc32c(rx->data_crc, at, bytes);
	rx->data_rest -= bytes;
	if (rx->data_to)
		rx->data_to += bytes;
	if (rx->data_rest == 0)
		end_data(c);
}

static void take_data(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	uint32_t n = MIN(rx->data_rest, rx->tail - rx->head);
	const char *at = rx->buf + rx->head;

	if (rx->data_to)
		memcpy(rx->data_to, at, n);
	rx->head += n;
	got_data(c, at, n);
}

static void begin_data(struct tcp_conn *c, const struct brp_frame *f, char *to)
{
	struct tcp_rx *rx = &c->rx;

	rx->head += c->frame_bytes;
	rx->data_crc = 0;
	rx->data_rest = f->length_bytes;
	rx->data_to = to;
	rx->is_data_notice = f->flags & BRP_FRAME_NOTICE;
	rx->is_bulk = f->length_bytes >= BULK_BYTES;
	c->base.stats.bytes_received += f->length_bytes;
}

/* A push of the target. */
static bool begin_pushed(struct tcp_conn *c, const struct brp_frame *f)
{
	uint32_t index = f->key & UINT16_MAX;
	struct tcp_exposed *e = index < c->params.depth ? &c->exposed[index] : NULL;

	if (!e || e->access != FABRIC_MEM_REMOTE_WRITE || e->key != f->key ||
	    f->offset != e->done_bytes || f->length_bytes > e->bytes - e->done_bytes) {
		break_stream(c, "sent data that no request asked for");
		return false;
	}
	if ((f->flags & BRP_FRAME_NOTICE) && f->length_bytes != e->bytes - e->done_bytes) {
		break_stream(c, "sent a notice before all data");
		return false;
	}
	begin_data(c, f, e->base + e->done_bytes);
	e->done_bytes += f->length_bytes;
	c->rx.data_exposed = e;
	return true;
}

/* Data of a write, for the first pull. */
static bool begin_pulled(struct tcp_conn *c, const struct brp_frame *f)
{
	struct tcp_rx *rx = &c->rx;
	struct fabric_xfer *x;

	if (list_empty(&rx->pulls)) {
		break_stream(c, "sent data that no request announced");
		return false;
	}
	x = list_entry(rx->pulls.next, struct fabric_xfer, link);
	if (f->flags || f->key != x->key || f->offset != x->done_bytes ||
	    f->length_bytes > x->bytes - x->done_bytes) {
		break_stream(c, "sent data out of place");
		return false;
	}
	if (!x->local && !x->is_discard) {
		rx->is_starving = true;
		return false;
	}
	begin_data(c, f, x->is_discard ? NULL : (char *)x->local + x->done_bytes);
	x->done_bytes += f->length_bytes;
	rx->data_pull = x;
	return true;
}

/*
 * fabric.h promises messages at least 8-byte aligned. BRP's own frames keep to that, a peer need
 * not: then the frame moves down into bytes already consumed, and leaves a hole behind it.
 */
static void align_message(struct tcp_rx *rx, uint32_t frame_bytes)
{
	uint32_t off = rx->head & (ALIGNMENT - 1);

	if (likely(off == 0))
		return;
	memmove(rx->buf + rx->head - off, rx->buf + rx->head, frame_bytes);
	rx->head -= off;
	rx->skip = off;
}

static bool take_message(struct tcp_conn *c, const struct brp_frame *f)
{
	struct tcp_rx *rx = &c->rx;
	uint32_t before_bytes = c->frame_bytes; /* the message may be the one that changes it */
	uint32_t frame_bytes = before_bytes + f->length_bytes;
	const char *at;
	int r;

	if (rx->tail - rx->head < frame_bytes) {
		rx->need = frame_bytes;
		return false;
	}
	align_message(rx, frame_bytes);
	at = rx->buf + rx->head + before_bytes;
	if (c->has_digest && !rx->is_checked &&
	    !check_digest(c, crc32c(0, at, f->length_bytes), rx->digest, "message"))
		return false;
	r = c->base.handler->message(&c->base, at, f->length_bytes);
	rx->is_checked = r == -EAGAIN;
	if (r == -EAGAIN) {
		rx->is_refused = true;
		return false;
	}
	if (r < 0) {
		tcp_fail(c, r);
		return false;
	}
	if (f->length_bytes >= BULK_AHEAD_BYTES / 4)
		rx->is_bulk = false;
	rx->head += frame_bytes + rx->skip;
	rx->skip = 0;
	c->base.stats.messages_received++;
	c->base.stats.bytes_received += f->length_bytes;
	return true;
}

/* False: there is no whole frame, or the connection is paused or has ended. */
static bool take_frame(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	struct brp_frame f;

	if (rx->tail - rx->head < c->frame_bytes) {
		rx->need = c->frame_bytes;
		return false;
	}
	if (c->has_digest && !check_header(c))
		return false;
	if (brp_decode_frame(rx->buf + rx->head, c->params.recv_bytes, c->params.max_data_bytes,
			     &f) < 0) {
		break_stream(c, "sent something that is no frame");
		return false;
	}
	if (f.type == BRP_FRAME_MESSAGE)
		return take_message(c, &f);
	return c->is_initiator ? begin_pushed(c, &f) : begin_pulled(c, &f);
}

/* Hands over what the buffer holds, as far as it goes. */
static void consume(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	bool goes_on = true;

	while (goes_on && c->state == TCPC_OPEN) {
		if (rx->data_rest == 0)
			goes_on = take_frame(c);
		else if (rx->head == rx->tail)
			goes_on = false;
		else
			take_data(c);
	}
	if (rx->head == rx->tail) {
		rx->head = 0;
		rx->tail = 0;
	}
}

/* ---- system calls ---------------------------------------------------------------------------- */

/* Room in the buffer for what is still needed, and for a good deal more. */
static void make_room(struct tcp_rx *rx)
{
	uint32_t kept = rx->tail - rx->head;

	if (rx->head == 0 || (rx->bytes - rx->head >= rx->need && rx->tail <= rx->bytes / 2))
		return;
	memmove(rx->buf, rx->buf + rx->head, kept);
	rx->head = 0;
	rx->tail = kept;
}

/* How far to read ahead. In a train of large frames little: what is read ahead of data is copied.
 */
static uint32_t ahead_bytes(const struct tcp_rx *rx)
{
	uint32_t room = rx->bytes - rx->tail;
	uint32_t kept = rx->tail - rx->head;
	uint32_t ahead = BULK_AHEAD_BYTES;

	if (!rx->is_bulk)
		return room;
	if (rx->need > kept + ahead) /* a message that is longer */
		ahead = rx->need - kept;
	return MIN(room, ahead);
}

static unsigned int fill_iov(struct tcp_rx *rx, struct iovec iov[2])
{
	unsigned int n = 0;

	make_room(rx);
	if (rx->data_rest > 0 && rx->data_to)
		iov[n++] = (struct iovec){.iov_base = rx->data_to, .iov_len = rx->data_rest};
	iov[n++] = (struct iovec){.iov_base = rx->buf + rx->tail, .iov_len = ahead_bytes(rx)};
	return n;
}

/* Whether the kernel holds more, or the end of the stream. */
static bool has_more(const struct tcp_conn *c, struct msghdr *mh)
{
	struct cmsghdr *cm = c->has_inq ? CMSG_FIRSTHDR(mh) : NULL;
	int inq = 1;

	if (cm && cm->cmsg_level == SOL_TCP && cm->cmsg_type == TCP_CM_INQ)
		memcpy(&inq, CMSG_DATA(cm), sizeof(inq));
	return inq > 0;
}

static void got_bytes(struct tcp_conn *c, uint32_t bytes)
{
	struct tcp_rx *rx = &c->rx;
	uint32_t direct = rx->data_to ? MIN(bytes, rx->data_rest) : 0;

	rx->tail += bytes - direct;
	if (direct > 0)
		got_data(c, rx->data_to, direct);
}

static void got_eof(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;

	rx->is_eof = true;
	if (rx->head != rx->tail || rx->data_rest > 0)
		tcp_fail(c, -ECONNRESET);
	else
		c->state = TCPC_CLOSING;
}

/* False: nothing came. */
static bool receive(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	struct iovec iov[2];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr mh = {.msg_iov = iov,
			    .msg_iovlen = fill_iov(rx, iov),
			    .msg_control = c->has_inq ? control.bytes : NULL,
			    .msg_controllen = c->has_inq ? sizeof(control.bytes) : 0};
	ssize_t n;

	do
		n = recvmsg(c->fd, &mh, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	c->base.stats.receive_calls++;
	if (n > 0) {
		rx->is_dry = !has_more(c, &mh);
		got_bytes(c, (uint32_t)n);
		return true;
	}
	if (n == 0)
		got_eof(c);
	else if (errno != EAGAIN)
		tcp_fail(c, -errno);
	else
		rx->is_dry = true;
	return false;
}

int tcp_rx_poll(struct tcp_conn *c, bool is_idle)
{
	struct tcp_rx *rx = &c->rx;
	int handled = 0;

	if (rx->is_ready) {
		rx->is_ready = false;
		handled = 1;
		consume(c);
	}
	if (rx->is_dry && handled == 0) {
		rx->is_dry = !is_idle;
		return 0;
	}
	for (int i = 0; i < READ_BUDGET; i++) {
		if (c->state != TCPC_OPEN || tcp_rx_is_paused(rx))
			break;
		if (!receive(c))
			break;
		handled = 1;
		consume(c);
		if (rx->is_dry) {
			rx->is_unread = false;
			return handled;
		}
	}
	rx->is_unread = !rx->is_dry;
	/* Only a pass that ended dry, and did something, saves the next one a system call. */
	rx->is_dry = rx->is_dry && handled && !tcp_rx_is_paused(rx);
	return handled;
}

int tcp_rx_drain(struct tcp_conn *c)
{
	int handled = 0;

	c->rx.head = 0;
	c->rx.tail = 0;
	for (int i = 0; i < READ_BUDGET && !c->rx.is_eof; i++) {
		/* MSG_TRUNC: dropped by the kernel, without a copy. */
		ssize_t n = recv(c->fd, NULL, DRAIN_BYTES, MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		handled = 1;
		if (n < 0) {
			/* It is no loss that the peer throws away a connection with nothing left to
			 * say. */
			tcp_fail(c, c->is_shut ? 0 : -errno);
			break;
		}
		c->rx.is_eof = n == 0;
	}
	return handled;
}

/* ---- pulls ----------------------------------------------------------------------------------- */

int tcp_pull(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct tcp_conn *c = to_tcp(base);

	if (unlikely(c->state != TCPC_OPEN))
		return -ENOTCONN;
	if (unlikely(c->is_initiator || x->bytes > c->params.max_data_bytes))
		return -EINVAL;
	x->done_bytes = 0;
	x->status = 0;
	list_add_tail(&c->rx.pulls, &x->link);
	return 0;
}

void tcp_pull_ready(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct tcp_rx *rx = &to_tcp(base)->rx;

	if (!rx->is_starving || rx->pulls.next != &x->link)
		return;
	rx->is_starving = false;
	rx->is_ready = true;
}

void tcp_resume(struct fabric_conn *base)
{
	struct tcp_rx *rx = &to_tcp(base)->rx;

	if (!rx->is_refused)
		return;
	rx->is_refused = false;
	rx->is_ready = true;
}

void tcp_rx_cancel(struct tcp_conn *c)
{
	struct list *node;

	while ((node = list_pop(&c->rx.pulls)))
		c->base.handler->pull_done(&c->base, list_entry(node, struct fabric_xfer, link),
					   -ECANCELED);
}
