/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory and null volumes, and faults around them. */
#include "tests/unit/backend_util.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/util.h"

static struct bk_spec spec_of(const char *path)
{
	return (struct bk_spec){.path = path, .numa_node = -1};
}

static struct bk_info info_of(const struct bk_volume *v)
{
	struct bk_info info;

	bk_get_info(v, &info);
	return info;
}

Test(mem, info)
{
	struct bk_spec spec = spec_of("ram:1M");
	struct bk_volume *a = must_open(&spec);
	struct bk_volume *b = must_open(&spec);
	struct bk_info i = info_of(a);
	struct bk_info j = info_of(b);

	cr_assert(i.size_bytes == 1 << 20 && i.block_bytes == 4096 && i.align_bytes == 1);
	cr_assert(i.is_volatile && i.is_inline && i.cache == BRP_CACHE_WRITE_THROUGH);
	cr_assert(memcmp(&i.uuid, &j.uuid, sizeof(i.uuid)) != 0);
	cr_assert(i.generation != j.generation);
	cr_assert(strcmp(bk_kind(a), "ram") == 0);
	bk_close(a);
	bk_close(b);
	bk_close(NULL);
	bk_queue_destroy(NULL);
}

Test(mem, refusals)
{
	static const struct {
		const char *path;
		uint32_t block;
		int err;
	} t[] = {
		{"ram:", 0, -EINVAL},
		{"ram:x", 0, -EINVAL},
		{"ram:-1", 0, -EINVAL},
		{"ram:4G4", 0, -EINVAL},
		{"ram:1k", 0, -EINVAL},
		{"ram:0", 0, -EINVAL},
		{"ram:1M", 100, -EINVAL},
		{"ram:1M", 256, -EINVAL},
		{"ram:1M", 131072, -EINVAL},
		{"ram:1M", 3072, -EINVAL},
		{"ram:100000T", 0, -ENOMEM},
		{"null:", 0, -EINVAL},
		{"null:99999999999999999999", 0, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct bk_spec spec = spec_of(t[i].path);
		struct bk_volume *v;

		spec.block_bytes = t[i].block;
		cr_assert(bk_open(&spec, &v) == t[i].err, "%s", t[i].path);
	}
}

Test(mem, odd_size_is_cut)
{
	struct bk_spec spec = spec_of("ram:10000");
	struct bk_volume *v = must_open(&spec);

	cr_assert(info_of(v).size_bytes == 8192);
	bk_close(v);
	spec.block_bytes = 512;
	v = must_open(&spec);
	cr_assert(info_of(v).size_bytes == 9728 && info_of(v).block_bytes == 512);
	bk_close(v);
}

Test(mem, operations)
{
	struct bk_spec spec = spec_of("ram:1M");
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 4);
	unsigned char *buf = aligned(65536);
	size_t bytes;

	cr_assert(bk_queue_fd(q) == -1);
	cr_assert(do_op(q, BRP_OP_READ, 0, 65536, buf) == 0 && all_are(buf, 65536, 0));
	memset(buf, 0x5a, 65536);
	cr_assert(do_op(q, BRP_OP_WRITE, (1 << 20) - 65536, 65536, buf) == 0);
	cr_assert(all_are(bk_map(v, (1 << 20) - 65536, 65536), 65536, 0x5a));
	cr_assert(bk_memory(v, &bytes) == bk_map(v, 0, 4096) && bytes == 1 << 20);
	cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, (1 << 20) - 65536, 4096, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_DISCARD, (1 << 20) - 4096, 4096, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_READ, (1 << 20) - 65536, 65536, buf) == 0);
	cr_assert(all_are(buf, 4096, 0) && all_are(buf + 4096, 57344, 0x5a) &&
		  all_are(buf + 61440, 4096, 0));
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

/* Zeroing that takes long leaves room for others between its pieces, and ends right. */
static void zero_at_length(const char *fault)
{
	static const uint64_t size = 64u << 20;
	struct bk_spec spec = spec_of("ram:64M");
	struct bk_volume *v;
	struct bk_queue *q;
	struct bk_req zeroes = {.op = BRP_OP_WRITE_ZEROES, .offset = 4096, .bytes = size - 8192};
	struct bk_req discard = {.op = BRP_OP_DISCARD, .offset = size / 2, .bytes = size / 2};
	struct bk_req *done[4];
	unsigned int nr_polls = 0;
	unsigned int n;
	unsigned char *buf = aligned(size);

	spec.fault = fault;
	v = must_open(&spec);
	q = must_queue(v, 4);
	memset(buf, 0x5a, size);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, size, buf) == 0);
	bk_submit(q, &zeroes);
	bk_submit(q, &discard);
	bk_flush(q);
	for (; (n = bk_poll(q, done, 4)) == 0; nr_polls++)
		cr_assert(bk_in_flight(q) == 2);
	if (n == 1) /* a cache's thread may have ended both */
		cr_assert(reap(q, done + 1, 3) == 1);
	cr_assert(done[0] == &zeroes && zeroes.result == 0);
	cr_assert(fault || nr_polls >= 8, "%u polls", nr_polls);
	cr_assert(done[1] == &discard && discard.result == 0);
	cr_assert(do_op(q, BRP_OP_READ, 0, size, buf) == 0);
	cr_assert(all_are(buf, 4096, 0x5a) && all_are(buf + 4096, size - 4096, 0));
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

Test(mem, zeroing_at_length)
{
	zero_at_length(NULL);
}

Test(mem, zeroing_at_length_behind_faults)
{
	zero_at_length("delay=1us:write");
	zero_at_length("volatile");
}

Test(mem, read_only)
{
	struct bk_spec spec = spec_of("ram:1M");
	struct bk_volume *v;
	struct bk_queue *q;
	char *buf = aligned(4096);

	spec.is_read_only = true;
	v = must_open(&spec);
	q = must_queue(v, 4);
	cr_assert(info_of(v).volume_flags & BRP_VOL_READ_ONLY);
	cr_assert(do_op(q, BRP_OP_READ, 0, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == -EROFS);
	cr_assert(do_op(q, BRP_OP_DISCARD, 0, 4096, NULL) == -EROFS);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

Test(mem, random)
{
	struct bk_spec spec = spec_of("ram:4M");
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 64);

	random_verify(q, 1024, 64, 20000);
	bk_queue_destroy(q);
	bk_close(v);
}

Test(null, operations)
{
	struct bk_spec spec = spec_of("null:64G");
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 4);
	char *buf = aligned(4096);
	size_t bytes;

	cr_assert(info_of(v).size_bytes == 64ull << 30);
	cr_assert(!bk_map(v, 0, 4096) && !bk_memory(v, &bytes));
	memset(buf, 7, 4096);
	for (int op = BRP_OP_READ; op <= BRP_OP_FLUSH; op++)
		cr_assert(do_op(q, (enum brp_op)op, op == BRP_OP_FLUSH ? 0 : (64ull << 30) - 4096,
				op == BRP_OP_FLUSH ? 0 : 4096, buf) == 0);
	cr_assert(all_are(buf, 4096, 0)); /* nothing of another host's */
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static struct bk_volume *with_fault(const char *plan)
{
	struct bk_spec spec = spec_of("ram:4M");

	spec.fault = plan;
	return must_open(&spec);
}

Test(fault, bad_plans)
{
	static const char *const plans[] = {
		"",
		"x",
		"delay",
		"delay=5",
		"delay=ms",
		"delay=-1ms",
		"error=",
		"error=EFOO",
		"error=EIO@",
		"error=EIO@1M",
		"error=EIO@2M-1M",
		"error=EIO:foo",
		"stall=foo",
		"error=EIO:x",
		"error=EIO:x0",
		"stallx",
		"delay=100000s",
		"error=EIO:skip",
		"error=EIO:every0",
		"volatile=",
		"volatile=1",
		"volatiles",
	};

	for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
		struct bk_spec spec = spec_of("ram:4M");
		struct bk_volume *v;

		spec.fault = plans[i];
		cr_assert(bk_open(&spec, &v) == -EINVAL, "'%s'", plans[i]);
	}
}

Test(fault, errors)
{
	struct bk_volume *v = with_fault(
		"error=EIO@1M-2M,error=ENOSPC@0-4k:write:x2+error=EREMOTEIO:flush:skip1:x1");
	struct bk_queue *q = must_queue(v, 4);
	char *buf = aligned(8192);

	cr_assert(strcmp(bk_kind(v), "fault") == 0 && !bk_map(v, 0, 4096));
	cr_assert(do_op(q, BRP_OP_READ, 0, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_READ, (1 << 20) - 4096, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_READ, (1 << 20) - 4096, 8192, buf) == -EIO);
	cr_assert(do_op(q, BRP_OP_WRITE, (2 << 20) - 4096, 4096, buf) == -EIO);
	cr_assert(do_op(q, BRP_OP_WRITE, 2 << 20, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 4096, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == -ENOSPC);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 8192, buf) == -ENOSPC);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == -EREMOTEIO);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

Test(fault, every_nth)
{
	struct bk_volume *v = with_fault("error=EIO:write:skip1:every3:x2");
	struct bk_queue *q = must_queue(v, 4);
	char *buf = aligned(4096);
	const char *want = ".E..E.....";

	for (const char *w = want; *w; w++)
		cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == (*w == 'E' ? -EIO : 0));
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

/* Delays do not hold up what is not delayed, and the descriptor tells when they are over. */
Test(fault, delays)
{
	struct bk_volume *v = with_fault("delay=30ms:write");
	struct bk_queue *q = must_queue(v, 8);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	char *buf = aligned(4096);
	struct bk_req w[3];
	struct bk_req rd = {.op = BRP_OP_READ, .bytes = 4096, .buf = buf};
	struct bk_req *done[8];
	uint64_t start = now_ns();
	unsigned int n = 0;

	cr_assert(epoll_ctl(ep, EPOLL_CTL_ADD, bk_queue_fd(q), &ev) == 0);
	for (int i = 0; i < 3; i++) {
		w[i] = (struct bk_req){
			.op = BRP_OP_WRITE, .offset = 4096, .bytes = 4096, .buf = buf};
		bk_submit(q, &w[i]);
	}
	bk_submit(q, &rd);
	bk_flush(q);
	cr_assert(bk_poll(q, done, 8) == 1 && done[0] == &rd);
	cr_assert(bk_in_flight(q) == 3);
	while (n < 3) {
		n += bk_poll(q, done + n, 8 - n);
		if (n < 3)
			cr_assert(epoll_wait(ep, &ev, 1, 5000) == 1);
	}
	cr_assert(now_ns() - start >= 30 * NS_PER_MS);
	cr_assert(now_ns() - start < 5 * NS_PER_S);
	bk_queue_destroy(q);
	bk_close(v);
	close(ep);
	free(buf);
}

Test(fault, stall)
{
	/* never finishes, so the queue cannot be destroyed: that is what a stall is */
	static struct bk_queue *q;
	static char *buf;
	static struct bk_req r;
	struct bk_req *done[8];

	q = must_queue(with_fault("stall=read:x1"), 8);
	buf = aligned(4096);
	r = (struct bk_req){.op = BRP_OP_READ, .bytes = 4096, .buf = buf};
	bk_submit(q, &r);
	bk_flush(q);
	for (int i = 0; i < 50; i++) {
		struct timespec ms = {.tv_nsec = 1000000};

		cr_assert(bk_poll(q, done, 8) == 0);
		nanosleep(&ms, NULL);
	}
	cr_assert(bk_in_flight(q) == 1);
}

Test(fault, random)
{
	struct bk_volume *v = with_fault("delay=200us:read,delay=100us");
	struct bk_queue *q = must_queue(v, 32);

	random_verify(q, 1024, 32, 3000);
	bk_queue_destroy(q);
	bk_close(v);
}
