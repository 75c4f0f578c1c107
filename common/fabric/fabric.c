/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The face of the fabrics: finds one by name, checks what callers pass in and hands it to the
 * implementation's table. Only this file calls the ops.
 */
#include "common/fabric/fabric.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/fabric/provider.h"
#include "common/log.h"

static const struct fabric_ops *const registry[] = {
	&fabric_tcp_ops,
	&fabric_loopback_ops,
#ifdef HAVE_VERBS
	&fabric_verbs_ops,
#endif
};

/* ---- set-up ---------------------------------------------------------------------------------- */

int fabric_create(const char *name, struct fabric **ret_fabric)
{
	for (size_t i = 0; i < ARRAY_SIZE(registry); i++) {
		if (strcmp(registry[i]->name, name) == 0)
			return registry[i]->create(registry[i], ret_fabric);
	}
	log_error("fabric '%s' is not part of this build", name);
	return -EOPNOTSUPP;
}

void fabric_destroy(struct fabric *f)
{
	if (f)
		f->ops->destroy(f);
}

const char *fabric_name(const struct fabric *f)
{
	return f->ops->name;
}

int fabric_mem_register(struct fabric *f, void *base, size_t bytes, unsigned int access,
			struct fabric_mem **ret_mem)
{
	if (!base || bytes == 0 || (access & ~(FABRIC_MEM_REMOTE_WRITE | FABRIC_MEM_REMOTE_READ)))
		return -EINVAL;
	return f->ops->mem_register(f, ret_mem, base, bytes, access);
}

void fabric_mem_unregister(struct fabric_mem *mem)
{
	if (mem)
		mem->fabric->ops->mem_unregister(mem);
}

bool fabric_mem_contains(const struct fabric_mem *mem, const void *p, size_t bytes)
{
	size_t off = (size_t)((uintptr_t)p - (uintptr_t)mem->base);

	return (uintptr_t)p >= (uintptr_t)mem->base && off <= mem->bytes &&
	       bytes <= mem->bytes - off;
}

/* ---- connections ----------------------------------------------------------------------------- */

/* Above this a size is a mistake of the caller; it also keeps sums of them within 32 bits. */
#define MAX_SANE (1u << 30)

static bool params_ok(const struct fabric_params *p)
{
	return p->recv_bytes > 0 && p->recv_bytes <= MAX_SANE && p->send_bytes > 0 &&
	       p->send_bytes <= MAX_SANE && p->recv_count > 0 && p->send_count > 0 &&
	       p->send_count <= UINT16_MAX && p->max_data_bytes <= MAX_SANE &&
	       p->depth <= UINT16_MAX;
}

static bool handler_ok(const struct fabric_handler *h)
{
	return h && h->connected && h->message && h->notice && h->pull_done && h->push_done &&
	       h->sendable && h->closed;
}

int fabric_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		   const struct fabric_params *params, const struct fabric_handler *h, void *ctx,
		   struct fabric_conn **ret_conn)
{
	struct fabric_conn *c;
	int r;

	if (!handler_ok(h) || !params_ok(params))
		return -EINVAL;
	r = f->ops->connect(f, addr, addr_bytes, params, &c);
	if (r < 0)
		return r;
	c->handler = h;
	c->ctx = ctx;
	*ret_conn = c;
	return 0;
}

void *fabric_conn_ctx(const struct fabric_conn *c)
{
	return c->ctx;
}

const char *fabric_conn_peer(const struct fabric_conn *c)
{
	return c->peer;
}

const char *fabric_conn_why(const struct fabric_conn *c)
{
	return c->why;
}

const char *fabric_conn_fabric_name(const struct fabric_conn *c)
{
	return c->fabric->ops->name;
}

int fabric_enable_digest(struct fabric_conn *c)
{
	if (c->is_closed)
		return -ENOTCONN;
	if (!c->fabric->has_digest)
		return -EOPNOTSUPP;
	return c->fabric->ops->enable_digest(c);
}

bool fabric_has_digest(const struct fabric *f)
{
	return f->has_digest;
}

bool fabric_conn_has_digest(const struct fabric_conn *c)
{
	return c->fabric->has_digest;
}

bool fabric_conn_is_stream(const struct fabric_conn *c)
{
	return c->fabric->is_stream;
}

int fabric_conn_fds(const struct fabric_conn *c, int ret_fds[FABRIC_MAX_FDS])
{
	return c->fabric->ops->fds(c, ret_fds);
}

int fabric_poll(struct fabric_conn *c)
{
	int r;

	if (unlikely(c->is_closed))
		return 0;
	r = c->fabric->ops->poll(c);
	c->was_busy = r > 0;
	return r;
}

int fabric_arm(struct fabric_conn *c)
{
	return unlikely(c->is_closed) ? 0 : c->fabric->ops->arm(c);
}

void fabric_look(struct fabric_conn *c)
{
	if (likely(!c->is_closed) && c->fabric->ops->look)
		c->fabric->ops->look(c);
}

void fabric_close(struct fabric_conn *c, bool is_abort)
{
	if (!c->is_closed)
		c->fabric->ops->close(c, is_abort);
}

void fabric_conn_destroy(struct fabric_conn *c)
{
	if (c)
		c->fabric->ops->conn_destroy(c);
}

const struct fabric_stats *fabric_conn_stats(const struct fabric_conn *c)
{
	return &c->stats;
}

/* ---- sending --------------------------------------------------------------------------------- */

void *fabric_msg_begin(struct fabric_conn *c, uint32_t head_bytes)
{
	if (unlikely(c->is_closed || head_bytes == 0))
		return NULL;
	return c->fabric->ops->msg_begin(c, head_bytes);
}

int fabric_msg_commit(struct fabric_conn *c, uint32_t head_bytes, const struct iovec *data,
		      unsigned int nr_data)
{
	if (unlikely(c->is_closed))
		return -ENOTCONN;
	if (unlikely(head_bytes == 0))
		return -EINVAL;
	return c->fabric->ops->msg_commit(c, head_bytes, data, nr_data);
}

void fabric_flush(struct fabric_conn *c)
{
	if (likely(!c->is_closed))
		c->fabric->ops->flush(c);
}

void fabric_resume(struct fabric_conn *c)
{
	if (!c->is_closed)
		c->fabric->ops->resume(c);
}

/* ---- bulk data ------------------------------------------------------------------------------- */

int fabric_expose(struct fabric_conn *c, uint32_t tag, void *base, uint32_t bytes,
		  struct fabric_mem *mem, unsigned int access, uint32_t *ret_key,
		  uint64_t *ret_addr)
{
	if (unlikely(c->is_closed))
		return -ENOTCONN;
	if (unlikely(bytes == 0 || !fabric_mem_contains(mem, base, bytes) ||
		     (access != FABRIC_MEM_REMOTE_WRITE && access != FABRIC_MEM_REMOTE_READ)))
		return -EINVAL;
	return c->fabric->ops->expose(c, tag, base, bytes, mem, access, ret_key, ret_addr);
}

void fabric_unexpose(struct fabric_conn *c, uint32_t tag)
{
	if (likely(!c->is_closed))
		c->fabric->ops->unexpose(c, tag);
}

int fabric_pull(struct fabric_conn *c, struct fabric_xfer *x)
{
	if (unlikely(c->is_closed))
		return -ENOTCONN;
	if (unlikely(x->bytes == 0 || (x->local && !x->is_discard &&
				       !fabric_mem_contains(x->mem, x->local, x->bytes))))
		return -EINVAL;
	return c->fabric->ops->pull(c, x);
}

void fabric_pull_ready(struct fabric_conn *c, struct fabric_xfer *x)
{
	assert(x->is_discard || fabric_mem_contains(x->mem, x->local, x->bytes));
	if (likely(!c->is_closed))
		c->fabric->ops->pull_ready(c, x);
}

int fabric_push(struct fabric_conn *c, struct fabric_xfer *x)
{
	if (unlikely(c->is_closed))
		return -ENOTCONN;
	if (unlikely(x->bytes == 0 || !x->local ||
		     !fabric_mem_contains(x->mem, x->local, x->bytes)))
		return -EINVAL;
	return c->fabric->ops->push(c, x);
}

/* ---- listening ------------------------------------------------------------------------------- */

int fabric_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		  const struct fabric_listen_handler *h, void *ctx, struct fabric_listener **ret_l)
{
	struct fabric_listener *l;
	int r;

	if (!h || !h->incoming)
		return -EINVAL;
	r = f->ops->listen(f, addr, addr_bytes, &l);
	if (r < 0)
		return r;
	l->handler = h;
	l->ctx = ctx;
	*ret_l = l;
	return 0;
}

int fabric_listener_fd(const struct fabric_listener *l)
{
	return l->fabric->ops->listener_fd(l);
}

int fabric_listener_poll(struct fabric_listener *l)
{
	return l->fabric->ops->listener_poll(l);
}

const char *fabric_listener_name(const struct fabric_listener *l)
{
	return l->name;
}

uint16_t fabric_listener_port(const struct fabric_listener *l)
{
	return l->port;
}

void fabric_listener_destroy(struct fabric_listener *l)
{
	if (l)
		l->fabric->ops->listener_destroy(l);
}

int fabric_accept(struct fabric_conn *c, const struct fabric_params *params,
		  const struct fabric_handler *h, void *ctx)
{
	if (!handler_ok(h) || !params_ok(params))
		return -EINVAL;
	c->handler = h;
	c->ctx = ctx;
	return c->fabric->ops->accept(c, params);
}

void fabric_reject(struct fabric_conn *c)
{
	c->fabric->ops->reject(c);
}

/* ---- addresses ------------------------------------------------------------------------------- */

void fabric_format_addr(const struct sockaddr *addr, char *buf, size_t bytes)
{
	const struct sockaddr_in *in = (const void *)addr;
	const struct sockaddr_in6 *in6 = (const void *)addr;
	char text[INET6_ADDRSTRLEN] = "?";

	switch (addr ? addr->sa_family : AF_UNSPEC) {
	case AF_INET:
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		snprintf(buf, bytes, "%s:%u", text, ntohs(in->sin_port));
		return;
	case AF_INET6:
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
			snprintf(buf, bytes, "%s:%u", text + strlen("::ffff:"),
				 ntohs(in6->sin6_port));
		else
			snprintf(buf, bytes, "[%s]:%u", text, ntohs(in6->sin6_port));
		return;
	default:
		snprintf(buf, bytes, "unknown address");
		return;
	}
}

uint16_t fabric_addr_port(const struct sockaddr *addr)
{
	const struct sockaddr_in *in = (const void *)addr;
	const struct sockaddr_in6 *in6 = (const void *)addr;

	if (addr && addr->sa_family == AF_INET)
		return ntohs(in->sin_port);
	if (addr && addr->sa_family == AF_INET6)
		return ntohs(in6->sin6_port);
	return 0;
}
