/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests of devices and files, by the engine that BRP_TEST_IO_ENGINE names: aio (also if it is not
 * set) or uring, which is skipped where there is none. Some library calls go through wrappers
 * (linker option --wrap) that count them or make them fail. Works in a folder of its own under the
 * current one, which must be on a file system with direct I/O; else the tests are skipped.
 */
#ifndef TESTS_AIO_RIG_H
#define TESTS_AIO_RIG_H

#include "tests/unit/backend_util.h"

#include <stdatomic.h>

#define MIB (1u << 20)

/* Fails call number fail_at, counting every wrapped call that can fail for want of something; 0 =
 * none. */
extern atomic_int nr_calls;
extern int fail_at;

extern atomic_int nr_dsync_writes;
extern atomic_int nr_plain_writes;
extern atomic_int nr_fdsyncs;
extern atomic_int nr_fdatasyncs;
extern atomic_int nr_submits;
extern atomic_int nr_setups;
extern atomic_int nr_destroys;
extern bool refuse_flags;    /* an old kernel: no RWF_DSYNC, no FDSYNC (libaio) */
extern int submit_at_most;   /* per call; 0 = all (libaio) */
extern int submit_eagain;    /* every so many-th call; 1 = always */
extern int submit_error;     /* negative errno for the first of a batch, once */
extern int refuse_fallocate; /* modes */
extern bool refuse_setup;    /* contexts and rings */
extern bool refuse_rings;
extern int max_contexts; /* at a time; 0 = no limit but the kernel's */
extern atomic_int destroy_ms;

extern char dir[64];      /* of this test */
extern char file[96];     /* in it, 16 MiB of zeroes */
extern char loop_dev[64]; /* after attach_loop() */

extern int register_error;  /* negative errno for memory that is to be registered */
extern atomic_int nr_fixed; /* reads and writes with registered memory */
/* What the next completion says instead of the truth: negative errno or bytes; 0 = the truth. */
extern int false_result;
extern int probe_error; /* negative errno for the ring that is made to see whether there is any */

enum bk_engine engine_under_test(void);
static inline bool is_uring(void)
{
	return engine_under_test() == BK_ENGINE_URING;
}
/* Skips a test of what only the other one does. */
void only_for(enum bk_engine engine);

void setup(void);
void teardown(void);
/* Attaches the file to a loop device, or skips. */
void attach_loop(const char *options);
void make_file(const char *path, off_t bytes);
int shell(const char *fmt, ...) PRINTF_LIKE(1, 2);

static inline struct bk_spec spec_of(const char *path)
{
	return (struct bk_spec){.path = path, .numa_node = -1, .engine = engine_under_test()};
}

static inline struct bk_info info_of(const struct bk_volume *v)
{
	struct bk_info info;

	bk_get_info(v, &info);
	return info;
}

static inline int open_result(const struct bk_spec *spec)
{
	struct bk_volume *v = NULL;
	int r = bk_open(spec, &v);

	if (!r)
		bk_close(v);
	return r;
}

static inline void close_both(struct bk_queue *q, struct bk_volume *v)
{
	bk_queue_destroy(q);
	bk_close(v);
}

#endif
