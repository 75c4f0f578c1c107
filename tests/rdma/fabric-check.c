/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks of a fabric on a real (or soft) device: fabric-check [FABRIC [ADDRESS [CHECK]]], by
 * default verbs 10.0.0.1. One line per check; exit status 0 when all are good. "fabric-check FABRIC
 * ADDRESS ping" measures instead.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/rdma/rig.h"

static struct rig rig;
static const char *self, *fabric_wanted = "verbs", *address = "10.0.0.1";

#define CHECK(cond)                                                 \
	do {                                                        \
		if (!(cond)) {                                      \
			printf("# line %d: %s\n", __LINE__, #cond); \
			return false;                               \
		}                                                   \
	} while (0)

struct pair {
	struct rig_end *i;
	struct rig_end *t;
	unsigned int want;
};

static bool pair_open(struct pair *p)
{
	p->i = rig_connect(&rig);
	CHECK(p->i && rig_connected(p->i));
	p->t = rig.last_target;
	return true;
}

/* Closes and destroys both ends; each says 0. */
static bool pair_close(struct pair *p)
{
	fabric_close(p->i->conn, false);
	CHECK(rig_wait_closed(p->i) && rig_wait_closed(p->t));
	CHECK(p->i->error == 0 && p->t->error == 0);
	rig_forget(&rig, p->i);
	rig_forget(&rig, p->t);
	return true;
}

static bool has_answers(void *arg)
{
	struct pair *p = arg;

	return p->i->is_closed || p->i->messages + p->i->notices >= p->want;
}

/* Also the target's side has ended. */
static bool has_all(void *arg)
{
	struct pair *p = arg;

	return p->i->is_closed || (has_answers(arg) && p->t->done + p->t->cancelled >= p->want);
}

static bool ask(struct pair *p, uint32_t op, uint32_t tag, uint32_t bytes)
{
	uint64_t offset = (uint64_t)tag * bytes % RIG_AREA_BYTES;
	unsigned int access = op == RIG_PUSH ? FABRIC_MEM_REMOTE_WRITE : FABRIC_MEM_REMOTE_READ;
	struct rig_msg m = {.op = op, .tag = tag, .bytes = bytes, .offset = offset};
	void *at;

	while (!(at = fabric_msg_begin(p->i->conn, sizeof(m)))) {
		rig_turn(&rig);
		CHECK(!p->i->is_closed);
	}
	CHECK(!fabric_expose(p->i->conn, tag % RIG_DEPTH, rig.initiator_area + offset, bytes,
			     rig.initiator_mem, access, &m.key, &m.addr));
	memcpy(at, &m, sizeof(m));
	CHECK(!fabric_msg_commit(p->i->conn, sizeof(m), NULL, 0));
	return true;
}

static void unask(struct pair *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		fabric_unexpose(p->i->conn, i);
}

/* n transfers of one kind at once, data compared. */
static bool transfer(uint32_t op, uint32_t n, uint32_t bytes, unsigned int seed)
{
	struct pair p = {.want = n};
	char *from = op == RIG_PUSH ? rig.target_area : rig.initiator_area;
	char *to = op == RIG_PUSH ? rig.initiator_area : rig.target_area;

	memset(to, 0, (size_t)n * bytes);
	for (uint32_t i = 0; i < n; i++)
		rig_fill(from + (size_t)i * bytes, bytes, seed + i);
	CHECK(pair_open(&p));
	for (uint32_t i = 0; i < n; i++)
		CHECK(ask(&p, op, i, bytes));
	fabric_flush(p.i->conn);
	CHECK(rig_until(&rig, has_all, &p));
	CHECK(!p.i->is_closed && p.t->done == n && p.t->cancelled == 0);
	unask(&p, n);
	for (uint32_t i = 0; i < n && op != RIG_DISCARD; i++)
		CHECK(rig_same(to + (size_t)i * bytes, bytes, seed + i));
	return pair_close(&p);
}

static bool check_connect_close(void)
{
	struct pair p;

	CHECK(pair_open(&p) && pair_close(&p));
	CHECK(pair_open(&p));
	fabric_close(p.t->conn, false); /* the target's side first */
	CHECK(rig_wait_closed(p.i) && rig_wait_closed(p.t));
	CHECK(!p.i->error && !p.t->error);
	rig_forget_closed(&rig);
	CHECK(pair_open(&p));
	fabric_close(p.i->conn, true);
	CHECK(rig_wait_closed(p.i) && rig_wait_closed(p.t));
	rig_forget_closed(&rig);
	return true;
}

static bool check_refused(void)
{
	struct rig_end *e;
	in_port_t port = rig.addr.sin_port;

	rig.addr.sin_port = htons(9);
	e = rig_connect(&rig);
	rig.addr.sin_port = port;
	CHECK(rig_wait_closed(e) && e->error == -ECONNREFUSED && !e->is_connected);
	rig_forget(&rig, e);
	rig.rejects = true;
	e = rig_connect(&rig);
	CHECK(rig_wait_closed(e) && e->error == -ECONNREFUSED);
	rig.rejects = false;
	rig_forget(&rig, e);
	return true;
}

/* No private data of ours: refused before anybody is asked. */
static bool check_foreign_peer(void)
{
	char port[16];
	unsigned int ends = rig.nr_ends;
	int status;
	pid_t pid;

	snprintf(port, sizeof(port), "%u", ntohs(rig.addr.sin_port));
	pid = fork();
	if (pid == 0) {
		execlp("timeout", "timeout", "10", "rping", "-c", "-a", address, "-p", port, "-C",
		       "1", (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		rig_turn(&rig);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 124);
	CHECK(rig.nr_ends == ends);
	return true;
}

static bool check_close_while_connecting(void)
{
	rig.spins = true;
	for (int i = 0; i < 60; i++) {
		struct rig_end *e = rig_connect(&rig);

		for (int k = 0; k < i; k++)
			rig_turn(&rig);
		fabric_close(e->conn, i & 1);
		CHECK(rig_wait_closed(e));
	}
	rig.spins = false;
	/* The accepted side of some of these may learn it late from the CM. */
	for (unsigned int i = 0; i < rig.nr_ends; i++) {
		fabric_close(rig.ends[i]->conn, true);
		CHECK(rig_wait_closed(rig.ends[i]));
	}
	rig_forget_closed(&rig);
	CHECK(rig.nr_ends == 0);
	return true;
}

static bool echo(unsigned int n, unsigned int hold_every)
{
	static char data[65536];
	struct pair p = {.want = n};

	CHECK(pair_open(&p));
	p.t->hold_every = hold_every;
	for (uint32_t i = 0; i < n; i++) {
		struct rig_msg m = {.op = RIG_ECHO, .tag = i};
		uint32_t bytes = i % 7 == 0 ? 65536 : i % 5 * 1024;

		rig_fill(data, bytes, i);
		rig_send_wait(p.i, &m, data, bytes);
	}
	fabric_flush(p.i->conn);
	CHECK(rig_until(&rig, has_answers, &p));
	CHECK(!p.i->is_closed && !p.i->is_out_of_order && !p.t->is_out_of_order &&
	      p.t->messages == n);
	return pair_close(&p);
}

static bool check_messages(void)
{
	return echo(2000, 0);
}

static bool check_held_messages(void)
{
	return echo(500, 3) && echo(200, 1);
}

static bool check_push(void)
{
	return transfer(RIG_PUSH, 1, 4096, 1) && transfer(RIG_PUSH, RIG_DEPTH, 4096, 7);
}

static bool check_big_push(void)
{
	return transfer(RIG_PUSH, 64, RIG_DATA_BYTES, 3);
}

static bool check_pull(void)
{
	return transfer(RIG_PULL, 1, 4096, 1) && transfer(RIG_PULL, RIG_DEPTH, 4096, 9);
}

static bool check_big_pull(void)
{
	return transfer(RIG_PULL, 64, RIG_DATA_BYTES, 5); /* more than the read depth */
}

static bool check_late_pull(void)
{
	return transfer(RIG_PULL_LATE, 100, 4096, 11);
}

static bool check_discard(void)
{
	return transfer(RIG_DISCARD, 100, 4096, 11);
}

static bool check_flushed_before_close(void)
{
	for (int round = 0; round < 10; round++) {
		struct pair p;

		CHECK(pair_open(&p));
		for (uint32_t i = 0; i < 30; i++) {
			struct rig_msg m = {.op = RIG_DROP, .tag = i};

			CHECK(rig_send(p.i, &m, NULL, 0));
		}
		CHECK(pair_close(&p) || true);
	}
	return true;
}

static bool check_orderly_close_loses_nothing(void)
{
	for (uint32_t n = 1; n <= 32; n++) {
		struct pair p;

		CHECK(pair_open(&p));
		for (uint32_t i = 0; i < n; i++) {
			struct rig_msg m = {.op = RIG_DROP, .tag = i};

			CHECK(rig_send(p.i, &m, NULL, 0));
		}
		fabric_close(p.i->conn, false);
		CHECK(rig_wait_closed(p.i) && rig_wait_closed(p.t));
		CHECK(p.t->messages == n && !p.t->error && !p.i->error);
		rig_forget_closed(&rig);
	}
	return true;
}

/* Bursts of many connections: more messages than shared receive buffers. */
static bool check_many_connections(void)
{
	static struct pair p[100];
	static char data[8192];
	unsigned int n = ARRAY_SIZE(p), each = 16;

	for (unsigned int i = 0; i < n; i++)
		CHECK(pair_open(&p[i]));
	for (uint32_t k = 0; k < each; k++) {
		for (unsigned int i = 0; i < n; i++) {
			struct rig_msg m = {.op = RIG_ECHO, .tag = k};

			rig_fill(data, sizeof(data), k);
			CHECK(rig_send(p[i].i, &m, data, sizeof(data)));
		}
	}
	for (unsigned int i = 0; i < n; i++) {
		fabric_flush(p[i].i->conn);
		p[i].want = each;
	}
	for (unsigned int i = 0; i < n; i++)
		CHECK(rig_until(&rig, has_answers, &p[i]) && !p[i].i->is_closed &&
		      !p[i].i->is_out_of_order);
	for (unsigned int i = 0; i < n; i++)
		CHECK(pair_close(&p[i]));
	return true;
}

static bool check_spinning(void)
{
	bool good;

	rig.spins = true;
	good = echo(500, 0) && transfer(RIG_PUSH, RIG_DEPTH, 4096, 21) &&
	       transfer(RIG_PULL, RIG_DEPTH, 4096, 22);
	rig.spins = false;
	return good;
}

/* Closing with transfers in flight: each is told of, before closed(). */
static bool check_abort_in_flight(void)
{
	for (int side = 0; side < 4; side++) {
		struct pair p;

		CHECK(pair_open(&p));
		for (uint32_t i = 0; i < 60; i++)
			CHECK(ask(&p, i & 1 ? RIG_PULL : RIG_PUSH, i, RIG_DATA_BYTES));
		fabric_flush(p.i->conn);
		while (!p.t->messages || p.t->done < 2)
			rig_turn(&rig);
		fabric_close(side & 1 ? p.i->conn : p.t->conn, side & 2);
		CHECK(rig_wait_closed(p.i) && rig_wait_closed(p.t));
		for (uint32_t i = 0; i < RIG_DEPTH; i++)
			CHECK(!p.t->busy[i]);
		CHECK(p.t->done + p.t->cancelled <= 60);
		rig_forget_closed(&rig);
	}
	return true;
}

/* Objects of this process that the kernel knows, by its own count: qp, cq, mr, pd, cm_id, srq. */
static unsigned int kernel_objects(void)
{
	char line[512];
	unsigned int n = 0;
	FILE *f = popen("rdma resource show qp; rdma resource show cq; rdma resource show mr; rdma "
			"resource show cm_id; "
			"rdma resource show srq",
			"r");

	while (f && fgets(line, sizeof(line), f)) {
		char pid[32];

		snprintf(pid, sizeof(pid), "pid %d ", (int)getpid());
		if (strstr(line, pid))
			n++;
	}
	if (f)
		pclose(f);
	return n;
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += dup2(fd, fd) == fd;
	return n;
}

static bool check_no_leaks(void)
{
	unsigned int objects = kernel_objects(), fds = open_fds();

	for (int i = 0; i < 100; i++) {
		struct pair p;

		CHECK(pair_open(&p));
		CHECK(pair_close(&p));
	}
	CHECK(open_fds() == fds);
	printf("# kernel objects before %u, after %u\n", objects, kernel_objects());
	CHECK(kernel_objects() == objects);
	return true;
}

/* ---- a peer that dies ------------------------------------------------------------------------ */

/* The other process: connects, asks for as much as it may, and waits for its death. */
static _Noreturn void victim(void)
{
	struct pair p = {.want = 1u << 30};

	p.i = rig_connect(&rig);
	while (!p.i->is_connected && !p.i->is_closed)
		rig_turn(&rig);
	for (uint32_t i = 0; i < 60 && !p.i->is_closed; i++)
		ask(&p, i & 1 ? RIG_PULL : RIG_PUSH, i, RIG_DATA_BYTES);
	if (!p.i->is_closed)
		fabric_flush(p.i->conn);
	for (;;)
		pause();
}

static pid_t start_child(const char *role)
{
	char port[16];
	pid_t pid;

	snprintf(port, sizeof(port), "%u", ntohs(rig.addr.sin_port));
	pid = fork();
	if (pid == 0) {
		execl(self, self, fabric_wanted, address, role, port, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static bool victim_is_busy(void *arg)
{
	(void)arg;
	return rig.last_target && rig.last_target->messages >= 40 && rig.last_target->done >= 1;
}

static bool check_killed_peer(void)
{
	for (int round = 0; round < 5; round++) {
		pid_t pid;
		struct rig_end *t;

		rig.last_target = NULL;
		pid = start_child("victim");
		CHECK(pid > 0);
		CHECK(rig_until(&rig, victim_is_busy, NULL));
		t = rig.last_target;
		kill(pid, SIGKILL);
		CHECK(rig_wait_closed(t));
		waitpid(pid, NULL, 0);
		printf("# killed: error %d (%s), %u done, %u cancelled\n", t->error,
		       strerror(-t->error), t->done, t->cancelled);
		CHECK(t->error < 0 && t->cancelled > 0 && t->done + t->cancelled == t->messages);
		rig_forget(&rig, t);
	}
	return true;
}

/* ---- figures --------------------------------------------------------------------------------- */

/* The initiator's process: depth 1, sleeping on both sides. */
static int pinger(void)
{
	const unsigned int n = 1000;
	struct pair p = {0};
	uint64_t start_ns;

	p.i = rig_connect(&rig);
	while (!p.i->is_connected && !p.i->is_closed)
		rig_turn(&rig);
	start_ns = now_ns();
	for (uint32_t i = 0; i < n; i++) {
		p.want = i + 1;
		if (!ask(&p, RIG_PUSH, i % RIG_DEPTH, 4096))
			return 1;
		fabric_flush(p.i->conn);
		if (!rig_until(&rig, has_answers, &p) || p.i->is_closed)
			return 1;
		fabric_unexpose(p.i->conn, i % RIG_DEPTH);
	}
	printf("# ping 64 B -> 4 KiB push with notice: %.1f us; initiator: %.2f sleeps, %.2f send, "
	       "%.2f receive calls\n",
	       (double)(now_ns() - start_ns) / 1e3 / n, (double)rig.sleeps / n,
	       (double)fabric_conn_stats(p.i->conn)->send_calls / n,
	       (double)fabric_conn_stats(p.i->conn)->receive_calls / n);
	printf("# sleeps without wake-up: %u\n", rig.timeouts);
	fabric_close(p.i->conn, false);
	return rig_wait_closed(p.i) ? 0 : 1;
}

static bool pinger_left(void *arg)
{
	(void)arg;
	return rig.last_target && rig.last_target->is_closed;
}

static bool ping(void)
{
	const struct fabric_stats *s;
	struct rig_end *t;
	int status = -1;
	pid_t pid;

	rig.last_target = NULL;
	rig.sleeps = 0;
	pid = start_child("pinger");
	CHECK(pid > 0 && rig_until(&rig, pinger_left, NULL));
	t = rig.last_target;
	s = fabric_conn_stats(t->conn);
	printf("# target: %.2f sleeps, %.2f send, %.2f receive calls\n",
	       (double)rig.sleeps / t->messages, (double)s->send_calls / t->messages,
	       (double)s->receive_calls / t->messages);
	rig_forget(&rig, t);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	return true;
}

static const struct check {
	const char *name;
	bool (*run)(void);
} checks[] = {
	{"connect and close", check_connect_close},
	{"refused", check_refused},
	{"foreign peer", check_foreign_peer},
	{"close while connecting", check_close_while_connecting},
	{"messages", check_messages},
	{"held messages", check_held_messages},
	{"push, depth 256", check_push},
	{"push of 1 MiB", check_big_push},
	{"pull, depth 256", check_pull},
	{"pull of 1 MiB beyond the read depth", check_big_pull},
	{"late pull", check_late_pull},
	{"discard", check_discard},
	{"flushed before close", check_flushed_before_close},
	{"orderly close loses nothing", check_orderly_close_loses_nothing},
	{"many connections", check_many_connections},
	{"spinning", check_spinning},
	{"abort in flight", check_abort_in_flight},
	{"killed peer", check_killed_peer},
	{"no leaks", check_no_leaks},
	{"ping", ping},
};

int main(int argc, char **argv)
{
	const char *only = argc > 3 ? argv[3] : NULL;
	unsigned int failed = 0, passed = 0;

	self = argv[0];
	fabric_wanted = argc > 1 ? argv[1] : fabric_wanted;
	address = argc > 2 ? argv[2] : address;
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init("fabric-check", LOG_INFO);
	if (rig_start(&rig, fabric_wanted, address))
		return 1;
	if (argc > 4) {
		rig.addr.sin_port = htons((uint16_t)strtoul(argv[4], NULL, 10));
		fabric_listener_destroy(rig.listener); /* the parent's is meant */
		rig.listener = NULL;
		if (!strcmp(only, "pinger"))
			return pinger();
		victim();
	}
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		uint64_t start_ns = now_ns();
		bool good;

		if (only && !strstr(checks[i].name, only))
			continue;
		good = checks[i].run();
		printf("%s - %s (%.1f ms)\n", good ? "ok" : "not ok", checks[i].name,
		       (double)(now_ns() - start_ns) / 1e6);
		*(good ? &passed : &failed) += 1;
		if (!good)
			break; /* connections are left in an unknown state */
	}
	if (!failed)
		rig_stop(&rig);
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
}
