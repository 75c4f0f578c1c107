/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/ticker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"
#include "target/conn.h"
#include "target/server.h"

#define SETUP_TIMEOUT_S (BRP_SETUP_TIMEOUT_MS / 1000)

struct ticker {
	struct pool_task task;
	struct server *server;
	int fd;
};

/* What a peer may take to see our orderly end. */
#define CLOSE_TIMEOUT_S 5

/* What a peer may take to send data it announced or to take data it asked for, without moving a
 * byte. */
#define STALL_TIMEOUT_S 30

/* What a volume's users may take to finish when it is removed. */
#define DRAIN_TIMEOUT_S 5

/* CONN_CUT_COUNT: not late. The stamps may be a second ahead: they may have been set just now. */
static enum conn_cut late_for(const struct conn *c, unsigned int now_s)
{
	unsigned int closing_s = atomic_load(&c->closing_s);
	unsigned int draining_s = atomic_load(&c->draining_s);
	unsigned int keepalive_ms = atomic_load(&c->keepalive_ms);
	unsigned int quiet_s = now_s - atomic_load(&c->heard_s);

	if (closing_s)
		return (int)(now_s - closing_s) > CLOSE_TIMEOUT_S ? CONN_CUT_CLOSING
								  : CONN_CUT_COUNT;
	if (draining_s && (int)(now_s - draining_s) > DRAIN_TIMEOUT_S)
		return CONN_CUT_DRAINING;
	if (!atomic_load(&c->is_set_up))
		return now_s - c->born_s > SETUP_TIMEOUT_S ? CONN_CUT_SETUP : CONN_CUT_COUNT;
	if (atomic_load(&c->is_moving) && quiet_s > STALL_TIMEOUT_S)
		return CONN_CUT_STALLED;
	if (keepalive_ms && !atomic_load(&c->is_deaf) &&
	    quiet_s > 1 + 3 * (uint64_t)keepalive_ms / 1000)
		return CONN_CUT_KEEPALIVE;
	return CONN_CUT_COUNT;
}

/* Nobody was woken for the end of its last pushes (fabric_params.is_lazy): let it have a look. */
static bool may_linger(const struct conn *c, unsigned int now_s)
{
	return atomic_load(&c->is_moving) && now_s - atomic_load(&c->heard_s) > 1;
}

static void check_connections(struct server *s)
{
	unsigned int now_s = atomic_fetch_add(&s->tick_s, 1) + 1;
	struct list *pos;

	pthread_mutex_lock(&s->lock);
	list_for_each (pos, &s->conns) {
		struct conn *c = list_entry(pos, struct conn, server_link);
		enum conn_cut why = late_for(c, now_s);

		if (why == CONN_CUT_COUNT) {
			if (c->keepalive_ms && c->is_deaf)
				conn_order(c, CONN_ORDER_ALIVE);
			else if (may_linger(c, now_s))
				conn_order(c, 0);
			continue;
		}
		atomic_store(&c->late_for, why);
		conn_order(c, CONN_ORDER_LATE);
	}
	pthread_mutex_unlock(&s->lock);
}

static bool run(struct pool_task *task)
{
	struct ticker *t = container_of(task, struct ticker, task);
	uint64_t expirations;

	if (read(t->fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		check_connections(t->server);
	return true;
}

static void end(struct pool_task *task)
{
	(void)task; /* freed by ticker_destroy(), which outlives the pool */
}

int ticker_create(struct server *s, struct ticker **ret_ticker)
{
	struct ticker *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->server = s;
	t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (t->fd < 0) {
		err = -errno;
		log_error("cannot make a timer: %s", strerror(-err));
		free(t);
		return err;
	}
	pool_task_init(s->pool, &t->task, run, end);
	err = pool_task_add_fd(&t->task, t->fd);
	*ret_ticker = t;
	return err;
}

void ticker_destroy(struct ticker *t)
{
	if (!t)
		return;
	close(t->fd);
	free(t);
}

static void set_period(struct ticker *t, time_t seconds)
{
	struct itimerspec spec = {.it_interval.tv_sec = seconds, .it_value.tv_sec = seconds};

	timerfd_settime(t->fd, 0, &spec, NULL);
}

void ticker_start(struct ticker *t)
{
	set_period(t, 1);
}

void ticker_stop(struct ticker *t)
{
	set_period(t, 0);
}
