/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fabric_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/fabric/fault.h"

#define PUMP_NS  (10 * NS_PER_S)
#define SLEEP_MS 3000
#define MAP_SIZE ((size_t)RIG_DEPTH * RIG_DATA_BYTES)

static struct fabric_params params = {
	.recv_bytes = RIG_RECV_BYTES,
	.recv_count = RIG_DEPTH + RIG_SENDS,
	.send_bytes = RIG_RECV_BYTES,
	.send_count = RIG_SENDS,
	.max_data_bytes = RIG_DATA_BYTES,
	.depth = RIG_DEPTH,
};

static void set_wrong(struct rig_end *e, const char *what)
{
	if (!e->wrong)
		e->wrong = what;
}

static struct rig_end *called(struct fabric_conn *c)
{
	struct rig_end *e = fabric_conn_ctx(c);

	if (!e->is_polling)
		set_wrong(e, "a callback came from outside of fabric_poll()");
	return e;
}

static char *slot(struct rig_end *e, uint32_t tag)
{
	return e->data + (size_t)tag * RIG_DATA_BYTES;
}

static void fill(char *to, uint32_t seed, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = (char)rig_byte(seed, from + i);
}

static bool matches(const char *p, uint32_t seed, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++) {
		if ((uint8_t)p[i] != rig_byte(seed, from + i))
			return false;
	}
	return true;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int send_head(struct rig_end *e, const struct rig_msg *m)
{
	struct rig_msg *at = fabric_msg_begin(e->conn, sizeof(*m));

	if (!at)
		return -EAGAIN;
	*at = *m;
	return fabric_msg_commit(e->conn, sizeof(*m), NULL, 0);
}

int rig_send(struct rig_end *e, uint32_t seed, uint32_t bytes, uint32_t gathered_bytes)
{
	struct rig_msg m = {.op = RIG_PLAIN, .bytes = bytes, .seed = seed};
	uint32_t head_bytes = bytes - gathered_bytes;
	char *at = fabric_msg_begin(e->conn, head_bytes);
	struct iovec data[3];
	char *p = e->data;

	if (!at)
		return -EAGAIN;
	memcpy(at, &m, sizeof(m));
	fill(at + sizeof(m), seed, sizeof(m), head_bytes - (uint32_t)sizeof(m));
	if (gathered_bytes == 0)
		return fabric_msg_commit(e->conn, head_bytes, NULL, 0);
	fill(p, seed, head_bytes, gathered_bytes);
	data[0] = (struct iovec){.iov_base = p, .iov_len = 1};
	data[1] = (struct iovec){.iov_base = p + 1, .iov_len = gathered_bytes / 2};
	data[2] = (struct iovec){.iov_base = p + 1 + gathered_bytes / 2,
				 .iov_len = gathered_bytes - 1 - gathered_bytes / 2};
	return fabric_msg_commit(e->conn, head_bytes, data, 3);
}

int rig_request(struct rig_end *e, enum rig_op op, uint32_t tag, uint32_t seed, uint32_t bytes)
{
	bool is_push = op == RIG_PUSH || op == RIG_PUSH_REPLY;
	struct rig_msg m = {.op = op, .bytes = bytes, .seed = seed, .tag = seed << 16 | tag};
	struct rig_msg *at = fabric_msg_begin(e->conn, sizeof(m));
	int r;

	if (!at)
		return -EAGAIN;
	if (is_push)
		memset(slot(e, tag), 0, bytes);
	else
		fill(slot(e, tag), seed, 0, bytes);
	r = fabric_expose(e->conn, m.tag, slot(e, tag), bytes, e->mem,
			  is_push ? FABRIC_MEM_REMOTE_WRITE : FABRIC_MEM_REMOTE_READ, &m.key,
			  &m.addr);
	if (r < 0)
		return r;
	e->exposed_seed[tag] = seed;
	e->exposed_bytes[tag] = bytes;
	*at = m;
	return fabric_msg_commit(e->conn, sizeof(m), NULL, 0);
}

/* ---- the target's work ----------------------------------------------------------------------- */

static int start_pull(struct rig_end *e, const struct rig_msg *m, uint32_t index)
{
	struct fabric_xfer *x = &e->xfers[index];

	*x = (struct fabric_xfer){
		.bytes = m->bytes, .key = m->key, .addr = m->addr, .mem = e->mem, .notice = m->tag};
	x->is_discard = m->op == RIG_PULL_DISCARD;
	x->local = m->op == RIG_PULL ? slot(e, index) : NULL;
	e->is_late[index] = m->op == RIG_PULL_LATE;
	memset(slot(e, index), 0, m->bytes);
	return fabric_pull(e->conn, x);
}

static int start_push(struct rig_end *e, const struct rig_msg *m, uint32_t index)
{
	struct fabric_xfer *x = &e->xfers[index];
	struct rig_msg reply = {.op = RIG_PUSH_REPLY, .tag = m->tag};
	int r;

	*x = (struct fabric_xfer){
		.bytes = m->bytes, .key = m->key, .addr = m->addr, .mem = e->mem, .notice = m->tag};
	x->local = slot(e, index);
	x->is_notice = m->op == RIG_PUSH;
	fill(x->local, m->seed, 0, m->bytes);
	r = fabric_push(e->conn, x);
	if (r == 0 && !x->is_notice)
		r = send_head(e, &reply);
	return r;
}

static void serve(struct rig_end *e, const struct rig_msg *m)
{
	uint32_t index = m->tag & UINT16_MAX;
	int r;

	if (index >= RIG_DEPTH || e->is_busy[index]) {
		set_wrong(e, "a tag out of range or in use came");
		return;
	}
	e->is_busy[index] = true;
	e->xfer_seed[index] = m->seed;
	r = m->op < RIG_PUSH ? start_pull(e, m, index) : start_push(e, m, index);
	if (r < 0)
		set_wrong(e, "a pull or push was refused");
}

void rig_give_buffers(struct rig_end *e)
{
	for (uint32_t i = 0; i < RIG_DEPTH; i++) {
		if (!e->is_late[i])
			continue;
		e->is_late[i] = false;
		e->xfers[i].local = slot(e, i);
		fabric_pull_ready(e->conn, &e->xfers[i]);
	}
}

unsigned int rig_busy(const struct rig_end *e)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < RIG_DEPTH; i++)
		n += e->is_busy[i];
	return n;
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static bool has_digest;

void rig_set_digest(bool on)
{
	has_digest = on;
}

static void on_connected(struct fabric_conn *c)
{
	struct rig_end *e = called(c);

	if (e->is_connected)
		set_wrong(e, "connected() came twice");
	if (has_digest && fabric_enable_digest(c))
		set_wrong(e, "digests were refused");
	e->is_connected = true;
}

/* The initiator's memory is whole when the target says so. */
static void check_pushed(struct rig_end *e, uint32_t tag)
{
	uint32_t index = tag & UINT16_MAX;

	if (index >= RIG_DEPTH)
		set_wrong(e, "an answer for no tag came");
	else if (!matches(slot(e, index), e->exposed_seed[index], 0, e->exposed_bytes[index]))
		set_wrong(e, "pushed data is not in place");
	fabric_unexpose(e->conn, tag);
}

static int on_message(struct fabric_conn *c, const void *buf, uint32_t bytes)
{
	struct rig_end *e = called(c);
	const struct rig_msg *m = buf;

	if (!e->is_connected || e->is_closed)
		set_wrong(e, "a message outside of the connection's life");
	if ((uintptr_t)buf % 8 || bytes < sizeof(*m)) {
		set_wrong(e, "a message is short or not aligned");
		return 0;
	}
	if (e->refuse > 0) {
		e->refuse--;
		e->refused++;
		return -EAGAIN;
	}
	e->messages++;
	if (e->on_next_message != RIG_STAY)
		fabric_close(c, e->on_next_message == RIG_ABORT);
	if (m->op != RIG_PLAIN) {
		if (bytes != sizeof(*m))
			set_wrong(e, "a request has another length");
		else if (e->rig->last_target == e)
			serve(e, m);
		else
			check_pushed(e, m->tag);
		return 0;
	}
	if (m->bytes != bytes || m->seed != e->next_seed++)
		set_wrong(e, "a message is cut or out of order");
	else if (!matches((const char *)buf + sizeof(*m), m->seed, sizeof(*m),
			  bytes - (uint32_t)sizeof(*m)))
		set_wrong(e, "a message was changed");
	return 0;
}

static void on_notice(struct fabric_conn *c, uint32_t value)
{
	struct rig_end *e = called(c);

	e->notices++;
	check_pushed(e, value);
}

static void xfer_done(struct rig_end *e, struct fabric_xfer *x, int status)
{
	uint32_t index = (uint32_t)(x - e->xfers);

	if (index >= RIG_DEPTH || !e->is_busy[index] || e->is_closed) {
		set_wrong(e, "a transfer was done twice, or after closed()");
		return;
	}
	if (status != 0 && status != -ECANCELED)
		set_wrong(e, "a transfer ended with an unknown status");
	e->is_busy[index] = false;
	e->is_late[index] = false;
	e->canceled += status != 0;
}

static void on_pull_done(struct fabric_conn *c, struct fabric_xfer *x, int status)
{
	struct rig_end *e = called(c);
	struct rig_msg reply = {.op = RIG_PULL, .tag = x->notice};

	xfer_done(e, x, status);
	if (status)
		return;
	e->pulls_done++;
	if (!x->is_discard && !matches(x->local, e->xfer_seed[x - e->xfers], 0, x->bytes))
		set_wrong(e, "pulled data is wrong");
	reply.reserved = 1;
	if (send_head(e, &reply) == -EAGAIN)
		set_wrong(e, "no send slot for a reply");
}

static void on_push_done(struct fabric_conn *c, struct fabric_xfer *x, int status)
{
	struct rig_end *e = called(c);

	xfer_done(e, x, status);
	e->pushes_done += status == 0;
}

static void on_sendable(struct fabric_conn *c)
{
	called(c)->sendables++;
}

static void on_closed(struct fabric_conn *c, int error)
{
	struct rig_end *e = called(c);

	if (e->is_closed)
		set_wrong(e, "closed() came twice");
	if (rig_busy(e) > 0)
		set_wrong(e, "closed() came before all transfers were done");
	e->is_closed = true;
	e->error = error;
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

/* ---- ends ------------------------------------------------------------------------------------ */

static void end_free(struct rig_end *e)
{
	fabric_mem_unregister(e->mem);
	if (e->data)
		munmap(e->data, MAP_SIZE);
	free(e);
}

static struct rig_end *end_alloc(struct rig *rig)
{
	struct rig_end *e = calloc(1, sizeof(*e));
	void *p;

	if (!e)
		return NULL;
	e->rig = rig;
	p = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		free(e);
		return NULL;
	}
	e->data = p;
	if (fabric_mem_register(rig->fabric, p, MAP_SIZE,
				FABRIC_MEM_REMOTE_WRITE | FABRIC_MEM_REMOTE_READ, &e->mem) == 0)
		return e;
	end_free(e);
	return NULL;
}

void rig_set_lazy(bool is_lazy)
{
	params.is_lazy = is_lazy;
}

static bool are_sockets_tight;

void rig_set_tight(bool is_tight)
{
	are_sockets_tight = is_tight;
}

/* No harm if it is none. */
static void tighten(int fd)
{
	int bytes = 65536;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static void end_add(struct rig *rig, struct rig_end *e)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	int fds[FABRIC_MAX_FDS];
	int n = fabric_conn_fds(e->conn, fds);

	for (int i = 0; i < n; i++) {
		if (epoll_ctl(rig->epoll_fd, EPOLL_CTL_ADD, fds[i], &ev) < 0)
			rig->wrong = "epoll_ctl failed";
		if (are_sockets_tight)
			tighten(fds[i]);
	}
	rig->ends[rig->nr_ends++] = e;
}

static void on_incoming(struct fabric_listener *l, struct fabric_conn *c, void *ctx)
{
	struct rig *rig = ctx;
	struct rig_end *e;

	(void)l;
	if (rig->is_rejecting) {
		fabric_reject(c);
		return;
	}
	e = end_alloc(rig);
	if (!e || fabric_accept(c, &params, &handler, e) < 0) {
		rig->wrong = "accepting failed";
		fabric_conn_destroy(c);
		if (e)
			end_free(e);
		return;
	}
	e->conn = c;
	rig->last_target = e;
	end_add(rig, e);
}

static const struct fabric_listen_handler listen_handler = {.incoming = on_incoming};

static void make_addr(const char *address, uint16_t port, struct sockaddr_in *ret_addr)
{
	*ret_addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	inet_pton(AF_INET, address, &ret_addr->sin_addr);
}

struct rig_end *rig_connect(struct rig *rig, uint16_t port)
{
	struct rig_end *e = end_alloc(rig);
	struct sockaddr_in addr;

	if (!e)
		return NULL;
	make_addr(rig->address, port, &addr);
	if (fabric_connect(rig->fabric, (struct sockaddr *)&addr, sizeof(addr), &params, &handler,
			   e, &e->conn) < 0) {
		end_free(e);
		return NULL;
	}
	end_add(rig, e);
	return e;
}

void rig_forget(struct rig *rig, struct rig_end *e)
{
	for (unsigned int i = 0; i < rig->nr_ends; i++) {
		if (rig->ends[i] == e)
			rig->ends[i] = rig->ends[--rig->nr_ends];
	}
	if (e->wrong)
		rig->wrong = e->wrong;
	fabric_conn_destroy(e->conn);
	end_free(e);
}

/* ---- the pump -------------------------------------------------------------------------------- */

int rig_poll(struct rig_end *e)
{
	int r;

	e->is_polling = true;
	r = fabric_poll(e->conn);
	e->is_polling = false;
	return r;
}

/* Returns what the listener has handled: of connections fabric_arm() tells whether there is more.
 */
static int pass(struct rig *rig)
{
	int n = fabric_listener_poll(rig->listener);

	for (unsigned int i = 0; i < rig->nr_ends; i++) {
		rig_poll(rig->ends[i]);
		fabric_flush(rig->ends[i]->conn);
		if (rig->ends[i]->wrong)
			rig->wrong = rig->ends[i]->wrong;
	}
	return n;
}

static int arm(struct rig *rig)
{
	int n = 0;

	for (unsigned int i = 0; i < rig->nr_ends; i++)
		n += fabric_arm(rig->ends[i]->conn);
	return n;
}

bool rig_pump(struct rig *rig, bool (*is_done)(void *arg), void *arg)
{
	uint64_t end_ns = now_ns() + PUMP_NS;
	struct epoll_event events[2 * RIG_MAX_ENDS];

	while (!is_done(arg) && !rig->wrong) {
		if (now_ns() > end_ns) {
			rig->wrong = "it never came to an end";
			return false;
		}
		if (pass(rig) > 0 || arm(rig) > 0 || is_done(arg))
			continue;
		if (epoll_wait(rig->epoll_fd, events, 2 * RIG_MAX_ENDS, SLEEP_MS) == 0) {
			rig->wrong = "nobody was woken";
			return false;
		}
	}
	return !rig->wrong;
}

void rig_spin(struct rig *rig, unsigned int passes)
{
	while (passes-- > 0)
		pass(rig);
}

struct pair {
	struct rig *rig;
	struct rig_end *i;
};

static bool is_paired(void *arg)
{
	struct pair *p = arg;

	return p->i->is_closed ||
	       (p->i->is_connected && p->rig->last_target && p->rig->last_target->is_connected);
}

const char *rig_pair(struct rig *rig, struct rig_end **ret_i, struct rig_end **ret_t)
{
	struct pair p = {.rig = rig};

	rig->last_target = NULL;
	p.i = rig_connect(rig, fabric_listener_port(rig->listener));
	if (!p.i)
		return "connecting failed at once";
	if (!rig_pump(rig, is_paired, &p))
		return rig->wrong;
	if (p.i->is_closed)
		return "the connection was refused";
	*ret_i = p.i;
	*ret_t = rig->last_target;
	return NULL;
}

static const struct fabric_fault_plan *fault_plan;

void rig_set_plan(const struct fabric_fault_plan *plan)
{
	fault_plan = plan;
}

const char *rig_open(struct rig *rig, const char *fabric, const char *address)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct sockaddr_in addr;

	*rig = (struct rig){.address = address};
	rig->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (rig->epoll_fd < 0)
		return "no epoll";
	if (fabric_create(fabric, &rig->fabric) < 0)
		return "no such fabric";
	if (fault_plan && fabric_fault_create(rig->fabric, fault_plan, &rig->fabric) < 0)
		return "no memory";
	make_addr(address, 0, &addr);
	if (fabric_listen(rig->fabric, (struct sockaddr *)&addr, sizeof(addr), &listen_handler, rig,
			  &rig->listener) < 0)
		return "listening failed";
	epoll_ctl(rig->epoll_fd, EPOLL_CTL_ADD, fabric_listener_fd(rig->listener), &ev);
	return NULL;
}

void rig_close(struct rig *rig)
{
	while (rig->nr_ends > 0)
		rig_forget(rig, rig->ends[0]);
	fabric_listener_destroy(rig->listener);
	fabric_destroy(rig->fabric);
	close(rig->epoll_fd);
}
