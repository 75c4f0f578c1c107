/* SPDX-License-Identifier: BSD-2-Clause */
/* See fault.h. Each connection and listener of ours has one of the inner fabric, as its ctx. */
#include "common/fabric/fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/fabric/provider.h"

struct fault_fabric {
	struct fabric base;
	struct fabric *inner;
	struct fabric_fault_plan plan;
	atomic_uint nr_calls[FABRIC_FAULT_CALL_COUNT];
	atomic_uint nr_messages;
	atomic_uint nr_pushes;
	atomic_uint nr_pulls;
};

struct fault_conn {
	struct fabric_conn base;
	struct fabric_conn *inner;
	bool is_stalled;
	unsigned int nr_delayed;
};

struct fault_listener {
	struct fabric_listener base;
	struct fabric_listener *inner;
};

static struct fault_fabric *to_fault(struct fabric *f)
{
	return (struct fault_fabric *)f;
}

static struct fabric_conn *inner_of(const struct fabric_conn *c)
{
	return ((const struct fault_conn *)c)->inner;
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static bool is_nth(atomic_uint *count, unsigned int nth)
{
	return atomic_fetch_add(count, 1) + 1 == nth;
}

/* 0, or the error this call is to end with. */
static int check_call(struct fabric *f, enum fabric_fault_call call)
{
	struct fault_fabric *ff = to_fault(f);

	return is_nth(&ff->nr_calls[call], ff->plan.fail_nth[call]) ? ff->plan.fail_error : 0;
}

static void act(struct fault_conn *c)
{
	enum fabric_fault_action action = to_fault(c->base.fabric)->plan.action;

	if (action == FABRIC_FAULT_STALL)
		c->is_stalled = true;
	else
		fabric_close(c->inner, action == FABRIC_FAULT_ABORT);
}

static void count_message(struct fault_conn *c)
{
	struct fault_fabric *ff = to_fault(c->base.fabric);

	if (is_nth(&ff->nr_messages, ff->plan.after_messages))
		act(c);
}

/* ---- callbacks of the inner connection ------------------------------------------------------- */

static void on_connected(struct fabric_conn *inner)
{
	struct fault_conn *c = fabric_conn_ctx(inner);

	c->base.handler->connected(&c->base);
}

static int on_message(struct fabric_conn *inner, const void *buf, uint32_t bytes)
{
	struct fault_conn *c = fabric_conn_ctx(inner);
	int r = c->base.handler->message(&c->base, buf, bytes);

	if (r == 0)
		count_message(c);
	return r;
}

static void on_notice(struct fabric_conn *inner, uint32_t value)
{
	struct fault_conn *c = fabric_conn_ctx(inner);

	c->base.handler->notice(&c->base, value);
}

static void on_pull_done(struct fabric_conn *inner, struct fabric_xfer *x, int status)
{
	struct fault_conn *c = fabric_conn_ctx(inner);
	struct fault_fabric *ff = to_fault(c->base.fabric);

	c->base.handler->pull_done(&c->base, x, status);
	if (status == 0 && is_nth(&ff->nr_pulls, ff->plan.after_pulls))
		act(c);
}

static void on_push_done(struct fabric_conn *inner, struct fabric_xfer *x, int status)
{
	struct fault_conn *c = fabric_conn_ctx(inner);
	struct fault_fabric *ff = to_fault(c->base.fabric);

	c->base.handler->push_done(&c->base, x, status);
	if (status == 0 && is_nth(&ff->nr_pushes, ff->plan.after_pushes))
		act(c);
}

static void on_sendable(struct fabric_conn *inner)
{
	struct fault_conn *c = fabric_conn_ctx(inner);

	c->base.handler->sendable(&c->base);
}

static void on_closed(struct fabric_conn *inner, int error)
{
	struct fault_conn *c = fabric_conn_ctx(inner);

	c->base.is_closed = true;
	c->base.why = fabric_conn_why(inner);
	c->base.handler->closed(&c->base, error);
}

static const struct fabric_handler inner_handler = {
	.connected = on_connected,
	.message = on_message,
	.notice = on_notice,
	.pull_done = on_pull_done,
	.push_done = on_push_done,
	.sendable = on_sendable,
	.closed = on_closed,
};

/* ---- connections ----------------------------------------------------------------------------- */

static struct fault_conn *conn_alloc(struct fabric *f)
{
	struct fault_conn *c = calloc(1, sizeof(*c));

	if (c)
		c->base.fabric = f;
	return c;
}

static void set_inner(struct fault_conn *c, struct fabric_conn *inner)
{
	c->inner = inner;
	strncpy(c->base.peer, fabric_conn_peer(inner), sizeof(c->base.peer) - 1);
}

static int fault_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
			 const struct fabric_params *params, struct fabric_conn **ret_conn)
{
	int r = check_call(f, FABRIC_FAULT_CONNECT);
	struct fault_conn *c = r < 0 ? NULL : conn_alloc(f);
	struct fabric_conn *inner;

	if (!c)
		return r < 0 ? r : -ENOMEM;
	r = fabric_connect(to_fault(f)->inner, addr, addr_bytes, params, &inner_handler, c, &inner);
	if (r < 0) {
		free(c);
		return r;
	}
	set_inner(c, inner);
	*ret_conn = &c->base;
	return 0;
}

static int fault_fds(const struct fabric_conn *base, int ret_fds[FABRIC_MAX_FDS])
{
	return fabric_conn_fds(inner_of(base), ret_fds);
}

static int fault_poll(struct fabric_conn *base)
{
	struct fault_conn *c = (struct fault_conn *)base;
	int r;

	if (c->is_stalled)
		return 0;
	if (c->nr_delayed < to_fault(base->fabric)->plan.delay_polls) {
		c->nr_delayed++;
		return 1; /* call again */
	}
	c->nr_delayed = 0;
	r = fabric_poll(c->inner);
	base->stats = *fabric_conn_stats(c->inner);
	return r;
}

static int fault_arm(struct fabric_conn *base)
{
	struct fault_conn *c = (struct fault_conn *)base;

	if (c->is_stalled)
		return 0;
	return c->nr_delayed > 0 || fabric_arm(c->inner);
}

static void fault_look(struct fabric_conn *base)
{
	fabric_look(inner_of(base));
}

static void fault_close(struct fabric_conn *base, bool is_abort)
{
	if (is_abort)
		((struct fault_conn *)base)->is_stalled = false;
	fabric_close(inner_of(base), is_abort);
}

static void fault_conn_destroy(struct fabric_conn *base)
{
	fabric_conn_destroy(inner_of(base));
	free(base);
}

static int fault_enable_digest(struct fabric_conn *base)
{
	return fabric_enable_digest(inner_of(base));
}

static void *fault_msg_begin(struct fabric_conn *base, uint32_t head_bytes)
{
	return fabric_msg_begin(inner_of(base), head_bytes);
}

static int fault_msg_commit(struct fabric_conn *base, uint32_t head_bytes, const struct iovec *data,
			    unsigned int nr_data)
{
	int r = check_call(base->fabric, FABRIC_FAULT_MSG_COMMIT);

	if (r == 0)
		r = fabric_msg_commit(inner_of(base), head_bytes, data, nr_data);
	if (r == 0)
		count_message((struct fault_conn *)base);
	return r;
}

static void fault_flush(struct fabric_conn *base)
{
	if (!((struct fault_conn *)base)->is_stalled)
		fabric_flush(inner_of(base));
}

static void fault_resume(struct fabric_conn *base)
{
	fabric_resume(inner_of(base));
}

static int fault_expose(struct fabric_conn *base, uint32_t tag, void *p, uint32_t bytes,
			struct fabric_mem *mem, unsigned int access, uint32_t *ret_key,
			uint64_t *ret_addr)
{
	int r = check_call(base->fabric, FABRIC_FAULT_EXPOSE);

	return r < 0 ? r
		     : fabric_expose(inner_of(base), tag, p, bytes, mem, access, ret_key, ret_addr);
}

static void fault_unexpose(struct fabric_conn *base, uint32_t tag)
{
	fabric_unexpose(inner_of(base), tag);
}

static int fault_pull(struct fabric_conn *base, struct fabric_xfer *x)
{
	int r = check_call(base->fabric, FABRIC_FAULT_PULL);

	return r < 0 ? r : fabric_pull(inner_of(base), x);
}

static void fault_pull_ready(struct fabric_conn *base, struct fabric_xfer *x)
{
	fabric_pull_ready(inner_of(base), x);
}

static int fault_push(struct fabric_conn *base, struct fabric_xfer *x)
{
	int r = check_call(base->fabric, FABRIC_FAULT_PUSH);

	return r < 0 ? r : fabric_push(inner_of(base), x);
}

/* ---- listening ------------------------------------------------------------------------------- */

static void on_incoming(struct fabric_listener *inner_listener, struct fabric_conn *inner,
			void *ctx)
{
	struct fault_listener *l = ctx;
	struct fault_conn *c = conn_alloc(l->base.fabric);

	(void)inner_listener;
	if (!c) {
		fabric_reject(inner);
		return;
	}
	set_inner(c, inner);
	l->base.handler->incoming(&l->base, &c->base, l->base.ctx);
}

static const struct fabric_listen_handler inner_listen_handler = {.incoming = on_incoming};

static int fault_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
			struct fabric_listener **ret_l)
{
	int r = check_call(f, FABRIC_FAULT_LISTEN);
	struct fault_listener *l = r < 0 ? NULL : calloc(1, sizeof(*l));

	if (!l)
		return r < 0 ? r : -ENOMEM;
	l->base.fabric = f;
	r = fabric_listen(to_fault(f)->inner, addr, addr_bytes, &inner_listen_handler, l,
			  &l->inner);
	if (r < 0) {
		free(l);
		return r;
	}
	l->base.port = fabric_listener_port(l->inner);
	strncpy(l->base.name, fabric_listener_name(l->inner), sizeof(l->base.name) - 1);
	*ret_l = &l->base;
	return 0;
}

static int fault_listener_fd(const struct fabric_listener *l)
{
	return fabric_listener_fd(((const struct fault_listener *)l)->inner);
}

static int fault_listener_poll(struct fabric_listener *l)
{
	return fabric_listener_poll(((struct fault_listener *)l)->inner);
}

static void fault_listener_destroy(struct fabric_listener *l)
{
	fabric_listener_destroy(((struct fault_listener *)l)->inner);
	free(l);
}

static int fault_accept(struct fabric_conn *base, const struct fabric_params *params)
{
	int r = check_call(base->fabric, FABRIC_FAULT_ACCEPT);

	return r < 0 ? r : fabric_accept(inner_of(base), params, &inner_handler, base);
}

static void fault_reject(struct fabric_conn *base)
{
	fabric_reject(inner_of(base));
	free(base);
}

/* ---- the fabric ------------------------------------------------------------------------------ */

static int fault_create(const struct fabric_ops *ops, struct fabric **ret_fabric)
{
	(void)ops;
	(void)ret_fabric;
	return -EOPNOTSUPP; /* fabric_fault_create() is the way */
}

static void fault_destroy(struct fabric *f)
{
	fabric_destroy(to_fault(f)->inner);
	free(f);
}

/* The inner fabric's memory is ours: it unregisters itself. */
static int fault_mem_register(struct fabric *f, struct fabric_mem **ret_mem, void *base,
			      size_t bytes, unsigned int access)
{
	int r = check_call(f, FABRIC_FAULT_MEM_REGISTER);

	return r < 0 ? r : fabric_mem_register(to_fault(f)->inner, base, bytes, access, ret_mem);
}

static void fault_mem_unregister(struct fabric_mem *mem)
{
	fabric_mem_unregister(mem);
}

static const struct fabric_ops fault_ops = {
	.name = "fault",
	.create = fault_create,
	.destroy = fault_destroy,
	.mem_register = fault_mem_register,
	.mem_unregister = fault_mem_unregister,
	.connect = fault_connect,
	.fds = fault_fds,
	.poll = fault_poll,
	.arm = fault_arm,
	.look = fault_look,
	.close = fault_close,
	.conn_destroy = fault_conn_destroy,
	.enable_digest = fault_enable_digest,
	.msg_begin = fault_msg_begin,
	.msg_commit = fault_msg_commit,
	.flush = fault_flush,
	.resume = fault_resume,
	.expose = fault_expose,
	.unexpose = fault_unexpose,
	.pull = fault_pull,
	.pull_ready = fault_pull_ready,
	.push = fault_push,
	.listen = fault_listen,
	.listener_fd = fault_listener_fd,
	.listener_poll = fault_listener_poll,
	.listener_destroy = fault_listener_destroy,
	.accept = fault_accept,
	.reject = fault_reject,
};

int fabric_fault_create(struct fabric *inner, const struct fabric_fault_plan *plan,
			struct fabric **ret_fabric)
{
	struct fault_fabric *ff = calloc(1, sizeof(*ff));

	if (!ff)
		return -ENOMEM;
	ff->base.ops = &fault_ops;
	ff->base.has_digest = inner->has_digest;
	ff->base.is_stream = inner->is_stream;
	ff->inner = inner;
	ff->plan = *plan;
	*ret_fabric = &ff->base;
	return 0;
}

void fabric_fault_set_plan(struct fabric *f, const struct fabric_fault_plan *plan)
{
	struct fault_fabric *ff = to_fault(f);

	ff->plan = *plan;
	for (int i = 0; i < FABRIC_FAULT_CALL_COUNT; i++)
		atomic_store(&ff->nr_calls[i], 0);
	atomic_store(&ff->nr_messages, 0);
	atomic_store(&ff->nr_pushes, 0);
	atomic_store(&ff->nr_pulls, 0);
}
