/* SPDX-License-Identifier: BSD-2-Clause */
/* The TCP fabric against a peer made of raw bytes: what it sends, cut anywhere, wrong, or not at
 * all. protocol.md 2.1. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/fabric_raw.h"

/* ---- cut anywhere ---------------------------------------------------------------------------- */

Test(fabric_frames, cut_anywhere_towards_target)
{
	raw_cut_everywhere(raw_meet_target, raw_build_for_target);
}

Test(fabric_frames, cut_anywhere_towards_initiator)
{
	raw_cut_everywhere(raw_meet_initiator, raw_build_for_initiator);
}

static bool has_refused(void *arg)
{
	(void)arg;
	return raw_end->refused > 0 || raw_end->is_closed;
}

/* A refused message that is not aligned comes again unchanged. */
Test(fabric_frames, refused_when_not_aligned)
{
	raw_open();
	raw_meet_target();
	raw_add_plain(0, 41);
	raw_add_plain(1, 43);
	raw_add_plain(2, 64);
	raw_want_answers = 0;
	raw_send(raw_stream.b, 57);
	raw_want_messages = 1;
	cr_assert(rig_pump(&raw_rig, raw_has_all, NULL), "%s", raw_rig.wrong);
	for (unsigned int i = 0; i < 3; i++) {
		raw_end->refuse = 1;
		raw_end->refused = 0;
		if (i == 0)
			raw_send(raw_stream.b + 57, raw_stream.bytes - 57);
		fabric_resume(raw_end->conn);
		cr_assert(rig_pump(&raw_rig, has_refused, NULL), "%s", raw_rig.wrong);
		cr_assert(raw_end->messages == 1);
	}
	fabric_resume(raw_end->conn);
	raw_want_messages = 3;
	cr_assert(rig_pump(&raw_rig, raw_has_all, NULL), "%s", raw_rig.wrong);
	cr_assert(!raw_end->is_closed && raw_end->messages == 3);
	raw_part();
	rig_close(&raw_rig);
}

/* ---- wrong ----------------------------------------------------------------------------------- */

struct bad {
	const char *name;
	void (*build)(void);
};

static void bad_type_0(void)
{
	raw_add_frame(0, 0, 64, 0, 0);
}
static void bad_type_3(void)
{
	raw_add_frame(3, 0, 64, 0, 0);
}
static void bad_type_255(void)
{
	raw_add_frame(255, 0, 64, 0, 0);
}
static void bad_reserved(void)
{
	raw_add_plain(0, 64);
	raw_stream.b[2] = 1;
}
static void bad_flag(void)
{
	raw_add_frame(BRP_FRAME_MESSAGE, 1, 64, 0, 0);
}
static void bad_message_key(void)
{
	raw_add_frame(BRP_FRAME_MESSAGE, 0, 64, 1, 0);
}
static void bad_empty(void)
{
	raw_add_frame(BRP_FRAME_MESSAGE, 0, 0, 0, 0);
}
static void bad_long(void)
{
	raw_add_frame(BRP_FRAME_MESSAGE, 0, RIG_RECV_BYTES + 1, 0, 0);
}
static void bad_huge(void)
{
	raw_add_frame(BRP_FRAME_MESSAGE, 0, UINT32_MAX, 0, 0);
}
static void bad_garbage(void)
{
	raw_add("GET / HTTP/1.1\r\nHost: target\r\n\r\n", 32);
}
static void bad_zeroes(void)
{
	uint8_t z[64] = {0};

	raw_add(z, sizeof(z));
}
static void bad_unasked(void)
{
	raw_add_data(0, 0, 0, 0, 512);
}
static void bad_key(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_data(0, 4, 9, 0, 512);
}
static void bad_gap(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_data(0, 3, 9, 8, 16);
}
static void bad_again(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_data(0, 3, 9, 0, 16);
	raw_add_data(0, 3, 9, 0, 16);
}
static void bad_beyond(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_data(0, 3, 9, 0, 513);
}
static void bad_late_beyond(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_data(0, 3, 9, 0, 500);
	raw_add_data(0, 3, 9, 500, 13);
}
static void bad_after(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_data(0, 3, 9, 0, 512);
	raw_add_data(0, 3, 9, 512, 1);
}
static void bad_data_huge(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_frame(BRP_FRAME_DATA, 0, UINT32_MAX, 3, 0);
}
static void bad_wrap(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_frame(BRP_FRAME_DATA, 0, 512, 3, UINT32_MAX - 100);
}
static void bad_notice(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_data(BRP_FRAME_NOTICE, 3, 9, 0, 512);
}
static void bad_order(void)
{
	raw_add_request(RIG_PULL, 3, 9, 512);
	raw_add_request(RIG_PULL, 4, 9, 512);
	raw_add_data(0, 4, 9, 0, 512);
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
	raw_add_data(BRP_FRAME_NOTICE, 9 << 16 | 5, 9, 0, 512);
}
static void worse_index(void)
{
	raw_add_data(BRP_FRAME_NOTICE, 0xffff, 9, 0, 512);
}
static void worse_generation(void)
{
	raw_add_data(BRP_FRAME_NOTICE, 8 << 16 | 3, 9, 0, 512);
}
static void worse_direction(void)
{
	raw_add_data(BRP_FRAME_NOTICE, KEY_READ, 9, 0, 512);
}
static void worse_offset(void)
{
	raw_add_data(0, KEY_WRITE, 9, 1, 16);
}
static void worse_beyond(void)
{
	raw_add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 513);
}
static void worse_early_notice(void)
{
	raw_add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 511);
}
static void worse_twice(void)
{
	raw_add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 512);
	raw_add_data(BRP_FRAME_NOTICE, KEY_WRITE, 9, 0, 512);
}
static void worse_flag(void)
{
	raw_add_data(2, KEY_WRITE, 9, 0, 512);
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
	raw_stream.bytes = 0;
	bad->build();
	raw_send(raw_stream.b, raw_stream.bytes);
	cr_assert(rig_pump(&raw_rig, raw_is_closed, NULL), "%s: %s", bad->name, raw_rig.wrong);
	cr_assert(raw_end->error == -EPROTO, "%s: %d", bad->name, raw_end->error);
	raw_part();
}

Test(fabric_frames, wrong_towards_target)
{
	raw_open();
	log_init("test", LOG_ERROR);
	for (size_t i = 0; i < ARRAY_SIZE(bad_for_target); i++) {
		raw_meet_target();
		refuse(&bad_for_target[i]);
	}
	rig_close(&raw_rig);
}

Test(fabric_frames, wrong_towards_initiator)
{
	raw_open();
	for (size_t i = 0; i < ARRAY_SIZE(bad_for_initiator); i++) {
		raw_meet_initiator();
		cr_assert(rig_request(raw_end, RIG_PUSH, 3, 9, 512) == 0);
		cr_assert(rig_request(raw_end, RIG_PULL, 4, 9, 512) == 0);
		refuse(&bad_for_initiator[i]);
	}
	rig_close(&raw_rig);
}

/* ---- ends and stalls ------------------------------------------------------------------------- */

Test(fabric_frames, half_close)
{
	raw_open();
	raw_meet_target();
	raw_add_plain(0, 64);
	raw_send(raw_stream.b, raw_stream.bytes);
	shutdown(raw_fd, SHUT_WR);
	cr_assert(rig_pump(&raw_rig, raw_is_closed, NULL), "%s", raw_rig.wrong);
	cr_assert(raw_end->error == 0 && raw_end->messages == 1);
	cr_assert(recv(raw_fd, raw_stream.b, 1, 0) == 0);
	raw_part();

	for (uint32_t cut = 1; cut < 80; cut += 13) {
		raw_stream.bytes = 0;
		raw_meet_target();
		raw_add_plain(0, 64);
		raw_send(raw_stream.b, cut);
		shutdown(raw_fd, SHUT_WR);
		cr_assert(rig_pump(&raw_rig, raw_is_closed, NULL), "%s", raw_rig.wrong);
		cr_assert(raw_end->error == -ECONNRESET && raw_end->messages == 0, "cut %u: %d",
			  cut, raw_end->error);
		raw_part();
	}
	rig_close(&raw_rig);
}

/* As a sleeper does that is woken. */
static void take_edges(void)
{
	struct epoll_event events[8];

	epoll_wait(raw_rig.epoll_fd, events, 8, 10);
}

/* The last bytes and the end come in one edge. */
Test(fabric_frames, end_behind_data)
{
	raw_open();
	for (uint32_t i = 0; i < 200; i++) {
		raw_stream.bytes = 0;
		raw_meet_target();
		raw_add_plain(0, 64 + i);
		take_edges();
		raw_send(raw_stream.b, raw_stream.bytes);
		close(raw_fd);
		raw_fd = -1;
		take_edges();
		cr_assert(rig_pump(&raw_rig, raw_is_closed, NULL), "%s", raw_rig.wrong);
		cr_assert(raw_end->error == 0 && raw_end->messages == 1);
		raw_part();
	}
	rig_close(&raw_rig);
}

static uint64_t drain_raw(uint8_t *last, uint64_t bytes)
{
	uint64_t sum = 0;

	while (sum < bytes) {
		ssize_t n = recv(raw_fd, raw_stream.b,
				 MIN((uint64_t)sizeof(raw_stream.b), bytes - sum), MSG_DONTWAIT);

		if (n > 0) {
			sum += (uint64_t)n;
			*last = raw_stream.b[n - 1];
		} else if (n == 0) {
			break;
		} else {
			rig_spin(&raw_rig, 1);
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

	raw_open();
	raw_meet_initiator();
	setsockopt(raw_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (int idle = 0; idle < 50; idle++) {
		while (rig_send(raw_end, n, RIG_RECV_BYTES, 0) == 0) {
			n++;
			idle = 0;
			fabric_flush(raw_end->conn);
		}
		rig_spin(&raw_rig, 1);
	}
	cr_assert(fabric_poll(raw_end->conn) == 0 && fabric_arm(raw_end->conn) == 0);
	cr_assert(n >= RIG_SENDS);
	/* The other direction works. */
	raw_add_plain(0, 64);
	raw_want_messages = 1;
	raw_want_answers = 0;
	raw_send(raw_stream.b, raw_stream.bytes);
	cr_assert(rig_pump(&raw_rig, raw_has_all, NULL), "%s", raw_rig.wrong);
	cr_assert(drain_raw(&last, (uint64_t)n * (RIG_RECV_BYTES + BRP_FRAME_BYTES)) ==
		  (uint64_t)n * (RIG_RECV_BYTES + BRP_FRAME_BYTES));
	cr_assert(last == rig_byte(n - 1, RIG_RECV_BYTES - 1));
	rig_spin(&raw_rig, 3);
	cr_assert(raw_end->sendables > 0 && rig_send(raw_end, n, 64, 0) == 0);
	raw_part();
	rig_close(&raw_rig);
}

/* Answered before its data was sent: the rest is zeroes, not what the memory holds by then. */
Test(fabric_frames, unexposed_early)
{
	uint64_t left = (uint64_t)RIG_DATA_BYTES * RIG_DEPTH / 2;
	uint8_t last = 0xff;
	uint32_t nr = RIG_DEPTH / 2;

	raw_open();
	raw_meet_initiator();
	for (uint32_t i = 0; i < nr; i++)
		cr_assert(rig_request(raw_end, RIG_PULL, i, 1, RIG_DATA_BYTES) == 0);
	fabric_flush(raw_end->conn);
	rig_spin(&raw_rig, 20);
	for (uint32_t i = 0; i < nr; i++)
		fabric_unexpose(raw_end->conn, 1u << 16 | i);
	memset(raw_end->data, 0xee, (size_t)RIG_DATA_BYTES * nr);
	left += nr * (2 * BRP_FRAME_BYTES + sizeof(struct rig_msg));
	/* Fits the kernel's buffers or not: only then is anything left to disown. */
	cr_assert(drain_raw(&last, left) == left);
	cr_assert(last == 0 || last == rig_byte(1, RIG_DATA_BYTES - 1));
	raw_part();
	rig_close(&raw_rig);
}

/* Abort is a reset: the peer learns at once, whatever it has not read. */
Test(fabric_frames, abort_resets)
{
	raw_open();
	raw_meet_target();
	fabric_close(raw_end->conn, true);
	cr_assert(rig_pump(&raw_rig, raw_is_closed, NULL), "%s", raw_rig.wrong);
	cr_assert(raw_end->error == -ECONNABORTED);
	cr_assert(recv(raw_fd, raw_stream.b, 1, 0) < 0 && errno == ECONNRESET);
	raw_part();
	rig_close(&raw_rig);
}

/* A peer that never answers our end of stream does not hold us for ever. */
Test(fabric_frames, linger_is_bounded)
{
	uint64_t start;

	raw_open();
	raw_meet_target();
	start = now_ns();
	fabric_close(raw_end->conn, false);
	while (!raw_end->is_closed && now_ns() - start < 10 * NS_PER_S)
		rig_spin(&raw_rig, 1);
	cr_assert(raw_end->is_closed && raw_end->error == -ETIMEDOUT);
	raw_part();
	rig_close(&raw_rig);
}
