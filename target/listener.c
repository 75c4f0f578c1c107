/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "target/conn.h"
#include "target/server.h"

struct listener_task {
	struct pool_task task;
	struct server *server;
	struct fabric_listener *listener;
	unsigned int fabric_index;
	atomic_bool is_stopping;
};

static void on_incoming(struct fabric_listener *l, struct fabric_conn *fc, void *ctx)
{
	struct listener_task *t = ctx;

	(void)l;
	conn_create(t->server, fc, t->fabric_index);
}

static const struct fabric_listen_handler handler = {.incoming = on_incoming};

static void stop(struct listener_task *t)
{
	if (!t->listener)
		return;
	pool_task_del_fd(&t->task, fabric_listener_fd(t->listener));
	fabric_listener_destroy(t->listener);
	t->listener = NULL;
}

static bool run(struct pool_task *task)
{
	struct listener_task *t = container_of(task, struct listener_task, task);

	if (atomic_load(&t->is_stopping)) {
		stop(t);
		return true; /* stays until the pool ends: listeners_stop() may be about to wake it
			      */
	}
	if (fabric_listener_poll(t->listener) > 0)
		pool_task_wake(task); /* more is there; connections that came first go first */
	return true;
}

static void end(struct pool_task *task)
{
	struct listener_task *t = container_of(task, struct listener_task, task);

	fabric_listener_destroy(t->listener);
	free(t);
}

/* The fabric of a transport; its number is its place in server.fabrics. */
static int find_fabric(const struct server *s, enum brp_transport transport)
{
	const char *name = transport == BRP_TRANSPORT_RDMA ? "verbs" : "tcp";

	for (unsigned int i = 0; i < s->nr_fabrics; i++) {
		if (!strcmp(fabric_name(s->fabrics[i]), name))
			return (int)i;
	}
	return -ENODEV;
}

static int try_to_listen(struct server *s, const struct pending_listener *p)
{
	struct listener_task *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->server = s;
	t->fabric_index = p->fabric_index;
	err = fabric_listen(s->fabrics[p->fabric_index], (const struct sockaddr *)&p->addr,
			    p->addr_bytes, &handler, t, &t->listener);
	if (err) {
		free(t);
		return err;
	}
	pool_task_init(s->pool, &t->task, run, end);
	s->listeners.tasks[s->listeners.nr_tasks++] = t;
	return pool_task_add_fd(&t->task, fabric_listener_fd(t->listener));
}

void listener_name(const struct server *s, unsigned int index, char name[LISTENER_NAME_BYTES])
{
	const struct listener_task *t = s->listeners.tasks[index];

	snprintf(name, LISTENER_NAME_BYTES, "%s://%s",
		 strcmp(fabric_name(s->fabrics[t->fabric_index]), "tcp") ? "rdma" : "tcp",
		 fabric_listener_name(t->listener));
}

/* The youngest. */
static void announce(const struct server *s)
{
	char name[LISTENER_NAME_BYTES];

	listener_name(s, s->listeners.nr_tasks - 1, name);
	log_notice("listening on %s", name);
}

bool listeners_retry(struct server *s)
{
	struct listeners *l = &s->listeners;
	struct log_capture ignored;
	unsigned int left = 0;

	for (unsigned int i = 0; i < l->nr_pending; i++) {
		int err;

		log_capture(&ignored); /* it was said the first time */
		err = try_to_listen(s, &l->pending[i]);
		log_capture(NULL);
		if (err)
			l->pending[left++] = l->pending[i];
		else
			announce(s);
	}
	l->nr_pending = left;
	return left;
}

static int listen_on(struct server *s, unsigned int fabric_index, const struct addrinfo *ai)
{
	struct pending_listener p = {.fabric_index = fabric_index, .addr_bytes = ai->ai_addrlen};
	struct listeners *l = &s->listeners;
	struct log_capture why;
	int err;

	if (l->nr_tasks + l->nr_pending == TARGET_MAX_LISTEN) {
		log_error("more than %d listening addresses", TARGET_MAX_LISTEN);
		return -E2BIG;
	}
	memcpy(&p.addr, ai->ai_addr, ai->ai_addrlen);
	log_capture(&why);
	err = try_to_listen(s, &p);
	log_capture(NULL);
	if (err == -EADDRNOTAVAIL) {
		log_notice("%s: tried again every second until it is there ('ip address' shows "
			   "what is)",
			   why.text);
		l->pending[l->nr_pending++] = p;
		return 0;
	}
	if (err)
		log_error("%s", why.text);
	else
		announce(s);
	return err;
}

static int resolve(const struct brp_uri *uri, struct addrinfo **ret_list)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%u", uri->port);
	rc = getaddrinfo(uri->host, port, &hints, ret_list);
	if (!rc)
		return 0;
	log_error("--listen: cannot resolve %s: %s", uri->host, gai_strerror(rc));
	return -EADDRNOTAVAIL;
}

int listener_add(struct server *s, const struct brp_uri *uri)
{
	int index = find_fabric(s, uri->transport);
	struct addrinfo *list;
	int err;

	if (index < 0)
		return index; /* logged when the fabric was not to be had */
	err = resolve(uri, &list);
	if (err)
		return err;
	for (struct addrinfo *ai = list; ai && !err; ai = ai->ai_next)
		err = listen_on(s, (unsigned int)index, ai);
	freeaddrinfo(list);
	return err;
}

static int add_any(struct server *s, enum brp_transport transport, const char *host)
{
	struct brp_uri uri = {.transport = transport, .port = BRP_DEFAULT_PORT};

	snprintf(uri.host, sizeof(uri.host), "%s", host);
	return listener_add(s, &uri);
}

int listener_add_default(struct server *s)
{
	int err = add_any(s, BRP_TRANSPORT_TCP, "0.0.0.0");

	if (!err && find_fabric(s, BRP_TRANSPORT_RDMA) >= 0)
		err = add_any(s, BRP_TRANSPORT_RDMA, "0.0.0.0");
	return err;
}

void listeners_stop(struct server *s)
{
	struct listeners *l = &s->listeners;

	for (unsigned int i = 0; i < l->nr_tasks; i++) {
		atomic_store(&l->tasks[i]->is_stopping, true);
		pool_task_wake(&l->tasks[i]->task);
	}
	l->nr_tasks = 0;
	l->nr_pending = 0;
}
