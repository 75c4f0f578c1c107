/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brp/status.h"
#include "common/log.h"
#include "target/server.h"
#include "target/session.h"
#include "target/ticker.h"

/* So many passes in a row that left nothing in the device, and it is taken to finish inline. */
#define INLINE_PASSES 64u
/* Passes before a busy connection lets others of its thread have a turn. */
#define MAX_PASSES 16
/* Our messages under way; RESPONSEs beyond that wait and grow fuller. */
#define SEND_SLOTS 64
/* Beyond --max-connections, while others are being cut off to make room. */
#define SPARE_CONNECTIONS 16

/* ---- state ----------------------------------------------------------------------------------- */

void conn_set_state(struct conn *c, enum brp_conn_state to)
{
	assert(brp_conn_may_move(c->state, to));
	log_debug("%s: %s -> %s", fabric_conn_peer(c->fc), brp_conn_state_name(c->state),
		  brp_conn_state_name(to));
	c->state = to;
	if (to == BRP_CONN_CLOSING)
		c->closing_s = atomic_load(&c->server->tick_s) + 1;
}

void conn_order(struct conn *c, unsigned int order)
{
	atomic_fetch_or(&c->orders, order);
	pool_task_wake(&c->task);
}

void conn_heard(struct conn *c)
{
	unsigned int now_s = atomic_load_explicit(&c->server->tick_s, memory_order_relaxed);

	atomic_store_explicit(&c->heard_s, now_s, memory_order_relaxed);
}

static bool is_ending(const struct conn *c)
{
	return c->state == BRP_CONN_CLOSING || c->state == BRP_CONN_CLOSED;
}

static void say_goodbye(struct conn *c, enum brp_status_code status, const char *text)
{
	struct brp_goodbye g = {.status = (uint16_t)status};
	void *buf = fabric_msg_begin(c->fc, BRP_MAX_INITIATOR_MSG_BYTES);
	int len;

	if (!buf)
		return; /* a courtesy: the close itself tells the peer */
	snprintf(g.text, sizeof(g.text), "%s", text);
	len = brp_encode_goodbye(buf, BRP_MAX_INITIATOR_MSG_BYTES, c->limits.epoch, &g);
	if (len > 0)
		fabric_msg_commit(c->fc, (uint32_t)len, NULL, 0);
}

void conn_close(struct conn *c, enum brp_status_code status, const char *text)
{
	if (is_ending(c))
		return;
	say_goodbye(c, status, text);
	conn_set_state(c, BRP_CONN_CLOSING);
	fabric_close(c->fc, false);
}

void conn_protocol_error(struct conn *c, const char *what)
{
	server_count(c->server, TARGET_COUNT_protocol_errors);
	log_peer(LOG_WARNING, "%s: protocol error: %s", fabric_conn_peer(c->fc), what);
	conn_close(c, BRP_ST_PROTOCOL, what);
}

/* ---- fabric callbacks ------------------------------------------------------------------------ */

static void on_connected(struct fabric_conn *fc)
{
	struct conn *c = fabric_conn_ctx(fc);

	log_debug("%s: connected over %s", fabric_conn_peer(fc), fabric_conn_fabric_name(fc));
	(void)c;
}

static int on_jumbo(struct conn *c, const void *buf, uint32_t bytes)
{
	const char *what;
	int err = requests_jumbo(c, buf, bytes, &what);

	if (err == -EPROTO) {
		conn_protocol_error(c, what);
		return 0;
	}
	return err;
}

/* On its way while the login ended here (protocol.md 6.1, 6.3). */
static bool may_cross_login(const struct brp_header *h)
{
	return brp_is_keepalive(h->type) || (h->type == BRP_MSG_GOODBYE && !h->epoch);
}

static int on_message(struct fabric_conn *fc, const void *buf, uint32_t bytes)
{
	struct conn *c = fabric_conn_ctx(fc);
	struct brp_header h;

	conn_heard(c);
	if (is_ending(c)) {
		if (c->is_fenced)
			server_count(c->server, TARGET_COUNT_stale_messages);
		return 0;
	}
	if (unlikely(brp_decode_header(buf, bytes, &h))) {
		conn_protocol_error(c, "malformed message header");
		return 0;
	}
	if (unlikely(!brp_conn_accepts(BRP_ROLE_TARGET, c->state, h.type))) {
		conn_protocol_error(c, "message not allowed in this state");
		return 0;
	}
	if (unlikely(h.epoch != c->limits.epoch && !may_cross_login(&h))) {
		server_count(c->server, TARGET_COUNT_stale_messages);
		conn_protocol_error(c, "message of another epoch");
		return 0;
	}
	if (likely(h.type == BRP_MSG_JUMBO))
		/* Ending: what was not begun is left to the initiator, which will send it again
		 * elsewhere or later. */
		return c->is_draining ? -EAGAIN : on_jumbo(c, buf, bytes);
	return conn_setup_message(c, &h, buf, bytes);
}

/* Only initiators get notices. */
static void on_notice(struct fabric_conn *fc, uint32_t value)
{
	(void)value;
	conn_protocol_error(fabric_conn_ctx(fc), "notice from an initiator");
}

static void on_pull_done(struct fabric_conn *fc, struct fabric_xfer *x, int status)
{
	requests_pull_done(fabric_conn_ctx(fc), x, status);
}

static void on_push_done(struct fabric_conn *fc, struct fabric_xfer *x, int status)
{
	requests_push_done(fabric_conn_ctx(fc), x, status);
}

/* Answers that waited for a slot go out at the end of this pass anyway; a question that did is read
 * now. */
static void on_sendable(struct fabric_conn *fc)
{
	fabric_resume(fc);
}

static void note_lost(struct conn *c, int error)
{
	bool is_digest = error == -EBADMSG;

	server_count(c->server,
		     is_digest ? TARGET_COUNT_digest_errors : TARGET_COUNT_connections_lost);
	log_peer(LOG_NOTICE, "%s: connection lost: %s", c->peer,
		 is_digest ? "damaged data was refused" : strerror(-error));
}

static void on_closed(struct fabric_conn *fc, int error)
{
	struct conn *c = fabric_conn_ctx(fc);

	c->is_fabric_closed = true;
	if (error == -EBADMSG || (error && !is_ending(c)))
		note_lost(c, error);
	else
		log_debug("%s: closed", fabric_conn_peer(fc));
	if (!is_ending(c))
		conn_set_state(c, BRP_CONN_CLOSING);
	requests_cancel(c);
}

static const struct fabric_handler handler = {
	.connected = on_connected,
	.message = on_message,
	.notice = on_notice,
	.pull_done = on_pull_done,
	.push_done = on_push_done,
	.sendable = on_sendable,
	.closed = on_closed,
};

/* ---- orders ---------------------------------------------------------------------------------- */

static const struct {
	const char *text;
	int counter; /* enum target_counter; -1: none */
} cuts[CONN_CUT_COUNT] = {
	[CONN_CUT_SETUP] = {"no login in time", TARGET_COUNT_cut_setup},
	[CONN_CUT_KEEPALIVE] = {"silent for too long", TARGET_COUNT_cut_keepalive},
	[CONN_CUT_STALLED] = {"takes or sends no data", TARGET_COUNT_cut_stalled},
	[CONN_CUT_CLOSING] = {"does not see its end", TARGET_COUNT_cut_closing},
	[CONN_CUT_DRAINING] = {"does not finish", TARGET_COUNT_cut_draining},
	[CONN_CUT_FENCED] = {"a newer epoch of the session has logged in", TARGET_COUNT_fenced},
	[CONN_CUT_CROWDED] = {"no login yet, and others need the room", TARGET_COUNT_cut_crowded},
	[CONN_CUT_ENDING] = {"the target ends", -1},
	[CONN_CUT_BROKEN] = {"out of descriptors or memory", -1},
};

void conn_cut_off(struct conn *c, enum conn_cut why)
{
	if (c->is_fabric_closed || c->is_cut)
		return;
	c->is_cut = true;
	if (cuts[why].counter >= 0)
		server_count(c->server, (enum target_counter)cuts[why].counter);
	log_peer(LOG_NOTICE, "%s: cut off: %s", c->peer, cuts[why].text);
	if (!is_ending(c))
		conn_set_state(c, BRP_CONN_CLOSING);
	fabric_close(c->fc, true);
}

/* Tells the initiator as soon as a message can be sent. */
static void owe_event(struct conn *c, unsigned int kind)
{
	if (c->state == BRP_CONN_READY)
		c->owed_events |= 1u << kind;
}

/* Nothing new is begun; when all is answered, a goodbye. */
static void start_draining(struct conn *c, enum brp_status_code goodbye, unsigned int event)
{
	if (is_ending(c))
		return;
	owe_event(c, event);
	c->is_draining = true;
	c->goodbye = goodbye;
	if (goodbye == BRP_ST_GONE) /* the end of the target has a time limit of its own */
		c->draining_s = atomic_load(&c->server->tick_s) + 1;
}

static void take_size(struct conn *c)
{
	if (c->state != BRP_CONN_READY)
		return;
	c->limits.size_blocks = volume_blocks(c->volume);
	owe_event(c, BRP_EV_RESIZED);
}

static void take_ending_orders(struct conn *c, unsigned int orders)
{
	if (orders & CONN_ORDER_FENCED) {
		c->is_fenced = true;
		conn_cut_off(c, CONN_CUT_FENCED);
	}
	if (orders & CONN_ORDER_LATE)
		conn_cut_off(c, (enum conn_cut)atomic_load(&c->late_for));
	if ((orders & CONN_ORDER_CROWDED) && !c->volume)
		conn_cut_off(c, CONN_CUT_CROWDED);
	if (orders & CONN_ORDER_ABORT)
		conn_cut_off(c, CONN_CUT_ENDING);
	if (orders & CONN_ORDER_REMOVED)
		start_draining(c, BRP_ST_GONE, BRP_EV_REMOVED);
	if (orders & CONN_ORDER_DRAIN)
		start_draining(c, BRP_ST_SHUTTING_DOWN, BRP_EV_GOING_DOWN);
}

static void take_orders(struct conn *c)
{
	unsigned int orders;

	/* Given before the task was woken, which orders it; the look alone is cheap. */
	if (likely(!atomic_load_explicit(&c->orders, memory_order_relaxed)))
		return;
	orders = atomic_exchange(&c->orders, 0);
	take_ending_orders(c, orders);
	if (orders & CONN_ORDER_RESIZED)
		take_size(c);
	if ((orders & CONN_ORDER_ALIVE) && c->state == BRP_CONN_READY)
		c->owes_sign_of_life = true;
	if ((orders & CONN_ORDER_ADMIT) && c->state == BRP_CONN_ADMITTING)
		conn_try_admission(c);
	if (orders & CONN_ORDER_GATE)
		requests_gate_passed(c);
	if ((orders & CONN_ORDER_BUFFER) && !c->is_fabric_closed)
		requests_buffers_back(c);
}

/* ---- the task -------------------------------------------------------------------------------- */

static bool send_keepalive(struct conn *c, bool is_reply, uint64_t sequence)
{
	const struct brp_keepalive k = {.sequence = sequence};
	void *buf = fabric_msg_begin(c->fc, BRP_MAX_INITIATOR_MSG_BYTES);
	int len;

	if (!buf)
		return false; /* the pass after a message has left tries again */
	len = brp_encode_keepalive(buf, BRP_MAX_INITIATOR_MSG_BYTES, c->limits.epoch, is_reply, &k);
	if (len > 0)
		fabric_msg_commit(c->fc, (uint32_t)len, NULL, 0);
	return true;
}

/* The answer; and, while the peer's questions are not read, a question of ours as a sign of life.
 */
static void pay_keepalives(struct conn *c)
{
	if (is_ending(c))
		return;
	if (c->owes_keepalive)
		c->owes_keepalive = !send_keepalive(c, true, c->keepalive_sequence);
	if (c->owes_sign_of_life)
		c->owes_sign_of_life = !send_keepalive(c, false, 0);
}

static void pay_events(struct conn *c)
{
	for (unsigned int kind = BRP_EV_RESIZED; kind <= BRP_EV_GOING_DOWN; kind++) {
		struct brp_event_msg e = {.kind = (uint16_t)kind};
		void *buf;
		int len;

		if (!(c->owed_events & 1u << kind))
			continue;
		buf = is_ending(c) ? NULL : fabric_msg_begin(c->fc, BRP_MAX_INITIATOR_MSG_BYTES);
		if (!buf)
			return; /* the pass after a message has left tries again */
		if (kind == BRP_EV_RESIZED)
			e.size_blocks = c->limits.size_blocks;
		e.generation = c->volume->info.generation;
		len = brp_encode_event(buf, BRP_MAX_INITIATOR_MSG_BYTES, c->limits.epoch, &e);
		if (len > 0)
			fabric_msg_commit(c->fc, (uint32_t)len, NULL, 0);
		c->owed_events &= ~(1u << kind);
		server_count(c->server, TARGET_COUNT_events);
	}
}

static const char *goodbye_text(enum brp_status_code st)
{
	return st == BRP_ST_GONE ? "the volume was removed" : "the target ends";
}

/* For the ticker: the peer must take part. With requests that wait for a buffer of ours it is not
 * the peer that holds things up. */
static void note_moving(struct conn *c)
{
	const struct request_table *t = &c->requests;
	bool is_starved = !list_empty(&t->starved);
	unsigned int nr_moving = t->nr_pulls + t->nr_pushes;
	bool is_moving = nr_moving && !is_starved;
	/* Answers that cannot be sent, on the other hand, are the peer's fault. */
	bool is_deaf = is_starved || (t->is_holding && !nr_moving && list_empty(&t->answers));

	atomic_store_explicit(&c->is_moving, is_moving, memory_order_relaxed);
	atomic_store_explicit(&c->is_deaf, is_deaf, memory_order_relaxed);
}

/*
 * A device that finishes everything within io_submit() signals what this pass has reaped already:
 * each time a wake-up for nothing. Its descriptor is muted then, and heard again as soon as
 * anything stays in the device. Where there is none, nobody but we ourselves will wake us: after
 * others had their turn.
 */
static void note_in_device(struct conn *c)
{
	bool is_inline = !bk_in_flight(c->queue);
	int fd = bk_queue_fd(c->queue);

	if (fd < 0) {
		if (unlikely(!is_inline)) {
			pool_promote(c->server->pool);
			pool_task_wake(&c->task);
		}
		return;
	}
	c->nr_inline = is_inline ? MIN(c->nr_inline + 1, INLINE_PASSES) : 0;
	if (unlikely(c->is_device_muted != (c->nr_inline == INLINE_PASSES))) {
		c->is_device_muted = !c->is_device_muted;
		pool_task_mute_fd(&c->task, fd, c->is_device_muted);
	}
}

/* One pass: hear, work, answer. True when there may be more to do at once. */
static bool pass(struct conn *c)
{
	take_orders(c);
	if (pool_task_take_rare(&c->task))
		fabric_look(c->fc);
	if (!c->is_fabric_closed)
		fabric_poll(c->fc);
	if (unlikely(c->owes_keepalive || c->owes_sign_of_life))
		pay_keepalives(c);
	if (unlikely(c->owed_events))
		pay_events(c);
	requests_progress(c);
	if (c->queue)
		note_in_device(c);
	/* What is only being pushed the orderly close sees out. */
	if (unlikely(c->is_draining) && c->requests.nr_busy == c->requests.nr_pushes)
		conn_close(c, c->goodbye, goodbye_text(c->goodbye));
	if (c->is_fabric_closed)
		return false;
	fabric_flush(c->fc);
	note_moving(c);
	return fabric_arm(c->fc) > 0;
}

static bool is_over(const struct conn *c)
{
	return c->is_fabric_closed && !c->requests.nr_busy;
}

static void leave_tables(struct conn *c)
{
	struct server *s = c->server;

	session_leave(s, c);
	pthread_mutex_lock(&s->lock);
	volumes_put(s, c);
	list_del(&c->server_link);
	if (!--s->nr_conns) {
		ticker_stop(s->ticker);
		pthread_cond_broadcast(&s->conn_left);
	}
	pthread_mutex_unlock(&s->lock);
}

/* Nothing of this connection is in the fabric or in the device any more. Leaving the session comes
 * last: it opens the barrier. */
static void finish(struct conn *c)
{
	if (c->state != BRP_CONN_CLOSED)
		conn_set_state(c, BRP_CONN_CLOSED);
	for (int i = 0; i < c->nr_fds; i++)
		pool_task_del_fd(&c->task, c->fds[i]);
	if (c->queue && bk_queue_fd(c->queue) >= 0)
		pool_task_del_fd(&c->task, bk_queue_fd(c->queue));
	bk_queue_destroy(c->queue);
	requests_finish(c);
	fabric_conn_destroy(c->fc);
	c->fc = NULL;
	leave_tables(c);
}

/* On the first run. Without its descriptors nobody would ever run the task again. */
static void start_watching(struct conn *c)
{
	int err = 0;

	c->nr_fds = fabric_conn_fds(c->fc, c->fds);
	for (int i = 0; i < c->nr_fds && !err; i++)
		err = i == 0 ? pool_task_add_fd(&c->task, c->fds[i])
			     : pool_task_add_rare_fd(&c->task, c->fds[i]);
	if (err)
		conn_cut_off(c, CONN_CUT_BROKEN);
}

static bool run(struct pool_task *t)
{
	struct conn *c = container_of(t, struct conn, task);

	if (unlikely(!c->nr_fds))
		start_watching(c);
	for (int i = 0; i < MAX_PASSES; i++) {
		bool has_more = pass(c);

		if (is_over(c)) {
			finish(c);
			return false;
		}
		if (!has_more)
			return true;
	}
	pool_task_wake(&c->task);
	return true;
}

/* Also for tasks that the pool ends because it is destroyed; server_stop() has waited for all
 * connections before. */
static void end(struct pool_task *t)
{
	free(container_of(t, struct conn, task));
}

/* ---- birth ----------------------------------------------------------------------------------- */

static struct conn *conn_alloc(struct server *s, struct fabric_conn *fc, unsigned int fabric_index)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->server = s;
	c->fc = fc;
	c->fabric_index = fabric_index;
	c->born_s = atomic_load(&s->tick_s);
	c->heard_s = c->born_s;
	snprintf(c->peer, sizeof(c->peer), "%s", fabric_conn_peer(fc));
	list_init(&c->server_link);
	list_init(&c->session_link);
	requests_prepare(&c->requests);
	return c;
}

/*
 * The oldest one that asked for no volume yet is cut off, so that silent connections, however many,
 * cannot keep everybody else out. It leaves a little later, hence the spare ones. server.lock is
 * held. False: all have logged in.
 */
static bool make_room(struct server *s)
{
	struct list *pos;

	list_for_each (pos, &s->conns) {
		struct conn *c = list_entry(pos, struct conn, server_link);

		if (!c->volume && !c->is_crowded) {
			c->is_crowded = true;
			conn_order(c, CONN_ORDER_CROWDED);
			return true;
		}
	}
	return false;
}

static bool has_room(struct server *s)
{
	unsigned int max = s->opt.max_connections;

	return s->nr_conns < max || (s->nr_conns < max + SPARE_CONNECTIONS && make_room(s));
}

/*
 * From here on others may leave orders, and as soon as the lock is free the task may run, end and
 * be gone: it adds its descriptors itself (start_watching()).
 */
static int enter_tables(struct conn *c)
{
	struct server *s = c->server;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->is_stopping || !has_room(s)) {
		err = -ENOBUFS;
	} else {
		pool_task_init(s->pool, &c->task, run, end);
		list_add_tail(&s->conns, &c->server_link);
		if (!s->nr_conns++)
			ticker_start(s->ticker);
		pool_task_wake(&c->task);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

void conn_create(struct server *s, struct fabric_conn *fc, unsigned int fabric_index)
{
	const struct fabric_params params = {
		.recv_bytes = BRP_MAX_TARGET_MSG_BYTES,
		.recv_count = s->opt.max_queue_depth + 8,
		.send_bytes = BRP_MAX_INITIATOR_MSG_BYTES,
		.send_count = SEND_SLOTS,
		.max_data_bytes = BRP_DEFAULT_TRANSFER_BYTES,
		.depth = 2 * s->opt.max_queue_depth,
		.is_looking = true,
		.is_lazy = true,
	};
	struct conn *c = conn_alloc(s, fc, fabric_index);
	int err = c ? fabric_accept(fc, &params, &handler, c) : -ENOMEM;

	if (!err)
		err = enter_tables(c);
	server_count(s, err ? TARGET_COUNT_connections_refused : TARGET_COUNT_connections);
	if (err) {
		log_peer(LOG_WARNING, "%s: connection not accepted: %s", fabric_conn_peer(fc),
			 err == -ENOBUFS ? "too many connections (--max-connections)"
					 : strerror(-err));
		fabric_conn_destroy(fc);
		free(c);
		return;
	}
}
