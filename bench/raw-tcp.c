/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * raw-tcp: how fast the bytes of 4 KiB block I/O can go over TCP on loopback at all, with no
 * protocol and no storage behind it. What bench/lab holds BRP against.
 *
 * Two processes, each pinned to a core: the client (parent) sends requests of a fixed size, the
 * server (child) answers each with a fixed number of bytes. As many requests as --depth are under
 * way. Either end takes all that has arrived in one recv() and answers it with one send(): depth 1
 * is ping-pong, more is the batched limit. Contents are never looked at.
 *
 * With --span the server has a volume, so to say: that much memory, of which each request concerns
 * a random page. The pages of a batch of reads are sent from where they are, by the same sendmsg()
 * as the heads of their answers. The data of a write arrives behind the head that says where it
 * belongs, so a server that takes a batch with one recv() copies it to its page. Less than this no
 * storage target can do; without --span the same few pages are sent and received into for ever, and
 * never leave the caches.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/histogram.h"
#include "common/options.h"
#include "common/strparse.h"
#include "common/util.h"

#define PROGRAM   "raw-tcp"
#define MAX_DEPTH 4096u
#define MAX_BYTES (1u << 20)
#define MAX_SPAN  (1ull << 40)
#define NO_CPU    UINT32_MAX
#define PAGE      4096u
#define SEND_IOV  1024u /* IOV_MAX of Linux */

enum {
	OPT_MODE = 1,
	OPT_WAIT,
	OPT_RW,
	OPT_DEPTH,
	OPT_CPUS,
	OPT_TIME,
	OPT_REQUEST,
	OPT_ANSWER,
	OPT_SPAN,
	OPT_OUTPUT,
	OPT_HELP,
};

static const struct option_spec specs[] = {
	{"mode", 0, "MODE", "pingpong (default; depth 1) or batched", OPT_MODE},
	{"wait", 0, "HOW", "block (default) or spin", OPT_WAIT},
	{"rw", 0, "RW", "read (default): 64 bytes there, 4128 back; write: 4160, 32", OPT_RW},
	{"depth", 'd', "N", "requests under way when batched (default 32)", OPT_DEPTH},
	{"cpus", 'c', "S,C", "cores of server and client (default 0,1; none: not pinned)",
	 OPT_CPUS},
	{"time", 't', "S", "seconds (default 3)", OPT_TIME},
	{"request-bytes", 0, "N", "instead of what --rw says", OPT_REQUEST},
	{"answer-bytes", 0, "N", "likewise", OPT_ANSWER},
	{"span", 0, "SIZE", "the server reads and writes random pages of so much memory", OPT_SPAN},
	{"output", 'o', "FORMAT", "text (default) or json", OPT_OUTPUT},
	{"help", 'h', NULL, "print this text", OPT_HELP},
};

struct config {
	bool is_batched;
	bool is_spinning;
	bool is_write;
	bool is_json;
	uint32_t depth;
	uint32_t seconds;
	uint32_t request_bytes;
	uint32_t answer_bytes;
	uint64_t span_bytes; /* 0: none */
	uint32_t server_cpu;
	uint32_t client_cpu;
};

/* One end of the connection: a buffer that takes `depth` incoming items, and one of `depth`
 * outgoing items to send from. */
struct end {
	const struct config *cfg;
	int fd;
	uint32_t in_bytes; /* of an item */
	uint32_t out_bytes;
	char *in;
	char *out;
	size_t in_part; /* of an item whose rest is still to come */
	char *span;     /* server: the volume, or NULL */
	uint64_t random;
	struct iovec *iov; /* server with a volume: heads and pages of a batch of answers */
};

struct result {
	uint64_t ops;
	uint64_t wall_ns;
	uint64_t client_cpu_ns;
	uint64_t server_cpu_ns;
	struct histogram hist; /* of latencies, ns */
};

/* ---- one end ---------------------------------------------------------------------------- */

/* Written to, so that the pages are there, and huge ones where the kernel has them. */
static int span_init(struct end *e)
{
	uint64_t bytes = e->cfg->span_bytes;
	void *base;
	int r;

	e->random = 1;
	e->iov = calloc(2 * (size_t)e->cfg->depth, sizeof(*e->iov));
	if (!e->iov)
		return -ENOMEM;
	r = arena_map_pages(bytes, -1, &base);
	if (r < 0)
		return r;
	e->span = base;
	memset(e->span, 3, bytes);
	return 0;
}

static int end_init(struct end *e, const struct config *cfg, int fd, bool is_server)
{
	*e = (struct end){
		.cfg = cfg,
		.fd = fd,
		.in_bytes = is_server ? cfg->request_bytes : cfg->answer_bytes,
		.out_bytes = is_server ? cfg->answer_bytes : cfg->request_bytes,
	};
	e->in = malloc((size_t)e->in_bytes * cfg->depth);
	e->out = malloc((size_t)e->out_bytes * cfg->depth);
	if (!e->in || !e->out)
		return -ENOMEM;
	/* Pages that were never written are all the same page: the caches would look too good. */
	memset(e->in, 1, (size_t)e->in_bytes * cfg->depth);
	memset(e->out, 2, (size_t)e->out_bytes * cfg->depth);
	return is_server && cfg->span_bytes ? span_init(e) : 0;
}

static void end_finish(struct end *e)
{
	free(e->in);
	free(e->out);
	free(e->iov);
	if (e->span)
		arena_unmap_pages(e->span, e->cfg->span_bytes);
}

/* Items that are complete now, at least 1; 0 = the other end has closed. */
static int end_receive(struct end *e)
{
	const int flags = e->cfg->is_spinning ? MSG_DONTWAIT : 0;
	const size_t room = (size_t)e->in_bytes * e->cfg->depth;
	size_t have = e->in_part;
	ssize_t n;

	do {
		n = recv(e->fd, e->in + have, room - have, flags);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0)
			have += (size_t)n;
	} while (have < e->in_bytes);
	e->in_part = have % e->in_bytes;
	return (int)(have / e->in_bytes);
}

static int end_send(struct end *e, unsigned int nr)
{
	const int flags = MSG_NOSIGNAL | (e->cfg->is_spinning ? MSG_DONTWAIT : 0);
	const size_t bytes = (size_t)e->out_bytes * nr;
	size_t sent = 0;
	ssize_t n;

	while (sent < bytes) {
		n = send(e->fd, e->out + sent, bytes - sent, flags);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0)
			sent += (size_t)n;
	}
	return 0;
}

static int end_send_iov(struct end *e, struct iovec *iov, unsigned int nr)
{
	const int flags = MSG_NOSIGNAL | (e->cfg->is_spinning ? MSG_DONTWAIT : 0);
	struct msghdr mh = {0};
	ssize_t n;

	while (nr > 0) {
		mh.msg_iov = iov;
		mh.msg_iovlen = MIN(nr, SEND_IOV);
		n = sendmsg(e->fd, &mh, flags);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		for (; n > 0 && (size_t)n >= iov->iov_len; nr--)
			n -= (ssize_t)iov++->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* xorshift64 */
static char *random_page(struct end *e)
{
	e->random ^= e->random << 13;
	e->random ^= e->random >> 7;
	e->random ^= e->random << 17;
	return e->span + e->random % (e->cfg->span_bytes / PAGE) * PAGE;
}

static int answer_reads(struct end *e, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		e->iov[2 * i] =
			(struct iovec){e->out + (size_t)i * e->out_bytes, e->out_bytes - PAGE};
		e->iov[2 * i + 1] = (struct iovec){random_page(e), PAGE};
	}
	return end_send_iov(e, e->iov, 2 * nr);
}

static int answer_writes(struct end *e, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		memcpy(random_page(e), e->in + (size_t)(i + 1) * e->in_bytes - PAGE, PAGE);
	return end_send(e, nr);
}

static int answer(struct end *e, unsigned int nr)
{
	if (!e->span)
		return end_send(e, nr);
	return e->cfg->is_write ? answer_writes(e, nr) : answer_reads(e, nr);
}

static int pin(uint32_t cpu)
{
	cpu_set_t set;

	if (cpu == NO_CPU)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

static int complain(const char *what, int r)
{
	fprintf(stderr, "%s: %s: %s\n", PROGRAM, what, strerror(-r));
	return 1;
}

static uint64_t cpu_ns(const struct rusage *ru)
{
	return ((uint64_t)ru->ru_utime.tv_sec + (uint64_t)ru->ru_stime.tv_sec) * NS_PER_S +
	       ((uint64_t)ru->ru_utime.tv_usec + (uint64_t)ru->ru_stime.tv_usec) * NS_PER_US;
}

static uint64_t own_cpu_ns(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return cpu_ns(&ru);
}

/* ---- server (child) --------------------------------------------------------------------- */

static int accept_one(int listener)
{
	const int one = 1;
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* What the server needed to get ready is no part of the measurement: it says when, and how much
 * CPU time that took. */
static int say_ready(int fd)
{
	uint64_t ns = own_cpu_ns();

	return send(fd, &ns, sizeof(ns), MSG_NOSIGNAL) == sizeof(ns) ? 0 : -EPIPE;
}

static int wait_ready(int fd, uint64_t *ret_server_ns)
{
	ssize_t n = recv(fd, ret_server_ns, sizeof(*ret_server_ns), MSG_WAITALL);

	if (n < 0)
		return -errno;
	return n == sizeof(*ret_server_ns) ? 0 : -ECONNRESET;
}

static int serve(const struct config *cfg, int listener)
{
	struct end e;
	int r, fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = pin(cfg->server_cpu);
	if (r < 0)
		return complain("cannot pin the server to its core", r);
	fd = accept_one(listener);
	if (fd < 0)
		return complain("accept", fd);
	r = end_init(&e, cfg, fd, true);
	if (r == 0)
		r = say_ready(fd);
	while (r >= 0) {
		r = end_receive(&e);
		if (r == 0 || r == -ECONNRESET)
			break;
		if (r > 0)
			r = answer(&e, (unsigned int)r);
	}
	end_finish(&e);
	close(fd);
	/* The client leaves in the middle of an answer. */
	return r == 0 || r == -ECONNRESET || r == -EPIPE ? 0 : complain("server", r);
}

/* ---- client (parent) -------------------------------------------------------------------- */

/* Answers come in the order of the requests, so a ring of times is enough. */
static int exchange(struct end *e, struct result *res)
{
	const uint32_t depth = e->cfg->depth;
	const uint64_t start_ns = now_ns();
	const uint64_t end_ns = start_ns + e->cfg->seconds * NS_PER_S;
	uint64_t *sent_ns = calloc(depth, sizeof(*sent_ns));
	uint64_t ns = start_ns;
	uint32_t head = 0;
	int r;

	if (!sent_ns)
		return -ENOMEM;
	for (uint32_t i = 0; i < depth; i++)
		sent_ns[i] = ns;
	r = end_send(e, depth);
	while (r >= 0 && ns < end_ns) {
		r = end_receive(e);
		if (r == 0)
			r = -ECONNRESET;
		if (r < 0)
			break;
		ns = now_ns();
		for (int i = 0; i < r; i++) {
			histogram_add(&res->hist, ns - sent_ns[head]);
			sent_ns[head] = ns;
			head = head + 1 == depth ? 0 : head + 1;
		}
		r = end_send(e, (unsigned int)r);
	}
	res->wall_ns = ns - start_ns;
	res->ops = res->hist.count;
	free(sent_ns);
	return r;
}

static int run_client(const struct config *cfg, const struct sockaddr_in *addr, struct result *res)
{
	const int one = 1;
	struct end e = {0};
	uint64_t before_ns;
	int r, fd;

	r = pin(cfg->client_cpu);
	if (r < 0)
		return complain("cannot pin the client to its core", r);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return complain("socket", -errno);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	r = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	if (r == 0)
		r = end_init(&e, cfg, fd, false);
	if (r == 0)
		r = wait_ready(fd, &res->server_cpu_ns);
	before_ns = own_cpu_ns();
	if (r == 0)
		r = exchange(&e, res);
	res->client_cpu_ns = own_cpu_ns() - before_ns;
	close(fd);
	end_finish(&e);
	return r < 0 ? complain("client", r) : 0;
}

/* A listening socket on a free port of 127.0.0.1. */
static int listen_anywhere(struct sockaddr_in *addr)
{
	socklen_t bytes = sizeof(*addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr = {htonl(INADDR_LOOPBACK)},
	};
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)addr, bytes) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)addr, &bytes) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

static int run(const struct config *cfg, struct result *res)
{
	struct sockaddr_in addr;
	struct rusage ru;
	int listener, status = 0, r;
	pid_t pid;

	listener = listen_anywhere(&addr);
	if (listener < 0)
		return complain("cannot listen on 127.0.0.1", listener);
	pid = fork();
	if (pid < 0)
		return complain("fork", -errno);
	if (pid == 0)
		_exit(serve(cfg, listener));
	r = run_client(cfg, &addr, res);
	close(listener); /* wakes a server that never got its connection */
	if (r != 0)
		kill(pid, SIGKILL);
	if (wait4(pid, &status, 0, &ru) < 0)
		return complain("wait", -errno);
	res->server_cpu_ns = cpu_ns(&ru) - res->server_cpu_ns;
	return r != 0 || status != 0;
}

/* ---- output ----------------------------------------------------------------------------- */

static double percentile_us(const struct result *res, double fraction)
{
	return (double)histogram_quantile(&res->hist, fraction) / 1e3;
}

static void print_json(const struct config *cfg, const struct result *res)
{
	const double ops = (double)res->ops;

	printf("{\"rig\":\"raw-tcp\",\"mode\":\"%s\",\"wait\":\"%s\",\"rw\":\"%s\",\"iodepth\":%u,"
	       "\"request_bytes\":%u,\"answer_bytes\":%u,\"span_bytes\":%llu,\"iops\":%.0f,"
	       "\"lat_us\":{\"mean\":%.2f,\"p50\":%.2f,\"p99\":%.2f},"
	       "\"cpu_us_per_op\":{\"client\":%.3f,\"server\":%.3f}}\n",
	       cfg->is_batched ? "batched" : "pingpong", cfg->is_spinning ? "spin" : "block",
	       cfg->is_write ? "write" : "read", cfg->depth, cfg->request_bytes, cfg->answer_bytes,
	       (unsigned long long)cfg->span_bytes, ops * 1e9 / (double)res->wall_ns,
	       histogram_mean(&res->hist) / 1e3, percentile_us(res, 0.5), percentile_us(res, 0.99),
	       (double)res->client_cpu_ns / ops / 1e3, (double)res->server_cpu_ns / ops / 1e3);
}

static void print_text(const struct config *cfg, const struct result *res)
{
	const double ops = (double)res->ops;

	printf("%s, %s, %s, depth %u: %u bytes there, %u back\n",
	       cfg->is_batched ? "batched" : "ping-pong",
	       cfg->is_spinning ? "spinning" : "blocking", cfg->is_write ? "write" : "read",
	       cfg->depth, cfg->request_bytes, cfg->answer_bytes);
	if (cfg->span_bytes)
		printf("  pages of %.0f MiB\n", (double)cfg->span_bytes / (1 << 20));
	printf("  %.0f ops/s; latency mean %.1f us, p50 %.1f, p99 %.1f\n",
	       ops * 1e9 / (double)res->wall_ns, histogram_mean(&res->hist) / 1e3,
	       percentile_us(res, 0.5), percentile_us(res, 0.99));
	printf("  CPU per op: client %.2f us, server %.2f us\n",
	       (double)res->client_cpu_ns / ops / 1e3, (double)res->server_cpu_ns / ops / 1e3);
}

/* ---- command line ----------------------------------------------------------------------- */

/* One of two words. */
static int parse_choice(const char *s, const char *no, const char *yes, bool *ret_is_yes)
{
	if (strcmp(s, no) != 0 && strcmp(s, yes) != 0)
		return -EINVAL;
	*ret_is_yes = strcmp(s, yes) == 0;
	return 0;
}

static int parse_cpus(const char *s, struct config *cfg)
{
	char server[8];
	const char *comma = strchr(s, ',');
	size_t bytes;

	if (!strcmp(s, "none")) {
		cfg->server_cpu = cfg->client_cpu = NO_CPU;
		return 0;
	}
	if (!comma)
		return -EINVAL;
	bytes = (size_t)(comma - s);
	if (bytes >= sizeof(server))
		return -EINVAL;
	memcpy(server, s, bytes);
	server[bytes] = '\0';
	if (parse_u32(server, 0, CPU_SETSIZE - 1, &cfg->server_cpu) < 0)
		return -EINVAL;
	return parse_u32(comma + 1, 0, CPU_SETSIZE - 1, &cfg->client_cpu);
}

static int apply(struct config *cfg, int id, const char *value)
{
	switch (id) {
	case OPT_MODE:
		return parse_choice(value, "pingpong", "batched", &cfg->is_batched);
	case OPT_WAIT:
		return parse_choice(value, "block", "spin", &cfg->is_spinning);
	case OPT_RW:
		return parse_choice(value, "read", "write", &cfg->is_write);
	case OPT_OUTPUT:
		return parse_choice(value, "text", "json", &cfg->is_json);
	case OPT_DEPTH:
		return parse_u32(value, 1, MAX_DEPTH, &cfg->depth);
	case OPT_CPUS:
		return parse_cpus(value, cfg);
	case OPT_TIME:
		return parse_u32(value, 1, 3600, &cfg->seconds);
	case OPT_REQUEST:
		return parse_u32(value, 1, MAX_BYTES, &cfg->request_bytes);
	case OPT_ANSWER:
		return parse_u32(value, 1, MAX_BYTES, &cfg->answer_bytes);
	case OPT_SPAN:
		return parse_size(value, PAGE, MAX_SPAN, &cfg->span_bytes);
	default:
		return -EINVAL;
	}
}

/* What the direction implies: 4 KiB with a 64-byte command and a 32-byte completion. */
static void complete_config(struct config *cfg)
{
	if (!cfg->is_batched)
		cfg->depth = 1;
	if (!cfg->request_bytes)
		cfg->request_bytes = cfg->is_write ? 4160 : 64;
	if (!cfg->answer_bytes)
		cfg->answer_bytes = cfg->is_write ? 32 : 4128;
}

/* OPTIONS_END, or the exit status + 1 when there is nothing to run. */
static int parse_command_line(int argc, char **argv, struct config *cfg)
{
	struct options_iter it;
	int id;

	options_begin(&it, PROGRAM, argc, argv, specs, ARRAY_SIZE(specs));
	while ((id = options_next(&it)) != OPTIONS_END) {
		if (id == OPTIONS_ERROR)
			return OPTIONS_EXIT_USAGE + 1;
		if (id == OPTIONS_ARG)
			return options_usage_error(PROGRAM, "unexpected '%s'", it.value) + 1;
		if (id == OPT_HELP) {
			options_help(stdout,
				     "usage: raw-tcp [options]\n\n"
				     "Measures bare TCP on loopback with the sizes of 4 KiB block "
				     "I/O.\n",
				     specs, ARRAY_SIZE(specs));
			return 0 + 1;
		}
		if (apply(cfg, id, it.value) < 0)
			return options_bad_value(&it, "not possible") + 1;
	}
	complete_config(cfg);
	if (cfg->span_bytes && (cfg->is_write ? cfg->request_bytes : cfg->answer_bytes) < PAGE)
		return options_usage_error(PROGRAM, "with --span an item holds a page of %u bytes",
					   PAGE) +
		       1;
	return OPTIONS_END;
}

int main(int argc, char **argv)
{
	struct config cfg = {.depth = 32, .seconds = 3, .server_cpu = 0, .client_cpu = 1};
	static struct result res; /* the histogram is large */
	int r;

	r = parse_command_line(argc, argv, &cfg);
	if (r != OPTIONS_END)
		return r - 1;
	histogram_init(&res.hist);
	if (run(&cfg, &res) != 0)
		return 1;
	if (res.ops == 0) {
		fprintf(stderr, "%s: nothing came back\n", PROGRAM);
		return 1;
	}
	if (cfg.is_json)
		print_json(&cfg, &res);
	else
		print_text(&cfg, &res);
	return 0;
}
