/* SPDX-License-Identifier: BSD-2-Clause */
/* RDMA private data; the connection manager may pad it. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t made[BRP_CM_DATA_BYTES];
	struct brp_cm_data d;

	if (brp_decode_cm_data(data, len, &d) < 0)
		return 0;
	CHECK(len >= BRP_CM_DATA_BYTES);
	brp_encode_cm_data(made, &d);
	check_same_bytes(made, sizeof(made), data, BRP_CM_DATA_BYTES);
	return 0;
}
