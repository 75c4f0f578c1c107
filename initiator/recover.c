/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue that loses its connection makes a new one, from within its own brp_poll() or brp_wait():
 *
 *	FIRST ──session connected──▶ UP ──closed()──▶ WAITING ──time──▶ TRYING ──admitted──▶ UP
 *	                              │                  ▲ │ failed attempt │
 *	                              │                  └─│────────────────┘
 *	                              └───────▶ DEAD ◀─────┴ the session failed
 *
 * What was not answered has gone back to the merge engine when the fabric said closed(), and is
 *sent again after the login. Who may do what, and why nothing is lost: docs/recovery.md.
 *
 * Epochs. All queues log in with session.epoch. The target closes what is older and answers only
 * when nothing of it is left in its device. So a loss with requests unanswered, or an attempt that
 * sent a LOGIN and heard nothing (it may be half admitted), must be followed by a newer epoch:
 * whoever loses a connection of the current one raises it. A queue that loses an older one was
 * closed because of that, or would have been, and logs in with the epoch that is there. So each
 *real loss raises the epoch once at most, the losses it causes raise nothing, and it all ends. A
 *queue that lost nothing but the connection (no request unanswered) raises nothing and so disturbs
 *no other queue; should the target not have noticed, it says BUSY, and that raises it.
 */
#include "initiator/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "brp/status.h"

#define ATTEMPT_MS 5000u /* for a connection and the answer to HELLO; silence after LOGIN */
#define SETTLED_MS 5000u /* a connection that held so long was of use even without any I/O */
#define TICKS      5u    /* KEEPALIVEs within that time while the LOGIN has no reply */

#define TO(state) (1u << INI_LINK_##state)

static const uint8_t may_move[INI_LINK_COUNT] = {
	[INI_LINK_FIRST] = TO(UP) | TO(DEAD),
	[INI_LINK_UP] = TO(WAITING) | TO(DEAD),
	[INI_LINK_WAITING] = TO(TRYING) | TO(DEAD),
	[INI_LINK_TRYING] = TO(UP) | TO(WAITING) | TO(DEAD),
	[INI_LINK_DEAD] = 0,
};

static bool is_down(enum ini_link_state state)
{
	return state == INI_LINK_WAITING || state == INI_LINK_TRYING;
}

/* Under session.lock. */
static void set_state(struct brp_queue *q, enum ini_link_state to)
{
	enum ini_link_state from = q->link.state;

	assert(may_move[from] >> to & 1);
	(void)may_move; /* with NDEBUG */
	q->session->nr_down += is_down(to);
	q->session->nr_down -= is_down(from);
	q->link.state = to;
}

static void lock(struct brp_queue *q)
{
	pthread_mutex_lock(&q->session->lock);
}

static void unlock(struct brp_queue *q)
{
	pthread_mutex_unlock(&q->session->lock);
}

static uint64_t at_ms(uint64_t from_ns, unsigned int ms)
{
	return from_ns + ms * NS_PER_MS;
}

/* ---- the end --------------------------------------------------------------------------------- */

int ini_session_fail(struct brp_session *s, int err, const char *fmt, ...)
{
	char text[INI_ERROR_BYTES];
	uint64_t one = 1;
	va_list ap;

	if (atomic_exchange(&s->has_failed, true))
		return err;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ini_error_set(&s->error, err, "%s", text);
	(void)!write(s->failed_fd, &one, sizeof(one));
	ini_event(s, BRP_EVENT_FAILED, err, "%s", text);
	return err;
}

/* What ends every request of a session that will not come back; 0: it lives. */
static int end_of(const struct brp_session *s)
{
	return s->is_ending ? -ECANCELED : ini_error_code(&s->error);
}

static void fail_requests(struct brp_queue *q, int err)
{
	bool was_polling = q->is_polling;

	q->is_open = false;
	q->closed_error = err == -ETIMEDOUT ? -ETIMEDOUT : -ENOTCONN;
	q->is_polling = true; /* the callbacks must not poll */
	ini_queue_fail_all(q, err);
	q->is_polling = was_polling;
}

static void end_queue(struct brp_queue *q, int err)
{
	lock(q);
	set_state(q, INI_LINK_DEAD);
	unlock(q);
	fail_requests(q, err);
	q->closed_error = -ENOTCONN;
}

/* ---- a loss ---------------------------------------------------------------------------------- */

/* Unless another queue has, since this connection's login. */
static void raise_epoch(struct brp_session *s, const struct ini_conn *c)
{
	uint64_t epoch = c->login_epoch;

	(void)atomic_compare_exchange_strong(&s->epoch, &epoch, epoch + 1);
}

static bool must_raise_epoch(const struct brp_queue *q)
{
	const struct ini_conn *c = q->conn;

	if (c->login_epoch == 0)
		return false;
	if (c->is_admitted)
		return q->on_wire > 0;
	return c->refusal == 0 || c->refusal == BRP_ST_BUSY;
}

/* A LOGIN of ours with an epoch that another queue has left behind. */
static bool is_outrun(const struct brp_session *s, const struct ini_conn *c)
{
	return c->login_epoch != 0 && !c->is_admitted && c->login_epoch < atomic_load(&s->epoch) &&
	       (c->refusal == 0 || c->refusal == BRP_ST_STALE_EPOCH);
}

static bool was_taken_over(const struct brp_session *s, const struct ini_conn *c)
{
	return c->refusal == BRP_ST_STALE_EPOCH && c->refusal_epoch > atomic_load(&s->epoch);
}

static bool was_of_use(const struct brp_queue *q, uint64_t now)
{
	return q->stats.completions != q->link.completions ||
	       now >= at_ms(q->link.up_ns, SETTLED_MS);
}

/* The next address, round and round. False: all of them have failed in this round. */
static bool next_address(struct brp_queue *q)
{
	struct ini_link *l = &q->link;

	l->addr = l->addr->ai_next ? l->addr->ai_next : q->session->addrs;
	return l->addr != l->first;
}

static enum ini_failure failure_of(const struct ini_conn *c)
{
	if (c->is_admitted || c->refusal == BRP_ST_NO_RESOURCES || c->refusal == BRP_ST_BUSY)
		return INI_FAILED_USELESS;
	if (c->has_answer || c->error == -ECONNREFUSED || c->error == -ECONNRESET)
		return INI_FAILED_REFUSED;
	return INI_FAILED_SILENT;
}

/* When to try again: how many ms from now. */
static uint64_t judge(struct brp_queue *q, const struct ini_conn *c, uint64_t now)
{
	struct ini_link *l = &q->link;

	/* The first loss ever finds no outage before it. */
	if (c->is_admitted && (l->lost_ns == 0 || was_of_use(q, now))) {
		l->failed = 0;
		l->lost_ns = now;
		l->was_busy = false;
		l->first = l->addr;
		return 0;
	}
	if (is_outrun(q->session, c))
		return 0;
	if (c->refusal == BRP_ST_BUSY && !l->was_busy) {
		l->was_busy = true;
		return 0;
	}
	if (!c->has_answer && next_address(q))
		return 0;
	l->first = l->addr;
	l->failed++;
	return ini_backoff_ms(&q->session->opt, l->failed, failure_of(c), &l->jitter);
}

static void limit_text(int limit_ms, char *buf, size_t bytes)
{
	if (limit_ms < 0)
		snprintf(buf, bytes, "never");
	else
		snprintf(buf, bytes, "after %d.%03d s", limit_ms / 1000, limit_ms % 1000);
}

static void tell_lost(struct brp_queue *q, const struct ini_conn *c)
{
	char limit[32];

	limit_text(q->session->opt.ctrl_loss_tmo_ms, limit, sizeof(limit));
	ini_event(q->session, BRP_EVENT_LOST, c->error,
		  "connection lost: %s; reconnecting, I/O waits, gives up %s",
		  ini_error_text(&c->why), limit);
}

/* is_news: not only cut off because another queue has logged in again. */
static void wait_for_attempt(struct brp_queue *q, const struct ini_conn *c, unsigned int nr_sent,
			     bool is_news)
{
	struct brp_session *s = q->session;
	uint64_t now = now_ns();
	bool is_first;

	lock(q);
	q->link.next_ns = now + judge(q, c, now) * NS_PER_MS;
	s->nr_retried += nr_sent;
	s->nr_digest_errors += c->error == -EBADMSG;
	snprintf(s->why_down, sizeof(s->why_down), "%s", ini_error_text(&c->why));
	is_first = !s->is_loss_told && (is_news || q->link.failed > 0);
	s->is_loss_told |= is_first;
	set_state(q, INI_LINK_WAITING);
	unlock(q);
	if (is_first)
		tell_lost(q, c);
}

void ini_recover_closed(struct brp_queue *q)
{
	struct brp_session *s = q->session;
	struct ini_conn *c = q->conn;
	unsigned int nr_sent;
	bool is_news;

	if (q->link.state == INI_LINK_FIRST) /* session.c's business; nothing is in flight */
		return;
	is_news = c->is_admitted && c->login_epoch == atomic_load(&s->epoch);
	if (must_raise_epoch(q))
		raise_epoch(s, c);
	nr_sent = ini_queue_requeue(q);
	if (end_of(s) == 0 && was_taken_over(s, c))
		ini_session_fail(s, -ESTALE,
				 "the session was taken over by another process (epoch %llu, ours "
				 "was %llu)",
				 (unsigned long long)c->refusal_epoch,
				 (unsigned long long)c->login_epoch);
	else if (end_of(s) == 0 && (c->is_final || s->opt.ctrl_loss_tmo_ms == 0))
		ini_session_fail(s, c->error, "%s", ini_error_text(&c->why));
	if (end_of(s) < 0)
		end_queue(q, end_of(s));
	else
		wait_for_attempt(q, c, nr_sent, is_news);
}

/* ---- an attempt ------------------------------------------------------------------------------ */

static void attempt_failed_early(struct brp_queue *q, int err)
{
	struct brp_session *s = q->session;
	struct ini_conn none = {.error = err};

	ini_error_set(&none.why, err, "%s", brp_last_error());
	lock(q);
	q->link.next_ns = now_ns() + judge(q, &none, now_ns()) * NS_PER_MS;
	snprintf(s->why_down, sizeof(s->why_down), "%s", ini_error_text(&none.why));
	unlock(q);
}

static unsigned int attempt_ms(const struct brp_queue *q)
{
	return MIN(ATTEMPT_MS, q->session->opt.connect_timeout_ms);
}

static void start_attempt(struct brp_queue *q, uint64_t now)
{
	const struct addrinfo *a = q->link.addr;
	int r = ini_conn_create(q, a->ai_addr, a->ai_addrlen, &q->params, &q->conn);

	if (r < 0) {
		attempt_failed_early(q, r);
		return;
	}
	lock(q);
	set_state(q, INI_LINK_TRYING);
	q->link.deadline_ns = at_ms(now, attempt_ms(q));
	unlock(q);
	q->link.tick_ns = at_ms(now, attempt_ms(q) / TICKS + 1);
	r = ini_wait_attach(q);
	if (r < 0)
		ini_conn_close(q->conn,
			       ini_error_set(&q->conn->why, r, "cannot wait for a connection: %s",
					     strerror(-r)),
			       true);
}

/*
 * The target may have to wait for its device before it admits us; that takes what it takes, and it
 * answers KEEPALIVEs meanwhile.
 */
static void watch_attempt(struct brp_queue *q, uint64_t now)
{
	struct ini_conn *c = q->conn;
	struct ini_link *l = &q->link;

	if (ini_conn_is_over(c))
		return;
	if (now >= l->tick_ns) {
		l->tick_ns = at_ms(now, attempt_ms(q) / TICKS + 1);
		if (c->state == BRP_CONN_GREETED)
			ini_conn_keepalive(c);
	}
	lock(q);
	l->deadline_ns = at_ms(c->heard_ns, attempt_ms(q));
	unlock(q);
	if (now < l->deadline_ns)
		return;
	ini_conn_close(c,
		       ini_error_set(&c->why, -ETIMEDOUT, "%s: no %s within %u ms",
				     fabric_conn_peer(c->fabric),
				     c->state == BRP_CONN_NEW ? "answer" : "sign of life",
				     attempt_ms(q)),
		       true);
}

static void tell_up(struct brp_queue *q, bool is_last, bool is_larger, uint64_t down_ms)
{
	struct brp_session *s = q->session;

	if (is_larger)
		ini_event(s, BRP_EVENT_RESIZED, 0, "the volume has %llu blocks now",
			  (unsigned long long)q->login.size_blocks);
	if (is_last)
		ini_event(s, BRP_EVENT_RECONNECTED, 0, "connected to %s again after %llu.%03llu s",
			  fabric_conn_peer(q->conn->fabric), (unsigned long long)down_ms / 1000,
			  (unsigned long long)down_ms % 1000);
}

static void go_on(struct brp_queue *q, const struct brp_login_reply *m, bool is_larger)
{
	struct brp_session *s = q->session;
	uint64_t now = now_ns();
	uint64_t down_ms;
	bool is_last;

	lock(q);
	set_state(q, INI_LINK_UP);
	s->nr_reconnects++;
	is_last = s->nr_down == 0 && s->is_loss_told;
	if (is_last)
		s->is_loss_told = false;
	down_ms = (now - q->link.lost_ns) / NS_PER_MS;
	unlock(q);
	q->link.up_ns = now;
	q->link.completions = q->stats.completions;
	atomic_store(&s->is_going_down, false);
	ini_setup_ready(q->conn, m->epoch);
	tell_up(q, is_last, is_larger, down_ms);
	ini_merge_sendable(q);
}

void ini_recover_admitted(struct brp_queue *q, const struct brp_login_reply *m)
{
	struct brp_session *s = q->session;
	char why[INI_ERROR_BYTES];
	enum ini_identity id;
	int err = 0;

	lock(q);
	id = ini_identity_check(q, m, &err, why);
	unlock(q);
	if (id == INI_IDENTITY_OUTDATED) {
		ini_error_set(&q->conn->why, -EAGAIN, "overtaken by another queue's login");
		ini_conn_close(q->conn, -EAGAIN, true);
		return;
	}
	if (id != INI_IDENTITY_OTHER)
		err = ini_queue_reopen(q, m);
	if (id != INI_IDENTITY_OTHER && err < 0)
		snprintf(why, sizeof(why),
			 "the target takes at most %u bytes in a request now, and longer ones wait",
			 q->limits.max_transfer_bytes);
	if (err < 0) {
		ini_session_fail(s, err, "%s", why);
		ini_conn_close(q->conn, err, true);
		return;
	}
	go_on(q, m, id == INI_IDENTITY_LARGER);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Absolute end of a limit on the outage, INI_FOREVER: none. */
static uint64_t limit_ns(const struct brp_queue *q, int limit_ms)
{
	return limit_ms < 0 ? INI_FOREVER : at_ms(q->link.lost_ns, (unsigned int)limit_ms);
}

static void give_up(struct brp_queue *q)
{
	struct brp_session *s = q->session;
	int limit_ms = s->opt.ctrl_loss_tmo_ms;
	char why[INI_ERROR_BYTES];

	lock(q);
	memcpy(why, s->why_down, sizeof(why));
	unlock(q);
	ini_session_fail(s, -ETIMEDOUT, "gave up reconnecting after %d.%03d s: %s", limit_ms / 1000,
			 limit_ms % 1000, why);
}

static void check_limits(struct brp_queue *q, uint64_t now)
{
	const struct brp_options *opt = &q->session->opt;

	if (now >= limit_ns(q, opt->ctrl_loss_tmo_ms))
		give_up(q);
	else if (q->is_open && now >= limit_ns(q, opt->fast_io_fail_tmo_ms))
		fail_requests(q, -ETIMEDOUT);
}

static void end_step(struct brp_queue *q, int err)
{
	if (!q->conn)
		end_queue(q, err);
	else if (!ini_conn_is_over(q->conn))
		ini_conn_close(q->conn, err, true);
}

void ini_recover_step(struct brp_queue *q)
{
	struct brp_session *s = q->session;
	uint64_t now;

	if (q->link.state == INI_LINK_FIRST || q->link.state == INI_LINK_DEAD)
		return;
	if (q->conn && q->conn->state == BRP_CONN_CLOSED) {
		ini_wait_detach(q);
		ini_conn_destroy(q->conn);
		q->conn = NULL;
	}
	if (q->conn)
		ini_conn_check_close(q->conn);
	now = now_ns();
	if (is_down(q->link.state) && end_of(s) == 0)
		check_limits(q, now);
	if (end_of(s) < 0)
		end_step(q, end_of(s));
	else if (q->link.state == INI_LINK_WAITING && now >= q->link.next_ns)
		start_attempt(q, now);
	else if (q->link.state == INI_LINK_TRYING)
		watch_attempt(q, now);
}

uint64_t ini_recover_next_ns(const struct brp_queue *q)
{
	const struct brp_options *opt = &q->session->opt;
	uint64_t next = INI_FOREVER;

	if (q->conn && q->conn->state == BRP_CONN_CLOSING)
		next = q->conn->close_deadline_ns;
	if (!is_down(q->link.state))
		return next;
	if (q->link.state == INI_LINK_WAITING)
		next = MIN(next, q->link.next_ns);
	else if (!ini_conn_is_over(q->conn) && q->link.tick_ns < q->link.deadline_ns)
		next = q->link.tick_ns;
	else if (!ini_conn_is_over(q->conn))
		next = q->link.deadline_ns;
	if (q->is_open)
		next = MIN(next, limit_ns(q, opt->fast_io_fail_tmo_ms));
	return MIN(next, limit_ns(q, opt->ctrl_loss_tmo_ms));
}

void ini_recover_begin(struct brp_session *s)
{
	uint64_t now = now_ns();

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < s->opt.queues; i++) {
		struct ini_link *l = &s->queues[i]->link;

		set_state(s->queues[i], INI_LINK_UP);
		l->addr = s->addr;
		l->first = s->addr;
		l->up_ns = now;
		memcpy(&l->jitter, s->session_uuid.b, sizeof(l->jitter));
		l->jitter += i;
	}
	pthread_mutex_unlock(&s->lock);
}
