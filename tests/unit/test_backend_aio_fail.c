/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and files: what the kernel refuses. */
#include "tests/unit/aio_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

Test(aio, submit_error_is_the_first_ones, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(4096);
	struct bk_req r[2] = {{.op = BRP_OP_READ, .bytes = 4096, .buf = buf},
			      {.op = BRP_OP_READ, .bytes = 4096, .buf = buf}};
	struct bk_req *done[2];
	unsigned int n = 0;

	submit_error = -ENXIO;
	bk_submit(q, &r[0]);
	bk_submit(q, &r[1]);
	bk_flush(q);
	while (n < 2)
		n += reap(q, done, 2);
	cr_assert(r[0].result == -ENXIO && r[1].result == 0);
	close_both(q, v);
	free(buf);
}

Test(aio, short_read_and_write, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(8192);

	cr_assert(truncate(file, MIB) == 0);
	cr_assert(do_op(q, BRP_OP_READ, MIB - 4096, 8192, buf) == -EIO);
	cr_assert(do_op(q, BRP_OP_READ, 2 * MIB, 8192, buf) == -EIO);
	close_both(q, v);
	free(buf);
}

Test(aio, no_queue, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q;

	refuse_setup = true;
	cr_assert(bk_queue_create(v, 32, &q) == (is_uring() ? -ENOMEM : -ENOBUFS));
	bk_close(v);
}

/* ---- the Nth call fails ---------------------------------------------------------------------- */

/* 0: everything went well, no call is left to fail. */
static int try_all(const struct bk_spec *spec, char *buf)
{
	struct bk_volume *v = NULL;
	struct bk_queue *q = NULL;
	int r = bk_open(spec, &v);

	if (!r)
		r = bk_queue_create(v, 8, &q);
	if (!r)
		r = do_op(q, BRP_OP_WRITE, 0, 4096, buf);
	if (!r)
		r = do_op(q, BRP_OP_WRITE_ZEROES, 0, 4096, NULL);
	close_both(q, v);
	return r;
}

static int nr_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void sweep(const char *fault)
{
	struct bk_spec spec = spec_of(file);
	char *buf = aligned(4096);
	int fds = nr_open_fds();
	int failed = 0;
	int r;

	spec.fault = fault;
	for (fail_at = 1; fail_at < 50; fail_at++) {
		nr_calls = 0;
		r = try_all(&spec, buf);
		cr_assert(r <= 0 && nr_open_fds() == fds, "call %d: %d", fail_at, r);
		failed += r < 0;
		if (nr_calls < fail_at)
			break;
	}
	cr_assert(failed > 3 && fail_at < 50);
	fail_at = 0;
	cr_assert(try_all(&spec, buf) == 0);
	free(buf);
}

Test(aio, sweep, .init = setup, .fini = teardown)
{
	sweep(NULL);
}

Test(aio, sweep_fault, .init = setup, .fini = teardown)
{
	sweep("delay=1us");
}
