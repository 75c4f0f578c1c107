/* SPDX-License-Identifier: BSD-2-Clause */
/* JUMBO under the limits of samples.h, and the check of its requests. */
#include "tests/fuzz/fuzz.h"

static bool is_in_capsule(const struct brp_request *r)
{
	return r->op == BRP_OP_WRITE && (r->flags & BRP_REQ_IN_CAPSULE);
}

/* Returns where the in-capsule data ends. */
static uint64_t check_data(const struct brp_request *r, const struct brp_limits *lim, uint64_t at)
{
	uint32_t bytes = brp_request_data_bytes(r, lim);

	CHECK(bytes <= lim->max_transfer_bytes);
	if (!is_in_capsule(r))
		return at;
	CHECK(bytes <= lim->in_capsule_bytes);
	CHECK(r->addr == at);
	return at + bytes;
}

/* With 128-bit arithmetic, unlike the codec. */
static void check_range(const struct brp_request *r, const struct brp_limits *lim)
{
	enum brp_status_code st = brp_check_request(r, lim);
	unsigned __int128 end = (unsigned __int128)r->lba + r->blocks;

	CHECK(st < BRP_ST_COUNT);
	if (st == BRP_ST_OK)
		CHECK(end <= lim->size_blocks && r->op >= BRP_OP_READ && r->op <= BRP_OP_FLUSH);
	if (st == BRP_ST_OUT_OF_RANGE)
		CHECK(end > lim->size_blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t made[BRP_MAX_TARGET_MSG_BYTES];
	struct brp_request r[BRP_MAX_JUMBO_REQUESTS];
	struct brp_limits lim = sample_limits();
	int count = brp_decode_jumbo(data, len, &lim, r);
	uint64_t at, start;

	if (count < 0)
		return 0;
	CHECK(count >= 1 && (uint32_t)count <= lim.max_requests && len <= sizeof(made));
	at = start = BRP_HEADER_BYTES + (uint64_t)count * BRP_REQUEST_BYTES;
	for (int i = 0; i < count; i++) {
		CHECK(brp_tag_index(r[i].tag) < lim.queue_depth);
		at = check_data(&r[i], &lim, at);
		check_range(&r[i], &lim);
		brp_encode_request(made + BRP_HEADER_BYTES + (size_t)i * BRP_REQUEST_BYTES, &r[i]);
	}
	CHECK(at == len);
	brp_encode_jumbo_header(made, lim.epoch, (uint16_t)count, (uint32_t)(at - start));
	CHECK(memcmp(made, data, start) == 0);
	return 0;
}
