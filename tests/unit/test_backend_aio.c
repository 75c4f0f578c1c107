/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and files: what they do. */
#include "tests/unit/aio_rig.h"

#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- operations ------------------------------------------------------------------------------ */

static void every_op(const char *path, const char *kind)
{
	struct bk_spec spec = spec_of(path);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	unsigned char *buf = aligned(65536);
	struct bk_info info = info_of(v);

	cr_assert(strcmp(bk_kind(v), kind) == 0);
	cr_assert(info.size_bytes == 16 * MIB && !info.is_volatile && !info.is_inline);
	cr_assert(bk_queue_fd(q) >= 0 && !bk_map(v, 0, 4096));
	memset(buf, 0x77, 65536);
	cr_assert(do_op(q, BRP_OP_WRITE, MIB, 65536, buf) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 16 * MIB - 65536, 65536, buf) == 0);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, MIB + 4096, 8192, NULL) == 0);
	memset(buf, 0, 65536);
	cr_assert(do_op(q, BRP_OP_READ, MIB, 65536, buf) == 0);
	cr_assert(all_are(buf, 4096, 0x77) && all_are(buf + 4096, 8192, 0) &&
		  all_are(buf + 12288, 65536 - 12288, 0x77));
	if (info.volume_flags & BRP_VOL_DISCARD)
		cr_assert(do_op(q, BRP_OP_DISCARD, MIB, 65536, NULL) == 0);
	else
		cr_assert(do_op(q, BRP_OP_DISCARD, MIB, 65536, NULL) == -EOPNOTSUPP);
	cr_assert(do_op(q, BRP_OP_READ, 16 * MIB - 65536, 65536, buf) == 0 &&
		  all_are(buf, 65536, 0x77));
	close_both(q, v);
	free(buf);
}

Test(aio, file_ops, .init = setup, .fini = teardown)
{
	every_op(file, "file");
}

Test(aio, device_ops, .init = setup, .fini = teardown)
{
	attach_loop("");
	every_op(loop_dev, "device");
}

static void random_on(const char *path, int total)
{
	struct bk_spec spec = spec_of(path);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 64);

	random_verify(q, 16 * MIB / RV_BLOCK, 64, total);
	close_both(q, v);
}

Test(aio, random_file, .init = setup, .fini = teardown)
{
	random_on(file, 10000);
}

Test(aio, random_device, .init = setup, .fini = teardown)
{
	attach_loop("");
	random_on(loop_dev, 10000);
}

Test(aio, random_partial_submits, .init = setup, .fini = teardown)
{
	submit_at_most = 3;
	submit_eagain = 7;
	random_on(file, 5000);
}

/* Without kernel room for even one request everything goes the slow way, and nothing is lost. */
Test(aio, random_no_kernel_memory, .init = setup, .fini = teardown)
{
	submit_eagain = 1;
	random_on(file, 1000);
}

Test(aio, random_old_kernel, .init = setup, .fini = teardown)
{
	only_for(BK_ENGINE_AIO);
	refuse_flags = true;
	random_on(file, 2000);
	cr_assert(nr_dsync_writes == 0 && nr_fdatasyncs > 0);
}

/* The descriptor's edges alone tell when to poll. */
Test(aio, edges, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	char *buf = aligned(4096);

	cr_assert(epoll_ctl(ep, EPOLL_CTL_ADD, bk_queue_fd(q), &ev) == 0);
	for (int i = 0; i < 2000; i++) {
		struct bk_req r[3] = {
			{.op = i % 16 ? BRP_OP_READ : BRP_OP_WRITE_ZEROES,
			 .bytes = 4096,
			 .buf = buf},
			{.op = BRP_OP_READ, .offset = 4096, .bytes = 4096, .buf = buf},
			{.op = BRP_OP_READ, .offset = 8192, .bytes = 4096, .buf = buf},
		};
		struct bk_req *done[8];
		unsigned int n = 0;

		for (int k = 0; k < 3; k++)
			bk_submit(q, &r[k]);
		bk_flush(q);
		while (n < 3) {
			unsigned int m = bk_poll(q, done, 8);

			n += m;
			if (!m)
				cr_assert(epoll_wait(ep, &ev, 1, 10000) == 1);
		}
	}
	close_both(q, v);
	close(ep);
	free(buf);
}

/* ---- zeroes ---------------------------------------------------------------------------------- */

static void zeroes_without(int modes)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_queue *q;
	unsigned char *buf = aligned(4 * MIB);

	refuse_fallocate = modes;
	v = must_open(&spec);
	q = must_queue(v, 8);
	cr_assert(!(info_of(v).volume_flags & BRP_VOL_DISCARD) == !!(modes & FALLOC_FL_PUNCH_HOLE));
	memset(buf, 0x11, 4 * MIB);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4 * MIB, buf) == 0);
	for (int i = 0; i < 2; i++) /* the second time it knows already */
		cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, 4096, 3 * MIB, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_READ, 0, 4 * MIB, buf) == 0);
	cr_assert(all_are(buf, 4096, 0x11) && all_are(buf + 4096, 3 * MIB, 0) &&
		  all_are(buf + 4096 + 3 * MIB, MIB - 4096, 0x11));
	close_both(q, v);
	free(buf);
}

Test(aio, zeroes, .init = setup, .fini = teardown)
{
	zeroes_without(0);
}

Test(aio, zeroes_by_hole, .init = setup, .fini = teardown)
{
	zeroes_without(FALLOC_FL_ZERO_RANGE);
}

Test(aio, zeroes_by_writing, .init = setup, .fini = teardown)
{
	zeroes_without(FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct worker {
	struct bk_volume *v;
	unsigned int at;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct bk_queue *q = must_queue(w->v, 8);
	unsigned char *buf = aligned(4096);
	uint64_t offset = w->at * MIB;

	for (unsigned int i = 0; i < 300; i++, offset += 4096) {
		memset(buf, (int)i, 4096);
		cr_assert(do_op(q, BRP_OP_WRITE, offset, 4096, buf) == 0);
		if (i % 4 == 0)
			cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, offset, 4096, NULL) == 0);
		if (i % 8 == 1)
			cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
		cr_assert(do_op(q, BRP_OP_READ, offset, 4096, buf) == 0);
		cr_assert(all_are(buf, 4096, i % 4 ? (unsigned char)i : 0));
	}
	bk_queue_destroy(q);
	free(buf);
	return NULL;
}

Test(aio, threads, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct worker w[4];
	pthread_t t[4];

	for (unsigned int i = 0; i < 4; i++) {
		w[i] = (struct worker){.v = v, .at = 4 * i};
		pthread_create(&t[i], NULL, work, &w[i]);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	bk_close(v);
}

/* ---- a number -------------------------------------------------------------------------------- */

Test(aio, speed, .init = setup, .fini = teardown)
{
	enum { DEPTH = 32, TOTAL = 20000 };
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, DEPTH);
	struct bk_req r[DEPTH];
	struct bk_req *done[DEPTH];
	unsigned int seed = 3;
	char *buf = aligned(4 * MIB);
	int finished = 0;
	uint64_t start;

	for (int i = 0; i < 4; i++)
		cr_assert(do_op(q, BRP_OP_WRITE, (uint64_t)i * 4 * MIB, 4 * MIB, buf) == 0);
	nr_submits = 0;
	start = now_ns();
	for (int i = 0; i < DEPTH; i++) {
		r[i] = (struct bk_req){.op = BRP_OP_READ,
				       .bytes = 4096,
				       .buf = buf + i * 4096,
				       .offset = (uint64_t)(rand_r(&seed) % 4096) * 4096};
		bk_submit(q, &r[i]);
	}
	bk_flush(q);
	while (finished < TOTAL) {
		unsigned int n = bk_poll(q, done, DEPTH);

		finished += (int)n;
		for (unsigned int i = 0; i < n; i++) {
			done[i]->offset = (uint64_t)(rand_r(&seed) % 4096) * 4096;
			bk_submit(q, done[i]);
		}
		bk_flush(q);
	}
	start = now_ns() - start;
	fprintf(stderr,
		"# aio file, 4 KiB random reads, depth %d: %.0f IOPS, %.1f requests per "
		"io_submit\n",
		DEPTH, (double)finished * 1e9 / (double)start, (double)finished / nr_submits);
	while (bk_in_flight(q))
		reap(q, done, DEPTH);
	close_both(q, v);
	free(buf);
}
