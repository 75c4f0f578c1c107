/* SPDX-License-Identifier: BSD-2-Clause */
/* Data that tells where it belongs: a block that is lost, misplaced or mixed is seen. */
#include "bench/perf.h"

#include <string.h>

static uint64_t word(uint64_t seed, uint64_t lba, uint32_t i)
{
	uint64_t v = seed ^ lba * 0x9e3779b97f4a7c15ull ^ (uint64_t)i << 56 ^ i;

	v ^= v >> 30;
	v *= 0xbf58476d1ce4e5b9ull;
	v ^= v >> 27;
	return v;
}

void perf_pattern_fill(void *buf, uint64_t offset, uint32_t bytes, uint32_t block_bytes,
		       uint64_t seed)
{
	char *p = buf;

	for (uint32_t at = 0; at < bytes; at += 8) {
		uint64_t v = word(seed, (offset + at) / block_bytes, at % block_bytes / 8);

		memcpy(p + at, &v, 8);
	}
}

uint64_t perf_pattern_check(const void *buf, uint64_t offset, uint32_t bytes, uint32_t block_bytes,
			    uint64_t seed)
{
	const char *p = buf;

	for (uint32_t at = 0; at < bytes; at += 8) {
		uint64_t v = word(seed, (offset + at) / block_bytes, at % block_bytes / 8);

		if (memcmp(p + at, &v, 8) != 0)
			return offset + at - at % block_bytes;
	}
	return UINT64_MAX;
}
