/* SPDX-License-Identifier: BSD-2-Clause */
/* The loopback fabric: messages, pulls and pushes between the two ends of a pair. See loopback.c.
 */
#include "common/fabric/loopback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POLL_BUDGET 64

/* Keys differ from tags, as on verbs, so that mixing them up is found out. */
#define KEY_XOR 0x5a000000u

void loop_drop_events(struct list *head)
{
	struct list *node;

	while ((node = list_pop(head)))
		free(list_entry(node, struct loop_event, link));
}

/* ---- ends ------------------------------------------------------------------------------------ */

void loop_set_dead(struct loop_conn *c, int error)
{
	if (c->state == LOOP_DEAD)
		return;
	c->state = LOOP_DEAD;
	c->error = error;
	loop_signal(c->fd);
}

void loop_fail(struct loop_conn *c, int error)
{
	pthread_mutex_lock(&c->pair->lock);
	if (loop_peer(c))
		loop_set_dead(loop_peer(c), error == -EPROTO ? -EPROTO : -ECONNRESET);
	loop_set_dead(c, error);
	pthread_mutex_unlock(&c->pair->lock);
}

static enum loop_state get_state(struct loop_conn *c)
{
	enum loop_state s;

	pthread_mutex_lock(&c->pair->lock);
	s = c->state;
	pthread_mutex_unlock(&c->pair->lock);
	return s;
}

static bool is_open(struct loop_conn *c)
{
	return !c->is_closing && get_state(c) == LOOP_OPEN;
}

static void send_end(struct loop_conn *c)
{
	struct loop_event *e = calloc(1, sizeof(*e));

	if (!e) {
		loop_fail(c, -ENOMEM);
		return;
	}
	e->kind = LOOP_END;
	list_add_tail(&c->out, &e->link);
	loop_flush(&c->base);
	pthread_mutex_lock(&c->pair->lock);
	if (!loop_peer(c))
		loop_set_dead(c, 0);
	pthread_mutex_unlock(&c->pair->lock);
}

/* Orderly: the peer answers our end with its own when it polls. */
void loop_close(struct fabric_conn *base, bool is_abort)
{
	struct loop_conn *c = to_loop(base);

	if (is_abort) {
		loop_fail(c, -ECONNABORTED);
		return;
	}
	if (c->is_closing)
		return;
	if (get_state(c) != LOOP_OPEN) {
		loop_fail(c, 0);
		return;
	}
	send_end(c);
	c->is_closing = true;
}

/* ---- sending --------------------------------------------------------------------------------- */

void *loop_msg_begin(struct fabric_conn *base, uint32_t head_bytes)
{
	struct loop_conn *c = to_loop(base);

	if (!is_open(c) || head_bytes > c->params.send_bytes)
		return NULL;
	if (c->nr_out_msgs >= c->params.send_count) {
		c->is_wanting = true;
		return NULL;
	}
	free(c->begun);
	c->begun = calloc(1, sizeof(*c->begun) + c->params.send_bytes);
	return c->begun ? c->begun->buf : NULL;
}

int loop_msg_commit(struct fabric_conn *base, uint32_t head_bytes, const struct iovec *data,
		    unsigned int nr_data)
{
	struct loop_conn *c = to_loop(base);
	struct loop_event *e = c->begun;
	char *to;

	if (!is_open(c))
		return -ENOTCONN;
	if (!e)
		return -EINVAL;
	to = (char *)e->buf;
	e->bytes = head_bytes;
	for (unsigned int i = 0; i < nr_data; i++) {
		if (data[i].iov_len > c->params.send_bytes - e->bytes)
			return -EMSGSIZE;
		memcpy(to + e->bytes, data[i].iov_base, data[i].iov_len);
		e->bytes += (uint32_t)data[i].iov_len;
	}
	e->kind = LOOP_MESSAGE;
	c->begun = NULL;
	c->nr_out_msgs++;
	list_add_tail(&c->out, &e->link);
	c->base.stats.messages_sent++;
	c->base.stats.bytes_sent += e->bytes;
	return 0;
}

int loop_push(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct loop_conn *c = to_loop(base);
	struct loop_event *e;

	if (!is_open(c))
		return -ENOTCONN;
	if (c->is_initiator)
		return -EINVAL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->kind = LOOP_PUSH;
	e->push = x;
	e->value = x->notice;
	list_add_tail(&c->out, &e->link);
	return 0;
}

/* The memory that key and addr name, if the peer may use all of it this way. Under the pair's lock.
 */
static char *exposed_at(const struct loop_conn *peer, const struct fabric_xfer *x,
			unsigned int access)
{
	uint32_t index = (x->key ^ KEY_XOR) & UINT16_MAX;
	const struct loop_exposed *e;

	if (!peer || !peer->exposed || index >= peer->params.depth)
		return NULL;
	e = &peer->exposed[index];
	if (e->access != access || x->addr != (uintptr_t)e->base || x->bytes > e->bytes)
		return NULL;
	return e->base;
}

/* The event becomes the peer's, or is done. Under the pair's lock. */
static int transmit(struct loop_conn *c, struct loop_event *e)
{
	struct loop_conn *peer = loop_peer(c);
	char *to;

	if (e->kind == LOOP_MESSAGE)
		c->nr_out_msgs--;
	if (e->kind == LOOP_PUSH) {
		to = exposed_at(peer, e->push, FABRIC_MEM_REMOTE_WRITE);
		if (!to)
			return -EPROTO;
		memcpy(to, e->push->local, e->push->bytes);
		list_add_tail(&c->done, &e->push->link);
		c->base.stats.bytes_sent += e->push->bytes;
		c->base.stats.notices_sent += e->push->is_notice;
	}
	if (!peer || (e->kind == LOOP_PUSH && !e->push->is_notice)) {
		free(e);
		return 0;
	}
	if (e->kind == LOOP_PUSH)
		e->kind = LOOP_NOTICE;
	list_add_tail(&peer->events, &e->link);
	loop_signal(peer->fd);
	return 0;
}

void loop_flush(struct fabric_conn *base)
{
	struct loop_conn *c = to_loop(base);
	struct list *node;
	int r = 0;

	if (list_empty(&c->out) || c->is_closing)
		return;
	c->base.stats.send_calls++;
	pthread_mutex_lock(&c->pair->lock);
	while (r == 0 && c->state == LOOP_OPEN && (node = list_pop(&c->out))) {
		r = transmit(c, list_entry(node, struct loop_event, link));
		if (r < 0)
			list_add_head(&c->out, node);
	}
	pthread_mutex_unlock(&c->pair->lock);
	if (r < 0)
		loop_fail(c, r);
}

/* ---- exposing and pulling -------------------------------------------------------------------- */

int loop_expose(struct fabric_conn *base, uint32_t tag, void *p, uint32_t bytes,
		struct fabric_mem *mem, unsigned int access, uint32_t *ret_key, uint64_t *ret_addr)
{
	struct loop_conn *c = to_loop(base);
	uint32_t index = tag & UINT16_MAX;

	if (!is_open(c))
		return -ENOTCONN;
	if (!c->is_initiator || index >= c->params.depth || c->exposed[index].access ||
	    !(mem->access & access) || bytes > c->params.max_data_bytes)
		return -EINVAL;
	pthread_mutex_lock(&c->pair->lock);
	c->exposed[index] = (struct loop_exposed){.base = p, .bytes = bytes, .access = access};
	pthread_mutex_unlock(&c->pair->lock);
	*ret_key = index ^ KEY_XOR;
	*ret_addr = (uintptr_t)p;
	return 0;
}

void loop_unexpose(struct fabric_conn *base, uint32_t tag)
{
	struct loop_conn *c = to_loop(base);
	uint32_t index = tag & UINT16_MAX;

	if (!c->exposed || index >= c->params.depth)
		return;
	pthread_mutex_lock(&c->pair->lock);
	c->exposed[index].access = 0;
	pthread_mutex_unlock(&c->pair->lock);
}

int loop_pull(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct loop_conn *c = to_loop(base);

	if (!is_open(c))
		return -ENOTCONN;
	if (c->is_initiator)
		return -EINVAL;
	list_add_tail(&c->pulls, &x->link);
	return 0;
}

void loop_pull_ready(struct fabric_conn *base, struct fabric_xfer *x)
{
	(void)base;
	(void)x; /* poll_pulls() looks at x->local */
}

static bool is_ready(const struct fabric_xfer *x)
{
	return x->local || x->is_discard;
}

static bool has_ready_pull(const struct loop_conn *c)
{
	struct list *node;

	if (c->is_closing)
		return false;
	list_for_each (node, &c->pulls) {
		if (is_ready(list_entry(node, struct fabric_xfer, link)))
			return true;
	}
	return false;
}

static int move_pull(struct loop_conn *c, struct fabric_xfer *x)
{
	char *from;

	if (x->is_discard)
		return 0;
	pthread_mutex_lock(&c->pair->lock);
	from = c->state == LOOP_OPEN ? exposed_at(loop_peer(c), x, FABRIC_MEM_REMOTE_READ) : NULL;
	if (from)
		memcpy(x->local, from, x->bytes);
	pthread_mutex_unlock(&c->pair->lock);
	return from ? 0 : -EPROTO;
}

static int poll_pulls(struct loop_conn *c)
{
	struct list *node, *tmp;

	if (c->is_closing)
		return 0;
	list_for_each_safe (node, tmp, &c->pulls) {
		struct fabric_xfer *x = list_entry(node, struct fabric_xfer, link);

		if (!is_ready(x))
			continue;
		if (move_pull(c, x) < 0) {
			loop_fail(c, -EPROTO);
			return 1;
		}
		list_del(node);
		c->base.stats.bytes_received += x->bytes;
		c->base.handler->pull_done(&c->base, x, 0);
		return 1; /* the callback may have changed the list */
	}
	return 0;
}

/* ---- polling --------------------------------------------------------------------------------- */

void loop_resume(struct fabric_conn *base)
{
	to_loop(base)->is_refused = false;
}

static struct loop_event *pop_event(struct loop_conn *c)
{
	struct list *node;

	pthread_mutex_lock(&c->pair->lock);
	node = list_pop(&c->events);
	pthread_mutex_unlock(&c->pair->lock);
	return node ? list_entry(node, struct loop_event, link) : NULL;
}

static void put_back(struct loop_conn *c, struct loop_event *e)
{
	pthread_mutex_lock(&c->pair->lock);
	list_add_head(&c->events, &e->link);
	pthread_mutex_unlock(&c->pair->lock);
}

/* The peer ended; so do we, once. */
static void take_end(struct loop_conn *c)
{
	if (!c->is_closing)
		send_end(c);
	pthread_mutex_lock(&c->pair->lock);
	loop_set_dead(c, 0);
	pthread_mutex_unlock(&c->pair->lock);
}

/* False: refused, comes again. */
static bool take_event(struct loop_conn *c, struct loop_event *e)
{
	const struct fabric_handler *h = c->base.handler;

	if (e->kind == LOOP_END) {
		take_end(c);
	} else if (c->is_closing) {
		return true; /* dropped */
	} else if (e->kind == LOOP_NOTICE) {
		c->base.stats.notices_received++;
		h->notice(&c->base, e->value);
	} else if (e->bytes > c->params.recv_bytes) {
		loop_fail(c, -EPROTO);
	} else if (h->message(&c->base, e->buf, e->bytes) == -EAGAIN) {
		c->is_refused = true;
		return false;
	} else {
		c->base.stats.messages_received++;
		c->base.stats.bytes_received += e->bytes;
	}
	return true;
}

static int poll_events(struct loop_conn *c)
{
	struct loop_event *e;
	int n = 0;

	while (n < POLL_BUDGET && (!c->is_refused || c->is_closing) && get_state(c) == LOOP_OPEN &&
	       (e = pop_event(c))) {
		n++;
		if (!take_event(c, e)) {
			put_back(c, e);
			break;
		}
		free(e);
	}
	return n;
}

static int poll_reports(struct loop_conn *c)
{
	struct list *node = list_pop(&c->done);

	if (node) {
		c->base.handler->push_done(&c->base, list_entry(node, struct fabric_xfer, link), 0);
		return 1;
	}
	if (c->is_wanting && c->nr_out_msgs < c->params.send_count && is_open(c)) {
		c->is_wanting = false;
		c->base.handler->sendable(&c->base);
		return 1;
	}
	return 0;
}

static void cancel_all(struct loop_conn *c)
{
	const struct fabric_handler *h = c->base.handler;
	struct list *node;

	while ((node = list_pop(&c->pulls)))
		h->pull_done(&c->base, list_entry(node, struct fabric_xfer, link), -ECANCELED);
	while ((node = list_pop(&c->done)))
		h->push_done(&c->base, list_entry(node, struct fabric_xfer, link), 0);
	while ((node = list_pop(&c->out))) {
		struct loop_event *e = list_entry(node, struct loop_event, link);

		if (e->kind == LOOP_PUSH)
			h->push_done(&c->base, e->push, -ECANCELED);
		free(e);
	}
}

static int report_closed(struct loop_conn *c)
{
	cancel_all(c);
	c->base.is_closed = true;
	c->base.handler->closed(&c->base, c->error);
	return 1;
}

static bool take_connected(struct loop_conn *c)
{
	bool is_due;

	pthread_mutex_lock(&c->pair->lock);
	is_due = c->state == LOOP_CONNECTED;
	if (is_due)
		c->state = LOOP_OPEN;
	pthread_mutex_unlock(&c->pair->lock);
	return is_due;
}

int loop_poll(struct fabric_conn *base)
{
	struct loop_conn *c = to_loop(base);
	int handled = 0;

	loop_clear(c->fd);
	c->base.stats.receive_calls++;
	if (take_connected(c)) {
		c->base.handler->connected(base);
		handled = 1;
	}
	/* First: a peer that has seen a notice uses its tag again at once. */
	while (poll_reports(c))
		handled = 1;
	handled |= poll_pulls(c);
	handled |= poll_events(c);
	if (get_state(c) == LOOP_DEAD)
		handled |= report_closed(c);
	return handled;
}

int loop_arm(struct fabric_conn *base)
{
	struct loop_conn *c = to_loop(base);
	bool is_ready_now;

	pthread_mutex_lock(&c->pair->lock);
	is_ready_now = c->state == LOOP_CONNECTED || c->state == LOOP_DEAD ||
		       (!list_empty(&c->events) && !c->is_refused);
	pthread_mutex_unlock(&c->pair->lock);
	return is_ready_now || base->was_busy || !list_empty(&c->done) || has_ready_pull(c) ||
	       (c->is_wanting && c->nr_out_msgs < c->params.send_count);
}
