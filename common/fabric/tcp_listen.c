/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listening. A peer that was accepted by the kernel costs a descriptor and one small allocation
 * until its owner accepts it. When descriptors run out, peers are turned away instead of left
 * waiting in the backlog, which would keep the listener ready for ever.
 */
#include "common/fabric/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

#define BACKLOG       1024
#define ACCEPT_BUDGET 16

static struct tcp_listener *to_listener(const struct fabric_listener *l)
{
	return (struct tcp_listener *)l;
}

static int open_reserve(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int bind_and_listen(struct tcp_listener *l, const struct sockaddr *addr,
			   socklen_t addr_bytes)
{
	struct sockaddr_storage bound;
	socklen_t bound_bytes = sizeof(bound);
	int one = 1;

	fabric_format_addr(addr, l->base.name, sizeof(l->base.name));
	l->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l->fd, addr, addr_bytes) < 0 || listen(l->fd, BACKLOG) < 0 ||
	    getsockname(l->fd, (struct sockaddr *)&bound, &bound_bytes) < 0)
		return -errno;
	fabric_format_addr((struct sockaddr *)&bound, l->base.name, sizeof(l->base.name));
	l->base.port = fabric_addr_port((struct sockaddr *)&bound);
	return 0;
}

int tcp_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
	       struct fabric_listener **ret_l)
{
	struct tcp_listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->base.fabric = f;
	l->fd = -1;
	l->reserve_fd = open_reserve();
	r = bind_and_listen(l, addr, addr_bytes);
	if (r < 0) {
		log_error("cannot listen on tcp %s: %s", l->base.name, strerror(-r));
		tcp_listener_destroy(&l->base);
		return r;
	}
	*ret_l = &l->base;
	return 0;
}

void tcp_listener_destroy(struct fabric_listener *base)
{
	struct tcp_listener *l = to_listener(base);

	if (l->fd >= 0)
		close(l->fd);
	if (l->reserve_fd >= 0)
		close(l->reserve_fd);
	free(l);
}

int tcp_listener_fd(const struct fabric_listener *base)
{
	return to_listener(base)->fd;
}

static void deliver(struct tcp_listener *l, int fd, const struct sockaddr *addr)
{
	struct tcp_conn *c;

	if (tcp_conn_alloc(l->base.fabric, &c) < 0) {
		log_peer(LOG_WARNING, "%s: out of memory, turning a peer away", l->base.name);
		close(fd);
		return;
	}
	c->fd = fd;
	c->state = TCPC_INCOMING;
	fabric_format_addr(addr, c->base.peer, sizeof(c->base.peer));
	tcp_set_options(c);
	l->base.handler->incoming(&l->base, &c->base, l->base.ctx);
}

/* Returns > 0 when a peer was turned away. */
static int turn_away(struct tcp_listener *l, int error)
{
	int fd = -1;

	log_peer(LOG_WARNING, "%s: cannot accept a peer: %s", l->base.name, strerror(error));
	if (error != EMFILE && error != ENFILE)
		return 0; /* out of memory: the next connection or event tries again */
	if (l->reserve_fd >= 0) {
		close(l->reserve_fd);
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
	}
	l->reserve_fd = open_reserve();
	return fd >= 0;
}

static int accept_one(struct tcp_listener *l)
{
	struct sockaddr_storage addr;
	socklen_t addr_bytes = sizeof(addr);
	int fd =
		accept4(l->fd, (struct sockaddr *)&addr, &addr_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		deliver(l, fd, (struct sockaddr *)&addr);
		return 1;
	}
	switch (errno) {
	case EAGAIN:
		return 0;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		return turn_away(l, errno);
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
		return 0;
	default: /* that peer's trouble, see accept(2) */
		return 1;
	}
}

int tcp_listener_poll(struct fabric_listener *base)
{
	struct tcp_listener *l = to_listener(base);
	int n = 0;

	while (n < ACCEPT_BUDGET && accept_one(l) > 0)
		n++;
	return n;
}
