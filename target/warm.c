/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/warm.h"

#include "target/conn.h"

#define LINE_BYTES  64u
#define BLOCK_BYTES 512u /* a whole number of them is in every request */
/* Of one request; what is longer is written in order, which the processor sees by itself. */
#define MAX_REQUEST_BYTES 4096u

static bool is_written_at_once(const struct brp_request *r)
{
	return r->op == BRP_OP_WRITE && (r->flags & BRP_REQ_IN_CAPSULE);
}

static bool is_in_range(const struct conn *c, const struct brp_request *r)
{
	return r->lba < c->limits.size_blocks && r->blocks <= c->limits.size_blocks - r->lba;
}

static void fetch(const char *at, uint64_t bytes)
{
	uint64_t end = MIN(bytes, (uint64_t)MAX_REQUEST_BYTES);

	for (uint64_t i = 0; i < end; i += BLOCK_BYTES) {
		for (uint64_t k = 0; k < BLOCK_BYTES; k += LINE_BYTES)
			__builtin_prefetch(at + i + k, 0, 2);
	}
}

void warm_requests(const struct conn *c, const struct brp_request *wire, int n)
{
	const uint32_t block_bytes = c->limits.block_bytes;
	const char *memory = c->requests.memory;

	if (!memory || n < 2) /* alone, it is written at once */
		return;
	for (int i = 0; i < n; i++) {
		if (is_written_at_once(&wire[i]) && is_in_range(c, &wire[i]))
			fetch(memory + wire[i].lba * block_bytes,
			      (uint64_t)wire[i].blocks * block_bytes);
	}
}
