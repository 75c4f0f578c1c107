/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/rdma/rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "brp/proto.h"

#define TIMEOUT_NS (20 * NS_PER_S)

void rig_fill(char *p, size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes / 4; i++)
		((uint32_t *)p)[i] = (uint32_t)(i * 2654435761u) ^ seed;
}

bool rig_same(const char *p, size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes / 4; i++)
		if (((const uint32_t *)p)[i] != ((uint32_t)(i * 2654435761u) ^ seed))
			return false;
	return true;
}

/* ---- both ends ------------------------------------------------------------------------------- */

static void on_connected(struct fabric_conn *c)
{
	((struct rig_end *)fabric_conn_ctx(c))->is_connected = true;
}

static void on_sendable(struct fabric_conn *c)
{
	((struct rig_end *)fabric_conn_ctx(c))->sendables++;
}

static void on_closed(struct fabric_conn *c, int error)
{
	struct rig_end *e = fabric_conn_ctx(c);

	if (e->is_closed)
		abort();
	e->is_closed = true;
	e->error = error;
}

static void on_notice(struct fabric_conn *c, uint32_t value)
{
	struct rig_end *e = fabric_conn_ctx(c);

	e->notices++;
	e->last_tag = value;
}

bool rig_send(struct rig_end *e, const struct rig_msg *m, const void *data, uint32_t data_bytes)
{
	struct iovec iov = {.iov_base = (void *)data, .iov_len = data_bytes};
	void *p = fabric_msg_begin(e->conn, sizeof(*m));

	if (!p)
		return false;
	memcpy(p, m, sizeof(*m));
	return !fabric_msg_commit(e->conn, sizeof(*m), &iov, data_bytes ? 1 : 0);
}

void rig_send_wait(struct rig_end *e, const struct rig_msg *m, const void *data,
		   uint32_t data_bytes)
{
	while (!e->is_closed && !rig_send(e, m, data, data_bytes))
		rig_turn(e->rig);
}

static int on_answer(struct fabric_conn *c, const void *buf, uint32_t bytes)
{
	struct rig_end *e = fabric_conn_ctx(c);
	struct rig_msg m;

	(void)bytes;
	memcpy(&m, buf, sizeof(m));
	e->is_out_of_order |= m.op == RIG_ECHO && m.tag != e->messages;
	e->messages++;
	e->last_tag = m.tag;
	return 0;
}

static const struct fabric_handler initiator_handler;
static const struct fabric_handler target_handler;

/* ---- target ---------------------------------------------------------------------------------- */

static void answer(struct rig_end *e, uint32_t op, uint32_t tag)
{
	struct rig_msg m = {.op = op, .tag = tag};

	if (e->owed_head != e->owed_tail || !rig_send(e, &m, NULL, 0))
		e->owed[e->owed_tail++ % 4096] = tag;
}

static void answer_owed(struct rig_end *e)
{
	while (e->owed_head != e->owed_tail && !e->is_closed) {
		struct rig_msg m = {.tag = e->owed[e->owed_head % 4096]};

		if (!rig_send(e, &m, NULL, 0))
			break;
		e->owed_head++;
	}
}

static void start_xfer(struct rig_end *e, const struct rig_msg *m)
{
	uint32_t i = m->tag % RIG_DEPTH;
	struct fabric_xfer *x = &e->xfers[i];
	bool is_push = m->op == RIG_PUSH;

	if (e->busy[i])
		abort();
	*x = (struct fabric_xfer){
		.local = m->op == RIG_PULL_LATE ? NULL : e->rig->target_area + m->offset,
		.bytes = m->bytes,
		.key = m->key,
		.addr = m->addr,
		.mem = e->rig->target_mem,
		.is_notice = is_push,
		.is_discard = m->op == RIG_DISCARD,
		.notice = m->tag,
	};
	e->busy[i] = !(is_push ? fabric_push(e->conn, x) : fabric_pull(e->conn, x));
	if (m->op == RIG_PULL_LATE)
		e->late[e->nr_late++] = x;
}

static int on_request(struct fabric_conn *c, const void *buf, uint32_t bytes)
{
	struct rig_end *e = fabric_conn_ctx(c);
	struct rig_msg m;

	memcpy(&m, buf, sizeof(m));
	if (e->hold_every && e->messages % e->hold_every == 0 && !e->holds) {
		e->holds = true;
		return -EAGAIN;
	}
	e->holds = false;
	e->messages++;
	if (bytes > sizeof(m) && !rig_same((const char *)buf + sizeof(m), bytes - sizeof(m), m.tag))
		e->is_out_of_order = true;
	if (m.op == RIG_ECHO)
		answer(e, RIG_ECHO, m.tag);
	else if (m.op != RIG_DROP)
		start_xfer(e, &m);
	return 0;
}

static void on_xfer(struct rig_end *e, struct fabric_xfer *x, int status)
{
	size_t i = (size_t)(x - e->xfers);

	if (!e->busy[i] || e->is_closed)
		abort();
	e->busy[i] = false;
	*(status ? &e->cancelled : &e->done) += 1;
}

static void on_pull_done(struct fabric_conn *c, struct fabric_xfer *x, int status)
{
	struct rig_end *e = fabric_conn_ctx(c);

	on_xfer(e, x, status);
	if (!status)
		answer(e, RIG_PULL, x->notice);
}

static void on_push_done(struct fabric_conn *c, struct fabric_xfer *x, int status)
{
	on_xfer(fabric_conn_ctx(c), x, status);
}

static const struct fabric_handler initiator_handler = {
	on_connected, on_answer, on_notice, on_pull_done, on_push_done, on_sendable, on_closed,
};
static const struct fabric_handler target_handler = {
	on_connected, on_request, on_notice, on_pull_done, on_push_done, on_sendable, on_closed,
};

static struct rig_end *add_end(struct rig *r, bool is_target)
{
	struct rig_end *e = calloc(1, sizeof(*e));

	if (!e || r->nr_ends == RIG_MAX_ENDS)
		abort();
	e->rig = r;
	e->is_target = is_target;
	r->ends[r->nr_ends++] = e;
	return e;
}

static void on_incoming(struct fabric_listener *l, struct fabric_conn *c, void *ctx)
{
	struct rig *r = ctx;
	struct rig_end *e;

	(void)l;
	if (r->rejects) {
		fabric_reject(c);
		return;
	}
	e = add_end(r, true);
	e->conn = c;
	if (fabric_accept(c, &r->target_params, &target_handler, e)) {
		fprintf(stderr, "accept failed\n");
		fabric_conn_destroy(c);
		r->nr_ends--;
		free(e);
		return;
	}
	r->last_target = e;
}

struct rig_end *rig_connect(struct rig *r)
{
	struct rig_end *e = add_end(r, false);

	if (fabric_connect(r->fabric, (struct sockaddr *)&r->addr, sizeof(r->addr),
			   &r->initiator_params, &initiator_handler, e, &e->conn)) {
		r->nr_ends--;
		free(e);
		return NULL;
	}
	return e;
}

void rig_forget(struct rig *r, struct rig_end *e)
{
	for (unsigned int i = 0; i < r->nr_ends; i++) {
		if (r->ends[i] != e)
			continue;
		r->ends[i] = r->ends[--r->nr_ends];
		break;
	}
	fabric_conn_destroy(e->conn);
	free(e);
}

void rig_forget_closed(struct rig *r)
{
	for (unsigned int i = r->nr_ends; i-- > 0;)
		if (r->ends[i]->is_closed)
			rig_forget(r, r->ends[i]);
}

/* ---- loop ------------------------------------------------------------------------------------ */

static int poll_end(struct rig_end *e)
{
	int n;

	if (e->is_closed)
		return 0;
	if (e->holds && e->hold_every)
		fabric_resume(e->conn);
	if (e->nr_late) {
		struct fabric_xfer *x = e->late[--e->nr_late];

		x->local = e->rig->target_area + (size_t)(x - e->xfers) * 4096;
		fabric_pull_ready(e->conn, x);
	}
	n = fabric_poll(e->conn);
	if (e->is_closed)
		return n;
	answer_owed(e);
	fabric_flush(e->conn);
	return n;
}

static bool may_sleep(struct rig *r)
{
	for (unsigned int i = 0; i < r->nr_ends; i++)
		if (!r->ends[i]->is_closed && (fabric_arm(r->ends[i]->conn) || r->ends[i]->nr_late))
			return false;
	return true;
}

static void sleep_once(struct rig *r)
{
	struct pollfd fds[RIG_MAX_ENDS * 2 + 1];
	nfds_t n = 0;

	if (r->listener)
		fds[n++] = (struct pollfd){fabric_listener_fd(r->listener), POLLIN, 0};
	for (unsigned int i = 0; i < r->nr_ends; i++) {
		int two[FABRIC_MAX_FDS], k = 0;

		if (!r->ends[i]->is_closed)
			k = fabric_conn_fds(r->ends[i]->conn, two);
		while (k-- > 0)
			fds[n++] = (struct pollfd){two[k], POLLIN, 0};
	}
	r->sleeps++;
	r->timeouts += poll(fds, n, r->sleep_ms) == 0;
}

int rig_turn(struct rig *r)
{
	int n = r->listener ? fabric_listener_poll(r->listener) : 0;

	for (unsigned int i = 0; i < r->nr_ends; i++)
		n += poll_end(r->ends[i]);
	if (!n && !r->spins && may_sleep(r))
		sleep_once(r);
	return n;
}

bool rig_until(struct rig *r, bool (*cond)(void *arg), void *arg)
{
	uint64_t end_ns = 0;

	for (unsigned int turns = 1; !cond(arg); turns++) {
		rig_turn(r);
		if (turns % 64) /* the clock is a system call in some virtual machines */
			continue;
		end_ns = end_ns ? end_ns : now_ns() + TIMEOUT_NS;
		if (now_ns() > end_ns)
			return false;
	}
	return true;
}

static bool is_connected(void *arg)
{
	struct rig_end *e = arg;

	return e->is_closed ||
	       (e->is_connected && e->rig->last_target && e->rig->last_target->is_connected);
}

bool rig_connected(struct rig_end *e)
{
	e->rig->last_target = NULL;
	return rig_until(e->rig, is_connected, e) && !e->is_closed;
}

static bool is_closed(void *arg)
{
	return ((struct rig_end *)arg)->is_closed;
}

bool rig_wait_closed(struct rig_end *e)
{
	return rig_until(e->rig, is_closed, e);
}

static bool all_closed(void *arg)
{
	const struct rig *r = arg;

	for (unsigned int i = 0; i < r->nr_ends; i++)
		if (!r->ends[i]->is_closed)
			return false;
	return true;
}

bool rig_wait_all_closed(struct rig *r)
{
	return rig_until(r, all_closed, r);
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int rig_start(struct rig *r, const char *fabric, const char *address)
{
	static const struct fabric_listen_handler listen_handler = {on_incoming};
	uint32_t to_target, to_initiator;
	int rc = fabric_create(fabric, &r->fabric);

	if (rc)
		return rc;
	to_initiator = r->msg_bytes ? r->msg_bytes : BRP_MAX_INITIATOR_MSG_BYTES;
	to_target = r->msg_bytes ? r->msg_bytes : BRP_MAX_TARGET_MSG_BYTES;
	r->target_params =
		(struct fabric_params){to_target, 64, to_initiator, 64, RIG_DATA_BYTES, RIG_DEPTH};
	r->initiator_params = (struct fabric_params){
		to_initiator, RIG_DEPTH + 8, to_target, 32, RIG_DATA_BYTES, RIG_DEPTH,
	};
	if (!r->area_bytes)
		r->area_bytes = RIG_AREA_BYTES;
	if (!r->sleep_ms)
		r->sleep_ms = 200;
	r->target_area = map(r->area_bytes);
	r->initiator_area = map(r->area_bytes);
	rc = fabric_mem_register(r->fabric, r->target_area, r->area_bytes, FABRIC_MEM_LOCAL,
				 &r->target_mem);
	if (!rc)
		rc = fabric_mem_register(r->fabric, r->initiator_area, r->area_bytes,
					 FABRIC_MEM_REMOTE_WRITE | FABRIC_MEM_REMOTE_READ,
					 &r->initiator_mem);
	if (rc)
		return rc;
	r->addr.sin_family = AF_INET;
	inet_pton(AF_INET, address, &r->addr.sin_addr);
	rc = fabric_listen(r->fabric, (struct sockaddr *)&r->addr, sizeof(r->addr), &listen_handler,
			   r, &r->listener);
	if (!rc)
		r->addr.sin_port = htons(fabric_listener_port(r->listener));
	return rc;
}

void rig_stop(struct rig *r)
{
	while (r->nr_ends)
		rig_forget(r, r->ends[0]);
	fabric_listener_destroy(r->listener);
	fabric_mem_unregister(r->target_mem);
	fabric_mem_unregister(r->initiator_mem);
	if (r->target_area)
		munmap(r->target_area, r->area_bytes);
	if (r->initiator_area)
		munmap(r->initiator_area, r->area_bytes);
	fabric_destroy(r->fabric);
	*r = (struct rig){0};
}

/* ---- leaks ----------------------------------------------------------------------------------- */

unsigned int rig_open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += dup2(fd, fd) == fd;
	return n;
}

unsigned int rig_kernel_objects(void)
{
	static const char *const kinds[] = {"qp", "cq", "mr", "pd", "cm_id", "srq"};
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char cmd[128], line[64];
		FILE *f;

		snprintf(cmd, sizeof(cmd), "rdma resource show %s | grep -c 'pid %d '", kinds[i],
			 (int)getpid());
		f = popen(cmd, "r");
		if (f && fgets(line, sizeof(line), f))
			n += (unsigned int)strtoul(line, NULL, 10);
		if (f)
			pclose(f);
	}
	return n;
}
