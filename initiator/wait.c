/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * brp_poll() and brp_wait(): one look at the connection, spinning while that pays, sleeping
 * otherwise, timers.
 *
 * Sleeping is epoll_wait() on the queue's epoll, which holds the connection's descriptors
 * edge-triggered (fabric.h: that wakes for readable and for room to send, on every fabric). A
 * descriptor that was served without sleeping stays on epoll's ready list until the next
 * epoll_wait(), which then returns at once: one spare pass.
 */
#include "initiator/internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define WINDOW_SPIN_NS (200 * NS_PER_US) /* the kernel's timer slack would spoil shorter sleeps */
#define MAX_PASSES     64u               /* of brp_poll() without a completion */
#define SILENT_TICKS   3u

/* ---- descriptors ----------------------------------------------------------------------------- */

static int set_fd(struct brp_queue *q, int op, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				 .data.fd = fd};

	return fd >= 0 && epoll_ctl(q->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

int ini_wait_attach(struct brp_queue *q)
{
	int fds[FABRIC_MAX_FDS];
	int n = fabric_conn_fds(q->conn->fabric, fds);
	int r = 0;

	q->data_fd = n > 0 ? fds[0] : -1;
	q->rare_fd = n > 1 ? fds[1] : -1;
	q->nr_attached++;
	if (!q->is_edge)
		r = set_fd(q, EPOLL_CTL_ADD, q->data_fd);
	return r < 0 ? r : set_fd(q, EPOLL_CTL_ADD, q->rare_fd);
}

void ini_wait_detach(struct brp_queue *q)
{
	q->data_fd = -1;
	q->rare_fd = -1;
	q->nr_attached++;
}

void ini_wait_set_edge(struct brp_queue *q, bool is_edge)
{
	if (is_edge == q->is_edge)
		return;
	q->is_edge = is_edge;
	if (is_edge)
		(void)brp_queue_fd(q); /* the timer */
	(void)set_fd(q, is_edge ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, q->data_fd);
}

/* Reports again what is ready. */
static void ring_again(struct brp_queue *q)
{
	(void)set_fd(q, EPOLL_CTL_MOD, q->data_fd);
	(void)set_fd(q, EPOLL_CTL_MOD, q->rare_fd);
}

#define MAX_EVENTS (FABRIC_MAX_FDS + 2) /* the timer, the session's failed_fd */

/* Waits for events and takes them off epoll's ready list, so that only new ones make it readable.
 * As epoll_wait(). */
static int take_events(struct brp_queue *q, int timeout_ms)
{
	struct epoll_event events[MAX_EVENTS];
	int n = epoll_wait(q->epoll_fd, events, MAX_EVENTS, timeout_ms);

	for (int i = 0; i < n; i++) {
		uint64_t expirations;

		if (events[i].data.fd == q->rare_fd && q->conn)
			fabric_look(q->conn->fabric);
		if (events[i].data.fd != q->timer_fd || q->timer_fd < 0)
			continue;
		(void)!read(q->timer_fd, &expirations, sizeof(expirations));
		q->timer_ns = INI_FOREVER;
	}
	return n;
}

void ini_wait_take_events(struct brp_queue *q)
{
	(void)take_events(q, 0);
}

static bool sleep_short(struct brp_queue *q, uint64_t ns)
{
	struct pollfd pfd = {.fd = q->epoll_fd, .events = POLLIN};
	struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)ns};
	int r = ppoll(&pfd, 1, &ts, NULL);

	if (r > 0)
		(void)take_events(q, 0);
	return r >= 0;
}

/* False: a signal was caught. */
bool ini_wait_sleep(struct brp_queue *q, uint64_t ns)
{
	int ms = -1;

	if (ns < 10 * NS_PER_MS) /* epoll_wait() would round */
		return sleep_short(q, ns);
	if (ns < INT32_MAX * NS_PER_MS)
		ms = (int)((ns + NS_PER_MS - 1) / NS_PER_MS);
	return take_events(q, ms) >= 0;
}

bool ini_wait_arm(struct brp_queue *q)
{
	return !q->conn || q->conn->state == BRP_CONN_CLOSED || fabric_arm(q->conn->fabric) <= 0;
}

/* ---- one pass -------------------------------------------------------------------------------- */

int ini_wait_pass(struct brp_queue *q)
{
	uint64_t before = q->stats.completions;
	int r = 0;

	if (unlikely(!q->is_up))
		ini_recover_step(q);
	q->is_polling = true;
	q->fresh = 0; /* what the callbacks send is */
	if (likely(q->conn != NULL))
		r = fabric_poll(q->conn->fabric);
	q->is_polling = false;
	if (q->is_up)
		ini_merge_kick(q, q->stats.completions != before ? INI_SENT_COMPLETION
								 : INI_SENT_KICK);
	else
		ini_conn_flush(q->conn);
	return r;
}

bool ini_wait_is_gone(const struct brp_queue *q)
{
	return q->link.state == INI_LINK_DEAD;
}

int ini_wait_gone_error(const struct brp_queue *q)
{
	int err = ini_error_code(&q->session->error);

	return err ? err : -ENOTCONN;
}

/* ---- timers ---------------------------------------------------------------------------------- */

/*
 * Every keepalive_ms: if nothing was sent since the last tick, a KEEPALIVE goes, so the target
 * hears from us at least every second tick (it waits for three, protocol.md 4.2). If nothing came
 * for three ticks although we asked at the first two, the target or the way to it is dead.
 */
static void keepalive_tick(struct brp_queue *q)
{
	struct ini_conn *c = q->conn;

	q->silent_ticks = c->nr_received ? 0 : q->silent_ticks + 1;
	if (q->silent_ticks >= SILENT_TICKS) {
		ini_error_set(&c->why, -ETIMEDOUT, "%s has been silent for %llu ms",
			      fabric_conn_peer(c->fabric),
			      (unsigned long long)(q->keepalive_ns * q->silent_ticks / NS_PER_MS));
		ini_conn_close(c, -ETIMEDOUT, true);
		return;
	}
	if (c->nr_sent == 0 || c->nr_received == 0)
		ini_conn_keepalive(c);
	c->nr_sent = 0;
	c->nr_received = 0;
}

/* Another queue has found that the session is over. */
static void check_failed(struct brp_queue *q)
{
	int err = ini_error_code(&q->session->error);

	if (unlikely(err < 0))
		ini_conn_close(q->conn, err, true);
}

/* Time of the next thing that happens by itself, or INI_FOREVER; handles what is due.
 * *ret_now is set if it had to be known. */
static uint64_t run_timers(struct brp_queue *q, uint64_t *ret_now)
{
	uint64_t now;

	if (likely(q->is_up))
		check_failed(q);
	if (unlikely(!q->is_up))
		return ini_recover_next_ns(q);
	if (!q->keepalive_ns)
		return INI_FOREVER;
	now = *ret_now = now_ns();
	if (q->next_tick_ns == 0)
		q->next_tick_ns = now + q->keepalive_ns;
	if (now >= q->next_tick_ns) {
		q->next_tick_ns = now + q->keepalive_ns;
		keepalive_tick(q);
	}
	return q->next_tick_ns;
}

/*
 * Event loops sleep on the epoll: a timerfd in it stands for the keep-alive, the merge window and
 * what a reconnect waits for. Going off too early costs one look, so it is set only to be earlier.
 */
static void set_timer(struct brp_queue *q, uint64_t next_ns)
{
	struct itimerspec its = {0};

	if (q->merge.window_end_ns)
		next_ns = MIN(next_ns, q->merge.window_end_ns);
	if (q->timer_fd < 0 || next_ns >= q->timer_ns)
		return;
	its.it_value.tv_sec = (time_t)(next_ns / NS_PER_S);
	its.it_value.tv_nsec = (long)(next_ns % NS_PER_S);
	if (next_ns == 0)
		its.it_value.tv_nsec = 1; /* zero would stop it */
	timerfd_settime(q->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
	q->timer_ns = next_ns;
}

void ini_wait_update_timer(struct brp_queue *q)
{
	uint64_t now;

	set_timer(q, run_timers(q, &now));
}

/* Goes off at once: whoever looked before there was a timer looks again, and thus sets it. */
static void make_timer(struct brp_queue *q)
{
	struct epoll_event ev = {.events = EPOLLIN};

	q->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	ev.data.fd = q->timer_fd;
	if (q->timer_fd >= 0)
		epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, q->timer_fd, &ev);
	set_timer(q, 0);
}

int brp_queue_fd(struct brp_queue *q)
{
	if (!q->is_fd_used)
		make_timer(q);
	q->is_fd_used = true;
	return q->epoll_fd;
}

/* ---- poll ------------------------------------------------------------------------------------ */

static int called_since(const struct brp_queue *q, uint64_t before)
{
	if (q->nr_called != before)
		return (int)(q->nr_called - before);
	return ini_wait_is_gone(q) ? ini_wait_gone_error(q) : 0;
}

/* Whether it is safe to sleep, after a look that found nothing. Events taken off the list must be
 * looked at after fabric_arm(), or they would be lost. */
static bool is_dry(struct brp_queue *q)
{
	if (!q->is_fd_used)
		return true;
	return ini_wait_arm(q) && take_events(q, 0) <= 0;
}

/* Until a completion, or nothing is left. False: there may be more (a peer that only chatters must
 * not hold us for ever). */
static bool poll_dry(struct brp_queue *q, uint64_t before)
{
	for (unsigned int i = 0; i < MAX_PASSES; i++) {
		int r = ini_wait_pass(q);

		if (q->nr_called != before || ini_wait_is_gone(q))
			return true;
		if (r > 0)
			continue;
		if (is_dry(q))
			return true;
	}
	return false;
}

int brp_poll(struct brp_queue *q)
{
	uint64_t before = q->nr_called;

	if (q->is_polling)
		return -EDEADLK;
	if (ini_wait_is_gone(q))
		return ini_wait_gone_error(q);
	if (q->is_up)
		ini_merge_kick(q, INI_SENT_KICK);
	if (!poll_dry(q, before) && q->is_fd_used)
		ring_again(q);
	ini_wait_update_timer(q);
	return called_since(q, before);
}

void brp_kick(struct brp_queue *q)
{
	if (q->is_up)
		ini_merge_kick(q, INI_SENT_KICK);
	/* Nobody calls brp_drain() before sleeping. */
	if (q->is_edge && (q->merge.window_end_ns || unlikely(!q->is_up)))
		ini_wait_update_timer(q);
}

/* ---- wait ------------------------------------------------------------------------------------ */

struct waiter {
	uint64_t before; /* nr_called at its beginning */
	uint64_t start_ns;
	uint64_t end_ns;
	uint64_t spun_ns; /* our own part of it */
	bool has_slept;
	bool is_interrupted;
};

static bool is_over(const struct brp_queue *q, const struct waiter *w)
{
	return q->nr_called != w->before || ini_wait_is_gone(q);
}

/* Gathers until the window is over. */
static void wait_window(struct brp_queue *q, const struct waiter *w, uint64_t now)
{
	uint64_t window_end = q->merge.window_end_ns;

	if (window_end <= now + WINDOW_SPIN_NS)
		ini_spin(q, now, INI_FOREVER, MIN(window_end, w->end_ns), NULL, NULL);
	else if (ini_wait_arm(q))
		ini_wait_sleep(q, MIN(window_end - now, w->end_ns - now));
	ini_wait_pass(q);
}

static void wait_asleep(struct brp_queue *q, struct waiter *w, uint64_t ns)
{
	if (ini_wait_arm(q)) {
		w->has_slept = true;
		ini_count(&q->stats.sleeps, 1);
		w->is_interrupted = !ini_wait_sleep(q, ns);
	}
	ini_wait_pass(q);
}

static int wait_long(struct brp_queue *q, struct waiter *w, int timeout_ms)
{
	uint64_t budget = ini_spin_budget(q);
	uint64_t now = budget > 0 || timeout_ms >= 0 ? now_ns() : 0;

	w->start_ns = now;
	w->end_ns = timeout_ms < 0 ? INI_FOREVER : now + (uint64_t)timeout_ms * NS_PER_MS;
	if (budget > 0 && q->on_wire > 0)
		w->spun_ns = ini_spin(q, now, budget, w->end_ns, NULL, NULL);
	while (!is_over(q, w) && !w->is_interrupted) {
		uint64_t before = now;
		uint64_t next = run_timers(q, &now);
		uint64_t until = MIN(next, w->end_ns);

		if (now == before && (until != INI_FOREVER || q->merge.window_end_ns))
			now = now_ns();
		if (now >= w->end_ns)
			break;
		if (q->merge.window_end_ns)
			wait_window(q, w, now);
		else
			wait_asleep(q, w, until == INI_FOREVER ? until : until - MIN(now, until));
	}
	if (budget > 0 && q->session->opt.poll_us < 0 && q->nr_called != w->before)
		ini_spin_learn(&q->spin, w->spun_ns, w->has_slept);
	return called_since(q, w->before);
}

int brp_wait(struct brp_queue *q, int timeout_ms)
{
	struct waiter w = {.before = q->nr_called};

	if (q->is_polling)
		return -EDEADLK;
	if (ini_wait_is_gone(q))
		return ini_wait_gone_error(q);
	if (q->is_up)
		ini_merge_kick(q, INI_SENT_KICK);
	/* When everything on the wire has only just left, there is nothing to see yet: save the
	 * look, unless spinning begins with one anyway. This one does not ask for the time; with
	 * one CPU the answer is mostly there. */
	if (q->fresh < q->on_wire || q->on_wire == 0 || ini_spin_is_due(q))
		ini_wait_pass(q);
	if (is_over(q, &w))
		return called_since(q, w.before);
	return wait_long(q, &w, timeout_ms);
}
