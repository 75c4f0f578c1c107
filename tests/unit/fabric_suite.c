/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fabric_suite.h"

#include <dirent.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/unit/fabric_rig.h"

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define CHECK(cond)                                               \
	do {                                                      \
		if (!(cond))                                      \
			return "line " TEXT(__LINE__) ": " #cond; \
	} while (0)
#define TRY(expr)                          \
	do {                               \
		const char *try_ = (expr); \
		if (try_)                  \
			return try_;       \
	} while (0)

/* What a check gets: a rig with a connected pair. */
struct bench {
	struct rig rig;
	struct rig_end *i; /* initiator */
	struct rig_end *t; /* target */
	unsigned int want;
};

static const char *pump(struct bench *b, bool (*is_done)(void *arg))
{
	return rig_pump(&b->rig, is_done, b) ? NULL : b->rig.wrong;
}

static bool target_has(void *arg)
{
	struct bench *b = arg;

	return b->t->messages >= b->want;
}

static bool initiator_has(void *arg)
{
	struct bench *b = arg;

	return b->i->messages + b->i->notices >= b->want;
}

static bool pushes_are_done(void *arg)
{
	struct bench *b = arg;

	return b->t->pushes_done >= b->want;
}

static bool both_closed(void *arg)
{
	struct bench *b = arg;

	return b->i->is_closed && b->t->is_closed;
}

static bool is_sendable(void *arg)
{
	return ((struct bench *)arg)->i->sendables > 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static const uint32_t sizes[] = {32,   40,   48,   64,   100,   1000,  1024, 4096,
				 4097, 5000, 8192, 9000, 16384, 65536, 69632};

static const char *check_messages(struct bench *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK(rig_send(b->i, i, sizes[i], 0) == 0);
		CHECK(rig_send(b->t, i, sizes[i], 0) == 0);
		fabric_flush(b->i->conn);
		fabric_flush(b->t->conn);
		b->want = i + 1;
		TRY(pump(b, target_has));
		TRY(pump(b, initiator_has));
	}
	CHECK(fabric_conn_stats(b->i->conn)->messages_sent == ARRAY_SIZE(sizes));
	CHECK(fabric_conn_stats(b->t->conn)->messages_received == ARRAY_SIZE(sizes));
	return NULL;
}

static const char *check_gathered(struct bench *b)
{
	for (unsigned int i = 0; i < 40; i++) {
		CHECK(rig_send(b->i, i, 64 + 8 + 1000 * i, 8 + 1000 * i) == 0);
		fabric_flush(b->i->conn);
		b->want = i + 1;
		TRY(pump(b, target_has));
	}
	return NULL;
}

static const char *check_many(struct bench *b)
{
	uint32_t to_target = 0, to_initiator = 0;

	while (to_target < 3000) {
		while (rig_send(b->i, to_target, sizes[to_target % ARRAY_SIZE(sizes)], 0) == 0)
			to_target++;
		while (rig_send(b->t, to_initiator, sizes[to_initiator % ARRAY_SIZE(sizes)], 0) ==
		       0)
			to_initiator++;
		rig_spin(&b->rig, 1);
	}
	b->want = to_target;
	TRY(pump(b, target_has));
	b->want = to_initiator;
	return pump(b, initiator_has);
}

/* Of the longest, so that every buffer between the two is full for long. */
static const char *check_long(struct bench *b)
{
	uint32_t n = 0;

	while (n < 400) {
		while (rig_send(b->i, n, RIG_RECV_BYTES - 8 * (n % 3), 0) == 0)
			n++;
		rig_spin(&b->rig, 1);
	}
	b->want = n;
	return pump(b, target_has);
}

static const char *check_slots(struct bench *b)
{
	uint32_t n = 0;

	while (rig_send(b->i, n, 64, 0) == 0)
		n++;
	CHECK(n == RIG_SENDS);
	CHECK(b->i->sendables == 0);
	fabric_flush(b->i->conn);
	TRY(pump(b, is_sendable));
	CHECK(rig_send(b->i, n, 64, 0) == 0);
	fabric_flush(b->i->conn);
	b->want = n + 1;
	TRY(pump(b, target_has));
	CHECK(b->i->sendables == 1);
	return NULL;
}

static bool has_refused(void *arg)
{
	return ((struct bench *)arg)->t->refused > 0;
}

static const char *check_refusal(struct bench *b)
{
	for (unsigned int round = 0; round < 20; round++) {
		b->t->refuse = 1;
		b->t->refused = 0;
		for (unsigned int i = 0; i < 4; i++)
			CHECK(rig_send(b->i, round * 4 + i, sizes[(round + i) % 8], 0) == 0);
		fabric_flush(b->i->conn);
		TRY(pump(b, has_refused));
		rig_spin(&b->rig, 20);
		CHECK(b->t->refused == 1 && b->t->messages == round * 4);
		CHECK(rig_poll(b->t) == 0 && fabric_arm(b->t->conn) == 0);
		/* The other direction is not held up. */
		CHECK(rig_send(b->t, round, 64, 0) == 0);
		fabric_flush(b->t->conn);
		b->want = round + 1;
		TRY(pump(b, initiator_has));
		fabric_resume(b->t->conn);
		b->want = round * 4 + 4;
		TRY(pump(b, target_has));
	}
	return NULL;
}

/* ---- bulk data ------------------------------------------------------------------------------- */

static const uint32_t data_sizes[] = {1,      7,     512,    4096,   4097,   8192,
				      16384,  32768, 65536,  100000, 131072, 262143,
				      262144, 1,     262144, 4096,   262144, 512};

static const char *one_request(struct bench *b, enum rig_op op, uint32_t seed, uint32_t bytes)
{
	uint32_t tag = seed % RIG_DEPTH;

	CHECK(rig_request(b->i, op, tag, seed, bytes) == 0);
	fabric_flush(b->i->conn);
	b->want++;
	TRY(pump(b, initiator_has));
	return NULL;
}

static const char *check_pulls(struct bench *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(data_sizes); i++)
		TRY(one_request(b, RIG_PULL, i, data_sizes[i]));
	return NULL;
}

static const char *check_discards(struct bench *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(data_sizes); i++) {
		TRY(one_request(b, RIG_PULL_DISCARD, 2 * i, data_sizes[i]));
		TRY(one_request(b, RIG_PULL, 2 * i + 1, data_sizes[i]));
	}
	return NULL;
}

static const char *check_pushes(struct bench *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(data_sizes); i++) {
		TRY(one_request(b, RIG_PUSH, 2 * i, data_sizes[i]));
		TRY(one_request(b, RIG_PUSH_REPLY, 2 * i + 1, data_sizes[i]));
	}
	b->want = 2 * ARRAY_SIZE(data_sizes);
	TRY(pump(b, pushes_are_done));
	CHECK(b->i->notices == ARRAY_SIZE(data_sizes));
	CHECK(rig_busy(b->t) == 0);
	return NULL;
}

static bool is_late(void *arg)
{
	struct bench *b = arg;

	return b->t->is_late[b->want];
}

/* While its buffer is missing nothing spins; then all comes, in order. */
static const char *check_late(struct bench *b)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(data_sizes); i++) {
		unsigned int answers = b->i->messages;
		uint32_t tag = (2 * i) % RIG_DEPTH;

		CHECK(rig_request(b->i, RIG_PULL_LATE, tag, 2 * i, data_sizes[i]) == 0);
		CHECK(rig_request(b->i, RIG_PULL, tag + 1, 2 * i + 1, 4096) == 0);
		fabric_flush(b->i->conn);
		b->want = tag;
		TRY(pump(b, is_late));
		rig_spin(&b->rig, 50);
		CHECK(rig_poll(b->t) == 0 && fabric_arm(b->t->conn) == 0);
		CHECK(b->t->is_busy[tag]);
		rig_give_buffers(b->t);
		b->want = answers + 2;
		TRY(pump(b, initiator_has));
	}
	return NULL;
}

static const char *check_mixed(struct bench *b)
{
	static const enum rig_op ops[] = {RIG_PULL, RIG_PUSH, RIG_PULL_DISCARD, RIG_PUSH_REPLY,
					  RIG_PULL};
	unsigned int sent = 0;

	for (unsigned int round = 0; round < 60; round++) {
		for (unsigned int i = 0; i < 12; i++, sent++)
			CHECK(rig_request(b->i, ops[sent % 5], i, sent,
					  data_sizes[(sent * 7) % ARRAY_SIZE(data_sizes)]) == 0);
		fabric_flush(b->i->conn);
		b->want = sent;
		TRY(pump(b, initiator_has));
		rig_spin(&b->rig, 2);
	}
	return NULL;
}

static const char *check_expose_errors(struct bench *b)
{
	uint32_t key;
	uint64_t addr;

	CHECK(fabric_msg_begin(b->i->conn, 64));
	CHECK(fabric_expose(b->i->conn, RIG_DEPTH, b->i->data, 512, b->i->mem,
			    FABRIC_MEM_REMOTE_READ, &key, &addr) == -EINVAL);
	CHECK(fabric_expose(b->i->conn, 1, b->i->data - 1, 512, b->i->mem, FABRIC_MEM_REMOTE_READ,
			    &key, &addr) == -EINVAL);
	CHECK(fabric_expose(b->i->conn, 1, b->i->data, 512, b->i->mem, FABRIC_MEM_REMOTE_WRITE,
			    &key, &addr) == 0);
	CHECK(fabric_expose(b->i->conn, 1, b->i->data, 512, b->i->mem, FABRIC_MEM_REMOTE_WRITE,
			    &key, &addr) == -EINVAL);
	return NULL;
}

/* ---- sleeping -------------------------------------------------------------------------------- */

/* Only the target works, so that everything waits for the initiator. */
static const char *have_pushed(struct bench *b, unsigned int n, uint32_t bytes)
{
	for (unsigned int i = 0; i < n; i++) {
		CHECK(rig_request(b->i, RIG_PUSH, i, i, bytes) == 0);
		fabric_flush(b->i->conn);
		for (unsigned int round = 0; round < 3; round++) {
			rig_poll(b->t);
			fabric_flush(b->t->conn);
		}
	}
	return NULL;
}

static bool has_event(struct bench *b, int timeout_ms)
{
	struct epoll_event events[2 * RIG_MAX_ENDS];

	return epoll_wait(b->rig.epoll_fd, events, 2 * RIG_MAX_ENDS, timeout_ms) > 0;
}

/* When fabric_arm() says so it is safe to sleep, also right after a poll that stopped in the
 * middle: whatever is there then made a new event. */
static const char *check_arm(struct bench *b)
{
	int fds[FABRIC_MAX_FDS];
	int room = 1 << 20;

	fabric_conn_fds(b->i->conn, fds);
	setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)); /* where it is a socket */
	TRY(have_pushed(b, 1, 16384));
	b->want = 1;
	TRY(pump(b, initiator_has));
	TRY(have_pushed(b, 24, 16384));
	for (unsigned int i = 0; i < 200; i++) {
		has_event(b, 0);
		rig_poll(b->i);
		if (fabric_arm(b->i->conn) == 0 && rig_poll(b->i) > 0)
			CHECK(has_event(b, 1000)); /* an adapter's may come a little later */
	}
	b->want = 25;
	TRY(pump(b, initiator_has));
	return NULL;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static const char *check_close(struct bench *b)
{
	for (unsigned int i = 0; i < 4; i++)
		CHECK(rig_send(b->i, i, 60000, 0) == 0);
	fabric_close(b->i->conn, false);
	fabric_close(b->i->conn, false);
	TRY(pump(b, both_closed));
	CHECK(b->i->error == 0 && b->t->error == 0);
	CHECK(b->t->messages == 4); /* queued before: sent */
	CHECK(fabric_msg_begin(b->i->conn, 64) == NULL);
	CHECK(fabric_poll(b->i->conn) == 0 && fabric_arm(b->i->conn) == 0);
	return NULL;
}

static const char *check_target_close(struct bench *b)
{
	CHECK(rig_send(b->t, 0, 64, 0) == 0);
	fabric_close(b->t->conn, false);
	TRY(pump(b, both_closed));
	CHECK(b->i->error == 0 && b->t->error == 0 && b->i->messages == 1);
	return NULL;
}

/* From within the callback. What else was received is dropped, no further callback but closed(). */
static const char *close_in_message(struct bench *b, enum rig_close how)
{
	b->t->on_next_message = how;
	for (unsigned int i = 0; i < 4; i++)
		CHECK(rig_send(b->i, i, 1000, 0) == 0);
	fabric_flush(b->i->conn);
	TRY(pump(b, both_closed));
	CHECK(b->t->messages == 1);
	CHECK((b->t->error == 0) == (how == RIG_CLOSE));
	return NULL;
}

static const char *check_close_in_message(struct bench *b)
{
	return close_in_message(b, RIG_CLOSE);
}

static const char *check_abort_in_message(struct bench *b)
{
	return close_in_message(b, RIG_ABORT);
}

static bool has_late(void *arg)
{
	struct bench *b = arg;

	return rig_busy(b->t) >= b->want;
}

/* Every transfer under way is reported once, and closed() comes last (the rig looks). */
static const char *abort_one(struct bench *b, struct rig_end *who)
{
	for (unsigned int i = 0; i < 8; i++)
		CHECK(rig_request(b->i, i < 2 ? RIG_PUSH : RIG_PULL_LATE, i, i, 200000) == 0);
	fabric_flush(b->i->conn);
	b->want = 1;
	TRY(pump(b, has_late));
	rig_spin(&b->rig, 5);
	for (unsigned int i = 10; i < 14; i++)
		rig_request(b->i, RIG_PUSH, i, i, 200000);
	fabric_close(who->conn, true);
	rig_give_buffers(b->t);
	TRY(pump(b, both_closed));
	CHECK(rig_busy(b->t) == 0);
	CHECK(b->t->canceled > 0);
	return NULL;
}

static const char *check_initiator_abort(struct bench *b)
{
	return abort_one(b, b->i);
}

static const char *check_target_abort(struct bench *b)
{
	return abort_one(b, b->t);
}

static bool target_closed(void *arg)
{
	return ((struct bench *)arg)->t->is_closed;
}

/* As when its process is killed. */
static const char *check_peer_gone(struct bench *b)
{
	CHECK(rig_request(b->i, RIG_PULL_LATE, 0, 0, 4096) == 0);
	fabric_flush(b->i->conn);
	b->want = 1;
	TRY(pump(b, has_late));
	rig_forget(&b->rig, b->i);
	rig_give_buffers(b->t);
	TRY(pump(b, target_closed));
	CHECK(rig_busy(b->t) == 0);
	return NULL;
}

static const char *check_forget_both(struct bench *b)
{
	CHECK(rig_send(b->i, 0, 64, 0) == 0);
	rig_forget(&b->rig, b->i);
	rig_forget(&b->rig, b->t);
	return NULL;
}

static bool initiator_closed(void *arg)
{
	return ((struct bench *)arg)->i->is_closed;
}

static const char *check_refused(struct bench *b)
{
	b->rig.is_rejecting = true;
	b->i = rig_connect(&b->rig, fabric_listener_port(b->rig.listener));
	CHECK(b->i);
	TRY(pump(b, initiator_closed));
	CHECK(b->i->error < 0);
	b->i = rig_connect(&b->rig, 1);
	CHECK(b->i);
	TRY(pump(b, initiator_closed));
	CHECK(b->i->error < 0 && !b->i->is_connected);
	return NULL;
}

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static const char *connect_times(struct bench *b, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++) {
		TRY(rig_pair(&b->rig, &b->i, &b->t));
		CHECK(rig_send(b->i, 0, 64, 0) == 0);
		fabric_flush(b->i->conn);
		if (i % 3 == 0) {
			b->want = 1;
			TRY(pump(b, target_has));
		}
		fabric_close(i % 2 ? b->i->conn : b->t->conn, i % 5 == 0);
		TRY(pump(b, both_closed));
		rig_forget(&b->rig, b->i);
		rig_forget(&b->rig, b->t);
	}
	return b->rig.wrong;
}

static const char *check_reconnects(struct bench *b)
{
	unsigned int fds;

	TRY(connect_times(b, 10));
	fds = count_fds();
	TRY(connect_times(b, 1000));
	CHECK(count_fds() == fds);
	return NULL;
}

/* ---- table ----------------------------------------------------------------------------------- */

static const char *run(const char *fabric, const char *address,
		       const char *(*check)(struct bench *), bool is_paired)
{
	struct bench b = {0};
	const char *wrong = rig_open(&b.rig, fabric, address);

	if (!wrong && is_paired)
		wrong = rig_pair(&b.rig, &b.i, &b.t);
	if (!wrong)
		wrong = check(&b);
	rig_close(&b.rig);
	return wrong ? wrong : b.rig.wrong;
}

#define PAIRED(name)                                                           \
	static const char *run_##name(const char *fabric, const char *address) \
	{                                                                      \
		return run(fabric, address, check_##name, true);               \
	}
#define ALONE(name)                                                            \
	static const char *run_##name(const char *fabric, const char *address) \
	{                                                                      \
		return run(fabric, address, check_##name, false);              \
	}

PAIRED(messages)
PAIRED(gathered)
PAIRED(many)
PAIRED(long)
PAIRED(slots)
PAIRED(refusal)
PAIRED(pulls)
PAIRED(discards)
PAIRED(pushes)
PAIRED(late)
PAIRED(mixed)
PAIRED(expose_errors)
PAIRED(arm)
PAIRED(close)
PAIRED(target_close)
PAIRED(close_in_message)
PAIRED(abort_in_message)
PAIRED(initiator_abort)
PAIRED(target_abort)
PAIRED(peer_gone)
PAIRED(forget_both)
ALONE(refused)
ALONE(reconnects)

const struct fabric_suite_check fabric_suite[] = {
	{"messages of all sizes, both ways", run_messages},
	{"gathered data", run_gathered},
	{"many messages in flight", run_many},
	{"long messages in flight", run_long},
	{"send slots run out and come back", run_slots},
	{"a refused message comes again", run_refusal},
	{"pulls", run_pulls},
	{"discarded pulls", run_discards},
	{"pushes with and without notice", run_pushes},
	{"pulls with late buffers", run_late},
	{"pulls and pushes mixed", run_mixed},
	{"exposing what must not be", run_expose_errors},
	{"sleeping when fabric_arm() says so", run_arm},
	{"orderly close by the initiator", run_close},
	{"orderly close by the target", run_target_close},
	{"orderly close in a callback", run_close_in_message},
	{"abort in a callback", run_abort_in_message},
	{"abort by the initiator", run_initiator_abort},
	{"abort by the target", run_target_abort},
	{"the peer is gone", run_peer_gone},
	{"both ends forgotten", run_forget_both},
	{"refused", run_refused},
	{"1000 connections leave nothing", run_reconnects},
};
const size_t fabric_suite_count = ARRAY_SIZE(fabric_suite);
