/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/session.h"

#include <stdlib.h>

#include "brp/status.h"
#include "common/log.h"
#include "target/conn.h"
#include "target/server.h"

/* Remembered sessions without connections: 64 bytes or so each. */
#define MAX_IDLE_SESSIONS 4096

static struct session *find(struct server *s, const struct brp_uuid *uuid)
{
	struct list *pos;

	list_for_each (pos, &s->sessions) {
		struct session *n = list_entry(pos, struct session, link);

		if (brp_uuid_equal(&n->uuid, uuid))
			return n;
	}
	return NULL;
}

static bool is_idle(const struct session *n)
{
	return list_empty(&n->members) && list_empty(&n->waiting);
}

static void forget_oldest(struct server *s)
{
	struct list *pos;

	list_for_each (pos, &s->sessions) {
		struct session *n = list_entry(pos, struct session, link);

		if (!is_idle(n))
			continue;
		list_del(&n->link);
		free(n);
		s->nr_idle_sessions--;
		return;
	}
}

static struct session *create(struct server *s, const struct brp_login *login)
{
	struct session *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->uuid = login->session_uuid;
	n->host_uuid = login->host_uuid;
	n->epoch = login->epoch;
	list_init(&n->members);
	list_init(&n->waiting);
	list_add_tail(&s->sessions, &n->link);
	s->nr_idle_sessions++; /* until someone enters */
	if (s->nr_idle_sessions > MAX_IDLE_SESSIONS)
		forget_oldest(s);
	return n;
}

static bool has_older_members(const struct session *n, uint64_t epoch)
{
	struct list *pos;

	list_for_each (pos, &n->members) {
		if (list_entry(pos, struct conn, session_link)->epoch < epoch)
			return true;
	}
	return false;
}

static bool has_queue(const struct session *n, const struct brp_login *login)
{
	struct list *pos;

	list_for_each (pos, &n->members) {
		const struct conn *c = list_entry(pos, struct conn, session_link);

		if (c->epoch == login->epoch && c->queue_index == login->queue_index)
			return true;
	}
	return false;
}

/* Cuts off what is older than the session's epoch; whoever waits at the barrier with an older one
 * is told to ask again, and is then refused. */
static void fence_older(struct session *n)
{
	struct list *pos;

	list_for_each (pos, &n->members) {
		struct conn *c = list_entry(pos, struct conn, session_link);

		if (c->epoch < n->epoch)
			conn_order(c, CONN_ORDER_FENCED);
	}
	list_for_each (pos, &n->waiting) {
		struct conn *c = list_entry(pos, struct conn, session_link);

		if (c->epoch < n->epoch)
			conn_order(c, CONN_ORDER_ADMIT);
	}
}

static void join(struct server *s, struct session *n, struct conn *c, struct list *where)
{
	if (is_idle(n) && list_empty(&c->session_link))
		s->nr_idle_sessions--;
	list_del(&c->session_link);
	list_add_tail(where, &c->session_link);
	c->session = n;
	list_del(&n->link);
	list_add_tail(&s->sessions, &n->link);
}

static enum brp_status_code enter_locked(struct server *s, struct conn *c,
					 const struct brp_login *login, bool *ret_wait,
					 uint64_t *ret_epoch, const char **ret_why)
{
	struct session *n = find(s, &login->session_uuid);

	if (!n && !(n = create(s, login))) {
		*ret_why = "the target is out of memory";
		return BRP_ST_NO_RESOURCES;
	}
	if (!brp_uuid_equal(&n->host_uuid, &login->host_uuid)) {
		*ret_why = "the session belongs to another host";
		return BRP_ST_DENIED;
	}
	*ret_epoch = n->epoch;
	if (login->epoch < n->epoch) {
		*ret_why = "a newer epoch of the session has logged in";
		return BRP_ST_STALE_EPOCH;
	}
	c->epoch = login->epoch;
	if (login->epoch > n->epoch) {
		n->epoch = login->epoch;
		fence_older(n);
	}
	*ret_epoch = n->epoch;
	if (has_older_members(n, login->epoch) && !s->opt.is_unsafe_no_fence) {
		join(s, n, c, &n->waiting);
		*ret_wait = true;
		return BRP_ST_OK;
	}
	if (has_queue(n, login)) {
		*ret_why = "this queue of the session is connected already";
		return BRP_ST_BUSY;
	}
	c->queue_index = login->queue_index;
	join(s, n, c, &n->members);
	return BRP_ST_OK;
}

enum brp_status_code session_enter(struct server *s, struct conn *c, const struct brp_login *login,
				   bool *ret_wait, uint64_t *ret_epoch, const char **ret_why)
{
	enum brp_status_code st;

	*ret_wait = false;
	*ret_epoch = 0;
	*ret_why = "";
	pthread_mutex_lock(&s->lock);
	st = enter_locked(s, c, login, ret_wait, ret_epoch, ret_why);
	pthread_mutex_unlock(&s->lock);
	return st;
}

static void wake_waiting(struct session *n)
{
	struct list *pos;

	list_for_each (pos, &n->waiting)
		conn_order(list_entry(pos, struct conn, session_link), CONN_ORDER_ADMIT);
}

void session_leave(struct server *s, struct conn *c)
{
	struct session *n;

	pthread_mutex_lock(&s->lock);
	n = c->session;
	if (n) {
		list_del(&c->session_link);
		c->session = NULL;
		wake_waiting(n);
		list_del(&n->link);
		list_add_tail(&s->sessions, &n->link);
		if (is_idle(n) && ++s->nr_idle_sessions > MAX_IDLE_SESSIONS)
			forget_oldest(s);
	}
	pthread_mutex_unlock(&s->lock);
}

void sessions_finish(struct server *s)
{
	struct list *node;

	while ((node = list_pop(&s->sessions)))
		free(list_entry(node, struct session, link));
	s->nr_idle_sessions = 0;
}
