/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Judges a history: is there any way a correct volume could have given these answers?
 *
 * Each block is a register of its own. Values of writes are unique, which makes the question easy
 * (P. B. Gibbons, E. Korach, "Testing shared memories", 1997): from the first moment when a value
 * must have been there to the last one when it must still have been, nothing else can have been
 * there (its zone). So two zones that overlap, or another value that must have had its moment
 * within a zone, are a violation; and a history without one has a legal order. Three things make a
 * volume more than a register, and each only ever allows more:
 *
 *   A request that was in flight when its session reconnected may be carried out twice, so its
 *   value may come back until it is answered: its zone begins only then.
 *
 *   What nobody was told about may or may not have happened. It may happen until the session is
 *   taken over by a new login: the admission barrier. Later it is a stale value.
 *
 *   On a volume with a volatile cache a crash of the target begins a new era. Each block
 *   begins it with some one value that is not older than what a flush had made stable before.
 *   What was in flight across the crash may have happened on either side.
 *
 * After a discard a block may read as anything until it is written again.
 *
 * A client whose session goes on after a crash that cost it acknowledged and unflushed writes was
 * not told: a violation, whatever it reads. A flush counts here by its end and not by its start:
 * the history sees the answer of a write later than the library does, which may have sent the flush
 * in between.
 *
 * Every rule is sound: it fires only if no correct volume could have answered so.
 */
#ifndef HISTORY_CHECK_H
#define HISTORY_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/history/history.h"

enum check_kind {
	CHECK_LOST,      /* an acknowledged or flushed write is gone */
	CHECK_STALE,     /* a value came back after a newer one had been seen */
	CHECK_TORN,      /* a block holds parts of several writes */
	CHECK_MISPLACED, /* a block holds what was written for another one */
	CHECK_FOREIGN,   /* a block holds what nobody wrote there, or not yet */
	CHECK_CONTINUED, /* a session went on although acknowledged data may be lost */
	CHECK_KINDS
};

struct check_options {
	uint32_t nr_blocks;
	bool is_write_back; /* acknowledged is stable only after FLUSH or with FUA */
	/* Memory volumes: a read beside a write may see a mixture, two writes of one block side by
	 * side may leave one. */
	bool may_tear;
};

#define CHECK_MAX_SHOWN 8u

struct check_result {
	unsigned int nr[CHECK_KINDS];
	unsigned int nr_all;
	unsigned int nr_reads; /* blocks read that were judged */
	char shown[CHECK_MAX_SHOWN][320];
};

/* Records in any order. 0: *ret_result says what was found; -ENOMEM. */
int check_history(const struct hist_rec *recs, size_t nr_recs, const struct check_options *opt,
		  struct check_result *ret_result);

const char *check_kind_name(enum check_kind kind);

#endif
