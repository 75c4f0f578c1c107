/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection: what arrives is checked against the state (protocol.md 8) and handed to set-up or
 * queue; control messages, closing. Every path to CLOSED goes through on_closed(), where the queue
 * learns that its requests are over.
 */
#include "initiator/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "brp/status.h"

void ini_conn_set_state(struct ini_conn *c, enum brp_conn_state state)
{
	assert(brp_conn_may_move(c->state, state));
	c->state = state;
}

/* ---- sending --------------------------------------------------------------------------------- */

void *ini_conn_begin(struct ini_conn *c, uint32_t bytes)
{
	return fabric_msg_begin(c->fabric, bytes);
}

void ini_conn_commit(struct ini_conn *c, int bytes)
{
	assert(bytes > 0);
	if (fabric_msg_commit(c->fabric, (uint32_t)bytes, NULL, 0) == 0) {
		c->is_dirty = true;
		c->nr_sent++;
	}
}

void ini_conn_flush(struct ini_conn *c)
{
	if (!c || !c->is_dirty)
		return;
	c->is_dirty = false;
	fabric_flush(c->fabric);
}

/* True: sent. */
static bool send_keepalive(struct ini_conn *c, bool is_reply, uint64_t sequence)
{
	const struct brp_keepalive m = {.sequence = sequence};
	void *buf = ini_conn_begin(c, BRP_HEADER_BYTES + 8);

	if (!buf)
		return false;
	ini_conn_commit(c, brp_encode_keepalive(buf, BRP_HEADER_BYTES + 8, c->epoch, is_reply, &m));
	return true;
}

/* Control messages go before I/O that waits for a slot (protocol.md 6.1). */
static void send_owed(struct ini_conn *c)
{
	if (c->owes_reply)
		c->owes_reply = !send_keepalive(c, true, c->reply_sequence);
	if (c->owes_keepalive && !c->owes_reply)
		c->owes_keepalive = !send_keepalive(c, false, c->keepalive_sequence);
}

void ini_conn_keepalive(struct ini_conn *c)
{
	c->keepalive_sequence++;
	c->owes_keepalive = true;
	send_owed(c);
	ini_conn_flush(c);
}

static void send_goodbye(struct ini_conn *c, enum brp_status_code status, const char *text)
{
	struct brp_goodbye m = {.status = (uint16_t)status};
	void *buf = ini_conn_begin(c, 128);

	if (!buf)
		return; /* a courtesy: not worth waiting for */
	strncpy(m.text, text, sizeof(m.text) - 1);
	ini_conn_commit(c, brp_encode_goodbye(buf, 128, c->epoch, &m));
	ini_conn_flush(c);
}

/* ---- closing --------------------------------------------------------------------------------- */

void ini_conn_close(struct ini_conn *c, int err, bool is_abort)
{
	if (c->state == BRP_CONN_CLOSED)
		return;
	if (c->state != BRP_CONN_CLOSING) {
		ini_conn_set_state(c, BRP_CONN_CLOSING);
		c->error = err;
		c->queue->is_up = false;
		c->close_deadline_ns = now_ns() + INI_CLOSE_TIMEOUT_MS * NS_PER_MS;
		fabric_close(c->fabric, is_abort);
	} else if (is_abort) {
		c->close_deadline_ns = INI_FOREVER;
		fabric_close(c->fabric, true);
	}
}

void ini_conn_check_close(struct ini_conn *c)
{
	if (c->state == BRP_CONN_CLOSING && now_ns() >= c->close_deadline_ns)
		ini_conn_close(c, c->error, true);
}

void ini_conn_goodbye(struct ini_conn *c)
{
	if (ini_conn_is_over(c))
		return;
	if (c->state == BRP_CONN_NEW) { /* the peer would not accept a GOODBYE yet */
		ini_conn_close(c, -ECANCELED, true);
		return;
	}
	send_goodbye(c, BRP_ST_OK, "");
	ini_conn_close(c, -ECANCELED, false);
}

void ini_conn_protocol_error(struct ini_conn *c, const char *what)
{
	if (ini_conn_is_over(c))
		return;
	ini_error_set(&c->why, -EPROTO, "%s broke the protocol: %s", fabric_conn_peer(c->fabric),
		      what);
	if (c->state != BRP_CONN_NEW)
		send_goodbye(c, BRP_ST_PROTOCOL, what);
	ini_conn_close(c, -EPROTO, false);
}

/* ---- what arrives ---------------------------------------------------------------------------- */

static void on_connected(struct fabric_conn *fc)
{
	struct ini_conn *c = fabric_conn_ctx(fc);

	if (!ini_conn_is_over(c))
		ini_setup_hello(c);
}

static void handle_keepalive(struct ini_conn *c, const void *buf, uint32_t bytes, bool is_reply)
{
	struct brp_keepalive m;

	if (brp_decode_keepalive(buf, bytes, &m) < 0) {
		ini_conn_protocol_error(c, "malformed KEEPALIVE");
		return;
	}
	if (is_reply)
		return; /* that something came is all it tells */
	c->owes_reply = true;
	c->reply_sequence = m.sequence;
	send_owed(c);
}

static void handle_goodbye(struct ini_conn *c, const void *buf, uint32_t bytes)
{
	struct brp_goodbye m;
	int err;

	if (brp_decode_goodbye(buf, bytes, &m) < 0) {
		ini_conn_protocol_error(c, "malformed GOODBYE");
		return;
	}
	err = m.status == BRP_ST_OK ? -ESHUTDOWN : brp_status_to_errno(m.status);
	ini_error_set(&c->why, err, "%s ended the connection: %s%s%s", fabric_conn_peer(c->fabric),
		      brp_status_name(m.status), m.text[0] ? ": " : "", m.text);
	/* The volume is gone for good; everything else may be better at the next login. */
	c->is_final = m.status == BRP_ST_GONE;
	ini_conn_close(c, err, false);
}

static void resized(struct ini_conn *c, uint64_t size_blocks)
{
	struct brp_session *s = c->session;
	uint32_t block_bytes = c->queue->limits.block_bytes;

	if (size_blocks > UINT64_MAX / block_bytes) {
		ini_conn_protocol_error(c, "EVENT with an impossible size");
		return;
	}
	/* Every connection gets the news; the owner needs it once. */
	if (atomic_exchange(&s->size_blocks, size_blocks) != size_blocks)
		ini_event(s, BRP_EVENT_RESIZED, 0, "the volume has %llu bytes now",
			  (unsigned long long)(size_blocks * block_bytes));
}

static void removed(struct ini_conn *c)
{
	const char *words = "the volume was removed on the target";

	if (!atomic_exchange(&c->session->is_removed, true))
		ini_event(c->session, BRP_EVENT_REMOVED, -ENODEV, "%s", words);
	ini_error_set(&c->why, -ENODEV, "%s", words);
	c->is_final = true;
	ini_conn_close(c, -ENODEV, true);
}

/* protocol.md 6.2. Unknown kinds are ignored. */
static void handle_event(struct ini_conn *c, const void *buf, uint32_t bytes)
{
	struct brp_event_msg m;

	if (brp_decode_event(buf, bytes, &m) < 0) {
		ini_conn_protocol_error(c, "malformed EVENT");
		return;
	}
	switch (m.kind) {
	case BRP_EV_RESIZED:
		resized(c, m.size_blocks);
		break;
	case BRP_EV_REMOVED:
		removed(c);
		break;
	case BRP_EV_GOING_DOWN:
		if (!atomic_exchange(&c->session->is_going_down, true))
			ini_event(c->session, BRP_EVENT_GOING_DOWN, 0, "the target is ending");
		break;
	}
}

static void dispatch(struct ini_conn *c, const struct brp_header *h, const void *buf,
		     uint32_t bytes)
{
	switch (h->type) {
	case BRP_MSG_HELLO_REPLY:
		ini_setup_hello_reply(c, buf, bytes);
		break;
	case BRP_MSG_LOGIN_REPLY:
		ini_setup_login_reply(c, buf, bytes);
		break;
	case BRP_MSG_LIST_REPLY:
		ini_list_reply(c, buf, bytes);
		break;
	case BRP_MSG_RESPONSE:
		ini_queue_response(c->queue, buf, bytes);
		break;
	case BRP_MSG_KEEPALIVE:
	case BRP_MSG_KEEPALIVE_REPLY:
		handle_keepalive(c, buf, bytes, h->type == BRP_MSG_KEEPALIVE_REPLY);
		break;
	case BRP_MSG_EVENT:
		handle_event(c, buf, bytes);
		break;
	case BRP_MSG_GOODBYE:
		handle_goodbye(c, buf, bytes);
		break;
	default:
		ini_conn_protocol_error(c, "unexpected message");
	}
}

static int on_message(struct fabric_conn *fc, const void *buf, uint32_t bytes)
{
	struct ini_conn *c = fabric_conn_ctx(fc);
	struct brp_header h;

	if (ini_conn_is_over(c))
		return 0;
	c->nr_received++;
	if (unlikely(c->state != BRP_CONN_READY))
		c->heard_ns = now_ns();
	if (unlikely(brp_decode_header(buf, bytes, &h) < 0))
		ini_conn_protocol_error(c, "malformed message header");
	else if (unlikely(!brp_conn_accepts(BRP_ROLE_INITIATOR, c->state, h.type)))
		ini_conn_protocol_error(c, "message not allowed in this state");
	else if (unlikely(h.epoch != c->epoch && !brp_is_keepalive(h.type)))
		ini_conn_protocol_error(c, "message of another epoch");
	else
		dispatch(c, &h, buf, bytes);
	return 0;
}

static void on_notice(struct fabric_conn *fc, uint32_t value)
{
	struct ini_conn *c = fabric_conn_ctx(fc);

	if (ini_conn_is_over(c))
		return;
	c->nr_received++;
	if (likely(c->state == BRP_CONN_READY))
		ini_queue_notice(c->queue, value);
	else
		ini_conn_protocol_error(c, "notice before login");
}

static void on_sendable(struct fabric_conn *fc)
{
	struct ini_conn *c = fabric_conn_ctx(fc);

	if (ini_conn_is_over(c))
		return;
	send_owed(c);
	if (!c->owes_reply && !c->owes_keepalive && c->queue->is_up)
		ini_merge_sendable(c->queue);
}

static void on_closed(struct fabric_conn *fc, int error)
{
	struct ini_conn *c = fabric_conn_ctx(fc);
	const char *why = fabric_conn_why(fc);

	if (c->state != BRP_CONN_CLOSING) {
		c->error = error ? error : -ECONNRESET;
		ini_error_set(&c->why, c->error, "%s: %s%s%s%s", fabric_conn_peer(fc),
			      error ? strerror(-error) : "the target closed the connection",
			      why ? " (" : "", why ? why : "", why ? ")" : "");
		ini_conn_set_state(c, BRP_CONN_CLOSING);
	}
	ini_conn_set_state(c, BRP_CONN_CLOSED);
	c->queue->is_up = false;
	ini_recover_closed(c->queue);
}

/* The fabric calls these for pulls and pushes only, which are the target's. */
static void on_xfer_done(struct fabric_conn *fc, struct fabric_xfer *x, int status)
{
	(void)fc;
	(void)x;
	(void)status;
}

static const struct fabric_handler handler = {
	.connected = on_connected,
	.message = on_message,
	.notice = on_notice,
	.pull_done = on_xfer_done,
	.push_done = on_xfer_done,
	.sendable = on_sendable,
	.closed = on_closed,
};

int ini_conn_create(struct brp_queue *q, const struct sockaddr *addr, socklen_t addr_bytes,
		    const struct fabric_params *params, struct ini_conn **ret_conn)
{
	struct ini_conn *c = calloc(1, sizeof(*c));
	struct log_capture why;
	int r;

	if (!c)
		return ini_last_error_set(-ENOMEM, "out of memory");
	c->session = q->session;
	c->queue = q;
	c->state = BRP_CONN_NEW;
	c->heard_ns = now_ns();
	log_capture(&why);
	r = fabric_connect(q->session->fabric, addr, addr_bytes, params, &handler, c, &c->fabric);
	log_capture(NULL);
	if (r < 0) {
		free(c);
		return ini_last_error_set(r, "cannot connect to %s: %s", q->session->uri.host,
					  why.text[0] ? why.text : strerror(-r));
	}
	*ret_conn = c;
	return 0;
}

void ini_conn_destroy(struct ini_conn *c)
{
	if (!c)
		return;
	fabric_conn_destroy(c->fabric);
	free(c);
}
