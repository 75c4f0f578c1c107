/* SPDX-License-Identifier: BSD-2-Clause */
/* RESPONSE in the epoch of samples.h. */
#include "tests/fuzz/fuzz.h"

#include "brp/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct brp_completion c[BRP_MAX_RESPONSES];
	uint8_t made[BRP_MAX_INITIATOR_MSG_BYTES];
	int count = brp_decode_response(data, len, SAMPLE_EPOCH_LOW, c);
	int made_len = (int)BRP_HEADER_BYTES + count * (int)BRP_COMPLETION_BYTES;

	if (count < 0)
		return 0;
	CHECK(count >= 1 && count <= (int)BRP_MAX_RESPONSES);
	for (int i = 0; i < count; i++) {
		CHECK(brp_status_to_errno(c[i].status) <= 0);
		brp_encode_completion(made + BRP_HEADER_BYTES + (size_t)i * BRP_COMPLETION_BYTES,
				      &c[i]);
	}
	brp_encode_response_header(made, SAMPLE_EPOCH_LOW, (uint16_t)count);
	check_same_bytes(made, made_len, data, len);
	return 0;
}
