/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fabric inside one process, for tests. Listeners are found by port number in a process-wide
 * table. A connection is a pair of ends; each has a queue of events, an eventfd that is readable
 * while there are any, and a mutex shared by the two, never held during a callback. What is queued
 * takes effect in fabric_flush(): messages are copied, pushes written into the peer's exposed
 * memory, as over a wire. Allocates freely.
 *
 * It is strict: data outside of what is exposed breaks the connection with -EPROTO on both ends.
 */
#include "common/fabric/loopback.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- registry of listeners ------------------------------------------------------------------- */

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list table = {&table, &table}; /* of loop_listener.link; lock: table_lock */

static struct loop_listener *find_listener(uint16_t port)
{
	struct list *node;

	list_for_each (node, &table) {
		struct loop_listener *l = list_entry(node, struct loop_listener, link);

		if (l->base.port == port)
			return l;
	}
	return NULL;
}

static uint16_t free_port(void)
{
	static uint16_t last = 40000;

	do
		last = last == UINT16_MAX ? 40000 : (uint16_t)(last + 1);
	while (find_listener(last));
	return last;
}

static int loop_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		       struct fabric_listener **ret_l)
{
	struct loop_listener *l = calloc(1, sizeof(*l));
	uint16_t port = fabric_addr_port(addr);

	(void)addr_bytes;
	if (!l)
		return -ENOMEM;
	l->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->fd < 0) {
		free(l);
		return -EMFILE;
	}
	l->base.fabric = f;
	list_init(&l->incoming);
	pthread_mutex_lock(&table_lock);
	if (port && find_listener(port)) {
		pthread_mutex_unlock(&table_lock);
		close(l->fd);
		free(l);
		return -EADDRINUSE;
	}
	l->base.port = port ? port : free_port();
	list_add_tail(&table, &l->link);
	pthread_mutex_unlock(&table_lock);
	snprintf(l->base.name, sizeof(l->base.name), "loopback:%u", l->base.port);
	*ret_l = &l->base;
	return 0;
}

static int loop_listener_fd(const struct fabric_listener *base)
{
	return ((const struct loop_listener *)base)->fd;
}

static struct loop_conn *pop_incoming(struct loop_listener *l)
{
	struct list *node;

	pthread_mutex_lock(&table_lock);
	node = list_pop(&l->incoming);
	pthread_mutex_unlock(&table_lock);
	return node ? list_entry(node, struct loop_conn, link) : NULL;
}

static int loop_listener_poll(struct fabric_listener *base)
{
	struct loop_listener *l = (struct loop_listener *)base;
	struct loop_conn *c;
	int n = 0;

	loop_clear(l->fd);
	while ((c = pop_incoming(l))) {
		base->handler->incoming(base, &c->base, base->ctx);
		n++;
	}
	return n;
}

static void loop_listener_destroy(struct fabric_listener *base)
{
	struct loop_listener *l = (struct loop_listener *)base;
	struct loop_conn *c;

	pthread_mutex_lock(&table_lock);
	list_del(&l->link);
	pthread_mutex_unlock(&table_lock);
	while ((c = pop_incoming(l)))
		fabric_reject(&c->base);
	close(l->fd);
	free(l);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static struct loop_conn *end_alloc(struct fabric *f, struct loop_pair *pair)
{
	struct loop_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (c->fd < 0) {
		free(c);
		return NULL;
	}
	c->base.fabric = f;
	c->pair = pair;
	list_init(&c->events);
	list_init(&c->out);
	list_init(&c->pulls);
	list_init(&c->done);
	return c;
}

static struct loop_pair *pair_alloc(struct fabric *f)
{
	struct loop_pair *pair = calloc(1, sizeof(*pair));

	if (!pair)
		return NULL;
	pthread_mutex_init(&pair->lock, NULL);
	pair->end[0] = end_alloc(f, pair);
	pair->end[1] = end_alloc(f, pair);
	if (pair->end[0] && pair->end[1])
		return pair;
	for (int i = 0; i < 2; i++) {
		if (pair->end[i]) {
			close(pair->end[i]->fd);
			free(pair->end[i]);
		}
	}
	pthread_mutex_destroy(&pair->lock);
	free(pair);
	return NULL;
}

/* Gives the peer's end to the listener; false: nobody listens there. */
static bool deliver(struct loop_pair *pair, uint16_t port)
{
	struct loop_listener *l;

	pthread_mutex_lock(&table_lock);
	l = find_listener(port);
	if (l) {
		list_add_tail(&l->incoming, &pair->end[1]->link);
		loop_signal(l->fd);
	}
	pthread_mutex_unlock(&table_lock);
	return l;
}

static int loop_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
			const struct fabric_params *params, struct fabric_conn **ret_conn)
{
	struct loop_pair *pair = pair_alloc(f);
	uint16_t port = fabric_addr_port(addr);
	struct loop_conn *c;

	(void)addr_bytes;
	if (!pair)
		return -ENOMEM;
	c = pair->end[0];
	c->is_initiator = true;
	c->params = *params;
	c->exposed = calloc(params->depth + 1, sizeof(*c->exposed));
	snprintf(c->base.peer, sizeof(c->base.peer), "loopback:%u", port);
	snprintf(pair->end[1]->base.peer, sizeof(c->base.peer), "loopback:initiator");
	if (!c->exposed || !deliver(pair, port)) {
		struct loop_conn *other = pair->end[1];

		loop_fail(c, -ECONNREFUSED);
		loop_conn_destroy(&other->base);
	}
	*ret_conn = &c->base;
	return 0;
}

static int loop_accept(struct fabric_conn *base, const struct fabric_params *params)
{
	struct loop_conn *c = to_loop(base);

	c->params = *params;
	pthread_mutex_lock(&c->pair->lock);
	for (int i = 0; i < 2; i++) {
		struct loop_conn *e = c->pair->end[i];

		if (e && e->state == LOOP_CONNECTING) {
			e->state = LOOP_CONNECTED;
			loop_signal(e->fd);
		}
	}
	pthread_mutex_unlock(&c->pair->lock);
	return 0;
}

static void loop_reject(struct fabric_conn *base)
{
	struct loop_conn *c = to_loop(base);

	pthread_mutex_lock(&c->pair->lock);
	if (loop_peer(c))
		loop_set_dead(loop_peer(c), -ECONNREFUSED);
	pthread_mutex_unlock(&c->pair->lock);
	loop_conn_destroy(base);
}

void loop_conn_destroy(struct fabric_conn *base)
{
	struct loop_conn *c = to_loop(base);
	struct loop_pair *pair = c->pair;
	bool is_last;

	pthread_mutex_lock(&pair->lock);
	if (loop_peer(c))
		loop_set_dead(loop_peer(c),
			      c->state == LOOP_DEAD && c->error == 0 ? 0 : -ECONNRESET);
	pair->end[pair->end[1] == c] = NULL;
	is_last = !pair->end[0] && !pair->end[1];
	pthread_mutex_unlock(&pair->lock);
	loop_drop_events(&c->events);
	loop_drop_events(&c->out);
	free(c->begun);
	free(c->exposed);
	close(c->fd);
	free(c);
	if (!is_last)
		return;
	pthread_mutex_destroy(&pair->lock);
	free(pair);
}

static int loop_fds(const struct fabric_conn *base, int ret_fds[FABRIC_MAX_FDS])
{
	ret_fds[0] = ((const struct loop_conn *)base)->fd;
	return 1;
}

/* ---- the fabric ------------------------------------------------------------------------------ */

static int loop_create(const struct fabric_ops *ops, struct fabric **ret_fabric)
{
	struct fabric *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->ops = ops;
	*ret_fabric = f;
	return 0;
}

static void loop_destroy(struct fabric *f)
{
	free(f);
}

static int loop_mem_register(struct fabric *f, struct fabric_mem **ret_mem, void *base,
			     size_t bytes, unsigned int access)
{
	struct fabric_mem *mem = malloc(sizeof(*mem));

	if (!mem)
		return -ENOMEM;
	*mem = (struct fabric_mem){.fabric = f, .base = base, .bytes = bytes, .access = access};
	*ret_mem = mem;
	return 0;
}

static void loop_mem_unregister(struct fabric_mem *mem)
{
	free(mem);
}

const struct fabric_ops fabric_loopback_ops = {
	.name = "loopback",
	.create = loop_create,
	.destroy = loop_destroy,
	.mem_register = loop_mem_register,
	.mem_unregister = loop_mem_unregister,
	.connect = loop_connect,
	.fds = loop_fds,
	.poll = loop_poll,
	.arm = loop_arm,
	.close = loop_close,
	.conn_destroy = loop_conn_destroy,
	.msg_begin = loop_msg_begin,
	.msg_commit = loop_msg_commit,
	.flush = loop_flush,
	.resume = loop_resume,
	.expose = loop_expose,
	.unexpose = loop_unexpose,
	.pull = loop_pull,
	.pull_ready = loop_pull_ready,
	.push = loop_push,
	.listen = loop_listen,
	.listener_fd = loop_listener_fd,
	.listener_poll = loop_listener_poll,
	.listener_destroy = loop_listener_destroy,
	.accept = loop_accept,
	.reject = loop_reject,
};
