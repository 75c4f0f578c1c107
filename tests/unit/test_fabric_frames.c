/* SPDX-License-Identifier: BSD-2-Clause */
/* The TCP fabric against a peer made of raw bytes: what it sends, cut anywhere, wrong, or not at
 * all. protocol.md 2.1. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "brp/codec.h"
#include "common/log.h"
#include "tests/unit/fabric_rig.h"

static struct rig rig;
static int raw = -1; /* the peer */
static struct rig_end *end;

/* ---- bytes ----------------------------------------------------------------------------------- */

struct stream {
	uint32_t bytes;
	uint8_t b[512 << 10];
};
static struct stream s;

static void add(const void *p, uint32_t bytes)
{
	memcpy(s.b + s.bytes, p, bytes);
	s.bytes += bytes;
}

static void add_frame(enum brp_frame_type type, uint8_t flags, uint32_t length, uint32_t key,
		      uint32_t offset)
{
	struct brp_frame f = {
		.type = type, .flags = flags, .length_bytes = length, .key = key, .offset = offset};

	brp_encode_frame(s.b + s.bytes, &f);
	s.bytes += BRP_FRAME_BYTES;
}

static void add_pattern(uint32_t seed, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		s.b[s.bytes++] = rig_byte(seed, from + i);
}

static void add_plain(uint32_t seed, uint32_t bytes)
{
	struct rig_msg m = {.op = RIG_PLAIN, .bytes = bytes, .seed = seed};

	add_frame(BRP_FRAME_MESSAGE, 0, bytes, 0, 0);
	add(&m, sizeof(m));
	add_pattern(seed, sizeof(m), bytes - (uint32_t)sizeof(m));
}

static void add_request(enum rig_op op, uint32_t tag, uint32_t seed, uint32_t bytes)
{
	struct rig_msg m = {.op = op, .bytes = bytes, .seed = seed, .tag = tag, .key = tag};

	add_frame(BRP_FRAME_MESSAGE, 0, sizeof(m), 0, 0);
	add(&m, sizeof(m));
}

static void add_data(uint8_t flags, uint32_t key, uint32_t seed, uint32_t from, uint32_t bytes)
{
	add_frame(BRP_FRAME_DATA, flags, bytes, key, from);
	add_pattern(seed, from, bytes);
}

/* ---- the peer -------------------------------------------------------------------------------- */

static void nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static bool is_connected(void *arg)
{
	(void)arg;
	if (!end)
		end = rig.last_target;
	return end && (end->is_connected || end->is_closed);
}

static void open_rig(void)
{
	const char *wrong;

	log_init("test", LOG_ERROR);
	wrong = rig_open(&rig, "tcp", "127.0.0.1");
	cr_assert(wrong == NULL, "%s", wrong);
	s.bytes = 0;
}

/* The fabric is the target. */
static void meet_target(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};

	a.sin_port = htons(fabric_listener_port(rig.listener));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	raw = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert(connect(raw, (struct sockaddr *)&a, sizeof(a)) == 0);
	nodelay(raw);
	end = NULL;
	rig.last_target = NULL;
	cr_assert(rig_pump(&rig, is_connected, NULL), "%s", rig.wrong);
}

/* The fabric is the initiator. */
static void meet_initiator(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t bytes = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 1) == 0);
	getsockname(l, (struct sockaddr *)&a, &bytes);
	end = rig_connect(&rig, ntohs(a.sin_port));
	raw = accept(l, NULL, NULL);
	close(l);
	nodelay(raw);
	cr_assert(rig_pump(&rig, is_connected, NULL), "%s", rig.wrong);
}

static void part(void)
{
	close(raw);
	rig_forget(&rig, end);
	cr_assert(rig.wrong == NULL, "%s", rig.wrong);
}

static void send_raw(const void *p, size_t bytes)
{
	cr_assert(send(raw, p, bytes, MSG_NOSIGNAL) == (ssize_t)bytes);
}

static unsigned int want_messages;
static unsigned int want_answers;

static bool has_all(void *arg)
{
	(void)arg;
	return end->is_closed ||
	       (end->messages + end->notices >= want_messages && end->pulls_done >= want_answers);
}

static bool is_closed(void *arg)
{
	(void)arg;
	return end->is_closed;
}

/* ---- cut anywhere ---------------------------------------------------------------------------- */

/* Odd pieces of data, so that what follows is not aligned. */
static void build_for_target(void)
{
	add_plain(0, 40);
	add_request(RIG_PULL, 3, 9, 40);
	add_data(0, 3, 9, 0, 13);
	add_data(0, 3, 9, 13, 1);
	add_data(0, 3, 9, 14, 26);
	add_request(RIG_PULL_DISCARD, 4, 1, 21);
	add_data(0, 4, 1, 0, 21);
	add_plain(1, 77);
	add_plain(2, 32);
	want_messages = 5;
	want_answers = 2;
}

static void build_for_initiator(void)
{
	cr_assert(rig_request(end, RIG_PUSH, 3, 9, 40) == 0);
	cr_assert(rig_request(end, RIG_PUSH, 4, 8, 5) == 0);
	add_data(0, 9 << 16 | 3, 9, 0, 11);
	add_plain(0, 40);
	add_data(BRP_FRAME_NOTICE, 8 << 16 | 4, 8, 0, 5);
	add_plain(1, 41);
	add_data(BRP_FRAME_NOTICE, 9 << 16 | 3, 9, 11, 29);
	add_plain(2, 32);
	want_messages = 5;
	want_answers = 0;
}

static void send_cut(uint32_t at, uint32_t step)
{
	send_raw(s.b, at);
	rig_spin(&rig, 4);
	for (uint32_t off = at; off < s.bytes; off += step) {
		send_raw(s.b + off, MIN(step, s.bytes - off));
		if (step < s.bytes)
			rig_spin(&rig, 2);
	}
	cr_assert(rig_pump(&rig, has_all, NULL), "cut at %u: %s", at, rig.wrong);
	cr_assert(!end->is_closed && end->messages + end->notices == want_messages,
		  "cut at %u, step %u", at, step);
	cr_assert(end->pulls_done == want_answers);
}

static void cut_everywhere(void (*meet)(void), void (*build)(void))
{
	uint32_t at = 1;

	open_rig();
	do {
		s.bytes = 0;
		meet();
		build();
		send_cut(at, s.bytes);
		part();
	} while (++at < s.bytes);
	for (uint32_t step = 1; step < 20; step++) {
		s.bytes = 0;
		meet();
		build();
		send_cut(1, step);
		part();
	}
	rig_close(&rig);
}

Test(fabric_frames, cut_anywhere_towards_target)
{
	cut_everywhere(meet_target, build_for_target);
}

Test(fabric_frames, cut_anywhere_towards_initiator)
{
	cut_everywhere(meet_initiator, build_for_initiator);
}

static bool has_refused(void *arg)
{
	(void)arg;
	return end->refused > 0 || end->is_closed;
}

/* A refused message that is not aligned comes again unchanged. */
Test(fabric_frames, refused_when_not_aligned)
{
	open_rig();
	meet_target();
	add_plain(0, 41);
	add_plain(1, 43);
	add_plain(2, 64);
	want_answers = 0;
	send_raw(s.b, 57);
	want_messages = 1;
	cr_assert(rig_pump(&rig, has_all, NULL), "%s", rig.wrong);
	for (unsigned int i = 0; i < 3; i++) {
		end->refuse = 1;
		end->refused = 0;
		if (i == 0)
			send_raw(s.b + 57, s.bytes - 57);
		fabric_resume(end->conn);
		cr_assert(rig_pump(&rig, has_refused, NULL), "%s", rig.wrong);
		cr_assert(end->messages == 1);
	}
	fabric_resume(end->conn);
	want_messages = 3;
	cr_assert(rig_pump(&rig, has_all, NULL), "%s", rig.wrong);
	cr_assert(!end->is_closed && end->messages == 3);
	part();
	rig_close(&rig);
}

/* ---- wrong ----------------------------------------------------------------------------------- */

struct bad {
	const char *name;
	void (*build)(void);
};

static void bad_type_0(void)
{
	add_frame(0, 0, 64, 0, 0);
}
static void bad_type_3(void)
{
	add_frame(3, 0, 64, 0, 0);
}
static void bad_type_255(void)
{
	add_frame(255, 0, 64, 0, 0);
}
static void bad_reserved(void)
{
	add_plain(0, 64);
	s.b[2] = 1;
}
static void bad_flag(void)
{
	add_frame(BRP_FRAME_MESSAGE, 1, 64, 0, 0);
}
static void bad_message_key(void)
{
	add_frame(BRP_FRAME_MESSAGE, 0, 64, 1, 0);
}
static void bad_empty(void)
{
	add_frame(BRP_FRAME_MESSAGE, 0, 0, 0, 0);
}
static void bad_long(void)
{
	add_frame(BRP_FRAME_MESSAGE, 0, RIG_RECV_BYTES + 1, 0, 0);
}
static void bad_huge(void)
{
	add_frame(BRP_FRAME_MESSAGE, 0, UINT32_MAX, 0, 0);
}
static void bad_garbage(void)
{
	add("GET / HTTP/1.1\r\nHost: target\r\n\r\n", 32);
}
static void bad_zeroes(void)
{
	uint8_t z[64] = {0};

	add(z, sizeof(z));
}
static void bad_unasked(void)
{
	add_data(0, 0, 0, 0, 512);
}
static void bad_key(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_data(0, 4, 9, 0, 512);
}
static void bad_gap(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_data(0, 3, 9, 8, 16);
}
static void bad_again(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_data(0, 3, 9, 0, 16);
	add_data(0, 3, 9, 0, 16);
}
static void bad_beyond(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_data(0, 3, 9, 0, 513);
}
static void bad_late_beyond(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_data(0, 3, 9, 0, 500);
	add_data(0, 3, 9, 500, 13);
}
static void bad_after(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_data(0, 3, 9, 0, 512);
	add_data(0, 3, 9, 512, 1);
}
static void bad_data_huge(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_frame(BRP_FRAME_DATA, 0, UINT32_MAX, 3, 0);
}
static void bad_wrap(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_frame(BRP_FRAME_DATA, 0, 512, 3, UINT32_MAX - 100);
}
static void bad_notice(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_data(BRP_FRAME_NOTICE, 3, 9, 0, 512);
}
static void bad_order(void)
{
	add_request(RIG_PULL, 3, 9, 512);
	add_request(RIG_PULL, 4, 9, 512);
	add_data(0, 4, 9, 0, 512);
}

static const struct bad bad_for_target[] = {
	{"type 0", bad_type_0},
	{"type 3", bad_type_3},
	{"type 255", bad_type_255},
	{"reserved", bad_reserved},
	{"flag of a message", bad_flag},
	{"key of a message", bad_message_key},
	{"empty message", bad_empty},
	{"message too long", bad_long},
	{"message of 4 GiB", bad_huge},
	{"garbage", bad_garbage},
	{"zeroes", bad_zeroes},
	{"data unasked for", bad_unasked},
	{"wrong key", bad_key},
	{"gap", bad_gap},
	{"twice", bad_again},
	{"beyond", bad_beyond},
	{"beyond, in pieces", bad_late_beyond},
	{"after the end", bad_after},
	{"4 GiB of data", bad_data_huge},
	{"offset wraps", bad_wrap},
	{"notice towards the target", bad_notice},
	{"data out of order", bad_order},
};

/* Exposed: tag 3 (generation 9) 512 bytes for writing, tag 4 (generation 9) 512 bytes for reading.
 */
#define KEY_WRITE (9u << 16 | 3)
#define KEY_READ  (9u << 16 | 4)

static void worse_unasked(void)
{
	add_data(BRP_FRAME_NOTICE, 9 << 16 | 5, 9, 0, 512);
}
static void worse_index(void)
{
	add_data(BRP_FRAME_NOTICE, 0xffff, 9, 0, 512);
}
static void worse_generation(void)
{
	add_data(BRP_FRAME_NOTICE, 8 << 16 | 3, 9, 0, 512);
}
static void worse_direction(void)
{
	add_data(BRP_FRAME_NOTICE, KEY_READ, 9, 0, 512);
}
static void worse_offset(void)
{
	add_data(0, KEY_WRITE, 9, 1, 16);
}
static void worse_beyond(void)
{
	add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 513);
}
static void worse_early_notice(void)
{
	add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 511);
}
static void worse_twice(void)
{
	add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 512);
	add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 512);
}
static void worse_flag(void)
{
	add_data(2, KEY_WRITE, 9, 0, 512);
}

static const struct bad bad_for_initiator[] = {
	{"type 0", bad_type_0},
	{"garbage", bad_garbage},
	{"message too long", bad_long},
	{"data unasked for", worse_unasked},
	{"index beyond the depth", worse_index},
	{"wrong generation", worse_generation},
	{"wrong direction", worse_direction},
	{"wrong offset", worse_offset},
	{"beyond", worse_beyond},
	{"notice before all data", worse_early_notice},
	{"data after the notice", worse_twice},
	{"unknown flag", worse_flag},
};

static void refuse(const struct bad *bad)
{
	s.bytes = 0;
	bad->build();
	send_raw(s.b, s.bytes);
	cr_assert(rig_pump(&rig, is_closed, NULL), "%s: %s", bad->name, rig.wrong);
	cr_assert(end->error == -EPROTO, "%s: %d", bad->name, end->error);
	part();
}

Test(fabric_frames, wrong_towards_target)
{
	open_rig();
	log_init("test", LOG_ERROR);
	for (size_t i = 0; i < ARRAY_SIZE(bad_for_target); i++) {
		meet_target();
		refuse(&bad_for_target[i]);
	}
	rig_close(&rig);
}

Test(fabric_frames, wrong_towards_initiator)
{
	open_rig();
	for (size_t i = 0; i < ARRAY_SIZE(bad_for_initiator); i++) {
		meet_initiator();
		cr_assert(rig_request(end, RIG_PUSH, 3, 9, 512) == 0);
		cr_assert(rig_request(end, RIG_PULL, 4, 9, 512) == 0);
		refuse(&bad_for_initiator[i]);
	}
	rig_close(&rig);
}

/* ---- ends and stalls ------------------------------------------------------------------------- */

Test(fabric_frames, half_close)
{
	open_rig();
	meet_target();
	add_plain(0, 64);
	send_raw(s.b, s.bytes);
	shutdown(raw, SHUT_WR);
	cr_assert(rig_pump(&rig, is_closed, NULL), "%s", rig.wrong);
	cr_assert(end->error == 0 && end->messages == 1);
	cr_assert(recv(raw, s.b, 1, 0) == 0);
	part();

	for (uint32_t cut = 1; cut < 80; cut += 13) {
		s.bytes = 0;
		meet_target();
		add_plain(0, 64);
		send_raw(s.b, cut);
		shutdown(raw, SHUT_WR);
		cr_assert(rig_pump(&rig, is_closed, NULL), "%s", rig.wrong);
		cr_assert(end->error == -ECONNRESET && end->messages == 0, "cut %u: %d", cut,
			  end->error);
		part();
	}
	rig_close(&rig);
}

/* As a sleeper does that is woken. */
static void take_edges(void)
{
	struct epoll_event events[8];

	epoll_wait(rig.epoll_fd, events, 8, 10);
}

/* The last bytes and the end come in one edge. */
Test(fabric_frames, end_behind_data)
{
	open_rig();
	for (uint32_t i = 0; i < 200; i++) {
		s.bytes = 0;
		meet_target();
		add_plain(0, 64 + i);
		take_edges();
		send_raw(s.b, s.bytes);
		close(raw);
		raw = -1;
		take_edges();
		cr_assert(rig_pump(&rig, is_closed, NULL), "%s", rig.wrong);
		cr_assert(end->error == 0 && end->messages == 1);
		part();
	}
	rig_close(&rig);
}

static uint64_t drain_raw(uint8_t *last, uint64_t bytes)
{
	uint64_t sum = 0;

	while (sum < bytes) {
		ssize_t n = recv(raw, s.b, MIN((uint64_t)sizeof(s.b), bytes - sum), MSG_DONTWAIT);

		if (n > 0) {
			sum += (uint64_t)n;
			*last = s.b[n - 1];
		} else if (n == 0) {
			break;
		} else {
			rig_spin(&rig, 1);
		}
	}
	return sum;
}

/* Its peer takes nothing: nobody spins, slots run out, and later all arrives. */
Test(fabric_frames, stalled_reader)
{
	int small = 65536;
	uint32_t n = 0;
	uint8_t last;

	open_rig();
	meet_initiator();
	setsockopt(raw, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (int idle = 0; idle < 50; idle++) {
		while (rig_send(end, n, RIG_RECV_BYTES, 0) == 0) {
			n++;
			idle = 0;
			fabric_flush(end->conn);
		}
		rig_spin(&rig, 1);
	}
	cr_assert(fabric_poll(end->conn) == 0 && fabric_arm(end->conn) == 0);
	cr_assert(n >= RIG_SENDS);
	/* The other direction works. */
	add_plain(0, 64);
	want_messages = 1;
	want_answers = 0;
	send_raw(s.b, s.bytes);
	cr_assert(rig_pump(&rig, has_all, NULL), "%s", rig.wrong);
	cr_assert(drain_raw(&last, (uint64_t)n * (RIG_RECV_BYTES + BRP_FRAME_BYTES)) ==
		  (uint64_t)n * (RIG_RECV_BYTES + BRP_FRAME_BYTES));
	cr_assert(last == rig_byte(n - 1, RIG_RECV_BYTES - 1));
	rig_spin(&rig, 3);
	cr_assert(end->sendables > 0 && rig_send(end, n, 64, 0) == 0);
	part();
	rig_close(&rig);
}

/* Answered before its data was sent: the rest is zeroes, not what the memory holds by then. */
Test(fabric_frames, unexposed_early)
{
	uint64_t left = (uint64_t)RIG_DATA_BYTES * RIG_DEPTH / 2;
	uint8_t last = 0xff;
	uint32_t nr = RIG_DEPTH / 2;

	open_rig();
	meet_initiator();
	for (uint32_t i = 0; i < nr; i++)
		cr_assert(rig_request(end, RIG_PULL, i, 1, RIG_DATA_BYTES) == 0);
	fabric_flush(end->conn);
	rig_spin(&rig, 20);
	for (uint32_t i = 0; i < nr; i++)
		fabric_unexpose(end->conn, 1u << 16 | i);
	memset(end->data, 0xee, (size_t)RIG_DATA_BYTES * nr);
	left += nr * (2 * BRP_FRAME_BYTES + sizeof(struct rig_msg));
	/* Fits the kernel's buffers or not: only then is anything left to disown. */
	cr_assert(drain_raw(&last, left) == left);
	cr_assert(last == 0 || last == rig_byte(1, RIG_DATA_BYTES - 1));
	part();
	rig_close(&rig);
}

/* Abort is a reset: the peer learns at once, whatever it has not read. */
Test(fabric_frames, abort_resets)
{
	open_rig();
	meet_target();
	fabric_close(end->conn, true);
	cr_assert(rig_pump(&rig, is_closed, NULL), "%s", rig.wrong);
	cr_assert(end->error == -ECONNABORTED);
	cr_assert(recv(raw, s.b, 1, 0) < 0 && errno == ECONNRESET);
	part();
	rig_close(&rig);
}

/* A peer that never answers our end of stream does not hold us for ever. */
Test(fabric_frames, linger_is_bounded)
{
	uint64_t start;

	open_rig();
	meet_target();
	start = now_ns();
	fabric_close(end->conn, false);
	while (!end->is_closed && now_ns() - start < 10 * NS_PER_S)
		rig_spin(&rig, 1);
	cr_assert(end->is_closed && end->error == -ETIMEDOUT);
	part();
	rig_close(&rig);
}
