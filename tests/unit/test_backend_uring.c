/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and files by io_uring: registered memory, and what becomes of things that it alone has.
 */
#include "tests/unit/aio_rig.h"

#include <errno.h>
#include <pthread.h>

#define SLAB_BYTES (64 * 4096u)

static void write_and_read(struct bk_queue *q, char *buf, size_t bytes)
{
	memset(buf, 0x3c, bytes);
	cr_assert(do_op(q, BRP_OP_WRITE, 8192, bytes, buf) == 0);
	memset(buf, 0, bytes);
	cr_assert(do_op(q, BRP_OP_READ, 8192, bytes, buf) == 0);
	cr_assert(all_are(buf, bytes, 0x3c));
}

Test(uring, registered_memory_is_used, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *slab = aligned(2 * SLAB_BYTES);

	bk_queue_use_memory(q, slab, SLAB_BYTES);
	write_and_read(q, slab, 4096);
	write_and_read(q, slab + SLAB_BYTES - 4096, 4096);
	write_and_read(q, slab, SLAB_BYTES);
	cr_assert(nr_fixed == 6);
	/* Outside, and half outside. */
	write_and_read(q, slab + SLAB_BYTES, 4096);
	write_and_read(q, slab + SLAB_BYTES - 4096, 8192);
	cr_assert(nr_fixed == 6);
	close_both(q, v);
	free(slab);
}

/* Below the fault back end, too. */
Test(uring, registered_memory_goes_down, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_queue *q;
	char *slab = aligned(SLAB_BYTES);

	spec.fault = "delay=1us";
	v = must_open(&spec);
	q = must_queue(v, 8);
	bk_queue_use_memory(q, slab, SLAB_BYTES);
	write_and_read(q, slab, 4096);
	cr_assert(nr_fixed == 2);
	close_both(q, v);
	free(slab);
}

Test(uring, memory_that_cannot_be_registered, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *slab = aligned(SLAB_BYTES);

	register_error = -ENOMEM;
	bk_queue_use_memory(q, slab, SLAB_BYTES);
	write_and_read(q, slab, 4096);
	cr_assert(nr_fixed == 0);
	close_both(q, v);
	free(slab);
}

/* One call for all of a pass. */
Test(uring, a_batch_is_one_call, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 33);
	struct bk_req r[33], *done[33];
	char *buf = aligned(sizeof(r) / sizeof(r[0]) * 4096);
	unsigned int n = 0;

	nr_submits = 0;
	for (unsigned int i = 0; i < 33; i++) {
		r[i] = (struct bk_req){.op = BRP_OP_READ,
				       .offset = i * 4096,
				       .bytes = 4096,
				       .buf = buf + i * 4096};
		bk_submit(q, &r[i]);
	}
	bk_flush(q);
	cr_assert(nr_submits == 1);
	while (n < 33)
		n += reap(q, done, 33);
	close_both(q, v);
	free(buf);
}

/* ---- what the kernel says -------------------------------------------------------------------- */

/* Nothing is wrong: it is done once more. */
Test(uring, half_done, .init = setup, .fini = teardown)
{
	static const int results[] = {-EAGAIN, -ECANCELED, -EINTR, 512};
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(4096);
	char *zeroes = aligned(4096);

	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		memset(buf, (int)i + 1, 4096);
		false_result = results[i];
		cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == 0);
		memcpy(buf, zeroes, 4096);
		false_result = results[i];
		cr_assert(do_op(q, BRP_OP_READ, 0, 4096, buf) == 0);
		cr_assert(all_are(buf, 4096, (unsigned char)(i + 1)));
		false_result = MIN(results[i], 0);
		cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	}
	close_both(q, v);
	free(zeroes);
	free(buf);
}

/* A FUA write that the slow thread does is synced by it. */
Test(uring, half_done_fua, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(4096);
	struct bk_req r = {.op = BRP_OP_WRITE, .is_fua = true, .bytes = 4096, .buf = buf};

	false_result = -EAGAIN;
	cr_assert(do_req(q, &r) == 0 && nr_fdatasyncs == 1);
	close_both(q, v);
	free(buf);
}

Test(uring, an_error_is_one, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(4096);

	false_result = -EIO;
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == -EIO);
	false_result = -ENOSPC;
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == -ENOSPC);
	cr_assert(do_op(q, BRP_OP_READ, 0, 4096, buf) == 0);
	close_both(q, v);
	free(buf);
}

/* ---- which engine ---------------------------------------------------------------------------- */

static int reads_of(enum bk_engine engine)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = NULL;
	struct bk_queue *q;
	char *buf;
	int err;

	spec.engine = engine;
	err = bk_open(&spec, &v);
	if (err)
		return err;
	q = must_queue(v, 8);
	buf = aligned(4096);
	bk_queue_use_memory(q, buf, 4096);
	err = do_op(q, BRP_OP_READ, 0, 4096, buf);
	close_both(q, v);
	free(buf);
	return err;
}

Test(uring, chosen_where_it_is_allowed, .init = setup, .fini = teardown)
{
	cr_assert(reads_of(BK_ENGINE_AUTO) == 0 && nr_fixed == 1);
	cr_assert(reads_of(BK_ENGINE_AIO) == 0 && nr_fixed == 1);
	cr_assert(reads_of(BK_ENGINE_URING) == 0 && nr_fixed == 2);
}

Test(uring, not_allowed, .init = setup, .fini = teardown)
{
	probe_error = -EPERM;
	cr_assert(reads_of(BK_ENGINE_AUTO) == 0 && nr_fixed == 0);
	cr_assert(reads_of(BK_ENGINE_URING) == -EPERM);
}

/* Forbidden since, or no memory: what was opened before goes on with libaio. */
Test(uring, no_more_rings, .init = setup, .fini = teardown)
{
	refuse_rings = true;
	cr_assert(reads_of(BK_ENGINE_AUTO) == 0 && nr_fixed == 0 && nr_setups == 1);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct handed {
	struct bk_queue *q;
	struct bk_req *r;
	unsigned int nr;
};

static void *submit_and_end(void *arg)
{
	struct handed *h = arg;

	for (unsigned int i = 0; i < h->nr; i++)
		bk_submit(h->q, &h->r[i]);
	bk_flush(h->q);
	return NULL;
}

/* Who began a request need not be there when it ends: the kernel gives up what that thread had not
 * really begun. */
Test(uring, submitter_is_gone, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 64);
	char *buf = aligned(64 * 4096);
	struct bk_req r[64], *done[64];

	for (int round = 0; round < 50; round++) {
		struct handed h = {q, r, 64};
		unsigned int n = 0;
		pthread_t t;

		for (unsigned int i = 0; i < 64; i++)
			r[i] = (struct bk_req){.op = i % 8 ? BRP_OP_WRITE : BRP_OP_FLUSH,
					       .is_fua = i % 8 == 1,
					       .offset = i * 4096,
					       .bytes = 4096,
					       .buf = buf + i * 4096};
		cr_assert(pthread_create(&t, NULL, submit_and_end, &h) == 0);
		pthread_join(t, NULL);
		while (n < 64)
			n += reap(q, done, 64);
		for (unsigned int i = 0; i < 64; i++)
			cr_assert(r[i].result == 0, "%s", strerror(-r[i].result));
	}
	close_both(q, v);
	free(buf);
}
