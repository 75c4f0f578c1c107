/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the checker: check.c prepares, check_block.c finds out which version each read of a
 * block saw, check_zones.c judges their order, check_continued.c judges sessions. */
#ifndef HISTORY_CHECK_INTERNAL_H
#define HISTORY_CHECK_INTERNAL_H

#include "common/util.h"
#include "tests/history/check.h"

/* Between two crashes; one for all time where nothing is volatile. */
struct era {
	uint64_t from;
	uint64_t to;
};

/* What follows from a record and the others of its client. */
struct fate {
	uint64_t last;      /* it has no effect after this */
	uint64_t stable_at; /* a flush has certainly covered it then; HIST_NEVER: none */
};

struct checker {
	const struct check_options *opt;
	const struct hist_rec *recs;
	size_t nr_recs;
	struct fate *fates; /* as recs */
	struct era *eras;
	size_t nr_eras;
	const struct hist_rec **touches; /* records of blocks, block by block */
	size_t *first_touch;             /* nr_blocks + 1 */
	struct check_result *result;
};

/* One value on one block during one era. */
struct version {
	const struct hist_rec *write; /* NULL: the era began with it */
	uint64_t value;
	uint64_t start;   /* no effect before */
	uint64_t last;    /* nor after */
	bool is_forced;   /* had its effect certainly */
	bool is_repeated; /* may have had it several times */
	/* filled in by zones_check() */
	bool is_seen;
	uint64_t first_end;  /* was certainly there once at this time */
	uint64_t last_start; /* was certainly there still, or not yet, at this time */
};

/* A read of one block; version NULL: zeroes of which one of several writes may be the cause. */
struct look {
	const struct hist_rec *read;
	struct version *version;
};

/* All versions and reads of a block during an era. */
struct era_view {
	uint32_t block;
	struct version *versions;
	size_t nr_versions;
	struct look *looks;
	size_t nr_looks;
};

static inline const struct fate *fate_of(const struct checker *c, const struct hist_rec *r)
{
	return &c->fates[r - c->recs];
}

int check_block(struct checker *c, uint32_t block);
int zones_check(struct checker *c, const struct era_view *view);
int check_continued(struct checker *c);

void report(struct checker *c, enum check_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "client 2's write 17 [120,130]": several at a time, in static buffers used in turn. */
const char *describe(const struct hist_rec *r);
const char *describe_version(const struct version *v);

#endif
