/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A plan of faults as text, for tests (--dev PATH,fault=PLAN). Rules are separated by ',' or '+':
 *
 *	rule   = action [ "@" FROM "-" TO ] { ":" only } | "volatile" [ "=" SIZE ]
 *	action = "delay=" TIME | "error=" ERRNO | "stall"
 *	only   = OP        read, write, zeroes, discard, flush; several may be given; none = all
 *	       | "skip" N  not the first N that would match
 *	       | "every" N of those that follow the first, and then each N-th
 *	       | "x" N     at most N times
 *	TIME   = number "us" | "ms" | "s"
 *	ERRNO  = EIO, ENOSPC, ...
 *	FROM, TO = sizes as in 4k, 1M: requests that touch bytes FROM <= byte < TO; a flush
 *	           touches none
 *
 *	delay=500us,error=EIO@1M-2M,error=ENOSPC@0-4k:write:x3,stall:read:skip10:x1
 *	delay=3s:write:every50,volatile
 *
 * "stall=OP" is the same as "stall:OP". Of the rules that match a request the first error and the
 * first delay or stall hold. Errors keep the request from the device. Delays come before the device
 * sees it: a delayed write lands late, as a slow device's does, also when its connection is gone
 * meanwhile. What is stalled never finishes.
 *
 * "volatile" puts a write-back cache into the process (fault_cache.h), of 64 MiB or SIZE (1M to
 * 1G): kill -9 loses what was acknowledged and neither flushed nor written with FUA.
 */
#ifndef BACKEND_FAULT_H
#define BACKEND_FAULT_H

#include <stdatomic.h>

#include "target/backend/backend.h"

#define FAULT_MAX_RULES 32u
#define FAULT_FOR_EVER  UINT64_MAX

enum fault_kind {
	FAULT_DELAY, /* and stall, a delay for ever */
	FAULT_ERROR,
};

struct fault_rule {
	enum fault_kind kind;
	uint64_t delay_ns;
	int err; /* negative errno */
	uint64_t from;
	uint64_t to;
	bool has_range;
	unsigned int ops; /* bit 1 << op; 0 = all */
	uint64_t skip;
	uint64_t every;
	uint64_t max;
	atomic_ullong nr_matched; /* by the queues of all threads */
};

struct fault_plan {
	uint64_t cache_bytes; /* of the volatile cache; 0 = none */
	unsigned int nr_rules;
	struct fault_rule rules[FAULT_MAX_RULES];
};

/* 0, or -EINVAL (logged, name says of what). */
int fault_plan_parse(const char *name, const char *text, struct fault_plan *plan);
/* What is to happen to r: *ret_delay_ns 0 = at once; returns 0 or the negative errno it shall end
 * with. */
int fault_plan_apply(struct fault_plan *plan, const struct bk_req *r, uint64_t *ret_delay_ns);

#endif
