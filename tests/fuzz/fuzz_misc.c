/* SPDX-License-Identifier: BSD-2-Clause */
/* Headers alone, KEEPALIVE, EVENT and GOODBYE. */
#include "tests/fuzz/fuzz.h"

static void fuzz_keepalive(const uint8_t *data, size_t len, const struct brp_header *h)
{
	bool is_reply = h->type == BRP_MSG_KEEPALIVE_REPLY;
	struct brp_keepalive m;
	uint8_t made[24];

	if (brp_decode_keepalive(data, len, &m) == 0)
		check_same_bytes(made,
				 brp_encode_keepalive(made, sizeof(made), h->epoch, is_reply, &m),
				 data, len);
}

static void fuzz_event(const uint8_t *data, size_t len, const struct brp_header *h)
{
	struct brp_event_msg m;
	uint8_t made[48];

	if (brp_decode_event(data, len, &m) == 0)
		check_same_bytes(made, brp_encode_event(made, sizeof(made), h->epoch, &m), data,
				 len);
}

static void fuzz_goodbye(const uint8_t *data, size_t len, const struct brp_header *h)
{
	struct brp_goodbye m;
	uint8_t made[128];

	if (brp_decode_goodbye(data, len, &m) == 0)
		check_same_bytes(made, brp_encode_goodbye(made, sizeof(made), h->epoch, &m), data,
				 len);
}

/* What the header's own check refuses no decoder takes. */
static void check_refused(const uint8_t *data, size_t len)
{
	struct brp_keepalive keepalive;
	struct brp_goodbye goodbye;
	struct brp_event_msg event;

	CHECK(brp_decode_keepalive(data, len, &keepalive) < 0);
	CHECK(brp_decode_event(data, len, &event) < 0);
	CHECK(brp_decode_goodbye(data, len, &goodbye) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct brp_header h;

	if (brp_decode_header(data, len, &h) < 0) {
		check_refused(data, len);
		return 0;
	}
	CHECK(h.length_bytes == len && h.type >= BRP_MSG_HELLO && h.type <= BRP_MSG_GOODBYE);
	fuzz_keepalive(data, len, &h);
	fuzz_event(data, len, &h);
	fuzz_goodbye(data, len, &h);
	return 0;
}
