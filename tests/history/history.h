/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What clients did to a volume, and when: the input of the checker (check.h).
 *
 * Time is a counter that all processes share and that grows with each reading, so two records can
 * always be ordered: when one ended before another one started, so it was. A record spans from
 * before the request was handed over until after its answer was seen; what really happened lies
 * somewhere between, and the checker takes nothing else for granted.
 */
#ifndef HISTORY_HISTORY_H
#define HISTORY_HISTORY_H

#include <stdint.h>

#define HIST_NEVER      UINT64_MAX
#define HIST_MAX_BLOCKS 8u /* of one request */

enum hist_op {
	HIST_READ = 1,
	HIST_WRITE,
	HIST_ZEROES,
	HIST_DISCARD, /* afterwards the blocks may read as anything */
	HIST_FLUSH,
	/* A session with the UUID of the client's earlier ones was admitted: nothing those left
	 * unanswered can reach the medium any more. */
	HIST_LOGIN,
	/* The target was killed, from before the signal until it was certainly dead. What is not
	 * stable may be gone. Its client is HIST_NEMESIS. */
	HIST_CRASH,
};

enum hist_result {
	HIST_PENDING = 0, /* no answer was seen: the client died first */
	HIST_OK,
	HIST_FAILED,  /* the target said so: it may have had an effect, but has none any more */
	HIST_UNKNOWN, /* the connection or the session failed: it may still have an effect */
};

enum hist_flag {
	HIST_FUA = 1 << 0,
	/* The session reconnected while it was in flight: it may have been carried out twice, and
	 * something else between. */
	HIST_RETRIED = 1 << 1,
};

#define HIST_NEMESIS UINT16_MAX

/* What a block that was read holds: the value of a write, which is never used twice, or one of
 * these. */
#define HIST_ZERO      0ull
#define HIST_TORN      (UINT64_MAX - 1) /* parts of several writes */
#define HIST_GARBAGE   (UINT64_MAX - 2) /* nothing this run has written */
#define HIST_MISPLACED (UINT64_MAX - 3) /* written, but for another address */
#define HIST_MAX_VALUE (UINT64_MAX - 16)

struct hist_rec {
	uint64_t start;   /* > 0 */
	uint64_t end;     /* 0: HIST_PENDING */
	uint64_t value;   /* HIST_WRITE: what each of its blocks got */
	uint32_t first;   /* block */
	uint32_t session; /* the client's, 1, 2, ... in the order of their logins */
	uint16_t count;   /* blocks, at most HIST_MAX_BLOCKS; HIST_FLUSH and others: 0 */
	uint16_t client;
	uint8_t op;                     /* enum hist_op */
	uint8_t result;                 /* enum hist_result */
	uint16_t flags;                 /* enum hist_flag */
	uint64_t seen[HIST_MAX_BLOCKS]; /* HIST_READ, HIST_OK */
};

/* A value tells who wrote it. */
static inline uint64_t hist_value(uint16_t client, uint64_t sequence)
{
	return (uint64_t)(client + 1u) << 40 | sequence;
}

static inline unsigned int hist_value_client(uint64_t value)
{
	return (unsigned int)(value >> 40) - 1;
}

static inline uint64_t hist_value_sequence(uint64_t value)
{
	return value & ((1ull << 40) - 1);
}

#endif
