/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bad network between clients and target: bytes are forwarded, late, or not at all. A process
 * with one thread; each command comes over a socket and is answered when it holds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/history/driver.h"

#define MAX_PAIRS   256u
#define CHUNK_BYTES 65536u
#define MAX_CHUNKS  16u /* on their way in one direction */
#define NO_TIME     UINT64_MAX

struct chunk {
	uint64_t due_ns;
	size_t at;
	size_t bytes;
	char data[CHUNK_BYTES];
};

/* One direction. */
struct way {
	struct chunk *chunks; /* a ring of MAX_CHUNKS */
	unsigned int first;
	unsigned int nr;
	bool is_ended; /* nothing more comes */
	bool is_shut;  /* and the other end has been told */
};

enum side { CLIENT, TARGET, SIDES };

struct pair {
	int fds[SIDES];         /* -1, -1: free */
	struct way ways[SIDES]; /* [s]: what side s is sent */
};

struct bad_network {
	int listen_fd;
	int control;
	struct sockaddr_in target;
	enum proxy_mode mode;
	uint64_t delay_ns;
	struct pair pairs[MAX_PAIRS];
};

struct command {
	enum proxy_mode mode;
	unsigned int delay_us;
};

/* ---- connections ----------------------------------------------------------------------------- */

static void close_pair(struct pair *p, bool is_reset)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	for (enum side s = CLIENT; s < SIDES; s++) {
		if (is_reset && p->fds[s] >= 0)
			setsockopt(p->fds[s], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		if (p->fds[s] >= 0)
			close(p->fds[s]);
		p->fds[s] = -1;
		free(p->ways[s].chunks);
		p->ways[s] = (struct way){0};
	}
}

static void close_all(struct bad_network *n, bool is_reset)
{
	for (size_t i = 0; i < MAX_PAIRS; i++) {
		if (n->pairs[i].fds[CLIENT] >= 0)
			close_pair(&n->pairs[i], is_reset);
	}
}

static struct pair *free_pair(struct bad_network *n)
{
	for (size_t i = 0; i < MAX_PAIRS; i++) {
		if (n->pairs[i].fds[CLIENT] < 0)
			return &n->pairs[i];
	}
	return NULL;
}

static void set_up(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* On loopback connect() is over at once, either way. */
static void accept_one(struct bad_network *n)
{
	struct pair *p = free_pair(n);
	int fd = accept4(n->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (!p) {
		close(fd);
		return;
	}
	p->fds[CLIENT] = fd;
	p->fds[TARGET] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (enum side s = CLIENT; s < SIDES; s++)
		p->ways[s].chunks = malloc(MAX_CHUNKS * sizeof(struct chunk));
	if (n->mode == PROXY_REFUSE || p->fds[TARGET] < 0 || !p->ways[CLIENT].chunks ||
	    !p->ways[TARGET].chunks ||
	    connect(p->fds[TARGET], (struct sockaddr *)&n->target, sizeof(n->target)) < 0) {
		close_pair(p, true);
		return;
	}
	set_up(p->fds[CLIENT]);
	set_up(p->fds[TARGET]);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool is_stalled(const struct bad_network *n, enum side to)
{
	return n->mode == PROXY_STALL || (n->mode == PROXY_STALL_UP && to == TARGET) ||
	       (n->mode == PROXY_STALL_DOWN && to == CLIENT);
}

static bool is_full(const struct way *w)
{
	return w->nr == MAX_CHUNKS || w->is_ended;
}

static enum side other(enum side s)
{
	return s == CLIENT ? TARGET : CLIENT;
}

/* False: the connection is over. */
static bool take_in(const struct bad_network *n, struct pair *p, enum side to)
{
	struct way *w = &p->ways[to];
	struct chunk *c = &w->chunks[(w->first + w->nr) % MAX_CHUNKS];
	ssize_t got = read(p->fds[other(to)], c->data, sizeof(c->data));

	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0) {
		w->is_ended = true;
		return true;
	}
	c->at = 0;
	c->bytes = (size_t)got;
	c->due_ns = now_ns() + n->delay_ns;
	w->nr++;
	return true;
}

static bool give_out(struct pair *p, enum side to, uint64_t now)
{
	struct way *w = &p->ways[to];

	while (w->nr && w->chunks[w->first].due_ns <= now) {
		struct chunk *c = &w->chunks[w->first];
		ssize_t put = send(p->fds[to], c->data + c->at, c->bytes - c->at, MSG_NOSIGNAL);

		if (put < 0)
			return errno == EAGAIN || errno == EINTR;
		c->at += (size_t)put;
		if (c->at < c->bytes)
			return true;
		w->first = (w->first + 1) % MAX_CHUNKS;
		w->nr--;
	}
	if (w->is_ended && !w->nr && !w->is_shut) {
		shutdown(p->fds[to], SHUT_WR);
		w->is_shut = true;
	}
	return true;
}

static bool serve_pair(const struct bad_network *n, struct pair *p, const struct pollfd *pfds,
		       uint64_t now)
{
	for (enum side to = CLIENT; to < SIDES; to++) {
		bool can_read = pfds[other(to)].revents & (POLLIN | POLLHUP | POLLERR);

		if (is_stalled(n, to))
			continue;
		if (can_read && !is_full(&p->ways[to]) && !take_in(n, p, to))
			return false;
		if (!give_out(p, to, now))
			return false;
	}
	return !(p->ways[CLIENT].is_shut && p->ways[TARGET].is_shut);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void shut_all(struct bad_network *n, enum side s)
{
	for (size_t i = 0; i < MAX_PAIRS; i++) {
		if (n->pairs[i].fds[s] >= 0)
			shutdown(n->pairs[i].fds[s], SHUT_WR);
	}
}

static void obey(struct bad_network *n)
{
	struct command c;
	char done = 0;

	if (read(n->control, &c, sizeof(c)) != sizeof(c))
		_exit(0); /* the driver has gone */
	n->mode = PROXY_PASS;
	if (c.mode == PROXY_CUT)
		close_all(n, true);
	else if (c.mode == PROXY_CLOSE)
		close_all(n, false);
	else if (c.mode == PROXY_HALF)
		shut_all(n, TARGET);
	else
		n->mode = c.mode;
	n->delay_ns = c.delay_us * NS_PER_US;
	if (write(n->control, &done, 1) != 1)
		_exit(0);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void watch(const struct bad_network *n, const struct pair *p, struct pollfd *pfds,
		  uint64_t *due_ns)
{
	for (enum side s = CLIENT; s < SIDES; s++)
		pfds[s] = (struct pollfd){.fd = -1};
	for (enum side to = CLIENT; to < SIDES && p->fds[CLIENT] >= 0; to++) {
		const struct way *w = &p->ways[to];

		if (is_stalled(n, to))
			continue;
		if (!is_full(w)) {
			pfds[other(to)].fd = p->fds[other(to)];
			pfds[other(to)].events |= POLLIN;
		}
		if (!w->nr)
			continue;
		if (w->chunks[w->first].due_ns <= now_ns()) { /* it did not take it */
			pfds[to].fd = p->fds[to];
			pfds[to].events |= POLLOUT;
		} else {
			*due_ns = MIN(*due_ns, w->chunks[w->first].due_ns);
		}
	}
}

static void wait_for_events(struct pollfd *pfds, size_t nr, uint64_t due_ns)
{
	uint64_t now = now_ns();
	uint64_t left = due_ns > now ? due_ns - now : 0;
	struct timespec ts = {(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};

	ppoll(pfds, nr, due_ns == NO_TIME ? NULL : &ts, NULL);
}

static void serve(struct bad_network *n)
{
	static struct pollfd pfds[2 + SIDES * MAX_PAIRS];

	for (;;) {
		uint64_t due_ns = NO_TIME;

		pfds[0] = (struct pollfd){.fd = n->control, .events = POLLIN};
		pfds[1] = (struct pollfd){.fd = n->mode == PROXY_STALL ? -1 : n->listen_fd,
					  .events = POLLIN};
		for (size_t i = 0; i < MAX_PAIRS; i++)
			watch(n, &n->pairs[i], &pfds[2 + SIDES * i], &due_ns);
		wait_for_events(pfds, ARRAY_SIZE(pfds), due_ns);
		for (size_t i = 0; i < MAX_PAIRS; i++) {
			struct pair *p = &n->pairs[i];

			if (p->fds[CLIENT] >= 0 &&
			    !serve_pair(n, p, &pfds[2 + SIDES * i], now_ns()))
				close_pair(p, true);
		}
		if (pfds[1].revents)
			accept_one(n);
		if (pfds[0].revents)
			obey(n);
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

static int open_listener(const char *address, unsigned int *ret_port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (inet_pton(AF_INET, address, &sa.sin_addr) == 1 &&
	    bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, 128) == 0 &&
	    getsockname(fd, (struct sockaddr *)&sa, &len) == 0) {
		*ret_port = ntohs(sa.sin_port);
		return fd;
	}
	close(fd);
	return -EADDRNOTAVAIL;
}

static void proxy_main(int listen_fd, int control, const char *address, unsigned int target_port)
{
	static struct bad_network n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	n.listen_fd = listen_fd;
	n.control = control;
	n.target = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_port = htons((uint16_t)target_port)};
	inet_pton(AF_INET, address, &n.target.sin_addr);
	for (size_t i = 0; i < MAX_PAIRS; i++)
		n.pairs[i].fds[CLIENT] = n.pairs[i].fds[TARGET] = -1;
	serve(&n);
}

int proxy_start(struct proxy *p, const char *address, unsigned int target_port)
{
	int fds[2];
	int listen_fd = open_listener(address, &p->port);

	if (listen_fd < 0)
		return listen_fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		close(listen_fd);
		return -errno;
	}
	p->pid = fork();
	if (p->pid == 0) {
		close(fds[0]);
		proxy_main(listen_fd, fds[1], address, target_port);
	}
	close(fds[1]);
	close(listen_fd);
	p->control = fds[0];
	return p->pid < 0 ? -errno : 0;
}

void proxy_stop(struct proxy *p)
{
	close(p->control);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
}

void proxy_set(struct proxy *p, enum proxy_mode mode, unsigned int delay_us)
{
	struct command c = {mode, delay_us};
	char done;

	if (write(p->control, &c, sizeof(c)) != sizeof(c) || read(p->control, &done, 1) != 1)
		fprintf(stderr, "brp-history: the proxy does not obey\n");
}
