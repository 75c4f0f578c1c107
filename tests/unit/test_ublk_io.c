/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel asks of a ublk device, in libbrp's words, and what it is told about the volume.
 */
#include <criterion/criterion.h>

#include <errno.h>

#include "initiator/dev/ublk.h"

#define MAX_IO (256u << 10)

static struct brp_info volume(void)
{
	return (struct brp_info){
		.size = sizeof(struct brp_info),
		.size_bytes = 1ull << 30,
		.block_bytes = 512,
		.preferred_io_bytes = 4096,
		.max_transfer_bytes = 1u << 20,
		.queue_depth = 128,
		.queues = 1,
	};
}

/* ---- parameters ------------------------------------------------------------------------------ */

Test(ublk_io, buffers_of_a_queue_share_its_region)
{
	struct brp_info info = volume();

	cr_assert_eq(ublk_io_max_bytes(&info, 128), 256u << 10);
	cr_assert_eq(ublk_io_max_bytes(&info, 32), 1u << 20);
	cr_assert_eq(ublk_io_max_bytes(&info, 1), UBLK_MAX_IO_BYTES);
	/* Small ones cost more requests than they save memory. */
	cr_assert_eq(ublk_io_max_bytes(&info, UBLK_MAX_DEPTH), UBLK_MIN_IO_BYTES);
	/* No longer than the target takes in one request; a power of two. */
	info.max_transfer_bytes = 100000;
	cr_assert_eq(ublk_io_max_bytes(&info, 128), 65536);
	/* Never less than a page: libbrp splits. */
	info.max_transfer_bytes = 512;
	cr_assert_eq(ublk_io_max_bytes(&info, 128), 4096);
}

Test(ublk_io, sizes)
{
	struct brp_info info = volume();
	struct ublk_params p;

	info.preferred_io_bytes = 64 << 10;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.len, sizeof(p));
	cr_assert_eq(p.basic.logical_bs_shift, 9);
	cr_assert_eq(p.basic.physical_bs_shift, 12);
	cr_assert_eq(p.basic.io_min_shift, 12);
	cr_assert_eq(p.basic.io_opt_shift, 16);
	cr_assert_eq(p.basic.max_sectors, MAX_IO / 512);
	cr_assert_eq(p.basic.dev_sectors, (1ull << 30) / 512);
	/* What the volume prefers can be no block size, or more than a request. */
	info.preferred_io_bytes = 0;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.basic.physical_bs_shift, 9);
	cr_assert_eq(p.basic.io_opt_shift, 9);
	info.preferred_io_bytes = 16 << 20;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.basic.io_opt_shift, 18);
}

Test(ublk_io, blocks_longer_than_a_page_are_refused)
{
	struct brp_info info = volume();
	struct ublk_params p;

	info.block_bytes = 4096;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.basic.logical_bs_shift, 12);
	info.block_bytes = 8192;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), -EOPNOTSUPP);
}

Test(ublk_io, attributes)
{
	struct brp_info info = volume();
	struct ublk_params p;

	info.has_fua = true;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.basic.attrs, 0, "a write-through volume has nothing to flush");
	info.is_write_back = true;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.basic.attrs, UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA);
	info.has_fua = false;
	info.read_only = true;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.basic.attrs, UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_READ_ONLY);
}

Test(ublk_io, discard_and_zeroes_only_where_the_volume_has_them)
{
	struct brp_info info = volume();
	struct ublk_params p;

	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.types, UBLK_PARAM_TYPE_BASIC);
	info.has_write_zeroes = true;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert_eq(p.types, UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DISCARD);
	cr_assert_eq(p.discard.max_discard_sectors, 0);
	cr_assert(p.discard.max_write_zeroes_sectors > 0);
	/* The kernel refuses parameters without these. */
	cr_assert_eq(p.discard.max_discard_segments, 1);
	cr_assert_eq(p.discard.discard_granularity, 4096);
	info.has_discard = true;
	info.has_write_zeroes = false;
	cr_assert_eq(ublk_io_params(&info, MAX_IO, &p), 0);
	cr_assert(p.discard.max_discard_sectors > 0);
	cr_assert_eq(p.discard.max_write_zeroes_sectors, 0);
}

/* ---- requests -------------------------------------------------------------------------------- */

static char data[MAX_IO];

static int translate(uint32_t op, uint32_t flags, uint32_t sectors, struct brp_io *ret_io)
{
	const struct ublksrv_io_desc desc = {
		.op_flags = op | flags, .nr_sectors = sectors, .start_sector = 1ull << 33};

	return ublk_io_translate(&desc, data, MAX_IO, ret_io);
}

Test(ublk_io, operations)
{
	static const struct {
		uint32_t op;
		enum brp_io_op want;
		bool has_data;
		bool has_range;
	} rows[] = {
		{UBLK_IO_OP_READ, BRP_READ, true, true},
		{UBLK_IO_OP_WRITE, BRP_WRITE, true, true},
		{UBLK_IO_OP_FLUSH, BRP_FLUSH, false, false},
		{UBLK_IO_OP_DISCARD, BRP_DISCARD, false, true},
		{UBLK_IO_OP_WRITE_ZEROES, BRP_WRITE_ZEROES, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct brp_io io;

		cr_assert_eq(translate(rows[i].op, 0, 8, &io), 0);
		cr_assert_eq(io.op, rows[i].want);
		cr_assert_eq(io.flags, 0);
		cr_assert_eq(io.buf, rows[i].has_data ? data : NULL);
		cr_assert_eq(io.offset, rows[i].has_range ? 1ull << 42 : 0);
		cr_assert_eq(io.bytes, rows[i].has_range ? 4096 : 0);
	}
}

Test(ublk_io, fua_is_for_what_writes)
{
	struct brp_io io;

	cr_assert_eq(translate(UBLK_IO_OP_WRITE, UBLK_IO_F_FUA | UBLK_IO_F_META, 8, &io), 0);
	cr_assert_eq(io.flags, BRP_FUA);
	cr_assert_eq(translate(UBLK_IO_OP_WRITE_ZEROES, UBLK_IO_F_FUA, 8, &io), 0);
	cr_assert_eq(io.flags, BRP_FUA);
	cr_assert_eq(translate(UBLK_IO_OP_READ, UBLK_IO_F_FUA, 8, &io), 0);
	cr_assert_eq(io.flags, 0);
}

Test(ublk_io, what_cannot_be_done)
{
	struct brp_io io;

	cr_assert_eq(translate(UBLK_IO_OP_WRITE_SAME, 0, 8, &io), -EOPNOTSUPP);
	cr_assert_eq(translate(13, 0, 8, &io), -EOPNOTSUPP);
	cr_assert_eq(translate(UBLK_IO_OP_WRITE, 0, MAX_IO / 512, &io), 0);
	cr_assert_eq(translate(UBLK_IO_OP_WRITE, 0, MAX_IO / 512 + 1, &io), -EINVAL);
	/* No data, no buffer, no limit of it. */
	cr_assert_eq(translate(UBLK_IO_OP_DISCARD, 0, UINT32_MAX, &io), 0);
	cr_assert_eq(io.bytes, (uint64_t)UINT32_MAX * 512);
}

/* ---- results --------------------------------------------------------------------------------- */

static int result_of(uint32_t op, int result)
{
	const struct ublksrv_io_desc desc = {.op_flags = op, .nr_sectors = 8};

	return ublk_io_result(&desc, result);
}

Test(ublk_io, results)
{
	cr_assert_eq(result_of(UBLK_IO_OP_READ, 0), 4096);
	cr_assert_eq(result_of(UBLK_IO_OP_WRITE, 0), 4096);
	cr_assert_eq(result_of(UBLK_IO_OP_FLUSH, 0), 0);
	cr_assert_eq(result_of(UBLK_IO_OP_DISCARD, 0), 0);
	cr_assert_eq(result_of(UBLK_IO_OP_WRITE, -ENOSPC), -ENOSPC);
	cr_assert_eq(result_of(UBLK_IO_OP_WRITE, -EIO), -EIO);
	cr_assert_eq(result_of(UBLK_IO_OP_READ, -ECONNRESET), -ENOLINK);
	/* These two would tell the kernel something else than a failure. */
	cr_assert_eq(result_of(UBLK_IO_OP_READ, -EAGAIN), -EIO);
	cr_assert_eq(result_of(UBLK_IO_OP_READ, -ENODEV), -EIO);
}
