/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/history/block.h"

#include <stdbool.h>
#include <string.h>

#include "tests/history/history.h"

#define MAGIC 0x796c6c6565686342ull

enum { WORD_MAGIC, WORD_RUN, WORD_ADDRESS, WORD_VALUE, NR_HEAD };

static uint64_t word(const uint64_t *head, uint64_t i)
{
	uint64_t v = head[WORD_RUN] ^ head[WORD_ADDRESS] * 0x9e3779b97f4a7c15ull ^
		     head[WORD_VALUE] * 0xc2b2ae3d27d4eb4full ^ i << 48;

	v ^= v >> 31;
	v *= 0xbf58476d1ce4e5b9ull;
	return v ^ v >> 27;
}

void block_fill(void *buf, uint32_t bytes, uint64_t run, uint64_t address, uint64_t value)
{
	const uint64_t head[NR_HEAD] = {MAGIC, run, address, value};
	char *p = buf;

	memcpy(p, head, sizeof(head));
	for (uint64_t i = NR_HEAD; i < bytes / 8; i++) {
		uint64_t v = word(head, i);

		memcpy(p + i * 8, &v, 8);
	}
}

static bool is_zero(const char *p, uint32_t bytes)
{
	return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

uint64_t block_read(const void *buf, uint32_t bytes, uint64_t run, uint64_t address)
{
	const char *p = buf;
	uint64_t head[NR_HEAD];

	if (is_zero(p, bytes))
		return HIST_ZERO;
	memcpy(head, p, sizeof(head));
	if (head[WORD_MAGIC] == 0)
		return HIST_TORN;
	if (head[WORD_MAGIC] != MAGIC || head[WORD_RUN] != run || head[WORD_VALUE] == HIST_ZERO ||
	    head[WORD_VALUE] > HIST_MAX_VALUE)
		return HIST_GARBAGE;
	for (uint64_t i = NR_HEAD; i < bytes / 8; i++) {
		uint64_t v = word(head, i);

		if (memcmp(p + i * 8, &v, 8) != 0)
			return HIST_TORN;
	}
	return head[WORD_ADDRESS] == address ? head[WORD_VALUE] : HIST_MISPLACED;
}
