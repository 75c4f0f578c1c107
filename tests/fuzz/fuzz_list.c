/* SPDX-License-Identifier: BSD-2-Clause */
/* LIST and LIST_REPLY. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct brp_list_entry entries[BRP_MAX_LIST_ENTRIES];
	uint8_t made[BRP_MAX_INITIATOR_MSG_BYTES];
	struct brp_list_reply reply;
	struct brp_list list;

	if (brp_decode_list(data, len, &list) == 0)
		check_same_bytes(made, brp_encode_list(made, sizeof(made), &list), data, len);
	if (brp_decode_list_reply(data, len, &reply, entries) == 0) {
		CHECK(reply.count <= BRP_MAX_LIST_ENTRIES);
		CHECK(reply.count == 0 || (uint64_t)reply.first + reply.count <= reply.total);
		check_same_bytes(made, brp_encode_list_reply(made, sizeof(made), &reply, entries),
				 data, len);
	}
	return 0;
}
