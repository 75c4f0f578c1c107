/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Conformance by raw bytes. Each kind of message starts from a good one; a table says which bytes
 * are patched and whether the decoder must refuse the result. Beside the tables, every length that
 * is wrong and every reserved bit is tried. Messages are decoded from memory of just their size, so
 * ASan sees a byte read too many.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>

#include "tests/samples.h"

#define BAD         -EPROTO
#define MAX_PATCHES 40

struct patch {
	const char *what;
	int want; /* what the decoder returns */
	size_t at;
	size_t n; /* bytes of value; 0 = no patch */
	uint64_t value;
	size_t at2; /* a second patch, likewise */
	size_t n2;
	uint64_t value2;
};

struct range {
	size_t at;
	size_t n;
};

struct kind {
	const char *name;
	size_t (*make)(uint8_t *buf);
	int (*decode)(const void *buf, size_t len);
	int good;                 /* what decode returns for it unpatched */
	bool may_be_longer;       /* bytes behind the message are ignored */
	bool has_length;          /* a message, with the length in its header */
	struct range reserved[8]; /* all bits in them must be zero */
	struct patch patches[MAX_PATCHES];
};

/* ---- good messages and decoders of one shape ------------------------------------------------- */

#define MAKE(type, sample)                                       \
	static size_t make_##type(uint8_t *buf)                  \
	{                                                        \
		struct brp_##type m = sample;                    \
                                                                 \
		return (size_t)brp_encode_##type(buf, 4096, &m); \
	}

#define DECODE(type)                                          \
	static int decode_##type(const void *buf, size_t len) \
	{                                                     \
		struct brp_##type m;                          \
                                                              \
		return brp_decode_##type(buf, len, &m);       \
	}

MAKE(hello, sample_hello())
MAKE(hello_reply, sample_hello_reply())
MAKE(login, sample_login())
MAKE(login_reply, sample_login_reply())
MAKE(list, {.first = 20})
DECODE(hello)
DECODE(hello_reply)
DECODE(login)
DECODE(login_reply)
DECODE(list)
DECODE(keepalive)
DECODE(goodbye)
DECODE(cm_data)
DECODE(header)

static int decode_event(const void *buf, size_t len)
{
	struct brp_event_msg m;

	return brp_decode_event(buf, len, &m);
}

static size_t make_login_by_uuid(uint8_t *buf)
{
	struct brp_login m = sample_login_by_uuid();

	return (size_t)brp_encode_login(buf, 4096, &m);
}

static size_t make_login_refused(uint8_t *buf)
{
	struct brp_login_reply m = sample_login_refused();

	return (size_t)brp_encode_login_reply(buf, 4096, &m);
}

static size_t make_list_reply(uint8_t *buf)
{
	struct brp_list_reply m = sample_list_reply();
	struct brp_list_entry e[2];

	sample_entries(e);
	return (size_t)brp_encode_list_reply(buf, 4096, &m, e);
}

static int decode_list_reply(const void *buf, size_t len)
{
	struct brp_list_entry e[BRP_MAX_LIST_ENTRIES];
	struct brp_list_reply m;

	return brp_decode_list_reply(buf, len, &m, e);
}

static int decode_jumbo(const void *buf, size_t len)
{
	struct brp_limits lim = sample_limits();
	struct brp_request r[BRP_MAX_JUMBO_REQUESTS];

	return brp_decode_jumbo(buf, len, &lim, r);
}

static int decode_response(const void *buf, size_t len)
{
	struct brp_limits lim = sample_limits();
	struct brp_completion c[BRP_MAX_RESPONSES];

	return brp_decode_response(buf, len, &lim, c);
}

static int decode_response_data(const void *buf, size_t len)
{
	struct brp_limits lim = sample_read_data_limits();
	struct brp_completion c[BRP_MAX_RESPONSES];

	return brp_decode_response(buf, len, &lim, c);
}

static size_t make_keepalive(uint8_t *buf)
{
	struct brp_keepalive m = {1};

	return (size_t)brp_encode_keepalive(buf, 4096, SAMPLE_EPOCH_LOW, false, &m);
}

static size_t make_event(uint8_t *buf)
{
	struct brp_event_msg m = sample_event();

	return (size_t)brp_encode_event(buf, 4096, SAMPLE_EPOCH_LOW, &m);
}

static size_t make_goodbye(uint8_t *buf)
{
	struct brp_goodbye m = sample_goodbye();

	return (size_t)brp_encode_goodbye(buf, 4096, SAMPLE_EPOCH_LOW, &m);
}

static size_t make_message_frame(uint8_t *buf)
{
	struct brp_frame f = {BRP_FRAME_MESSAGE, 0, 1776, 0, 0};

	brp_encode_frame(buf, &f);
	return 16;
}

static size_t make_data_frame(uint8_t *buf)
{
	struct brp_frame f = {BRP_FRAME_DATA, BRP_FRAME_NOTICE, 4096, 0x00010000, 0xff000};

	brp_encode_frame(buf, &f);
	return 16;
}

/* Frame headers have one size; a shorter piece never reaches the decoder. */
static int decode_frame(const void *buf, size_t len)
{
	struct brp_frame f;

	return len == 16 ? brp_decode_frame(buf, 69632, 1u << 20, &f) : BAD;
}

static size_t make_cm_data(uint8_t *buf)
{
	struct brp_cm_data d = {136, 69632};

	brp_encode_cm_data(buf, &d);
	return 24;
}

/* ---- the tables. Requests of the JUMBO: see sample_requests(); request i is at 16 + 32 * i. -- */

#define REQ(i, offset) (16 + 32 * (i) + (offset))
/* Byte `b` of completion i of a RESPONSE. */
#define ANSWER(i, b) (16 + 16 * (i) + (b))
#define HEADER_BAD                                                                          \
	{"type 0", BAD, 0, 1, 0}, {"type 13", BAD, 0, 1, 13}, {"type 255", BAD, 0, 1, 255}, \
		{"a count of 65535", BAD, 2, 2, 65535}, {"length 0", BAD, 4, 4, 0},         \
	{                                                                                   \
		"length 4 GiB - 1", BAD, 4, 4, UINT32_MAX                                   \
	}
#define NO_ENTRIES                                      \
	{                                               \
		"count 1 without entries", BAD, 2, 2, 1 \
	}
#define NO_EPOCH                                      \
	{                                             \
		"an epoch before login", BAD, 8, 4, 1 \
	}
#define HEADER_RESERVED \
	{1, 1},         \
	{               \
		12, 4   \
	}

static const struct kind kinds[] = {
	{"hello",
	 make_hello,
	 decode_hello,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {28, 4}, {48, 16}},
	 {HEADER_BAD,
	  NO_ENTRIES,
	  NO_EPOCH,
	  {"HELLO_REPLY for HELLO", BAD, 0, 1, BRP_MSG_HELLO_REPLY},
	  {"magic, first byte", BAD, 16, 1, 'b'},
	  {"magic, last byte", BAD, 23, 1, 0},
	  {"min above max is for negotiation to refuse", 0, 24, 2, 9, 26, 2, 8}}},
	{"hello_reply",
	 make_hello_reply,
	 decode_hello_reply,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {56, 8}},
	 {HEADER_BAD,
	  NO_ENTRIES,
	  NO_EPOCH,
	  {"HELLO for HELLO_REPLY", BAD, 0, 1, BRP_MSG_HELLO},
	  {"magic", BAD, 20, 1, 0},
	  {"no LOGIN fits max_message", BAD, 28, 4, 287},
	  {"a LOGIN fits", 0, 28, 4, 288},
	  {"refused: max_message is not looked at", 0, 24, 2, BRP_ST_DENIED, 28, 4, 0}}},
	{"login",
	 make_login,
	 decode_login,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {280, 8}, {72, 16}},
	 {HEADER_BAD,
	  NO_ENTRIES,
	  NO_EPOCH,
	  {"LOGIN_REPLY for LOGIN", BAD, 0, 1, BRP_MSG_LOGIN_REPLY},
	  {"epoch 0", BAD, 48, 8, 0},
	  {"epoch 1", 0, 48, 8, 1},
	  {"epoch 2^64 - 1", 0, 48, 8, UINT64_MAX},
	  {"index == count", BAD, 56, 2, 256},
	  {"index == count - 1", 0, 56, 2, 255},
	  {"index 65535", BAD, 56, 2, 65535},
	  {"no connections", BAD, 56, 2, 0, 58, 2, 0},
	  {"257 connections", BAD, 58, 2, 257},
	  {"queue depth 0", BAD, 60, 4, 0},
	  {"queue depth 2^32 - 1 is a wish", 0, 60, 4, UINT32_MAX},
	  {"unknown flag bit 2", BAD, 68, 4, 4},
	  {"unknown flag bit 31", BAD, 68, 4, 0x80000000},
	  {"by UUID, and a name", BAD, 68, 4, 2},
	  {"name: line feed", BAD, 89, 1, '\n'},
	  {"name: escape", BAD, 89, 1, 0x1b},
	  {"name: delete", BAD, 89, 1, 0x7f},
	  {"name: bytes behind the zero", BAD, 94, 1, 'x'},
	  {"name: last byte set", BAD, 215, 1, 'x'},
	  {"name: lone UTF-8 continuation", BAD, 88, 1, 0x80},
	  {"host: no such UTF-8 byte", BAD, 216, 1, 0xff},
	  {"host: UTF-8 cut off", BAD, 222, 1, 0},
	  {"host: U+0080 is a control character", BAD, 221, 2, 0x80c2},
	  {"host: U+00A0 is not", 0, 221, 2, 0xa0c2},
	  {"host: overlong slash", BAD, 221, 2, 0xafc0},
	  {"host: overlong, 3 bytes", BAD, 216, 3, 0x8080e0},
	  {"host: surrogate", BAD, 216, 3, 0x80a0ed},
	  {"host: overlong, 4 bytes", BAD, 216, 4, 0x808080f0},
	  {"host: beyond U+10FFFF", BAD, 216, 4, 0x808090f4},
	  {"host: U+10FFFF", 0, 216, 4, 0xbfbf8ff4}}},
	{"login by UUID",
	 make_login_by_uuid,
	 decode_login,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {280, 8}, {88, 128}},
	 {{"by name, and a UUID", BAD, 68, 4, 0}, {"the UUID may be zero", 0, 72, 8, 0, 80, 8, 0}}},
	{"login_reply",
	 make_login_reply,
	 decode_login_reply,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {89, 7}, {112, 8}, {120, 4}, {124, 4}},
	 {HEADER_BAD,
	  NO_ENTRIES,
	  NO_EPOCH,
	  {"0 requests", BAD, 18, 2, 0},
	  {"64 requests", 0, 18, 2, 64},
	  {"65 requests", BAD, 18, 2, 65},
	  {"depth 0", BAD, 20, 4, 0},
	  {"depth 4096", 0, 20, 4, 4096},
	  {"depth 4097", BAD, 20, 4, 4097},
	  {"block size 0", BAD, 72, 4, 0},
	  {"block size 256", BAD, 72, 4, 256},
	  {"block size 513", BAD, 72, 4, 513},
	  {"block size 768", BAD, 72, 4, 768},
	  {"block size 128 KiB", BAD, 72, 4, 131072, 108, 4, 131072},
	  {"block size 8 KiB", 0, 72, 4, 8192},
	  {"size: one block too many for 2^63 - 1 bytes", BAD, 64, 8, 1ull << 54},
	  {"size: as many blocks as fit", 0, 64, 8, (1ull << 54) - 1},
	  {"size 2^64 - 1", BAD, 64, 8, UINT64_MAX},
	  {"size 0", 0, 64, 8, 0},
	  {"transfer 0", BAD, 76, 4, 0},
	  {"transfer not of whole blocks", BAD, 76, 4, 513},
	  {"transfer of one block", 0, 76, 4, 512},
	  {"no in-capsule data", 0, 80, 4, 0},
	  {"in-capsule 65536", 0, 80, 4, 65536},
	  {"in-capsule 65537", BAD, 80, 4, 65537},
	  {"unknown volume flag", BAD, 84, 4, 16},
	  {"cache 2", BAD, 88, 1, 2},
	  {"epoch 0", BAD, 96, 8, 0},
	  {"preferred 0", BAD, 108, 4, 0},
	  {"preferred not of whole blocks", BAD, 108, 4, 8191},
	  {"reason: control character", BAD, 128, 1, 7},
	  {"reason: behind the zero", BAD, 255, 1, 'x'}}},
	{"login refused",
	 make_login_refused,
	 decode_login_reply,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {89, 7}, {112, 8}, {120, 4}, {124, 4}},
	 {{"grants nothing: OK without limits", BAD, 16, 2, 0},
	  {"unknown status", 0, 16, 2, 0xffff},
	  {"unknown volume flag", BAD, 84, 4, 0x100},
	  {"cache 255", BAD, 88, 1, 255}}},
	{"list",
	 make_list,
	 decode_list,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {20, 12}},
	 {HEADER_BAD, NO_ENTRIES, NO_EPOCH, {"first 2^32 - 1", 0, 16, 4, UINT32_MAX}}},
	{"list_reply",
	 make_list_reply,
	 decode_list_reply,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {18, 2}, {28, 4}, {32 + 41, 23}, {32 + 192 + 41, 23}},
	 {HEADER_BAD,
	  NO_EPOCH,
	  {"count 1 of 2", BAD, 2, 2, 1},
	  {"count 3 of 2", BAD, 2, 2, 3},
	  {"count 0 of 2", BAD, 2, 2, 0},
	  {"part begins behind the end", BAD, 24, 4, 22},
	  {"part ends behind the end", BAD, 24, 4, 21},
	  {"first + count wraps", BAD, 24, 4, UINT32_MAX},
	  {"nothing in all", BAD, 20, 4, 0, 24, 4, 0},
	  {"block size 100", BAD, 32 + 24, 4, 100},
	  {"second entry: block size 0", BAD, 32 + 192 + 24, 4, 0},
	  {"second entry: block size 128 KiB", BAD, 32 + 192 + 24, 4, 131072},
	  {"size too large", BAD, 32 + 16, 8, 1ull << 54},
	  {"unknown flag", BAD, 32 + 28, 4, 16},
	  {"cache 2", BAD, 32 + 40, 1, 2},
	  {"name without end", BAD, 32 + 191, 1, 'x'},
	  {"name: control character", BAD, 32 + 192 + 64, 1, 1}}},
	{"jumbo",
	 sample_jumbo,
	 decode_jumbo,
	 SAMPLE_REQUESTS,
	 false,
	 true,
	 {HEADER_RESERVED, {REQ(0, 2), 2}, {REQ(3, 2), 2}, {REQ(6, 2), 2}},
	 {HEADER_BAD,
	  {"RESPONSE for JUMBO", BAD, 0, 1, BRP_MSG_RESPONSE},
	  {"another epoch", BAD, 8, 4, SAMPLE_EPOCH_LOW + 1},
	  {"epoch 0", BAD, 8, 4, 0},
	  {"count 0", BAD, 2, 2, 0},
	  {"one request fewer", BAD, 2, 2, 6},
	  {"one request more, made of data", BAD, 2, 2, 8},
	  {"tag index == depth", BAD, REQ(0, 4), 4, 0x00010080},
	  {"tag index 65535", BAD, REQ(6, 4), 4, 0x0006ffff},
	  {"tag generation is free", 0, REQ(0, 4), 4, 0xabcd0000},
	  {"read: one block beyond the data limit", BAD, REQ(0, 16), 4, 2049},
	  {"read: blocks * 512 wraps to 0", BAD, REQ(0, 16), 4, 1u << 23},
	  {"read: blocks 2^32 - 1", BAD, REQ(0, 16), 4, UINT32_MAX},
	  {"write: one block beyond the data limit", BAD, REQ(2, 16), 4, 2049},
	  {"zeroes: no data limit", 0, REQ(3, 16), 4, UINT32_MAX},
	  {"in-capsule: data a byte early", BAD, REQ(1, 24), 8, 239},
	  {"in-capsule: data a byte late", BAD, REQ(1, 24), 8, 241},
	  {"in-capsule: in the descriptors", BAD, REQ(1, 24), 8, 16},
	  {"in-capsule: far outside", BAD, REQ(1, 24), 8, UINT64_MAX},
	  {"in-capsule: same data twice", BAD, REQ(5, 24), 8, 240},
	  {"in-capsule: gap", BAD, REQ(5, 24), 8, 753},
	  {"in-capsule: order swapped", BAD, REQ(1, 24), 8, 752, REQ(5, 24), 8, 240},
	  {"in-capsule: one block more than is there", BAD, REQ(5, 16), 4, 3},
	  {"in-capsule: data nobody owns", BAD, REQ(5, 16), 4, 1},
	  {"in-capsule: 9 blocks, beyond the limit of one request", BAD, REQ(5, 16), 4, 9},
	  {"in-capsule: flag taken away, data stays", BAD, REQ(5, 1), 1, 0},
	  {"in-capsule: flag on the other write, no data", BAD, REQ(2, 1), 1, 2},
	  /* wrong with one request alone: the message stays in step */
	  {"op 0", 0, REQ(0, 0), 1, 0},
	  {"op 255 with huge blocks", 0, REQ(0, 0), 1, 255, REQ(0, 16), 4, UINT32_MAX},
	  {"unknown flags", 0, REQ(1, 1), 1, 0xff},
	  {"IN_CAPSULE on a read carries no data", 0, REQ(0, 1), 1, 2},
	  {"lba + blocks wraps", 0, REQ(0, 8), 8, UINT64_MAX},
	  {"read of 0 blocks", 0, REQ(0, 16), 4, 0}}},
	{"response",
	 sample_response,
	 decode_response,
	 SAMPLE_COMPLETIONS,
	 false,
	 true,
	 {HEADER_RESERVED, {16 + 6, 10}, {16 + 16 + 6, 10}, {16 + 32 + 6, 10}},
	 {HEADER_BAD,
	  {"JUMBO for RESPONSE", BAD, 0, 1, BRP_MSG_JUMBO},
	  {"another epoch", BAD, 8, 4, SAMPLE_EPOCH_LOW - 1},
	  {"count 0", BAD, 2, 2, 0},
	  {"count 2 of 3", BAD, 2, 2, 2},
	  {"count 4 of 3", BAD, 2, 2, 4}}},
	{"response with data",
	 sample_response_data,
	 decode_response_data,
	 SAMPLE_DATA_COMPLETIONS,
	 false,
	 true,
	 {HEADER_RESERVED, {16 + 6, 2}, {48 + 6, 2}, {64 + 6, 2}},
	 {HEADER_BAD,
	  {"another epoch", BAD, 8, 4, SAMPLE_EPOCH_LOW - 1},
	  {"count 3: one fewer, its bytes nobody's", BAD, 2, 2, 3},
	  {"count 5: one more, made of data", BAD, 2, 2, 5},
	  {"data a byte early", BAD, ANSWER(0, 12), 4, 79},
	  {"data a byte late", BAD, ANSWER(0, 12), 4, 81},
	  {"data in the completions", BAD, ANSWER(0, 12), 4, 16},
	  {"data far outside", BAD, ANSWER(0, 12), 4, UINT32_MAX},
	  {"data length far too much", BAD, ANSWER(0, 8), 4, 0xfffffe00},
	  {"no whole block", BAD, ANSWER(0, 8), 4, 511},
	  {"one block more than is there", BAD, ANSWER(3, 8), 4, 1536},
	  {"data nobody owns", BAD, ANSWER(3, 8), 4, 512},
	  {"same data twice", BAD, ANSWER(3, 12), 4, 80},
	  {"gap", BAD, ANSWER(3, 12), 4, 593},
	  {"order swapped", BAD, ANSWER(0, 12), 4, 592, ANSWER(3, 12), 4, 80},
	  {"data of a failed request", BAD, ANSWER(0, 4), 2, BRP_ST_IO_ERROR},
	  {"offset without data", BAD, ANSWER(2, 12), 4, 592},
	  {"length without an offset", BAD, ANSWER(2, 8), 4, 512},
	  {"a data length taken away", BAD, ANSWER(0, 8), 4, 0, ANSWER(0, 12), 4, 0},
	  {"a failed one without data", SAMPLE_DATA_COMPLETIONS, ANSWER(1, 4), 2, 0xbeef}}},
	{"keepalive",
	 make_keepalive,
	 decode_keepalive,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED},
	 {HEADER_BAD,
	  NO_ENTRIES,
	  {"the reply is decoded alike", 0, 0, 1, BRP_MSG_KEEPALIVE_REPLY},
	  {"another type of this size", BAD, 0, 1, BRP_MSG_EVENT}}},
	{"event",
	 make_event,
	 decode_event,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {18, 6}, {40, 8}},
	 {HEADER_BAD, NO_ENTRIES, {"unknown kind is ignored later", 0, 16, 2, 999}}},
	{"goodbye",
	 make_goodbye,
	 decode_goodbye,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED, {18, 6}},
	 {HEADER_BAD,
	  NO_ENTRIES,
	  {"unknown status", 0, 16, 2, 0xffff},
	  {"text: control character", BAD, 24, 1, '\r'},
	  {"text without end", BAD, 127, 1, 'x'}}},
	{"header",
	 make_event,
	 decode_header,
	 0,
	 false,
	 true,
	 {HEADER_RESERVED},
	 {HEADER_BAD,
	  NO_ENTRIES,
	  {"count where there are entries", 0, 0, 1, BRP_MSG_RESPONSE, 2, 2, 65535}}},
	{"message frame",
	 make_message_frame,
	 decode_frame,
	 0,
	 false,
	 false,
	 {{1, 1}, {2, 2}, {8, 4}, {12, 4}},
	 {{"type 0", BAD, 0, 1, 0},
	  {"type 3", BAD, 0, 1, 3},
	  {"length 0", BAD, 4, 4, 0},
	  {"length at the limit", 0, 4, 4, 69632},
	  {"length above the limit", BAD, 4, 4, 69633},
	  {"length 2^32 - 1", BAD, 4, 4, UINT32_MAX}}},
	{"data frame",
	 make_data_frame,
	 decode_frame,
	 0,
	 false,
	 false,
	 {{2, 2}},
	 {{"flag bit 1", BAD, 1, 1, 3},
	  {"flag bit 7", BAD, 1, 1, 0x80},
	  {"no notice", 0, 1, 1, 0},
	  {"length 0", BAD, 4, 4, 0},
	  {"length at the limit", 0, 4, 4, 1u << 20},
	  {"length above the limit", BAD, 4, 4, (1u << 20) + 1},
	  {"offset + length == 2^32 - 1", 0, 12, 4, UINT32_MAX - 4096},
	  {"offset + length wraps", BAD, 12, 4, UINT32_MAX - 4095}}},
	{"cm data",
	 make_cm_data,
	 decode_cm_data,
	 0,
	 true,
	 false,
	 {{6, 2}, {16, 8}},
	 {{"magic", BAD, 3, 1, 'C'}, {"version 0", BAD, 4, 2, 0}, {"version 2", BAD, 4, 2, 2}}},
};

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- running them ---------------------------------------------------------------------------- */

static void put(uint8_t *buf, size_t at, size_t n, uint64_t value)
{
	for (size_t i = 0; i < n; i++)
		buf[at + i] = (uint8_t)(value >> 8 * i);
}

/* Decodes from a heap block of just len bytes. */
static int decode_exact(const struct kind *k, const uint8_t *buf, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	memcpy(copy, buf, len);
	r = k->decode(copy, len);
	free(copy);
	return r;
}

Test(codec_bad, good_ones_are_taken)
{
	uint8_t buf[4096 + 1];

	for (size_t i = 0; i < NR_KINDS; i++) {
		size_t len = kinds[i].make(buf);

		cr_expect_eq(decode_exact(&kinds[i], buf, len), kinds[i].good, "%s", kinds[i].name);
	}
}

Test(codec_bad, tables)
{
	uint8_t buf[4096];

	for (size_t i = 0; i < NR_KINDS; i++) {
		const struct kind *k = &kinds[i];

		for (const struct patch *p = k->patches; p->what; p++) {
			size_t len = k->make(buf);
			int want = p->want ? p->want : k->good;
			int r;

			put(buf, p->at, p->n, p->value);
			put(buf, p->at2, p->n2, p->value2);
			r = decode_exact(k, buf, len);
			cr_expect_eq(r, want, "%s: %s: %d, not %d", k->name, p->what, r, want);
		}
	}
}

Test(codec_bad, every_reserved_bit)
{
	uint8_t buf[4096];

	for (size_t i = 0; i < NR_KINDS; i++) {
		const struct kind *k = &kinds[i];

		for (const struct range *g = k->reserved; g->n; g++) {
			for (size_t bit = 0; bit < 8 * g->n; bit++) {
				size_t len = k->make(buf);

				buf[g->at + bit / 8] |= (uint8_t)(1u << bit % 8);
				cr_expect_eq(decode_exact(k, buf, len), BAD,
					     "%s: byte %zu, bit %zu", k->name, g->at + bit / 8,
					     bit % 8);
			}
		}
	}
}

/* Cut short or grown by one; with the old length in the header, and with one that fits. */
Test(codec_bad, every_length)
{
	uint8_t buf[4096 + 1];

	for (size_t i = 0; i < NR_KINDS; i++) {
		const struct kind *k = &kinds[i];
		size_t len = k->make(buf);
		/* the header alone has no size of its own */
		bool any_size = k->decode == decode_header;

		buf[len] = 0;
		for (size_t n = 0; n <= len + 1; n++) {
			if (n == len || (n > len && k->may_be_longer))
				continue;
			k->make(buf);
			cr_expect_eq(decode_exact(k, buf, n), BAD, "%s: %zu", k->name, n);
			if (!k->has_length || n < 16)
				continue;
			put(buf, 4, 4, n);
			cr_expect_eq(decode_exact(k, buf, n), any_size ? 0 : BAD,
				     "%s: %zu, and the header says so", k->name, n);
		}
	}
}

/* *ret_x is written only on success: here for the fixed messages, with each table's refusals. */
Test(codec_bad, nothing_written_on_failure)
{
	struct brp_login login, before;
	uint8_t buf[4096];
	size_t len = make_login(buf);

	memset(&login, 0x5a, sizeof(login));
	memset(&before, 0x5a, sizeof(before));
	put(buf, 222, 1, 0); /* the last field that is looked at */
	cr_assert_eq(brp_decode_login(buf, len, &login), BAD);
	cr_assert_arr_eq(&login, &before, sizeof(login));
}

/* ---- what the login granted ------------------------------------------------------------------ */

static struct brp_request requests[BRP_MAX_JUMBO_REQUESTS];

static int decode_with(const struct brp_limits *lim)
{
	uint8_t buf[4096];
	size_t len = sample_jumbo(buf);

	return brp_decode_jumbo(buf, len, lim, requests);
}

Test(codec_bad, jumbo_keeps_to_the_limits)
{
	struct brp_limits lim = sample_limits();

	lim.max_requests = 7;
	cr_expect_eq(decode_with(&lim), 7);
	lim.max_requests = 6;
	cr_expect_eq(decode_with(&lim), BAD);

	lim = sample_limits();
	lim.in_capsule_bytes = 1024;
	cr_expect_eq(decode_with(&lim), 7);
	lim.in_capsule_bytes = 1023;
	cr_expect_eq(decode_with(&lim), BAD);
	lim.in_capsule_bytes = 0;
	cr_expect_eq(decode_with(&lim), BAD);

	lim = sample_limits();
	lim.max_transfer_bytes = (1u << 20) - 512;
	cr_expect_eq(decode_with(&lim), BAD);

	lim = sample_limits();
	lim.queue_depth = 127; /* 0x7f is in use */
	cr_expect_eq(decode_with(&lim), BAD);

	lim = sample_limits();
	lim.block_bytes = 1024;
	cr_expect_eq(decode_with(&lim), BAD);
}

/* A careless limit must not overrun ret_requests. */
Test(codec_bad, jumbo_of_65)
{
	static uint8_t buf[16 + 65 * 32];
	struct brp_limits lim = sample_limits();
	struct brp_request flush = {.op = BRP_OP_FLUSH};

	lim.max_requests = 1000;
	for (size_t i = 0; i < 65; i++)
		brp_encode_request(buf + 16 + 32 * i, &flush);
	brp_encode_jumbo_header(buf, lim.epoch, 65, 0);
	cr_expect_eq(brp_decode_jumbo(buf, sizeof(buf), &lim, requests), BAD);
	brp_encode_jumbo_header(buf, lim.epoch, 64, 0);
	cr_expect_eq(brp_decode_jumbo(buf, sizeof(buf) - 32, &lim, requests), 64);
}

/* In-capsule data of one message: 65536 bytes, whatever each request may carry. */
Test(codec_bad, capsule_of_a_message)
{
	static uint8_t buf[16 + 2 * 32 + 65536 + 512];
	struct brp_limits lim = sample_limits();
	struct brp_request a = {BRP_OP_WRITE, BRP_REQ_IN_CAPSULE, 0, 0, 127, 0, 80};
	struct brp_request b = {BRP_OP_WRITE, BRP_REQ_IN_CAPSULE, 1, 0, 1, 0, 80 + 127 * 512};

	lim.in_capsule_bytes = 65536;
	brp_encode_request(buf + 16, &a);
	brp_encode_request(buf + 48, &b);
	brp_encode_jumbo_header(buf, lim.epoch, 2, 65536);
	cr_expect_eq(brp_decode_jumbo(buf, 80 + 65536, &lim, requests), 2);
	b.blocks = 2;
	brp_encode_request(buf + 48, &b);
	brp_encode_jumbo_header(buf, lim.epoch, 2, 65536 + 512);
	cr_expect_eq(brp_decode_jumbo(buf, 80 + 65536 + 512, &lim, requests), BAD);
}

Test(codec_bad, response_of_65)
{
	static uint8_t buf[16 + 65 * 16];
	struct brp_limits lim = sample_limits();
	struct brp_completion c[65];

	brp_encode_response_header(buf, lim.epoch, 65, 0);
	cr_expect_eq(brp_decode_response(buf, sizeof(buf), &lim, c), BAD);
	brp_encode_response_header(buf, lim.epoch, 64, 0);
	cr_expect_eq(brp_decode_response(buf, sizeof(buf) - 16, &lim, c), 64);
}

/* READ_DATA was not granted: what would be data is reserved. */
Test(codec_bad, response_with_data_not_granted)
{
	struct brp_limits lim = sample_limits();
	struct brp_completion c[BRP_MAX_RESPONSES];
	uint8_t buf[4096];
	size_t len = sample_response_data(buf);

	cr_expect_eq(brp_decode_response(buf, len, &lim, c), BAD);
	lim.has_read_data = true;
	cr_expect_eq(brp_decode_response(buf, len, &lim, c), SAMPLE_DATA_COMPLETIONS);
	lim.block_bytes = 1024;
	cr_expect_eq(brp_decode_response(buf, len, &lim, c), BAD);
	lim.block_bytes = 512;
	lim.max_transfer_bytes = 512;
	cr_expect_eq(brp_decode_response(buf, len, &lim, c), BAD);
}

Test(codec_bad, response_fits_its_message)
{
	struct brp_limits lim = sample_read_data_limits();
	struct brp_completion in = {.tag = 1, .data_bytes = 3584, .data_offset = 32}, c[64];
	static uint8_t buf[32 + 4096];

	brp_encode_completion(buf + 16, &in);
	brp_encode_response_header(buf, lim.epoch, 1, in.data_bytes);
	cr_expect_eq(brp_decode_response(buf, 32 + 3584, &lim, c), 1);
	in.data_bytes = 4096;
	brp_encode_completion(buf + 16, &in);
	brp_encode_response_header(buf, lim.epoch, 1, in.data_bytes);
	cr_expect_eq(brp_decode_response(buf, 32 + 4096, &lim, c), BAD);
}

Test(codec_bad, list_reply_of_21)
{
	static uint8_t buf[32 + 21 * 192];
	struct brp_list_entry e[BRP_MAX_LIST_ENTRIES], out[BRP_MAX_LIST_ENTRIES];
	struct brp_list_reply m = {.total = 100, .count = 20}, got;

	for (size_t i = 0; i < 20; i += 2)
		sample_entries(&e[i]);
	cr_expect_eq(brp_encode_list_reply(buf, sizeof(buf), &m, e), 32 + 20 * 192);
	cr_expect_eq(brp_decode_list_reply(buf, 32 + 20 * 192, &got, out), 0);
	memcpy(buf + 32 + 20 * 192, buf + 32, 192);
	put(buf, 2, 2, 21);
	put(buf, 4, 4, sizeof(buf));
	cr_expect_eq(brp_decode_list_reply(buf, sizeof(buf), &got, out), BAD);
}
