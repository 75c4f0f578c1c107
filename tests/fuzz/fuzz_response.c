/* SPDX-License-Identifier: BSD-2-Clause */
/* RESPONSE in the epoch of samples.h, with and without READ_DATA. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "brp/status.h"

/* What is inside belongs to one completion alone, in their order. */
static uint32_t check_data(const struct brp_completion *c, int count, size_t len)
{
	uint32_t begin = BRP_HEADER_BYTES + (uint32_t)count * BRP_COMPLETION_BYTES, at = begin;

	for (int i = 0; i < count; i++) {
		if (!c[i].data_bytes)
			continue;
		CHECK(c[i].status == BRP_ST_OK && c[i].data_offset == at);
		CHECK(c[i].data_bytes <= len - at);
		at += c[i].data_bytes;
	}
	CHECK(at == len);
	return at - begin;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct brp_limits lim = sample_read_data_limits();
	struct brp_completion c[BRP_MAX_RESPONSES], plain[BRP_MAX_RESPONSES];
	uint8_t made[BRP_MAX_INITIATOR_MSG_BYTES];
	int count = brp_decode_response(data, len, &lim, c);
	uint32_t data_bytes;

	lim.has_read_data = false;
	if (count < 0) {
		CHECK(brp_decode_response(data, len, &lim, plain) < 0);
		return 0;
	}
	CHECK(count >= 1 && count <= (int)BRP_MAX_RESPONSES);
	data_bytes = check_data(c, count, len);
	CHECK(brp_decode_response(data, len, &lim, plain) == (data_bytes ? -EPROTO : count));
	for (int i = 0; i < count; i++) {
		CHECK(brp_status_to_errno(c[i].status) <= 0);
		brp_encode_completion(made + BRP_HEADER_BYTES + (size_t)i * BRP_COMPLETION_BYTES,
				      &c[i]);
	}
	memcpy(made + len - data_bytes, data + len - data_bytes, data_bytes);
	brp_encode_response_header(made, SAMPLE_EPOCH_LOW, (uint16_t)count, data_bytes);
	check_same_bytes(made, (int)len, data, len);
	return 0;
}
