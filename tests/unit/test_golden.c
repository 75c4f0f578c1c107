/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoder and decoder against bytes written by hand from protocol.md, so that both cannot drift
 * together. */
#include <criterion/criterion.h>

#include "tests/samples.h"
#include "tests/unit/hex.h"

static uint8_t golden[4096];
static uint8_t made[4096];
static size_t len;

static void load(const char *name)
{
	len = hex_load(name, golden, sizeof(golden));
	memset(made, 0x5a, sizeof(made)); /* the encoder itself must write the zeroes */
}

static void assert_made(const char *name, size_t made_len)
{
	cr_assert_eq(made_len, len, "%s: %zu bytes, not %zu", name, made_len, len);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(made[i], golden[i], "%s: byte %zu is %02x, not %02x", name, i, made[i],
			     golden[i]);
	for (size_t i = len; i < sizeof(made); i++)
		cr_assert_eq(made[i], 0x5a, "%s: wrote beyond its end", name);
}

/* A message that is encoded as a whole, and decoded. */
#define GOLDEN(file, type, sample)                                                      \
	Test(golden, file)                                                              \
	{                                                                               \
		struct brp_##type in = sample, out;                                     \
                                                                                        \
		load(#file);                                                            \
		assert_made(#file, (size_t)brp_encode_##type(made, sizeof(made), &in)); \
		memset(&out, 0xff, sizeof(out));                                        \
		cr_assert_eq(brp_decode_##type(golden, len, &out), 0);                  \
		cr_assert(same_##type(&in, &out));                                      \
	}

static bool same_list(const struct brp_list *a, const struct brp_list *b)
{
	return a->first == b->first;
}

static struct brp_hello_reply hello_refused(void)
{
	return (struct brp_hello_reply){.status = BRP_ST_BAD_VERSION, .version = 1};
}

GOLDEN(hello, hello, sample_hello())
GOLDEN(hello_reply, hello_reply, sample_hello_reply())
GOLDEN(hello_refused, hello_reply, hello_refused())
GOLDEN(login_name, login, sample_login())
GOLDEN(login_uuid, login, sample_login_by_uuid())
GOLDEN(login_reply, login_reply, sample_login_reply())
GOLDEN(login_refused, login_reply, sample_login_refused())
GOLDEN(list, list, {.first = 20})

Test(golden, list_reply)
{
	struct brp_list_reply in = sample_list_reply(), out;
	struct brp_list_entry in_e[2], out_e[BRP_MAX_LIST_ENTRIES];

	sample_entries(in_e);
	load("list_reply");
	assert_made("list_reply", (size_t)brp_encode_list_reply(made, sizeof(made), &in, in_e));
	memset(out_e, 0xff, sizeof(out_e));
	cr_assert_eq(brp_decode_list_reply(golden, len, &out, out_e), 0);
	cr_assert(same_list_reply(&in, &out));
	cr_assert(same_list_entry(&in_e[0], &out_e[0]));
	cr_assert(same_list_entry(&in_e[1], &out_e[1]));
}

Test(golden, jumbo)
{
	struct brp_request in[SAMPLE_REQUESTS], out[BRP_MAX_JUMBO_REQUESTS];
	struct brp_limits lim = sample_limits();

	sample_requests(in);
	load("jumbo");
	assert_made("jumbo", sample_jumbo(made));
	memset(out, 0xff, sizeof(out));
	cr_assert_eq(brp_decode_jumbo(golden, len, &lim, out), SAMPLE_REQUESTS);
	for (size_t i = 0; i < SAMPLE_REQUESTS; i++)
		cr_assert(same_request(&in[i], &out[i]), "request %zu", i);
}

Test(golden, response)
{
	struct brp_completion in[SAMPLE_COMPLETIONS], out[BRP_MAX_RESPONSES];
	struct brp_limits lim = sample_limits();

	sample_completions(in);
	load("response");
	assert_made("response", sample_response(made));
	memset(out, 0xff, sizeof(out));
	cr_assert_eq(brp_decode_response(golden, len, &lim, out), SAMPLE_COMPLETIONS);
	for (size_t i = 0; i < SAMPLE_COMPLETIONS; i++)
		cr_assert(same_completion(&in[i], &out[i]), "completion %zu", i);
}

Test(golden, response_data)
{
	struct brp_completion in[SAMPLE_DATA_COMPLETIONS], out[BRP_MAX_RESPONSES];
	struct brp_limits lim = sample_read_data_limits();

	sample_data_completions(in);
	load("response_data");
	assert_made("response_data", sample_response_data(made));
	memset(out, 0xff, sizeof(out));
	cr_assert_eq(brp_decode_response(golden, len, &lim, out), SAMPLE_DATA_COMPLETIONS);
	for (size_t i = 0; i < SAMPLE_DATA_COMPLETIONS; i++)
		cr_assert(same_completion(&in[i], &out[i]), "completion %zu", i);
}

static void assert_keepalive(const char *name, bool is_reply)
{
	struct brp_keepalive in = {0x0102030405060708}, out = {0};

	load(name);
	assert_made(name, (size_t)brp_encode_keepalive(made, sizeof(made), SAMPLE_EPOCH_LOW,
						       is_reply, &in));
	cr_assert_eq(brp_decode_keepalive(golden, len, &out), 0);
	cr_assert_eq(out.sequence, in.sequence);
}

Test(golden, keepalive)
{
	assert_keepalive("keepalive", false);
	assert_keepalive("keepalive_reply", true);
}

Test(golden, event)
{
	struct brp_event_msg in = sample_event(), out;

	load("event");
	assert_made("event", (size_t)brp_encode_event(made, sizeof(made), SAMPLE_EPOCH_LOW, &in));
	cr_assert_eq(brp_decode_event(golden, len, &out), 0);
	cr_assert(same_event(&in, &out));
}

Test(golden, goodbye)
{
	struct brp_goodbye in = sample_goodbye(), out;

	load("goodbye");
	assert_made("goodbye",
		    (size_t)brp_encode_goodbye(made, sizeof(made), SAMPLE_EPOCH_LOW, &in));
	cr_assert_eq(brp_decode_goodbye(golden, len, &out), 0);
	cr_assert(same_goodbye(&in, &out));
}

static void assert_frame(const char *name, const struct brp_frame *in)
{
	struct brp_frame out;

	load(name);
	brp_encode_frame(made, in);
	assert_made(name, 16);
	cr_assert_eq(brp_decode_frame(golden, 69632, 1u << 20, &out), 0);
	cr_assert(same_frame(in, &out));
}

Test(golden, frame)
{
	struct brp_frame message = {BRP_FRAME_MESSAGE, 0, 1776, 0, 0};
	struct brp_frame data = {BRP_FRAME_DATA, BRP_FRAME_NOTICE, 4096, 0x00010000, 0xff000};

	assert_frame("frame_message", &message);
	assert_frame("frame_data", &data);
}

/* Header, digests and payload as they stand on the wire. */
Test(golden, frame_digest)
{
	struct brp_frame in = {BRP_FRAME_DATA, BRP_FRAME_NOTICE, 32, 0x00010000, 0xff000}, frame;
	struct brp_digests digests;

	load("frame_digest");
	cr_assert_eq(len, BRP_FRAME_BYTES + BRP_DIGESTS_BYTES + 32);
	cr_assert_eq(brp_decode_frame(golden, 69632, 1u << 20, &frame), 0);
	cr_assert(same_frame(&in, &frame));
	brp_decode_digests(golden + BRP_FRAME_BYTES, &digests);
	/* The payload is a test vector of RFC 3720 B.4. */
	cr_assert_eq(digests.payload, 0x46dd794e);
	cr_assert_eq(digests.header, 0x23b4aa20);
	brp_encode_frame(made, &in);
	brp_encode_digests(made + BRP_FRAME_BYTES, &digests);
	cr_assert_arr_eq(made, golden, BRP_FRAME_BYTES + BRP_DIGESTS_BYTES);
}

Test(golden, cm_data)
{
	struct brp_cm_data in = {136, 69632}, out;

	load("cm_data");
	brp_encode_cm_data(made, &in);
	assert_made("cm_data", 24);
	cr_assert_eq(brp_decode_cm_data(golden, len, &out), 0);
	cr_assert(same_cm_data(&in, &out));
}

/* Every golden message passes the check of headers alone, with its own type. */
Test(golden, headers)
{
	static const struct {
		const char *name;
		enum brp_msg_type type;
		uint16_t count;
		uint32_t epoch;
	} all[] = {
		{"hello", BRP_MSG_HELLO, 0, 0},
		{"hello_reply", BRP_MSG_HELLO_REPLY, 0, 0},
		{"login_name", BRP_MSG_LOGIN, 0, 0},
		{"login_reply", BRP_MSG_LOGIN_REPLY, 0, 0},
		{"list", BRP_MSG_LIST, 0, 0},
		{"list_reply", BRP_MSG_LIST_REPLY, 2, 0},
		{"jumbo", BRP_MSG_JUMBO, 7, SAMPLE_EPOCH_LOW},
		{"response", BRP_MSG_RESPONSE, 3, SAMPLE_EPOCH_LOW},
		{"response_data", BRP_MSG_RESPONSE, 4, SAMPLE_EPOCH_LOW},
		{"keepalive", BRP_MSG_KEEPALIVE, 0, SAMPLE_EPOCH_LOW},
		{"keepalive_reply", BRP_MSG_KEEPALIVE_REPLY, 0, SAMPLE_EPOCH_LOW},
		{"event", BRP_MSG_EVENT, 0, SAMPLE_EPOCH_LOW},
		{"goodbye", BRP_MSG_GOODBYE, 0, SAMPLE_EPOCH_LOW},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct brp_header h;

		load(all[i].name);
		cr_assert_eq(brp_decode_header(golden, len, &h), 0, "%s", all[i].name);
		cr_assert_eq(h.type, all[i].type, "%s", all[i].name);
		cr_assert_eq(h.count, all[i].count, "%s", all[i].name);
		cr_assert_eq(h.epoch, all[i].epoch, "%s", all[i].name);
		cr_assert_eq(h.length_bytes, len, "%s", all[i].name);
	}
}
