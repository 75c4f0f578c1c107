/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and files: the kernel takes its time to destroy a context, and nobody waits for it. */
#include "tests/unit/aio_rig.h"

#include <unistd.h>

#define SLOW_MS 400

struct contexts {
	struct bk_volume *v;
	char *buf;
};

static void start(struct contexts *c)
{
	struct bk_spec spec = spec_of(file);

	c->v = must_open(&spec);
	c->buf = aligned(4096);
}

static void read_one(struct contexts *c, struct bk_queue *q)
{
	cr_assert(do_op(q, BRP_OP_READ, 0, 4096, c->buf) == 0);
}

static void wait_all_destroyed(void)
{
	for (int ms = 0; nr_destroys != nr_setups && ms < POLL_TIMEOUT_MS; ms++)
		usleep(1000);
	cr_assert(nr_destroys == nr_setups);
}

static void finish(struct contexts *c)
{
	bk_close(c->v);
	free(c->buf);
	wait_all_destroyed();
}

Test(aio_context, leaving_holds_up_nobody, .init = setup, .fini = teardown)
{
	struct contexts c;
	struct bk_queue *leaving[4];
	struct bk_queue *staying;
	uint64_t start_ns;

	start(&c);
	staying = must_queue(c.v, 8);
	for (int i = 0; i < 4; i++)
		leaving[i] = must_queue(c.v, 8);
	destroy_ms = SLOW_MS;
	start_ns = now_ns();
	for (int i = 0; i < 4; i++) {
		read_one(&c, leaving[i]);
		bk_queue_destroy(leaving[i]);
		read_one(&c, staying);
	}
	cr_assert(now_ns() - start_ns < SLOW_MS * NS_PER_US * 1000);
	destroy_ms = 0;
	bk_queue_destroy(staying);
	finish(&c);
}

Test(aio_context, retired_ones_are_used_again, .init = setup, .fini = teardown)
{
	struct contexts c;
	struct bk_queue *q[4];
	int before;

	start(&c);
	wait_all_destroyed(); /* the probe has had one */
	destroy_ms = SLOW_MS;
	for (int i = 0; i < 4; i++)
		q[i] = must_queue(c.v, 32);
	for (int i = 0; i < 4; i++) {
		read_one(&c, q[i]);
		bk_queue_destroy(q[i]);
	}
	before = nr_setups;
	for (int i = 0; i < 3; i++) { /* the fourth is being destroyed */
		q[i] = must_queue(c.v, 32);
		read_one(&c, q[i]);
	}
	cr_assert(nr_setups == before);
	random_verify(q[0], 256, 32, 2000);
	destroy_ms = 0;
	for (int i = 0; i < 3; i++)
		bk_queue_destroy(q[i]);
	finish(&c);
}

Test(aio_context, a_small_one_is_no_use_for_many_requests, .init = setup, .fini = teardown)
{
	struct contexts c;
	struct bk_queue *q;

	start(&c);
	destroy_ms = SLOW_MS;
	bk_queue_destroy(must_queue(c.v, 4));
	bk_queue_destroy(must_queue(c.v, 5));
	q = must_queue(c.v, 64);
	destroy_ms = 0;
	random_verify(q, 256, 64, 2000);
	bk_queue_destroy(q);
	finish(&c);
}

/* What is retired must not be the reason that a connection is refused. */
Test(aio_context, retired_ones_make_room, .init = setup, .fini = teardown)
{
	struct contexts c;
	struct bk_queue *q[4];

	start(&c);
	wait_all_destroyed();
	max_contexts = 4;
	destroy_ms = SLOW_MS;
	for (int i = 0; i < 4; i++)
		q[i] = must_queue(c.v, 8);
	for (int i = 0; i < 4; i++)
		bk_queue_destroy(q[i]);
	q[0] = must_queue(c.v, 64);
	read_one(&c, q[0]);
	destroy_ms = 0;
	bk_queue_destroy(q[0]);
	finish(&c);
}

Test(aio_context, without_a_thread_it_is_destroyed_at_once, .init = setup, .fini = teardown)
{
	struct contexts c;
	struct bk_queue *q;

	start(&c);
	/* The thread of the one before ends when the kernel has destroyed that, in 30 ms or later.
	 */
	for (unsigned int ms = 50; ms < 2000 && nr_calls != 1; ms *= 2) {
		wait_all_destroyed();
		usleep(ms * 1000);
		q = must_queue(c.v, 8);
		nr_calls = 0;
		fail_at = 1;
		bk_queue_destroy(q);
		fail_at = 0;
	}
	cr_assert(nr_calls == 1 && nr_destroys == nr_setups);
	finish(&c);
}
