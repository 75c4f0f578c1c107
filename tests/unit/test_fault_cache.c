/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volatile cache of fault=volatile, over a memory volume whose bytes can be looked at, and over
 * a file whose process dies.
 */
#include "tests/unit/backend_util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target/backend/fault_cache.h"

#define MIB (1u << 20)

struct rig {
	struct bk_volume *lower;
	struct fault_cache *cache;
	struct fault_cache_port port;
	unsigned char *buf;
};

static void rig_up(struct rig *rig, const char *fault_below, uint64_t cache_bytes)
{
	struct bk_spec spec = {.path = "ram:16M", .numa_node = -1, .fault = fault_below};

	rig->lower = must_open(&spec);
	rig->buf = aligned(4 * MIB);
	cr_assert(fault_cache_create(rig->lower, cache_bytes, &rig->cache) == 0);
	cr_assert(fault_cache_port_init(&rig->port) == 0);
}

static void rig_down(struct rig *rig)
{
	fault_cache_port_finish(&rig->port);
	fault_cache_destroy(rig->cache);
	bk_close(rig->lower);
	free(rig->buf);
}

/* What the lower volume holds, all of one value. */
static bool lower_is(const struct rig *rig, uint64_t offset, uint64_t bytes, unsigned char value)
{
	return all_are(bk_map(rig->lower, offset, bytes), bytes, value);
}

/* Through the cache; *ret_verdict may be NULL. */
static int op(struct rig *rig, enum brp_op what, bool is_fua, uint64_t offset, uint64_t bytes,
	      enum fault_cache_verdict *ret_verdict)
{
	struct bk_req r = {.op = what, .offset = offset, .bytes = bytes, .buf = rig->buf};
	enum fault_cache_verdict verdict = fault_cache_submit(rig->cache, &rig->port, &r, is_fua);
	struct bk_req *done = NULL;

	if (ret_verdict)
		*ret_verdict = verdict;
	if (verdict == FAULT_CACHE_LOWER)
		memcpy(rig->buf, bk_map(rig->lower, offset, bytes), bytes);
	if (verdict != FAULT_CACHE_TAKEN)
		return 0;
	for (int ms = 0; !done && ms < POLL_TIMEOUT_MS; ms++) {
		struct timespec pause = {.tv_nsec = 1000000};

		done = fault_cache_reap(&rig->port);
		if (!done)
			nanosleep(&pause, NULL);
	}
	cr_assert(done == &r);
	return r.result;
}

static void write_value(struct rig *rig, bool is_fua, uint64_t offset, uint64_t bytes, int value)
{
	memset(rig->buf, value, bytes);
	cr_assert(op(rig, BRP_OP_WRITE, is_fua, offset, bytes, NULL) == 0);
}

static void expect_value(struct rig *rig, uint64_t offset, uint64_t bytes, unsigned char value)
{
	memset(rig->buf, 0xee, bytes);
	cr_assert(op(rig, BRP_OP_READ, false, offset, bytes, NULL) == 0);
	cr_assert(all_are(rig->buf, bytes, value), "at %llu", (unsigned long long)offset);
}

Test(fault_cache, writes_stay_up_until_flush)
{
	struct rig rig;
	enum fault_cache_verdict verdict;

	rig_up(&rig, NULL, 4 * MIB);
	memset(rig.buf, 7, 8192);
	cr_assert(op(&rig, BRP_OP_WRITE, false, 4096, 8192, &verdict) == 0);
	cr_assert(verdict == FAULT_CACHE_DONE);
	cr_assert(lower_is(&rig, 4096, 8192, 0));
	expect_value(&rig, 4096, 8192, 7);
	cr_assert(op(&rig, BRP_OP_READ, false, 12288, 4096, &verdict) == 0);
	cr_assert(verdict == FAULT_CACHE_LOWER);
	cr_assert(op(&rig, BRP_OP_FLUSH, false, 0, 0, NULL) == 0);
	cr_assert(lower_is(&rig, 4096, 8192, 7) && lower_is(&rig, 0, 4096, 0));
	cr_assert(op(&rig, BRP_OP_READ, false, 4096, 8192, &verdict) == 0);
	cr_assert(verdict == FAULT_CACHE_LOWER && all_are(rig.buf, 8192, 7));
	rig_down(&rig);
}

Test(fault_cache, fua_goes_down_alone)
{
	struct rig rig;

	rig_up(&rig, NULL, 4 * MIB);
	write_value(&rig, false, 0, 16384, 1);
	write_value(&rig, true, 4096, 4096, 2);
	cr_assert(lower_is(&rig, 4096, 4096, 2) && lower_is(&rig, 8192, 8192, 0));
	expect_value(&rig, 0, 4096, 1);
	expect_value(&rig, 4096, 4096, 2);
	expect_value(&rig, 8192, 8192, 1);
	cr_assert(op(&rig, BRP_OP_FLUSH, false, 0, 0, NULL) == 0);
	cr_assert(lower_is(&rig, 4096, 4096, 2) && lower_is(&rig, 8192, 8192, 1));
	rig_down(&rig);
}

Test(fault_cache, zeroes_and_discards_replace_what_is_cached)
{
	struct rig rig;

	rig_up(&rig, NULL, 4 * MIB);
	write_value(&rig, false, 0, 65536, 3);
	cr_assert(op(&rig, BRP_OP_WRITE_ZEROES, false, 4096, 8192, NULL) == 0);
	expect_value(&rig, 0, 4096, 3);
	expect_value(&rig, 4096, 8192, 0);
	expect_value(&rig, 12288, 4096, 3);
	cr_assert(op(&rig, BRP_OP_DISCARD, false, 0, 16 * MIB, NULL) == 0);
	expect_value(&rig, 0, 65536, 0);
	write_value(&rig, false, 4096, 4096, 4);
	expect_value(&rig, 4096, 4096, 4);
	rig_down(&rig);
}

/* Three times its size: the oldest go down, nothing is lost. */
Test(fault_cache, full)
{
	struct rig rig;

	rig_up(&rig, NULL, MIB);
	for (unsigned int i = 0; i < 768; i++)
		write_value(&rig, false, i * 4096ull, 4096, (int)(i % 251));
	for (unsigned int i = 0; i < 768; i++)
		expect_value(&rig, i * 4096ull, 4096, (unsigned char)(i % 251));
	write_value(&rig, false, 0, 2 * MIB, 9); /* more than all of it */
	expect_value(&rig, 0, 2 * MIB, 9);
	rig_down(&rig);
}

Test(fault_cache, an_orderly_end_writes_down)
{
	struct rig rig;

	rig_up(&rig, NULL, 4 * MIB);
	for (unsigned int i = 0; i < 100; i += 2) /* with gaps */
		write_value(&rig, false, i * 4096ull, 4096, (int)i + 1);
	fault_cache_destroy(rig.cache);
	rig.cache = NULL;
	for (unsigned int i = 0; i < 100; i++)
		cr_assert(lower_is(&rig, i * 4096ull, 4096, i % 2 ? 0 : (unsigned char)(i + 1)));
	rig_down(&rig);
}

/* A failed write to the lower volume fails the flush, and what was not written stays. */
Test(fault_cache, errors_stay)
{
	struct rig rig;

	rig_up(&rig, "error=EIO:write:x1", MIB);
	write_value(&rig, false, 0, 4096, 5);
	cr_assert(op(&rig, BRP_OP_FLUSH, false, 0, 0, NULL) == -EIO);
	expect_value(&rig, 0, 4096, 5);
	cr_assert(op(&rig, BRP_OP_FLUSH, false, 0, 0, NULL) == 0);
	rig_down(&rig);
}

Test(fault_cache, random)
{
	static const char *const plans[] = {"volatile=1M", "volatile,delay=200us:write:every3"};

	for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
		struct bk_spec spec = {.path = "ram:8M", .numa_node = -1, .fault = plans[i]};
		struct bk_volume *v = must_open(&spec);
		struct bk_queue *q = must_queue(v, 32);

		random_verify(q, 1024, 32, 5000);
		bk_queue_destroy(q);
		bk_close(v);
	}
}

/* ---- a process that dies --------------------------------------------------------------------- */

static char file[128];

static void setup(void)
{
	int fd;

	snprintf(file, sizeof(file), "fault-cache-test-%d.img", (int)getpid());
	fd = open(file, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0)
		cr_skip_test("no direct I/O on this file system");
	cr_assert(ftruncate(fd, 4 * MIB) == 0);
	close(fd);
}

static void teardown(void)
{
	unlink(file);
}

/* Block 0: written. 1: written, then flushed with all before it. 2: FUA. 3: written. */
static void write_and_die(const struct bk_spec *spec)
{
	struct bk_queue *q = must_queue(must_open(spec), 4);
	char *buf = aligned(4096);
	struct bk_req r = {.op = BRP_OP_WRITE, .is_fua = true, .offset = 8192, .bytes = 4096};

	memset(buf, 1, 4096);
	r.buf = buf;
	cr_assert(do_op(q, BRP_OP_WRITE, 4096, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == 0);
	cr_assert(do_req(q, &r) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 12288, 4096, buf) == 0);
	kill(getpid(), SIGKILL);
}

/* What is left: one character a block, x = written. */
static void expect_left(struct bk_spec spec, const char *want)
{
	unsigned char *buf = aligned(16384);
	struct bk_volume *v;
	struct bk_queue *q;
	char got[5] = "----";
	pid_t child = fork();

	if (!child)
		write_and_die(&spec);
	cr_assert(child > 0 && waitpid(child, NULL, 0) == child);
	spec.fault = NULL;
	spec.is_unsafe_no_flush = false;
	v = must_open(&spec);
	q = must_queue(v, 1);
	cr_assert(do_op(q, BRP_OP_READ, 0, 16384, buf) == 0);
	for (unsigned int i = 0; i < 4; i++) {
		if (all_are(buf + i * 4096ull, 4096, 1))
			got[i] = 'x';
	}
	cr_assert(strcmp(got, want) == 0, "left: %s, must be: %s", got, want);
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

Test(fault_cache, kill_loses_what_was_not_flushed, .init = setup, .fini = teardown)
{
	expect_left((struct bk_spec){.path = file, .numa_node = -1, .fault = "volatile"}, "-xx-");
}

Test(fault_cache, kill_loses_nothing_without_it, .init = setup, .fini = teardown)
{
	expect_left((struct bk_spec){.path = file, .numa_node = -1}, "xxxx");
}

Test(fault_cache, write_through_loses_nothing, .init = setup, .fini = teardown)
{
	expect_left((struct bk_spec){.path = file,
				     .numa_node = -1,
				     .fault = "volatile",
				     .is_write_through = true},
		    "xxxx");
}

Test(fault_cache, without_flush_all_is_lost, .init = setup, .fini = teardown)
{
	expect_left((struct bk_spec){.path = file,
				     .numa_node = -1,
				     .fault = "volatile",
				     .is_unsafe_no_flush = true},
		    "----");
}
