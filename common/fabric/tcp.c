/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP connections: how they begin, are polled, and end. See tcp.h. */
#include "common/fabric/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

/*
 * A peer that went away without a word is noticed after 10 s + 3 * 5 s when idle, and when
 * something is under way after USER_TIMEOUT. That one also ends connections whose peer takes no
 * data, so it is long enough for a device that hangs.
 */
#define KEEPALIVE_IDLE_S     10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT      3
#define USER_TIMEOUT_MS      60000
/* fabric_close(): how long the peer may take to answer our end of stream with its own. Looked at in
 * fabric_poll(). */
#define LINGER_NS (2 * NS_PER_S)

/* ---- fabric and memory ----------------------------------------------------------------------- */

static int tcp_create(const struct fabric_ops *ops, struct fabric **ret_fabric)
{
	struct fabric *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->ops = ops;
	f->has_digest = true;
	f->is_stream = true;
	*ret_fabric = f;
	return 0;
}

static void tcp_destroy(struct fabric *f)
{
	free(f);
}

static int tcp_mem_register(struct fabric *f, struct fabric_mem **ret_mem, void *base, size_t bytes,
			    unsigned int access)
{
	struct fabric_mem *mem = malloc(sizeof(*mem));

	if (!mem)
		return -ENOMEM;
	*mem = (struct fabric_mem){.fabric = f, .base = base, .bytes = bytes, .access = access};
	*ret_mem = mem;
	return 0;
}

static void tcp_mem_unregister(struct fabric_mem *mem)
{
	free(mem);
}

/* ---- beginning ------------------------------------------------------------------------------- */

int tcp_conn_alloc(struct fabric *f, struct tcp_conn **ret_c)
{
	struct tcp_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->base.fabric = f;
	c->fd = -1;
	c->frame_bytes = BRP_FRAME_BYTES;
	list_init(&c->rx.pulls);
	list_init(&c->tx.done);
	*ret_c = c;
	return 0;
}

void tcp_conn_destroy(struct fabric_conn *base)
{
	struct tcp_conn *c = to_tcp(base);

	if (c->fd >= 0)
		close(c->fd);
	if (c->tx.zeroes)
		munmap(c->tx.zeroes, c->params.max_data_bytes);
	if (c->map)
		munmap(c->map, c->map_bytes);
	free(c);
}

/* Everything the connection will ever need, as address space. */
static int map_buffers(struct tcp_conn *c)
{
	size_t exposed_bytes = c->is_initiator ? c->params.depth * sizeof(struct tcp_exposed) : 0;
	size_t rx_bytes = tcp_rx_bytes(&c->params);
	size_t tx_bytes = tcp_tx_bytes(&c->params);
	char *p;

	c->map_bytes = rx_bytes + tx_bytes + align_up(exposed_bytes, 4096);
	p = mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	c->map = p;
	/* A huge page would make the first touch of a buffer cost 2 MiB. */
	madvise(p, c->map_bytes, MADV_NOHUGEPAGE);
	tcp_rx_init(c, p);
	tcp_tx_init(c, p + rx_bytes);
	if (exposed_bytes > 0)
		c->exposed = (struct tcp_exposed *)(p + rx_bytes + tx_bytes);
	for (uint32_t i = 0; exposed_bytes > 0 && i < c->params.depth; i++)
		c->exposed[i].seg = TCP_NO_TAG;
	return 0;
}

static void set_option(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

/* None is essential. */
void tcp_set_options(struct tcp_conn *c)
{
	int one = 1;

	set_option(c->fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(c->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(c->fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
	set_option(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
	c->has_inq = setsockopt(c->fd, IPPROTO_TCP, TCP_INQ, &one, sizeof(one)) == 0;
}

static int start_connect(struct tcp_conn *c, const struct sockaddr *addr, socklen_t addr_bytes)
{
	int r = map_buffers(c);

	if (r < 0)
		return r;
	c->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	tcp_set_options(c);
	if (connect(c->fd, addr, addr_bytes) == 0)
		c->state = TCPC_CONNECTED;
	else if (errno == EINPROGRESS)
		c->state = TCPC_CONNECTING;
	else
		tcp_fail(c, -errno);
	return 0;
}

static int tcp_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		       const struct fabric_params *params, struct fabric_conn **ret_conn)
{
	struct tcp_conn *c;
	int r = tcp_conn_alloc(f, &c);

	if (r < 0)
		return r;
	c->params = *params;
	c->is_initiator = true;
	fabric_format_addr(addr, c->base.peer, sizeof(c->base.peer));
	r = start_connect(c, addr, addr_bytes);
	if (r < 0) {
		tcp_conn_destroy(&c->base);
		return r;
	}
	*ret_conn = &c->base;
	return 0;
}

static int tcp_accept(struct fabric_conn *base, const struct fabric_params *params)
{
	struct tcp_conn *c = to_tcp(base);
	int r;

	c->params = *params;
	r = map_buffers(c);
	if (r < 0)
		return r;
	c->state = TCPC_CONNECTED;
	return 0;
}

/* With a reset: the peer learns at once. */
static void tcp_reject(struct fabric_conn *base)
{
	tcp_fail(to_tcp(base), -ECONNABORTED);
	tcp_conn_destroy(base);
}

int tcp_enable_digest(struct fabric_conn *base)
{
	struct tcp_conn *c = to_tcp(base);

	if (c->state != TCPC_OPEN)
		return -ENOTCONN;
	/* Something already has its place, or is half here. */
	if (c->tx.begun_bytes > 0 || c->rx.data_rest > 0)
		return -EBUSY;
	c->has_digest = true;
	c->frame_bytes = TCP_MAX_FRAME_BYTES;
	return 0;
}

static int tcp_fds(const struct fabric_conn *base, int ret_fds[FABRIC_MAX_FDS])
{
	ret_fds[0] = ((const struct tcp_conn *)base)->fd;
	return 1;
}

/* ---- ending ---------------------------------------------------------------------------------- */

void tcp_fail(struct tcp_conn *c, int error)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	if (c->state == TCPC_DEAD)
		return;
	c->state = TCPC_DEAD;
	c->error = error;
	/* Resets the connection and keeps the descriptor, whose number callers still have in their
	 * epoll sets. */
	if (error != 0)
		(void)!connect(c->fd, &none, sizeof(none));
}

static void tcp_close(struct fabric_conn *base, bool is_abort)
{
	struct tcp_conn *c = to_tcp(base);

	if (is_abort) {
		tcp_fail(c, -ECONNABORTED);
	} else if (c->state == TCPC_OPEN) {
		c->state = TCPC_CLOSING;
		c->close_deadline_ns = now_ns() + LINGER_NS;
		tcp_flush(base);
	} else if (c->state != TCPC_CLOSING) {
		tcp_fail(c, 0);
	}
}

/* TCPC_CLOSING: what is queued, our end, the peer's end, in this order. */
static int poll_closing(struct tcp_conn *c)
{
	struct tcp_tx *tx = &c->tx;
	int handled = 0;

	if (c->close_deadline_ns == 0) /* the peer began */
		c->close_deadline_ns = now_ns() + LINGER_NS;
	tcp_flush(&c->base);
	if (!c->is_shut && tcp_tx_is_empty(tx)) {
		c->is_shut = true;
		shutdown(c->fd, SHUT_WR);
		handled = 1;
	}
	handled |= tcp_rx_drain(c);
	if (c->is_shut && c->rx.is_eof)
		tcp_fail(c, 0);
	else if (now_ns() >= c->close_deadline_ns)
		tcp_fail(c, -ETIMEDOUT);
	return handled;
}

/* Last callbacks. They may call us, so the state is final before. */
static int report_closed(struct tcp_conn *c)
{
	tcp_rx_cancel(c);
	tcp_tx_cancel(c);
	c->base.is_closed = true;
	c->base.handler->closed(&c->base, c->error);
	return 1;
}

/* ---- polling --------------------------------------------------------------------------------- */

static void poll_connecting(struct tcp_conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};
	int error = 0;
	socklen_t bytes = sizeof(error);

	if (poll(&p, 1, 0) <= 0)
		return;
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
	if (error)
		tcp_fail(c, -error);
	else
		c->state = TCPC_CONNECTED;
}

static int poll_connected(struct tcp_conn *c)
{
	c->state = TCPC_OPEN;
	c->base.handler->connected(&c->base);
	return 1;
}

/* The kernel took nothing more the last time. */
static int poll_blocked(struct tcp_conn *c)
{
	uint32_t left = c->tx.tail - c->tx.head;

	if (c->tx.error || (c->state != TCPC_OPEN && c->state != TCPC_CLOSING))
		return 0;
	tcp_tx_send(c);
	return c->tx.tail - c->tx.head != left;
}

static int tcp_poll(struct fabric_conn *base)
{
	struct tcp_conn *c = to_tcp(base);
	int handled = 0;

	if (unlikely(c->state == TCPC_CONNECTING))
		poll_connecting(c);
	if (unlikely(c->state == TCPC_CONNECTED))
		handled |= poll_connected(c);
	if (unlikely(c->tx.is_blocked))
		handled |= poll_blocked(c);
	handled |= tcp_tx_report(c);
	if (likely(c->state == TCPC_OPEN))
		handled |= tcp_rx_poll(c, handled == 0);
	if (unlikely(c->state == TCPC_CLOSING))
		handled |= poll_closing(c);
	if (unlikely(c->tx.error)) /* after what the peer said before it left */
		tcp_fail(c, c->rx.is_eof ? 0 : c->tx.error);
	if (unlikely(c->state == TCPC_DEAD))
		handled |= report_closed(c);
	return handled;
}

static int tcp_arm(struct fabric_conn *base)
{
	struct tcp_conn *c = to_tcp(base);

	/* Whoever sleeps and is woken has missed something since. */
	c->rx.is_dry = false;
	switch (c->state) {
	case TCPC_INCOMING:
	case TCPC_CONNECTING:
		return 0;
	case TCPC_CONNECTED:
	case TCPC_DEAD:
		return 1;
	case TCPC_OPEN:
		return c->rx.is_ready || (c->rx.is_unread && !tcp_rx_is_paused(&c->rx)) ||
		       c->tx.error || tcp_tx_has_report(c);
	case TCPC_CLOSING:
		return base->was_busy || c->tx.error || tcp_tx_has_report(c) ||
		       (!c->is_shut && tcp_tx_is_empty(&c->tx));
	}
	return 0;
}

const struct fabric_ops fabric_tcp_ops = {
	.name = "tcp",
	.create = tcp_create,
	.destroy = tcp_destroy,
	.mem_register = tcp_mem_register,
	.mem_unregister = tcp_mem_unregister,
	.connect = tcp_connect,
	.fds = tcp_fds,
	.poll = tcp_poll,
	.arm = tcp_arm,
	.close = tcp_close,
	.conn_destroy = tcp_conn_destroy,
	.enable_digest = tcp_enable_digest,
	.msg_begin = tcp_msg_begin,
	.msg_commit = tcp_msg_commit,
	.flush = tcp_flush,
	.resume = tcp_resume,
	.expose = tcp_expose,
	.unexpose = tcp_unexpose,
	.pull = tcp_pull,
	.pull_ready = tcp_pull_ready,
	.push = tcp_push,
	.listen = tcp_listen,
	.listener_fd = tcp_listener_fd,
	.listener_poll = tcp_listener_poll,
	.listener_destroy = tcp_listener_destroy,
	.accept = tcp_accept,
	.reject = tcp_reject,
};
