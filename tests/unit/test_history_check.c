/* SPDX-License-Identifier: BSD-2-Clause */
/* The checker of histories, on histories made by hand: legal ones pass, each kind of illegal one is
 * found. Times are chosen so that what overlaps is visible in the numbers. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/history/block.h"
#include "tests/history/check.h"

#define BLOCKS 4u
#define V(n)   hist_value(0, n)

static struct hist_rec recs[64];
static size_t nr_recs;
static struct check_result result;

static struct hist_rec *add(enum hist_op op, uint16_t client, uint64_t start, uint64_t end)
{
	struct hist_rec *r = &recs[nr_recs++];

	*r = (struct hist_rec){
		.op = (uint8_t)op,
		.client = client,
		.session = 1,
		.start = start,
		.end = end,
		.count = 1,
		.result = end ? HIST_OK : HIST_PENDING,
	};
	return r;
}

static struct hist_rec *put(uint16_t client, uint64_t start, uint64_t end, uint64_t value)
{
	struct hist_rec *r = add(HIST_WRITE, client, start, end);

	r->value = value;
	return r;
}

static struct hist_rec *get(uint16_t client, uint64_t start, uint64_t end, uint64_t seen)
{
	struct hist_rec *r = add(HIST_READ, client, start, end);

	r->seen[0] = seen;
	return r;
}

static struct hist_rec *mark(enum hist_op op, uint16_t client, uint64_t start, uint64_t end)
{
	struct hist_rec *r = add(op, client, start, end);

	r->count = 0;
	return r;
}

static void check(bool is_write_back)
{
	struct check_options opt = {.nr_blocks = BLOCKS, .is_write_back = is_write_back};

	cr_assert_eq(check_history(recs, nr_recs, &opt, &result), 0);
	nr_recs = 0;
}

static void legal(void)
{
	check(false);
	cr_assert_eq(result.nr_all, 0, "%s", result.shown[0]);
}

static void legal_write_back(void)
{
	check(true);
	cr_assert_eq(result.nr_all, 0, "%s", result.shown[0]);
}

static void found(bool is_write_back, enum check_kind kind)
{
	check(is_write_back);
	cr_assert_eq(result.nr[kind], 1, "%s not found: %s", check_kind_name(kind),
		     result.nr_all ? result.shown[0] : "nothing was");
	cr_assert_eq(result.nr_all, 1, "%s", result.shown[1]);
	cr_assert_eq(strncmp(result.shown[0], check_kind_name(kind), 4), 0);
}

/* ---- a register ------------------------------------------------------------------------------ */

Test(history_check, empty)
{
	legal();
}

Test(history_check, one_after_the_other)
{
	put(0, 1, 2, V(1));
	get(1, 3, 4, V(1));
	put(0, 5, 6, V(2));
	get(1, 7, 8, V(2));
	legal();
}

Test(history_check, read_beside_a_write_sees_old_or_new)
{
	put(0, 1, 2, V(1));
	put(0, 3, 10, V(2));
	get(1, 4, 5, V(1));
	get(1, 6, 7, V(2));
	get(1, 8, 9, V(2));
	legal();
}

Test(history_check, old_after_new_was_seen)
{
	put(0, 1, 2, V(1));
	put(0, 3, 10, V(2));
	get(1, 4, 5, V(2));
	get(1, 6, 7, V(1));
	found(false, CHECK_STALE);
}

Test(history_check, old_after_new_was_seen_by_somebody_else)
{
	put(0, 1, 2, V(1));
	put(0, 3, 20, V(2));
	get(1, 4, 5, V(2));
	get(2, 6, 7, V(1));
	found(false, CHECK_STALE);
}

Test(history_check, old_and_new_by_reads_that_overlap)
{
	put(0, 1, 2, V(1));
	put(0, 3, 20, V(2));
	get(1, 4, 8, V(2));
	get(2, 5, 9, V(1));
	legal();
}

Test(history_check, acknowledged_write_is_gone)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	get(1, 5, 6, V(1));
	found(false, CHECK_LOST);
}

Test(history_check, writes_side_by_side_any_order)
{
	put(0, 1, 2, V(1));
	put(0, 3, 8, V(2));
	put(1, 4, 9, hist_value(1, 1));
	get(2, 10, 11, V(2));
	legal();
	put(0, 1, 2, V(1));
	put(0, 3, 8, V(2));
	put(1, 4, 9, hist_value(1, 1));
	get(2, 10, 11, hist_value(1, 1));
	legal();
}

Test(history_check, writes_side_by_side_one_order_only)
{
	put(0, 3, 8, V(2));
	put(1, 4, 9, hist_value(1, 1));
	get(2, 10, 11, V(2));
	get(2, 12, 13, hist_value(1, 1));
	found(false, CHECK_STALE);
}

Test(history_check, two_readers_disagree_about_the_order)
{
	put(0, 1, 30, V(1));
	put(1, 2, 31, hist_value(1, 1));
	get(2, 3, 4, V(1));
	get(3, 5, 6, hist_value(1, 1));
	get(2, 7, 8, V(1));
	found(false, CHECK_STALE);
}

Test(history_check, unanswered_write_may_come_late_or_never)
{
	put(0, 1, 2, V(1));
	put(1, 3, 0, hist_value(1, 1));
	get(2, 4, 5, V(1));
	get(2, 60, 61, hist_value(1, 1));
	legal();
	put(0, 1, 2, V(1));
	put(1, 3, 0, hist_value(1, 1));
	put(0, 6, 7, V(2));
	get(2, 60, 61, V(2));
	legal();
}

Test(history_check, blocks_are_apart)
{
	put(0, 1, 2, V(1))->count = 2;
	put(0, 3, 4, V(2))->first = 1;
	get(1, 5, 6, V(1));
	get(1, 7, 8, V(2))->first = 1;
	legal();
}

/* ---- fencing --------------------------------------------------------------------------------- */

Test(history_check, retried_write_may_show_twice_until_it_is_answered)
{
	put(0, 1, 20, V(1))->flags = HIST_RETRIED;
	get(1, 2, 3, V(1));
	put(1, 4, 5, hist_value(1, 1));
	get(1, 6, 7, hist_value(1, 1));
	get(1, 30, 31, V(1));
	legal();
}

Test(history_check, not_retried_it_may_not)
{
	put(0, 1, 20, V(1));
	get(1, 2, 3, V(1));
	put(1, 4, 5, hist_value(1, 1));
	get(1, 30, 31, V(1));
	found(false, CHECK_LOST);
}

Test(history_check, late_write_of_an_old_epoch)
{
	put(0, 1, 10, V(1))->flags = HIST_RETRIED;
	put(0, 11, 12, V(2));
	get(0, 13, 14, V(2));
	get(0, 15, 16, V(1));
	check(false);
	cr_assert(result.nr[CHECK_STALE] + result.nr[CHECK_LOST] > 0);
}

Test(history_check, late_write_of_a_dead_client_before_the_next_login)
{
	put(0, 1, 0, V(1));
	put(1, 2, 3, hist_value(1, 1));
	get(1, 4, 5, hist_value(1, 1));
	mark(HIST_LOGIN, 0, 6, 10)->session = 2;
	get(1, 11, 12, V(1));
	legal();
}

Test(history_check, late_write_of_a_dead_client_after_the_next_login)
{
	put(0, 1, 0, V(1));
	mark(HIST_LOGIN, 0, 6, 10)->session = 2;
	put(1, 12, 13, hist_value(1, 1));
	get(1, 14, 15, V(1));
	found(false, CHECK_LOST);
}

Test(history_check, a_login_that_failed_fences_nothing)
{
	put(0, 1, 0, V(1));
	mark(HIST_LOGIN, 0, 6, 10)->result = HIST_FAILED;
	recs[1].session = 2;
	put(1, 12, 13, hist_value(1, 1));
	get(1, 14, 15, V(1));
	legal();
}

Test(history_check, failed_write_had_its_effect_or_not)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2))->result = HIST_FAILED;
	get(1, 5, 6, V(2));
	legal();
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2))->result = HIST_FAILED;
	get(1, 5, 6, V(1));
	legal();
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2))->result = HIST_FAILED;
	get(1, 5, 6, V(1));
	get(1, 7, 8, V(2));
	found(false, CHECK_STALE);
}

/* ---- content --------------------------------------------------------------------------------- */

Test(history_check, content)
{
	put(0, 1, 2, V(1));
	get(0, 3, 4, HIST_TORN);
	found(false, CHECK_TORN);
	put(0, 1, 2, V(1));
	get(0, 3, 4, HIST_MISPLACED);
	found(false, CHECK_MISPLACED);
	put(0, 1, 2, V(1));
	get(0, 3, 4, HIST_GARBAGE);
	found(false, CHECK_FOREIGN);
	put(0, 1, 2, V(1));
	get(0, 3, 4, V(7));
	found(false, CHECK_FOREIGN);
}

Test(history_check, a_block_tells)
{
	uint8_t block[512] = {0};
	uint8_t other[512];

	cr_assert_eq(block_read(block, 512, 7, 3), HIST_ZERO);
	block_fill(block, 512, 7, 3, V(1));
	cr_assert_eq(block_read(block, 512, 7, 3), V(1));
	cr_assert_eq(block_read(block, 512, 7, 4), HIST_MISPLACED);
	cr_assert_eq(block_read(block, 512, 8, 3), HIST_GARBAGE);
	block_fill(other, 512, 7, 3, V(2));
	for (size_t i = 32; i < 512; i += 16) { /* one begun over the other */
		memcpy(block, other, i);
		cr_assert_eq(block_read(block, 512, 7, 3), HIST_TORN);
		block_fill(block, 512, 7, 3, V(1));
	}
	memset(block, 0, 256);
	cr_assert_eq(block_read(block, 512, 7, 3), HIST_TORN);
}

Test(history_check, read_before_it_was_written)
{
	put(0, 5, 6, V(1));
	get(1, 3, 4, V(1));
	found(false, CHECK_FOREIGN);
}

Test(history_check, memory_may_tear_beside_a_write)
{
	struct check_options opt = {.nr_blocks = BLOCKS, .may_tear = true};

	put(0, 1, 5, V(1));
	get(1, 2, 3, HIST_TORN);
	cr_assert_eq(check_history(recs, nr_recs, &opt, &result), 0);
	cr_assert_eq(result.nr_all, 0);
	get(1, 6, 7, HIST_TORN);
	cr_assert_eq(check_history(recs, nr_recs, &opt, &result), 0);
	cr_assert_eq(result.nr[CHECK_TORN], 1);
	nr_recs = 0;
}

Test(history_check, memory_stays_torn_after_two_writes_side_by_side)
{
	struct check_options opt = {.nr_blocks = BLOCKS, .may_tear = true};

	put(0, 1, 5, V(1));
	put(1, 2, 6, hist_value(1, 1));
	get(2, 7, 8, HIST_TORN);
	cr_assert_eq(check_history(recs, nr_recs, &opt, &result), 0);
	cr_assert_eq(result.nr_all, 0);
	put(0, 9, 10, V(2));
	get(2, 11, 12, HIST_TORN);
	cr_assert_eq(check_history(recs, nr_recs, &opt, &result), 0);
	cr_assert_eq(result.nr[CHECK_TORN], 1);
	nr_recs = 0;
}

/* ---- zeroes and discards --------------------------------------------------------------------- */

Test(history_check, zeroes)
{
	put(0, 1, 2, V(1));
	add(HIST_ZEROES, 0, 3, 4);
	get(1, 5, 6, HIST_ZERO);
	put(0, 7, 8, V(2));
	get(1, 9, 10, V(2));
	legal();
}

Test(history_check, zeroes_came_back)
{
	add(HIST_ZEROES, 0, 1, 2);
	put(0, 3, 4, V(1));
	get(1, 5, 6, HIST_ZERO);
	found(false, CHECK_LOST);
}

Test(history_check, zeroes_were_lost)
{
	put(0, 1, 2, V(1));
	add(HIST_ZEROES, 0, 3, 4);
	get(1, 5, 6, V(1));
	found(false, CHECK_LOST);
}

Test(history_check, zeroes_of_either_write)
{
	add(HIST_ZEROES, 0, 1, 2);
	put(0, 3, 10, V(1));
	add(HIST_ZEROES, 1, 4, 11);
	get(2, 5, 6, HIST_ZERO);
	get(2, 7, 8, V(1));
	get(2, 12, 13, HIST_ZERO);
	legal();
}

Test(history_check, zeroes_within_the_life_of_a_value)
{
	add(HIST_ZEROES, 0, 1, 30);
	add(HIST_ZEROES, 0, 2, 31);
	put(0, 3, 4, V(1));
	get(2, 7, 8, HIST_ZERO);
	get(2, 9, 10, V(1));
	found(false, CHECK_STALE);
}

Test(history_check, after_a_discard_anything)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	add(HIST_DISCARD, 0, 5, 6);
	get(1, 7, 8, V(1));
	get(1, 9, 10, HIST_ZERO);
	get(1, 11, 12, V(2));
	legal();
}

Test(history_check, after_a_discard_and_a_write_no_more)
{
	put(0, 1, 2, V(1));
	add(HIST_DISCARD, 0, 5, 6);
	put(0, 7, 8, V(2));
	get(1, 9, 10, V(1));
	found(false, CHECK_LOST);
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void crash(uint64_t start, uint64_t end)
{
	mark(HIST_CRASH, HIST_NEMESIS, start, end);
}

Test(history_check, write_through_survives_a_crash)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	crash(5, 6);
	get(1, 7, 8, V(1));
	found(false, CHECK_LOST);
}

Test(history_check, write_back_may_lose_what_was_not_flushed)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	crash(5, 6);
	get(1, 7, 8, V(1));
	legal_write_back();
}

Test(history_check, flushed_survives)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	mark(HIST_FLUSH, 0, 5, 6);
	crash(7, 8);
	get(1, 9, 10, V(1));
	found(true, CHECK_LOST);
}

Test(history_check, flush_beside_the_write_covers_nothing)
{
	put(0, 1, 2, V(1));
	put(0, 3, 6, V(2));
	mark(HIST_FLUSH, 0, 5, 7);
	crash(8, 9);
	get(1, 10, 11, V(1));
	legal_write_back();
}

Test(history_check, flush_of_another_client_promises_nothing)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	mark(HIST_FLUSH, 1, 5, 6);
	crash(7, 8);
	get(1, 9, 10, V(1));
	legal_write_back();
}

Test(history_check, flush_without_an_answer_promises_nothing)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	mark(HIST_FLUSH, 0, 5, 9)->result = HIST_UNKNOWN;
	crash(7, 8);
	get(1, 10, 11, V(1));
	legal_write_back();
}

Test(history_check, fua_survives)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2))->flags = HIST_FUA;
	crash(7, 8);
	get(1, 9, 10, V(1));
	found(true, CHECK_LOST);
}

Test(history_check, newer_than_the_flush_may_survive_too)
{
	put(0, 1, 2, V(1));
	mark(HIST_FLUSH, 0, 3, 4);
	put(0, 5, 6, V(2));
	put(0, 7, 8, V(3));
	crash(9, 10);
	get(1, 11, 12, V(2));
	get(1, 13, 14, V(2));
	legal_write_back();
}

Test(history_check, one_value_survives_a_crash)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	crash(5, 6);
	get(1, 7, 8, V(1));
	get(1, 9, 10, V(2));
	found(true, CHECK_STALE);
}

Test(history_check, what_a_crash_took_does_not_return_with_the_next)
{
	put(0, 1, 2, V(1));
	put(0, 3, 4, V(2));
	crash(5, 6);
	get(1, 7, 8, V(1));
	crash(9, 10);
	get(1, 11, 12, V(2));
	found(true, CHECK_LOST);
}

Test(history_check, order_holds_after_a_crash)
{
	put(0, 1, 2, V(1));
	crash(5, 6);
	put(1, 7, 8, V(2));
	get(1, 9, 10, V(1));
	found(true, CHECK_LOST);
}

Test(history_check, retried_over_a_crash)
{
	put(0, 1, 2, V(1));
	put(1, 3, 20, V(2))->flags = HIST_RETRIED;
	get(2, 4, 5, V(2));
	crash(6, 7);
	get(2, 8, 9, V(1));
	get(2, 10, 11, V(2));
	get(2, 21, 22, V(2));
	legal_write_back();
}

Test(history_check, answered_on_either_side_of_a_crash)
{
	put(0, 1, 2, V(1));
	put(0, 3, 8, V(2));
	crash(5, 6);
	get(1, 9, 10, V(1));
	legal_write_back();
}

Test(history_check, zeroes_after_a_crash)
{
	add(HIST_ZEROES, 0, 1, 2);
	put(0, 3, 4, V(2));
	crash(5, 6);
	get(1, 9, 10, HIST_ZERO);
	legal_write_back();
	add(HIST_ZEROES, 0, 1, 2);
	put(0, 3, 4, V(2))->flags = HIST_FUA;
	crash(5, 6);
	get(1, 9, 10, HIST_ZERO);
	found(true, CHECK_LOST);
}

/* ---- sessions -------------------------------------------------------------------------------- */

Test(history_check, session_went_on)
{
	put(0, 1, 2, V(1));
	crash(5, 6);
	get(0, 7, 8, V(1));
	found(true, CHECK_CONTINUED);
}

Test(history_check, session_was_told)
{
	put(0, 1, 2, V(1));
	crash(5, 6);
	get(0, 7, 8, V(1))->result = HIST_UNKNOWN;
	mark(HIST_LOGIN, 0, 9, 10)->session = 2;
	get(0, 11, 12, V(1))->session = 2;
	legal_write_back();
}

Test(history_check, session_had_flushed)
{
	put(0, 1, 2, V(1));
	mark(HIST_FLUSH, 0, 3, 4);
	crash(5, 6);
	get(0, 7, 8, V(1));
	legal_write_back();
}

/* The library saw the write's answer before it sent the flush; the history was told later. */
Test(history_check, session_had_flushed_although_the_history_saw_it_later)
{
	put(0, 1, 4, V(1));
	mark(HIST_FLUSH, 0, 3, 4)->end = 5;
	crash(6, 7);
	get(0, 8, 9, V(1));
	legal_write_back();
}

Test(history_check, session_flushed_too_late)
{
	put(0, 1, 2, V(1));
	crash(5, 6);
	mark(HIST_FLUSH, 0, 7, 8);
	found(true, CHECK_CONTINUED);
}

Test(history_check, session_with_fua_only_goes_on)
{
	put(0, 1, 2, V(1))->flags = HIST_FUA;
	crash(5, 6);
	get(0, 7, 8, V(1));
	legal_write_back();
}
