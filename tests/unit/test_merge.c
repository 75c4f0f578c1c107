/* SPDX-License-Identifier: BSD-2-Clause */
/* When requests leave and in which messages: modes, limits, reasons, send slots. */
#include <criterion/criterion.h>

#include <errno.h>

#include "tests/fakes/fake_session.h"

TestSuite(merge, .init = fake_reset);

static struct brp_request reqs[BRP_MAX_JUMBO_REQUESTS];

static struct brp_options options(enum brp_merge merge)
{
	struct brp_options opt = BRP_OPTIONS_INIT;

	opt.merge = merge;
	return opt;
}

static void submit_n(struct fake_rig *rig, enum brp_io_op op, unsigned int n, uint64_t bytes,
		     struct fake_io *io)
{
	for (unsigned int i = 0; i < n; i++)
		cr_assert_eq(fake_submit(rig, op, i * bytes, bytes, io), 0);
}

Test(merge, adaptive_sends_the_first_at_once)
{
	struct fake_rig rig = fake_rig_up(NULL);
	unsigned int flushes = rig.c->nr_flushes;
	struct fake_io io = {0};

	submit_n(&rig, BRP_READ, 1, 4096, &io);
	cr_assert_eq(fake_nr_jumbos(rig.c), 1);
	cr_assert_eq(rig.c->nr_flushes, flushes + 1);
	cr_assert_eq(fake_stats(&rig).sent_idle, 1);
	fake_rig_down(&rig);
}

Test(merge, more_waits_for_the_rest_of_its_batch)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct fake_io io = {0};

	struct brp_io raw = {.op = BRP_READ,
			     .flags = BRP_MORE,
			     .bytes = 4096,
			     .buf = rig.buf,
			     .mem = rig.mem,
			     .done = fake_done,
			     .arg = &io};

	for (int i = 0; i < 3; i++)
		cr_assert_eq(brp_submit(rig.q, &raw), 0);
	cr_assert_eq(fake_nr_jumbos(rig.c), 0);
	brp_kick(rig.q);
	cr_assert_eq(fake_nr_jumbos(rig.c), 1);
	cr_assert_eq(fake_jumbo(rig.c, 0, reqs), 3);
	fake_rig_down(&rig);
}

Test(merge, adaptive_gathers_until_kick)
{
	struct fake_rig rig = fake_rig_up(NULL);
	unsigned int flushes = rig.c->nr_flushes;
	struct fake_io io = {0};

	submit_n(&rig, BRP_READ, 9, 512, &io);
	cr_assert_eq(fake_nr_jumbos(rig.c), 1);
	brp_kick(rig.q);
	cr_assert_eq(fake_nr_jumbos(rig.c), 2);
	cr_assert_eq(rig.c->nr_flushes, flushes + 2);
	cr_assert_eq(fake_jumbo(rig.c, 1, reqs), 8);
	cr_assert_eq(fake_stats(&rig).sent_kick, 1);
	cr_assert_eq(fake_stats(&rig).requests_per_message[0], 1);
	cr_assert_eq(fake_stats(&rig).requests_per_message[3], 1);
	brp_kick(rig.q); /* nothing left: nothing happens */
	cr_assert_eq(rig.c->nr_flushes, flushes + 2);
	fake_rig_down(&rig);
}

Test(merge, adaptive_full_jumbo_leaves_at_once)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct fake_io io = {0};

	submit_n(&rig, BRP_READ, 65, 512, &io);
	cr_assert_eq(fake_nr_jumbos(rig.c), 2);
	cr_assert_eq(fake_jumbo(rig.c, 1, reqs), 64);
	cr_assert_eq(fake_stats(&rig).sent_full, 1);
	cr_assert_eq(rig.c->nr_flushed, rig.c->nr_sent);
	fake_rig_down(&rig);
}

Test(merge, limit_of_the_target_counts)
{
	struct brp_options opt = options(BRP_MERGE_ADAPTIVE);
	struct fake_rig rig;
	struct fake_io io = {0};

	fake_config.login.max_requests = 3;
	rig = fake_rig_up(&opt);
	submit_n(&rig, BRP_READ, 10, 512, &io);
	brp_kick(rig.q);
	cr_assert_eq(fake_nr_jumbos(rig.c), 4);
	for (unsigned int i = 1; i < 4; i++)
		cr_assert_eq(fake_jumbo(rig.c, i, reqs), 3);
	fake_rig_down(&rig);
}

Test(merge, small_messages_of_the_target_count)
{
	struct fake_rig rig;
	struct fake_io io = {0};

	fake_config.hello.max_message_bytes = 1024; /* 31 requests, and nearly no room for data */
	rig = fake_rig_up(NULL);
	submit_n(&rig, BRP_WRITE, 40, 512, &io);
	brp_kick(rig.q);
	for (unsigned int i = 0; i < rig.c->nr_sent; i++)
		cr_assert_leq(rig.c->sent[i].length, 1024);
	fake_rig_down(&rig);
}

Test(merge, in_capsule_bytes_of_a_message_are_limited)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct fake_io io = {0};

	submit_n(&rig, BRP_WRITE, 18, 4096, &io);
	brp_kick(rig.q);
	cr_assert_eq(fake_nr_jumbos(rig.c), 3);
	cr_assert_eq(fake_jumbo(rig.c, 1, reqs), 16); /* 65536 bytes */
	cr_assert_eq(fake_jumbo(rig.c, 2, reqs), 1);
	cr_assert_eq(fake_stats(&rig).sent_full, 1);
	fake_rig_down(&rig);
}

Test(merge, in_capsule_data_is_in_place)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct fake_io io = {0};
	int n;

	memset(rig.buf, 'w', 4096);
	submit_n(&rig, BRP_READ, 1, 512, &io);
	submit_n(&rig, BRP_WRITE, 1, 4096, &io);
	submit_n(&rig, BRP_READ, 1, 512, &io);
	submit_n(&rig, BRP_WRITE, 1, 512, &io);
	brp_kick(rig.q);
	n = fake_jumbo(rig.c, 1, reqs);
	cr_assert_eq(n, 3);
	cr_assert_eq(reqs[0].flags, BRP_REQ_IN_CAPSULE);
	cr_assert_eq(reqs[0].addr, 16 + 3 * 32);
	cr_assert_eq(reqs[2].addr, 16 + 3 * 32 + 4096);
	cr_assert_eq(rig.c->sent[rig.c->nr_sent - 1].length, 16 + 3 * 32 + 4096 + 512);
	cr_assert_eq(rig.c->sent[rig.c->nr_sent - 1].bytes[16 + 3 * 32], 'w');
	cr_assert_eq(rig.c->nr_exposed, 2); /* the reads */
	fake_rig_down(&rig);
}

Test(merge, target_without_in_capsule)
{
	struct fake_rig rig;
	struct fake_io io = {0};

	fake_config.login.in_capsule_bytes = 0;
	rig = fake_rig_up(NULL);
	submit_n(&rig, BRP_WRITE, 1, 512, &io);
	cr_assert_eq(fake_jumbo(rig.c, 0, reqs), 1);
	cr_assert_eq(reqs[0].flags, 0);
	cr_assert_eq(rig.c->nr_exposed, 1);
	fake_rig_down(&rig);
}

Test(merge, large_takes_along_what_is_gathered)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct fake_io io = {0};

	submit_n(&rig, BRP_READ, 3, 4096, &io);
	submit_n(&rig, BRP_READ, 1, 65536, &io);
	submit_n(&rig, BRP_READ, 1, 65536, &io);
	cr_assert_eq(fake_nr_jumbos(rig.c), 3);
	cr_assert_eq(fake_jumbo(rig.c, 1, reqs), 3);
	cr_assert_eq(fake_jumbo(rig.c, 2, reqs), 1);
	cr_assert_eq(fake_stats(&rig).sent_large, 2);
	fake_rig_down(&rig);
}

Test(merge, off_is_one_message_per_request)
{
	struct brp_options opt = options(BRP_MERGE_OFF);
	struct fake_rig rig = fake_rig_up(&opt);
	unsigned int flushes = rig.c->nr_flushes;
	struct fake_io io = {0};

	submit_n(&rig, BRP_WRITE, 5, 4096, &io);
	cr_assert_eq(fake_nr_jumbos(rig.c), 5);
	cr_assert_eq(rig.c->nr_flushes, flushes + 5);
	cr_assert_eq(fake_stats(&rig).requests_per_message[0], 5);
	cr_assert_eq(fake_stats(&rig).sent_idle, 1);
	cr_assert_eq(fake_stats(&rig).sent_full, 4);
	fake_rig_down(&rig);
}

Test(merge, always_waits_for_its_window)
{
	struct brp_options opt = options(BRP_MERGE_ALWAYS);
	struct fake_rig rig;
	struct fake_io io = {0};

	opt.merge_window_us = 50000;
	rig = fake_rig_up(&opt);
	submit_n(&rig, BRP_READ, 3, 512, &io);
	brp_kick(rig.q);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(fake_nr_jumbos(rig.c), 0);
	cr_assert_eq(brp_wait(rig.q, 200), 0);
	cr_assert_eq(fake_nr_jumbos(rig.c), 1);
	cr_assert_eq(fake_jumbo(rig.c, 0, reqs), 3);
	cr_assert_eq(fake_stats(&rig).sent_window, 1);
	fake_rig_down(&rig);
}

Test(merge, always_sends_a_full_jumbo_before_its_window_ends)
{
	struct brp_options opt = options(BRP_MERGE_ALWAYS);
	struct fake_rig rig;
	struct fake_io io = {0};

	opt.merge_window_us = 10000000;
	opt.merge_max_requests = 4;
	rig = fake_rig_up(&opt);
	submit_n(&rig, BRP_READ, 6, 512, &io);
	cr_assert_eq(fake_nr_jumbos(rig.c), 1);
	cr_assert_eq(fake_stats(&rig).sent_full, 1);
	fake_rig_down(&rig); /* the two that never left complete as well */
	cr_assert_eq(io.nr_done, 6);
	cr_assert_eq(io.result, -ECANCELED);
}

struct resubmit {
	struct fake_rig *rig;
	struct fake_io io;
	int left;
};

static void resubmit(void *arg, int result)
{
	struct resubmit *r = arg;

	fake_done(&r->io, result);
	if (r->left-- <= 0)
		return;
	cr_assert_eq(brp_submit(r->rig->q, &(struct brp_io){.op = BRP_READ,
							    .bytes = 512,
							    .buf = r->rig->buf,
							    .mem = r->rig->mem,
							    .done = resubmit,
							    .arg = r}),
		     0);
}

Test(merge, what_callbacks_submit_leaves_together)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct resubmit r = {.rig = &rig, .left = 8};
	struct brp_completion done[4];

	for (int i = 0; i < 8; i++)
		resubmit(&r, 0);
	brp_kick(rig.q);
	cr_assert_eq(fake_jumbo(rig.c, 1, reqs), 7);
	r.left = 4;
	for (int i = 0; i < 4; i++)
		done[i] = (struct brp_completion){.tag = reqs[i].tag};
	fake_respond(rig.c, done, 4);
	cr_assert_eq(brp_poll(rig.q), 4);
	cr_assert_eq(fake_nr_jumbos(rig.c), 3);
	cr_assert_eq(fake_jumbo(rig.c, 2, reqs), 4);
	cr_assert_eq(fake_stats(&rig).sent_completion, 1);
	fake_rig_down(&rig);
}

Test(merge, goes_on_when_send_slots_get_free)
{
	struct brp_options opt = options(BRP_MERGE_OFF);
	struct fake_rig rig;
	struct fake_io io = {0};

	opt.queue_depth = 8;
	rig = fake_rig_up(&opt);
	fake_config.keeps_slots = true;
	submit_n(&rig, BRP_READ, 8, 512, &io);
	rig.c->slots_used = 8;
	fake_free_slots(rig.c);
	cr_assert_eq(fake_nr_jumbos(rig.c), 8);
	fake_config.keeps_slots = false;
	fake_rig_down(&rig);

	fake_reset();
	fake_config.keeps_slots = true;
	fake_nr_conns = 0;
	opt.queue_depth = 16;
	rig = fake_rig_up(&opt);
	fake_free_slots(rig.c);
	rig.c->slots_used = 13; /* of 16 */
	submit_n(&rig, BRP_READ, 10, 512, &io);
	cr_assert_eq(fake_nr_jumbos(rig.c), 3);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(fake_nr_jumbos(rig.c), 3);
	fake_free_slots(rig.c);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(fake_nr_jumbos(rig.c), 10);
	cr_assert_eq(rig.c->nr_flushed, rig.c->nr_sent);
	fake_rig_down(&rig);
}

Test(merge, keepalive_goes_before_what_waits_for_a_slot)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct fake_io io = {0};

	fake_config.keeps_slots = true;
	rig.c->slots_used = rig.c->params.send_count;
	submit_n(&rig, BRP_READ, 3, 512, &io);
	fake_keepalive(rig.c, 1, 7);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(fake_count(rig.c, BRP_MSG_KEEPALIVE_REPLY), 0);
	fake_free_slots(rig.c);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(rig.c->sent[rig.c->nr_sent - 2].bytes[0], BRP_MSG_KEEPALIVE_REPLY);
	cr_assert_eq(fake_jumbo(rig.c, 0, reqs), 3);
	fake_rig_down(&rig);
}
