/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the encoder writes the decoder reads back, field by field, with random values for all fields
 * at once. The seed is fixed: a failure repeats.
 */
#include <criterion/criterion.h>

#include <errno.h>

#include "tests/samples.h"

#define ROUNDS 2000

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* In [min, max], often one of the two. */
static uint64_t rnd_in(uint64_t min, uint64_t max)
{
	switch (rnd() % 4) {
	case 0:
		return min;
	case 1:
		return max;
	default:
		return max - min == UINT64_MAX ? rnd() : min + rnd() % (max - min + 1);
	}
}

static struct brp_uuid rnd_uuid(void)
{
	return sample_uuid((uint8_t)rnd());
}

static void rnd_text(char *text, size_t n)
{
	size_t len = rnd_in(0, n - 1);

	memset(text, 0, n);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)rnd_in(0x20, 0x7e);
}

static uint32_t rnd_block_bytes(void)
{
	return BRP_MIN_BLOCK_BYTES << rnd_in(0, 7);
}

Test(wire, hello)
{
	uint8_t buf[64];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_hello in = {(uint16_t)rnd(), (uint16_t)rnd(), rnd(), rnd()};
		struct brp_hello out;

		cr_assert_eq(brp_encode_hello(buf, sizeof(buf), &in), 64);
		cr_assert_eq(brp_decode_hello(buf, 64, &out), 0);
		cr_assert(same_hello(&in, &out));
	}
}

Test(wire, hello_reply)
{
	uint8_t buf[64];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_hello_reply in = {
			.status = (uint16_t)rnd_in(0, 0xffff),
			.version = (uint16_t)rnd(),
			.max_message_bytes = (uint32_t)rnd_in(288, UINT32_MAX),
			.features = rnd(),
			.boot_id = rnd_uuid(),
		};
		struct brp_hello_reply out;

		cr_assert_eq(brp_encode_hello_reply(buf, sizeof(buf), &in), 64);
		cr_assert_eq(brp_decode_hello_reply(buf, 64, &out), 0);
		cr_assert(same_hello_reply(&in, &out));
	}
}

Test(wire, login)
{
	uint8_t buf[288];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_login in = {
			.host_uuid = rnd_uuid(),
			.session_uuid = rnd_uuid(),
			.epoch = rnd_in(1, UINT64_MAX),
			.queue_count = (uint16_t)rnd_in(1, 256),
			.queue_depth = (uint32_t)rnd_in(1, UINT32_MAX),
			.keepalive_ms = (uint32_t)rnd(),
			.flags = (uint32_t)rnd_in(0, 3),
		};
		struct brp_login out;

		in.queue_index = (uint16_t)rnd_in(0, in.queue_count - 1u);
		if (in.flags & BRP_LOGIN_BY_UUID)
			in.volume_uuid = rnd_uuid();
		else
			rnd_text(in.volume_name, sizeof(in.volume_name));
		rnd_text(in.host_name, sizeof(in.host_name));
		cr_assert_eq(brp_encode_login(buf, sizeof(buf), &in), 288);
		cr_assert_eq(brp_decode_login(buf, 288, &out), 0);
		cr_assert(same_login(&in, &out));
	}
}

/* What the flags rule out is not sent, whatever the struct holds. */
Test(wire, login_sends_name_or_uuid_alone)
{
	struct brp_login in = sample_login();
	struct brp_login out;
	uint8_t buf[288];

	in.volume_uuid = sample_uuid(1);
	brp_encode_login(buf, sizeof(buf), &in);
	cr_assert_eq(brp_decode_login(buf, 288, &out), 0);
	cr_assert_str_eq(out.volume_name, "vol-1");
	cr_assert(out.volume_uuid.b[0] == 0 && out.volume_uuid.b[15] == 0);

	in.flags = BRP_LOGIN_BY_UUID;
	brp_encode_login(buf, sizeof(buf), &in);
	cr_assert_eq(brp_decode_login(buf, 288, &out), 0);
	cr_assert_str_eq(out.volume_name, "");
	cr_assert_eq(out.volume_uuid.b[15], 16);
}

static void rnd_login_reply(struct brp_login_reply *m)
{
	*m = (struct brp_login_reply){
		.status = (uint16_t)rnd_in(0, 15),
		.max_requests = (uint16_t)rnd_in(1, 64),
		.queue_depth = (uint32_t)rnd_in(1, 4096),
		.volume_uuid = rnd_uuid(),
		.generation = rnd(),
		.boot_id = rnd_uuid(),
		.block_bytes = rnd_block_bytes(),
		.in_capsule_bytes = (uint32_t)rnd_in(0, 65536),
		.volume_flags = (uint32_t)rnd_in(0, 15),
		.cache = (enum brp_cache_mode)rnd_in(0, 1),
		.epoch = rnd_in(1, UINT64_MAX),
		.keepalive_ms = (uint32_t)rnd(),
	};
	m->size_blocks = rnd_in(0, (uint64_t)INT64_MAX / m->block_bytes);
	m->max_transfer_bytes = m->block_bytes * (uint32_t)rnd_in(1, 4096);
	m->preferred_io_bytes = m->block_bytes * (uint32_t)rnd_in(1, 64);
	rnd_text(m->reason, sizeof(m->reason));
}

Test(wire, login_reply)
{
	uint8_t buf[256];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_login_reply in, out;

		rnd_login_reply(&in);
		cr_assert_eq(brp_encode_login_reply(buf, sizeof(buf), &in), 256);
		cr_assert_eq(brp_decode_login_reply(buf, 256, &out), 0);
		cr_assert(same_login_reply(&in, &out));
	}
}

static void rnd_entry(struct brp_list_entry *e)
{
	*e = (struct brp_list_entry){
		.uuid = rnd_uuid(),
		.block_bytes = rnd_block_bytes(),
		.volume_flags = (uint32_t)rnd_in(0, 15),
		.generation = rnd(),
		.cache = (enum brp_cache_mode)rnd_in(0, 1),
	};
	e->size_blocks = rnd_in(0, (uint64_t)INT64_MAX / e->block_bytes);
	rnd_text(e->name, sizeof(e->name));
}

Test(wire, list)
{
	uint8_t buf[32];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_list in = {(uint32_t)rnd()};
		struct brp_list out;

		cr_assert_eq(brp_encode_list(buf, sizeof(buf), &in), 32);
		cr_assert_eq(brp_decode_list(buf, 32, &out), 0);
		cr_assert_eq(in.first, out.first);
	}
}

Test(wire, list_reply)
{
	uint8_t buf[BRP_MAX_INITIATOR_MSG_BYTES];
	struct brp_list_entry in_e[BRP_MAX_LIST_ENTRIES], out_e[BRP_MAX_LIST_ENTRIES];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_list_reply in = {.count = (uint32_t)rnd_in(0, 20)};
		struct brp_list_reply out;
		int len = (int)(32 + 192 * in.count);

		in.status = (uint16_t)rnd();
		in.first = (uint32_t)rnd_in(0, UINT32_MAX - 20);
		in.total = (uint32_t)rnd_in(in.first + in.count, UINT32_MAX);
		for (uint32_t k = 0; k < in.count; k++)
			rnd_entry(&in_e[k]);
		cr_assert_eq(brp_encode_list_reply(buf, sizeof(buf), &in, in_e), len);
		cr_assert_eq(brp_decode_list_reply(buf, (size_t)len, &out, out_e), 0);
		cr_assert(same_list_reply(&in, &out));
		for (uint32_t k = 0; k < in.count; k++)
			cr_assert(same_list_entry(&in_e[k], &out_e[k]));
	}
}

/* Requests as the decoder takes them: tag and data within the limits, other fields at will. */
static void rnd_request(struct brp_request *r, uint32_t index, size_t *at)
{
	*r = (struct brp_request){
		.op = (uint8_t)rnd_in(1, 5),
		.flags = (uint8_t)rnd_in(0, 255),
		.tag = brp_tag((uint16_t)rnd(), (uint16_t)index),
		.lba = rnd(),
		.blocks = (uint32_t)rnd_in(0, 8),
		.key = (uint32_t)rnd(),
		.addr = rnd(),
	};
	if (r->op == BRP_OP_WRITE && (r->flags & BRP_REQ_IN_CAPSULE)) {
		r->addr = *at;
		*at += r->blocks * 512ull;
	}
}

Test(wire, jumbo)
{
	static uint8_t buf[BRP_MAX_TARGET_MSG_BYTES];
	struct brp_request in[BRP_MAX_JUMBO_REQUESTS], out[BRP_MAX_JUMBO_REQUESTS];
	struct brp_limits lim = sample_limits();

	lim.max_requests = 64;
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t count = (uint32_t)rnd_in(1, 16);
		size_t start = 16 + 32 * count;
		size_t at = start;

		lim.epoch = (uint32_t)rnd();
		for (uint32_t k = 0; k < count; k++) {
			rnd_request(&in[k], k, &at);
			brp_encode_request(buf + 16 + 32 * k, &in[k]);
		}
		brp_encode_jumbo_header(buf, lim.epoch, (uint16_t)count, (uint32_t)(at - start));
		cr_assert_eq(brp_decode_jumbo(buf, at, &lim, out), (int)count);
		for (uint32_t k = 0; k < count; k++)
			cr_assert(same_request(&in[k], &out[k]));
	}
}

/* The largest message there is: 64 requests with a page each, 65536 bytes in all. */
Test(wire, jumbo_full)
{
	static uint8_t buf[BRP_MAX_TARGET_MSG_BYTES];
	struct brp_request out[BRP_MAX_JUMBO_REQUESTS];
	struct brp_limits lim = sample_limits();
	size_t at = 16 + 32 * 64;

	lim.max_requests = 64;
	for (uint32_t k = 0; k < 64; k++) {
		struct brp_request r = {BRP_OP_WRITE, BRP_REQ_IN_CAPSULE, k, k, 2, 0, at};

		at += 1024;
		brp_encode_request(buf + 16 + 32 * k, &r);
	}
	brp_encode_jumbo_header(buf, lim.epoch, 64, 65536);
	cr_assert(at <= sizeof(buf));
	cr_assert_eq(brp_decode_jumbo(buf, at, &lim, out), 64);
	cr_assert_eq(out[63].addr, at - 1024);
}

Test(wire, request_data_bytes)
{
	struct brp_limits lim = sample_limits();
	struct brp_request r = {.op = BRP_OP_READ, .blocks = 2048};

	cr_assert_eq(brp_request_data_bytes(&r, &lim), 1u << 20);
	r.op = BRP_OP_WRITE;
	cr_assert_eq(brp_request_data_bytes(&r, &lim), 1u << 20);
	for (int op = 0; op < 256; op++) {
		r.op = (uint8_t)op;
		if (op != BRP_OP_READ && op != BRP_OP_WRITE)
			cr_assert_eq(brp_request_data_bytes(&r, &lim), 0, "op %d", op);
	}
}

Test(wire, response)
{
	uint8_t buf[BRP_MAX_INITIATOR_MSG_BYTES];
	struct brp_completion in[BRP_MAX_RESPONSES], out[BRP_MAX_RESPONSES];

	for (int i = 0; i < ROUNDS; i++) {
		uint32_t count = (uint32_t)rnd_in(1, 64);
		uint32_t at = 16 + 16 * count;
		struct brp_limits lim = {
			.epoch = (uint32_t)rnd(),
			.block_bytes = 512,
			.max_transfer_bytes = 1u << 20,
			.has_read_data = true,
		};

		for (uint32_t k = 0; k < count; k++) {
			uint32_t bytes = 512 * (uint32_t)rnd_in(0, 3);

			in[k] = (struct brp_completion){(uint32_t)rnd(), (uint16_t)rnd()};
			if (bytes && at + bytes <= sizeof(buf)) {
				in[k].status = BRP_ST_OK;
				in[k].data_bytes = bytes;
				in[k].data_offset = at;
				at += bytes;
			}
			brp_encode_completion(buf + 16 + 16 * k, &in[k]);
		}
		brp_encode_response_header(buf, lim.epoch, (uint16_t)count, at - 16 - 16 * count);
		cr_assert_eq(brp_decode_response(buf, at, &lim, out), (int)count);
		for (uint32_t k = 0; k < count; k++)
			cr_assert(same_completion(&in[k], &out[k]));
	}
}

Test(wire, keepalive)
{
	uint8_t buf[24];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_keepalive in = {rnd()};
		struct brp_keepalive out;
		struct brp_header h;
		uint32_t epoch = (uint32_t)rnd();
		bool is_reply = rnd() & 1;

		cr_assert_eq(brp_encode_keepalive(buf, sizeof(buf), epoch, is_reply, &in), 24);
		cr_assert_eq(brp_decode_keepalive(buf, 24, &out), 0);
		cr_assert_eq(in.sequence, out.sequence);
		cr_assert_eq(brp_decode_header(buf, 24, &h), 0);
		cr_assert_eq(h.type, is_reply ? BRP_MSG_KEEPALIVE_REPLY : BRP_MSG_KEEPALIVE);
		cr_assert_eq(h.epoch, epoch);
	}
}

Test(wire, event)
{
	uint8_t buf[48];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_event_msg in = {(uint16_t)rnd(), rnd(), rnd()};
		struct brp_event_msg out;

		cr_assert_eq(brp_encode_event(buf, sizeof(buf), (uint32_t)rnd(), &in), 48);
		cr_assert_eq(brp_decode_event(buf, 48, &out), 0);
		cr_assert(same_event(&in, &out));
	}
}

Test(wire, goodbye)
{
	uint8_t buf[128];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_goodbye in = {.status = (uint16_t)rnd()};
		struct brp_goodbye out;

		rnd_text(in.text, sizeof(in.text));
		cr_assert_eq(brp_encode_goodbye(buf, sizeof(buf), (uint32_t)rnd(), &in), 128);
		cr_assert_eq(brp_decode_goodbye(buf, 128, &out), 0);
		cr_assert(same_goodbye(&in, &out));
	}
}

Test(wire, frame)
{
	uint8_t buf[16];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_frame in = {BRP_FRAME_MESSAGE, 0, (uint32_t)rnd_in(1, 69632), 0, 0};
		struct brp_frame out;

		if (rnd() & 1) {
			in.type = BRP_FRAME_DATA;
			in.flags = (uint8_t)rnd_in(0, 1);
			in.length_bytes = (uint32_t)rnd_in(1, 1u << 20);
			in.key = (uint32_t)rnd();
			in.offset = (uint32_t)rnd_in(0, UINT32_MAX - in.length_bytes);
		}
		brp_encode_frame(buf, &in);
		cr_assert_eq(brp_decode_frame(buf, 69632, 1u << 20, &out), 0);
		cr_assert(same_frame(&in, &out));
	}
}

Test(wire, cm_data)
{
	uint8_t buf[196];

	for (int i = 0; i < ROUNDS; i++) {
		struct brp_cm_data in = {(uint32_t)rnd(), (uint32_t)rnd()};
		struct brp_cm_data out;

		memset(buf, (int)rnd() & 0xff, sizeof(buf)); /* the padding may be anything */
		brp_encode_cm_data(buf, &in);
		cr_assert_eq(brp_decode_cm_data(buf, rnd_in(24, sizeof(buf)), &out), 0);
		cr_assert(same_cm_data(&in, &out));
	}
}

/* buf need not be aligned. */
Test(wire, unaligned)
{
	uint8_t buf[1776 + 8];
	struct brp_request in[SAMPLE_REQUESTS], out[BRP_MAX_JUMBO_REQUESTS];
	struct brp_limits lim = sample_limits();

	sample_requests(in);
	for (size_t shift = 0; shift < 8; shift++) {
		size_t len = sample_jumbo(buf + shift);

		cr_assert_eq(brp_decode_jumbo(buf + shift, len, &lim, out), SAMPLE_REQUESTS);
		for (size_t k = 0; k < SAMPLE_REQUESTS; k++)
			cr_assert(same_request(&in[k], &out[k]));
	}
}

/* One byte too little room is -ENOSPC, and nothing is written. */
#define ASSERT_NO_ROOM(size, call)                               \
	do {                                                     \
		size_t cap = (size)-1;                           \
		memset(buf, 0x5a, sizeof(buf));                  \
		cr_assert_eq(call, -ENOSPC, #call);              \
		for (size_t at_ = 0; at_ < sizeof(buf); at_++)   \
			cr_assert_eq(buf[at_], 0x5a, #call);     \
		cap++;                                           \
		cr_assert_eq(call, (int)(size), #call " exact"); \
	} while (0)

Test(wire, no_room)
{
	uint8_t buf[416];
	struct brp_hello hello = sample_hello();
	struct brp_hello_reply hello_reply = sample_hello_reply();
	struct brp_login login = sample_login();
	struct brp_login_reply login_reply = sample_login_reply();
	struct brp_list list = {0};
	struct brp_list_reply list_reply = sample_list_reply();
	struct brp_list_entry entries[2];
	struct brp_keepalive keepalive = {1};
	struct brp_event_msg event = sample_event();
	struct brp_goodbye goodbye = sample_goodbye();

	sample_entries(entries);
	ASSERT_NO_ROOM(64u, brp_encode_hello(buf, cap, &hello));
	ASSERT_NO_ROOM(64u, brp_encode_hello_reply(buf, cap, &hello_reply));
	ASSERT_NO_ROOM(288u, brp_encode_login(buf, cap, &login));
	ASSERT_NO_ROOM(256u, brp_encode_login_reply(buf, cap, &login_reply));
	ASSERT_NO_ROOM(32u, brp_encode_list(buf, cap, &list));
	ASSERT_NO_ROOM(416u, brp_encode_list_reply(buf, cap, &list_reply, entries));
	ASSERT_NO_ROOM(24u, brp_encode_keepalive(buf, cap, 1, false, &keepalive));
	ASSERT_NO_ROOM(48u, brp_encode_event(buf, cap, 1, &event));
	ASSERT_NO_ROOM(128u, brp_encode_goodbye(buf, cap, 1, &goodbye));
}

/* The encoder must not send a text that the decoder refuses. */
static void assert_text(const char *in, const char *want)
{
	struct brp_login m = sample_login();
	struct brp_login out;
	uint8_t buf[288];

	/* host_name[] itself need not end in a zero byte */
	memset(m.host_name, 0, sizeof(m.host_name));
	memcpy(m.host_name, in, strnlen(in, sizeof(m.host_name)));
	brp_encode_login(buf, sizeof(buf), &m);
	cr_assert_eq(brp_decode_login(buf, 288, &out), 0, "'%s'", want);
	cr_assert_str_eq(out.host_name, want);
}

Test(wire, texts_are_cleaned_and_cut)
{
	char in[70], want[70];

	assert_text("", "");
	assert_text("two\nlines\x7f", "two?lines?");
	assert_text("\xc2\x9b"
		    "31m",
		    "\?\?31m"); /* U+009B starts a terminal's escape sequence */
	assert_text("\xff\xc3(", "\?\?(");
	assert_text("\xe2\x82\xac", "\xe2\x82\xac");

	memset(in, 'x', sizeof(in));
	memset(want, 'x', sizeof(want));
	in[69] = want[63] = '\0';
	assert_text(in, want); /* 63 of 69 fit */

	memcpy(in + 61, "\xe2\x82\xac", 4);
	want[61] = '\0';
	assert_text(in, want); /* no half character */
	memcpy(in + 61, "xx\xe2\x82", 4);
	want[61] = 'x';
	want[62] = 'x';
	assert_text(in, want);
	memcpy(in + 61, "x\xe2\x82\xac", 4);
	want[62] = '\0';
	assert_text(in, want); /* one that host_name[] itself cuts */
	want[61] = 'x';
	want[62] = 'x';
	memcpy(in + 60, "\xe2\x82\xac", 4);
	memcpy(want + 60, "\xe2\x82\xac", 4);
	assert_text(in, want); /* a whole one just fits */
}
