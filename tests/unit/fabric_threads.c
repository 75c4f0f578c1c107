/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Both ends of a connection in threads of their own, and a connection that changes hands. A plain
 * program, as Criterion does not run under ThreadSanitizer. Says "ok" or "not ok" for each fabric,
 * as TAP does.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fabric/fabric.h"
#include "common/log.h"

#define DEPTH      16u
#define BYTES      8192u
#define REQUESTS   20000u
#define SLEEP_MS   100
#define HAND_OVERS 50u

struct ask {
	uint32_t tag;
	uint32_t key;
	uint64_t addr;
	uint32_t is_write;
	uint32_t reserved[3];
};

struct end {
	struct fabric_conn *conn;
	struct fabric_mem *mem;
	char *data;
	struct fabric_xfer xfers[DEPTH];
	unsigned int sent;
	unsigned int done;
	bool is_connected;
	bool is_closed;
	bool is_wrong;
};

static struct end initiator, target;

static const struct fabric_params params = {
	.recv_bytes = 4096,
	.recv_count = 2 * DEPTH,
	.send_bytes = 4096,
	.send_count = 2 * DEPTH,
	.max_data_bytes = BYTES,
	.depth = DEPTH,
};

static void send_ask(struct end *e, uint32_t tag)
{
	struct ask *a = fabric_msg_begin(e->conn, sizeof(*a));

	if (!a) {
		e->is_wrong = true;
		return;
	}
	*a = (struct ask){.tag = tag, .is_write = e->sent % 2};
	memset(e->data + tag * BYTES, (int)e->sent, BYTES);
	if (fabric_expose(e->conn, tag, e->data + tag * BYTES, BYTES, e->mem,
			  a->is_write ? FABRIC_MEM_REMOTE_READ : FABRIC_MEM_REMOTE_WRITE, &a->key,
			  &a->addr) < 0 ||
	    fabric_msg_commit(e->conn, sizeof(*a), NULL, 0) < 0)
		e->is_wrong = true;
	e->sent++;
}

static void answered(struct end *e, uint32_t tag)
{
	fabric_unexpose(e->conn, tag);
	e->done++;
	if (e->sent < REQUESTS)
		send_ask(e, tag);
	else if (e->done == REQUESTS)
		fabric_close(e->conn, false);
}

static void on_connected(struct fabric_conn *c)
{
	struct end *e = fabric_conn_ctx(c);

	e->is_connected = true;
	for (uint32_t i = 0; e == &initiator && i < DEPTH; i++)
		send_ask(e, i);
}

static int on_message(struct fabric_conn *c, const void *buf, uint32_t bytes)
{
	struct end *e = fabric_conn_ctx(c);
	const struct ask *a = buf;
	struct fabric_xfer *x;

	if (bytes != sizeof(*a) || a->tag >= DEPTH) {
		e->is_wrong = true;
		return 0;
	}
	if (e == &initiator) {
		answered(e, a->tag);
		return 0;
	}
	x = &e->xfers[a->tag];
	*x = (struct fabric_xfer){
		.local = e->data + a->tag * BYTES,
		.bytes = BYTES,
		.key = a->key,
		.addr = a->addr,
		.mem = e->mem,
		.notice = a->tag,
	};
	x->is_notice = !a->is_write;
	if ((a->is_write ? fabric_pull(c, x) : fabric_push(c, x)) < 0)
		e->is_wrong = true;
	return 0;
}

static void on_notice(struct fabric_conn *c, uint32_t value)
{
	answered(fabric_conn_ctx(c), value);
}

static void on_pull_done(struct fabric_conn *c, struct fabric_xfer *x, int status)
{
	struct end *e = fabric_conn_ctx(c);
	struct ask *a = status ? NULL : fabric_msg_begin(c, sizeof(*a));

	if (status)
		return;
	if (!a) {
		e->is_wrong = true;
		return;
	}
	*a = (struct ask){.tag = x->notice};
	fabric_msg_commit(c, sizeof(*a), NULL, 0);
}

static void on_push_done(struct fabric_conn *c, struct fabric_xfer *x, int status)
{
	(void)c;
	(void)x;
	(void)status;
}

static void on_sendable(struct fabric_conn *c)
{
	(void)c;
}

static void on_closed(struct fabric_conn *c, int error)
{
	struct end *e = fabric_conn_ctx(c);

	e->is_closed = true;
	e->is_wrong |= error != 0;
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

static void on_incoming(struct fabric_listener *l, struct fabric_conn *c, void *ctx)
{
	(void)l;
	(void)ctx;
	target.conn = c;
	if (fabric_accept(c, &params, &handler, &target) < 0)
		abort();
}

static const struct fabric_listen_handler listen_handler = {.incoming = on_incoming};

static void sleep_on(struct end *e)
{
	struct pollfd p[FABRIC_MAX_FDS];
	int fds[FABRIC_MAX_FDS];
	int n = fabric_conn_fds(e->conn, fds);

	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	poll(p, (nfds_t)n,
	     SLEEP_MS); /* blocked sends and connects are looked after by the time-out */
}

/* Serves one end for a while; then another thread does. */
static void *serve(void *arg)
{
	struct end *e = arg;
	unsigned int before = e->done;

	while (!e->is_closed && !e->is_wrong) {
		int r = fabric_poll(e->conn);

		fabric_flush(e->conn);
		if (e->done - before > REQUESTS / HAND_OVERS)
			break;
		if (!e->is_closed && r == 0 && fabric_arm(e->conn) == 0)
			sleep_on(e);
	}
	return NULL;
}

static void *serve_in_turns(void *arg)
{
	struct end *e = arg;

	while (!e->is_closed && !e->is_wrong) {
		pthread_t t;

		if (pthread_create(&t, NULL, serve, e))
			abort();
		pthread_join(t, NULL);
	}
	return NULL;
}

static void end_init(struct end *e, struct fabric *f)
{
	*e = (struct end){.data = malloc(DEPTH * BYTES)};
	if (!e->data ||
	    fabric_mem_register(f, e->data, DEPTH * BYTES,
				FABRIC_MEM_REMOTE_WRITE | FABRIC_MEM_REMOTE_READ, &e->mem) < 0)
		abort();
}

static void end_finish(struct end *e)
{
	fabric_conn_destroy(e->conn);
	fabric_mem_unregister(e->mem);
	free(e->data);
}

static bool run(const char *name)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct fabric_listener *l;
	struct fabric *f;
	pthread_t i, t;
	bool ok;

	if (fabric_create(name, &f) < 0)
		return false;
	end_init(&initiator, f);
	end_init(&target, f);
	if (fabric_listen(f, (struct sockaddr *)&a, sizeof(a), &listen_handler, NULL, &l) < 0)
		return false;
	a.sin_port = htons(fabric_listener_port(l));
	if (fabric_connect(f, (struct sockaddr *)&a, sizeof(a), &params, &handler, &initiator,
			   &initiator.conn) < 0)
		return false;
	while (!target.conn)
		fabric_listener_poll(l);
	if (pthread_create(&i, NULL, serve_in_turns, &initiator) ||
	    pthread_create(&t, NULL, serve, &target))
		abort();
	pthread_join(i, NULL);
	pthread_join(t, NULL);
	ok = !initiator.is_wrong && !target.is_wrong && initiator.done == REQUESTS;
	end_finish(&initiator);
	end_finish(&target);
	fabric_listener_destroy(l);
	fabric_destroy(f);
	return ok;
}

int main(void)
{
	static const char *const names[] = {"tcp", "loopback"};

	log_init("fabric_threads", LOG_WARNING);
	printf("1..%zu\n", ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		printf("%s %zu - %s\n", run(names[i]) ? "ok" : "not ok", i + 1, names[i]);
	return 0;
}
