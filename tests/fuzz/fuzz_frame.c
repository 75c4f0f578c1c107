/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP frame headers: a stream of them, 16 bytes each. */
#include "tests/fuzz/fuzz.h"

#define MAX_DATA_BYTES (1u << 20)

static void fuzz_one(const uint8_t *at)
{
	struct brp_frame f;
	uint8_t made[BRP_FRAME_BYTES];

	if (brp_decode_frame(at, BRP_MAX_TARGET_MSG_BYTES, MAX_DATA_BYTES, &f) < 0)
		return;
	CHECK(f.type == BRP_FRAME_MESSAGE || f.type == BRP_FRAME_DATA);
	CHECK(f.length_bytes >= 1);
	CHECK(f.length_bytes <=
	      (f.type == BRP_FRAME_DATA ? MAX_DATA_BYTES : BRP_MAX_TARGET_MSG_BYTES));
	CHECK((uint64_t)f.offset + f.length_bytes <= UINT32_MAX);
	brp_encode_frame(made, &f);
	check_same_bytes(made, sizeof(made), at, BRP_FRAME_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	for (; len >= BRP_FRAME_BYTES; len -= BRP_FRAME_BYTES, data += BRP_FRAME_BYTES)
		fuzz_one(data);
	return 0;
}
