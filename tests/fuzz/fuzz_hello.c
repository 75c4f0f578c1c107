/* SPDX-License-Identifier: BSD-2-Clause */
/* HELLO and HELLO_REPLY, and the negotiation that follows. */
#include "tests/fuzz/fuzz.h"

#include "brp/fsm.h"

static void check_negotiation(const struct brp_hello *h)
{
	struct brp_hello_reply reply = {0};

	brp_negotiate(h, 0xff, 0x01, &reply);
	CHECK(reply.status == BRP_ST_OK || reply.status == BRP_ST_BAD_VERSION);
	CHECK((reply.features & ~0xffull) == 0);
	if (reply.status == BRP_ST_OK) {
		CHECK(h->version_min <= reply.version && reply.version <= h->version_max);
		CHECK((h->features_required & ~reply.features) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct brp_hello_reply reply;
	struct brp_hello hello;
	uint8_t made[64];

	if (brp_decode_hello(data, len, &hello) == 0) {
		check_same_bytes(made, brp_encode_hello(made, sizeof(made), &hello), data, len);
		check_negotiation(&hello);
	}
	if (brp_decode_hello_reply(data, len, &reply) == 0)
		check_same_bytes(made, brp_encode_hello_reply(made, sizeof(made), &reply), data,
				 len);
	return 0;
}
