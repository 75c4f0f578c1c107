/* SPDX-License-Identifier: BSD-2-Clause */
/* What is wrong with one request alone, protocol.md 5.1. */
#include <criterion/criterion.h>

#include "tests/samples.h"

#define ALL_FLAGS (BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES | BRP_VOL_FUA)
#define FUA       BRP_REQ_FUA
#define CAPSULE   BRP_REQ_IN_CAPSULE

static enum brp_status_code check(uint8_t op, uint8_t flags, uint64_t lba, uint32_t blocks,
				  uint64_t size_blocks, uint32_t volume_flags)
{
	struct brp_request r = {.op = op, .flags = flags, .lba = lba, .blocks = blocks};
	struct brp_limits lim = sample_limits();

	lim.size_blocks = size_blocks;
	lim.volume_flags = volume_flags;
	return brp_check_request(&r, &lim);
}

Test(check_request, range)
{
	static const struct {
		uint64_t lba;
		uint32_t blocks;
		uint64_t size;
		enum brp_status_code want;
	} all[] = {
		{0, 1, 100, BRP_ST_OK},
		{0, 100, 100, BRP_ST_OK},
		{0, 101, 100, BRP_ST_OUT_OF_RANGE},
		{99, 1, 100, BRP_ST_OK},
		{99, 2, 100, BRP_ST_OUT_OF_RANGE},
		{100, 1, 100, BRP_ST_OUT_OF_RANGE},
		{101, 1, 100, BRP_ST_OUT_OF_RANGE},
		{0, 1, 0, BRP_ST_OUT_OF_RANGE},
		{0, UINT32_MAX, 100, BRP_ST_OUT_OF_RANGE},
		{0, UINT32_MAX, UINT32_MAX, BRP_ST_OK},
		{1, UINT32_MAX, UINT32_MAX, BRP_ST_OUT_OF_RANGE},
		{1ull << 32, 1, 100, BRP_ST_OUT_OF_RANGE},
		/* lba + blocks wraps round to something small */
		{UINT64_MAX, 1, 100, BRP_ST_OUT_OF_RANGE},
		{UINT64_MAX, 2, 100, BRP_ST_OUT_OF_RANGE},
		{UINT64_MAX - 1, 3, 100, BRP_ST_OUT_OF_RANGE},
		{UINT64_MAX - UINT32_MAX + 1, UINT32_MAX, 100, BRP_ST_OUT_OF_RANGE},
		/* the largest volume */
		{UINT64_MAX - 1, 1, UINT64_MAX, BRP_ST_OK},
		{UINT64_MAX - 1, 2, UINT64_MAX, BRP_ST_OUT_OF_RANGE},
		{UINT64_MAX, 1, UINT64_MAX, BRP_ST_OUT_OF_RANGE},
		{UINT64_MAX - UINT32_MAX, UINT32_MAX, UINT64_MAX, BRP_ST_OK},
		{UINT64_MAX - UINT32_MAX + 1, UINT32_MAX, UINT64_MAX, BRP_ST_OUT_OF_RANGE},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (uint8_t op = BRP_OP_READ; op <= BRP_OP_DISCARD; op++)
			cr_expect_eq(
				check(op, 0, all[i].lba, all[i].blocks, all[i].size, ALL_FLAGS),
				all[i].want, "row %zu, op %u", i, op);
	}
}

/* Every op byte with every flags byte, on a volume that can do everything. */
Test(check_request, ops_and_flags)
{
	static const uint8_t allowed[256] = {
		[BRP_OP_WRITE] = FUA | CAPSULE,
		[BRP_OP_WRITE_ZEROES] = FUA,
	};

	for (int op = 0; op < 256; op++) {
		for (int flags = 0; flags < 256; flags++) {
			bool is_good = op >= 1 && op <= 5 && !(flags & ~allowed[op]);
			uint32_t blocks = op == BRP_OP_FLUSH ? 0 : 1;

			cr_assert_eq(check((uint8_t)op, (uint8_t)flags, 0, blocks, 100, ALL_FLAGS),
				     is_good ? BRP_ST_OK : BRP_ST_INVALID, "op %d flags %#x", op,
				     flags);
		}
	}
}

Test(check_request, no_blocks)
{
	for (uint8_t op = BRP_OP_READ; op <= BRP_OP_DISCARD; op++)
		cr_expect_eq(check(op, 0, 5, 0, 100, ALL_FLAGS), BRP_ST_INVALID, "op %u", op);
	cr_expect_eq(check(BRP_OP_WRITE, CAPSULE, 5, 0, 100, ALL_FLAGS), BRP_ST_INVALID);
}

Test(check_request, flush_names_nothing)
{
	cr_expect_eq(check(BRP_OP_FLUSH, 0, 0, 0, 100, 0), BRP_ST_OK);
	cr_expect_eq(check(BRP_OP_FLUSH, 0, 0, 0, 0, 0), BRP_ST_OK);
	cr_expect_eq(check(BRP_OP_FLUSH, 0, 0, 0, 100, BRP_VOL_READ_ONLY), BRP_ST_OK);
	cr_expect_eq(check(BRP_OP_FLUSH, 0, 1, 0, 100, 0), BRP_ST_INVALID);
	cr_expect_eq(check(BRP_OP_FLUSH, 0, 0, 1, 100, 0), BRP_ST_INVALID);
}

/* key and addr are zero where nothing is moved; in-capsule data has no key. */
Test(check_request, key_and_addr)
{
	static const struct {
		uint8_t op;
		uint8_t flags;
		enum brp_status_code with_key;
		enum brp_status_code with_addr;
	} all[] = {
		{BRP_OP_READ, 0, BRP_ST_OK, BRP_ST_OK},
		{BRP_OP_WRITE, 0, BRP_ST_OK, BRP_ST_OK},
		{BRP_OP_WRITE, CAPSULE, BRP_ST_INVALID, BRP_ST_OK},
		{BRP_OP_WRITE_ZEROES, 0, BRP_ST_INVALID, BRP_ST_INVALID},
		{BRP_OP_DISCARD, 0, BRP_ST_INVALID, BRP_ST_INVALID},
		{BRP_OP_FLUSH, 0, BRP_ST_INVALID, BRP_ST_INVALID},
	};
	struct brp_limits lim = sample_limits();

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct brp_request r = {.op = all[i].op, .flags = all[i].flags};

		r.blocks = r.op == BRP_OP_FLUSH ? 0 : 1;
		cr_expect_eq(brp_check_request(&r, &lim), BRP_ST_OK, "row %zu", i);
		r.key = 1;
		cr_expect_eq(brp_check_request(&r, &lim), all[i].with_key, "row %zu", i);
		r.key = 0;
		r.addr = 1ull << 63;
		cr_expect_eq(brp_check_request(&r, &lim), all[i].with_addr, "row %zu", i);
	}
}

Test(check_request, read_only)
{
	uint32_t vol = ALL_FLAGS | BRP_VOL_READ_ONLY;

	cr_expect_eq(check(BRP_OP_READ, 0, 0, 1, 100, vol), BRP_ST_OK);
	cr_expect_eq(check(BRP_OP_WRITE, 0, 0, 1, 100, vol), BRP_ST_READ_ONLY);
	cr_expect_eq(check(BRP_OP_WRITE, FUA, 0, 1, 100, vol), BRP_ST_READ_ONLY);
	cr_expect_eq(check(BRP_OP_WRITE_ZEROES, 0, 0, 1, 100, vol), BRP_ST_READ_ONLY);
	cr_expect_eq(check(BRP_OP_DISCARD, 0, 0, 1, 100, vol), BRP_ST_READ_ONLY);
}

Test(check_request, not_supported)
{
	cr_expect_eq(check(BRP_OP_DISCARD, 0, 0, 1, 100, ALL_FLAGS & ~BRP_VOL_DISCARD),
		     BRP_ST_NOT_SUPPORTED);
	cr_expect_eq(check(BRP_OP_WRITE_ZEROES, 0, 0, 1, 100, ALL_FLAGS & ~BRP_VOL_WRITE_ZEROES),
		     BRP_ST_NOT_SUPPORTED);
	cr_expect_eq(check(BRP_OP_WRITE_ZEROES, FUA, 0, 1, 100, ALL_FLAGS & ~BRP_VOL_FUA),
		     BRP_ST_NOT_SUPPORTED);
	cr_expect_eq(check(BRP_OP_WRITE, FUA, 0, 1, 100, ALL_FLAGS & ~BRP_VOL_FUA),
		     BRP_ST_NOT_SUPPORTED);
	cr_expect_eq(check(BRP_OP_WRITE, 0, 0, 1, 100, 0), BRP_ST_OK);
	cr_expect_eq(check(BRP_OP_READ, 0, 0, 1, 100, 0), BRP_ST_OK);
}

/* When several things are wrong the answer is always the same one. */
Test(check_request, which_comes_first)
{
	cr_expect_eq(check(BRP_OP_DISCARD, FUA, 500, 1, 100, BRP_VOL_READ_ONLY), BRP_ST_INVALID);
	cr_expect_eq(check(BRP_OP_DISCARD, 0, 500, 1, 100, BRP_VOL_READ_ONLY), BRP_ST_READ_ONLY);
	cr_expect_eq(check(BRP_OP_DISCARD, 0, 500, 1, 100, 0), BRP_ST_NOT_SUPPORTED);
}
