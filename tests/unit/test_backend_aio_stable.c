/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and files: FLUSH, FUA and write-through reach the medium. */
#include "tests/unit/aio_rig.h"

#include <errno.h>

static int fua_write(struct bk_queue *q, void *buf)
{
	struct bk_req r = {.op = BRP_OP_WRITE, .is_fua = true, .bytes = 4096, .buf = buf};

	return do_req(q, &r);
}

Test(aio, fua_and_flush_reach_the_device, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(4096);

	cr_assert(info_of(v).cache == BRP_CACHE_WRITE_BACK &&
		  info_of(v).volume_flags & BRP_VOL_FUA);
	nr_fdsyncs = 0; /* the probe's */
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == 0);
	cr_assert(nr_plain_writes == 1 && nr_dsync_writes == 0);
	cr_assert(fua_write(q, buf) == 0 && nr_dsync_writes == 1 && nr_plain_writes == 1);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0 && nr_fdsyncs == 1);
	cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, 0, 4096, NULL) == 0 && nr_fdatasyncs == 0);
	close_both(q, v);
	free(buf);
}

Test(aio, write_through, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_queue *q;
	char *buf = aligned(4096);

	spec.is_write_through = true;
	v = must_open(&spec);
	q = must_queue(v, 8);
	cr_assert(info_of(v).cache == BRP_CACHE_WRITE_THROUGH);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == 0);
	cr_assert(nr_plain_writes == 0 && nr_dsync_writes == 1);
	cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, 0, 4096, NULL) == 0 && nr_fdatasyncs == 1);
	close_both(q, v);
	free(buf);
}

Test(aio, fua_without_kernel_support, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_queue *q;
	char *buf = aligned(4096);

	only_for(BK_ENGINE_AIO);
	refuse_flags = true;
	v = must_open(&spec);
	q = must_queue(v, 8);
	memset(buf, 9, 4096);
	cr_assert(fua_write(q, buf) == 0 && nr_fdatasyncs == 1);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0 && nr_fdatasyncs == 2);
	memset(buf, 0, 4096);
	cr_assert(do_op(q, BRP_OP_READ, 0, 4096, buf) == 0 && all_are(buf, 4096, 9));
	close_both(q, v);
	free(buf);
}
