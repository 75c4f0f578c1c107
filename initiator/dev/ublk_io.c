/* SPDX-License-Identifier: BSD-2-Clause */
/* ublk's words and libbrp's, translated. Pure: no descriptor, thread or memory of its own. */
#include "initiator/dev/ublk.h"

#include <errno.h>

#define SECTOR_SHIFT 9
#define PAGE_BYTES   4096u /* largest logical block of every kernel that has ublk */
/* One request of these touches no more than so much of the volume, so that the others of a queue do
 * not wait behind it for long. */
#define MAX_DISCARD_BYTES (1ull << 30)
#define MAX_ZEROES_BYTES  (64ull << 20)

static uint32_t floor_power_of_two(uint32_t v)
{
	return v == 0 ? 0 : 1u << (31 - __builtin_clz(v));
}

static uint8_t shift_of(uint32_t power_of_two)
{
	return (uint8_t)__builtin_ctz(power_of_two);
}

uint32_t ublk_io_max_bytes(const struct brp_info *info, unsigned int depth)
{
	uint32_t fair = MAX(UBLK_REGION_BYTES / depth, UBLK_MIN_IO_BYTES);
	uint32_t allowed = MIN(info->max_transfer_bytes, UBLK_MAX_IO_BYTES);
	uint32_t bytes = MIN(fair, allowed);

	return MAX(floor_power_of_two(bytes), PAGE_BYTES);
}

/* Which size of writes spares the volume a read-modify-write: what it prefers, if that is no more
 * than a page, which file systems and page cache work in anyway. */
static uint32_t physical_bytes(const struct brp_info *info)
{
	uint32_t preferred = floor_power_of_two(info->preferred_io_bytes);

	return MAX(info->block_bytes, MIN(preferred, PAGE_BYTES));
}

static void set_discard(const struct brp_info *info, struct ublk_params *p)
{
	struct ublk_param_discard *d = &p->discard;

	if (!info->has_discard && !info->has_write_zeroes)
		return;
	p->types |= UBLK_PARAM_TYPE_DISCARD;
	d->discard_granularity = physical_bytes(info);
	d->max_discard_segments = 1; /* the kernel takes no other number */
	if (info->has_discard)
		d->max_discard_sectors = MAX_DISCARD_BYTES >> SECTOR_SHIFT;
	if (info->has_write_zeroes)
		d->max_write_zeroes_sectors = MAX_ZEROES_BYTES >> SECTOR_SHIFT;
}

int ublk_io_params(const struct brp_info *info, uint32_t max_io_bytes,
		   struct ublk_params *ret_params)
{
	uint32_t physical = physical_bytes(info);
	uint32_t optimal = floor_power_of_two(MAX(info->preferred_io_bytes, physical));
	struct ublk_params p = {.len = sizeof(p), .types = UBLK_PARAM_TYPE_BASIC};

	if (info->block_bytes < 512 || info->block_bytes > PAGE_BYTES)
		return -EOPNOTSUPP;
	p.basic.logical_bs_shift = shift_of(info->block_bytes);
	p.basic.physical_bs_shift = shift_of(physical);
	p.basic.io_min_shift = shift_of(physical);
	p.basic.io_opt_shift = shift_of(MIN(optimal, max_io_bytes));
	p.basic.max_sectors = max_io_bytes >> SECTOR_SHIFT;
	p.basic.dev_sectors = info->size_bytes >> SECTOR_SHIFT;
	if (info->read_only)
		p.basic.attrs |= UBLK_ATTR_READ_ONLY;
	/* Where every write is stable when answered, flush and FUA have nothing to ask for: the
	 * kernel then drops both before they get here. */
	if (info->is_write_back)
		p.basic.attrs |= UBLK_ATTR_VOLATILE_CACHE;
	/* Without it the kernel makes a FUA write of a write and a flush. */
	if (info->is_write_back && info->has_fua)
		p.basic.attrs |= UBLK_ATTR_FUA;
	set_discard(info, &p);
	*ret_params = p;
	return 0;
}

int ublk_io_translate(const struct ublksrv_io_desc *desc, void *buf, uint32_t max_io_bytes,
		      struct brp_io *ret_io)
{
	static const enum brp_io_op ops[] = {
		[UBLK_IO_OP_READ] = BRP_READ,
		[UBLK_IO_OP_WRITE] = BRP_WRITE,
		[UBLK_IO_OP_FLUSH] = BRP_FLUSH,
		[UBLK_IO_OP_DISCARD] = BRP_DISCARD,
		/* UBLK_IO_F_NOUNMAP asks that the blocks stay allocated. No volume promises that.
		 */
		[UBLK_IO_OP_WRITE_ZEROES] = BRP_WRITE_ZEROES,
	};
	uint8_t op = ublksrv_get_op(desc);
	struct brp_io io = {0};

	if (op >= ARRAY_SIZE(ops) || ops[op] == 0)
		return -EOPNOTSUPP;
	io.op = ops[op];
	if (io.op != BRP_FLUSH) {
		io.offset = desc->start_sector << SECTOR_SHIFT;
		io.bytes = (uint64_t)desc->nr_sectors << SECTOR_SHIFT;
	}
	if (io.op == BRP_READ || io.op == BRP_WRITE) {
		if (io.bytes > max_io_bytes)
			return -EINVAL;
		io.buf = buf;
	}
	if (desc->op_flags & UBLK_IO_F_FUA && (io.op == BRP_WRITE || io.op == BRP_WRITE_ZEROES))
		io.flags = BRP_FUA;
	*ret_io = io;
	return 0;
}

/*
 * The kernel wants the length of what was read or written, 0 for the rest, or an error it has words
 * for (errno_to_blk_status() in its block/blk-core.c; all others are "I/O error"). Two errnos would
 * mean something else there: -EAGAIN "would block", -ENODEV "the server leaves".
 */
int ublk_io_result(const struct ublksrv_io_desc *desc, int result)
{
	uint8_t op = ublksrv_get_op(desc);

	switch (result) {
	case 0:
		if (op == UBLK_IO_OP_READ || op == UBLK_IO_OP_WRITE)
			return (int)(desc->nr_sectors << SECTOR_SHIFT);
		return 0;
	case -EOPNOTSUPP:
	case -ENOSPC:
	case -ETIMEDOUT:
		return result;
	case -ENOTCONN:
	case -ECONNRESET:
	case -ESHUTDOWN:
	case -ECANCELED:
		return -ENOLINK;
	default:
		return -EIO;
	}
}
