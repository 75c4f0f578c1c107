/* SPDX-License-Identifier: BSD-2-Clause */
/* What comes back must be what was left: volume, generation, size, and acknowledged writes. */
#include "recover_rig.h"

TestSuite(recover_identity, .init = recover_reset, .timeout = 60);

static struct brp_request reqs[BRP_MAX_JUMBO_REQUESTS];

static struct fake_rig rig_up(unsigned int queues)
{
	struct brp_options opt = quick_options();

	opt.queues = queues;
	return fake_rig_up(&opt);
}

/* The target is another process now. The session has something to send again, so it logs in at a
 * newer epoch at once. */
static void restart_target(void)
{
	fake_config.login.boot_id.b[3]++;
	fake_config.newest_epoch = 0;
	for (unsigned int i = 0; i < fake_nr_conns; i++) {
		if (fake_conns[i] && !fake_conns[i]->is_closed)
			fake_deliver_closed(fake_conns[i], -ECONNRESET);
	}
}

static void expect_failure(struct fake_rig *rig, int err, const char *words)
{
	struct fake_io io = {0};
	int r = 0;

	fake_config.is_serving = false;
	cr_assert_eq(fake_submit(rig, BRP_READ, 0, 512, &io), 0);
	restart_target();
	for (int i = 0; i < 2000 && r >= 0; i++)
		r = brp_wait(rig->q, 1);
	cr_assert_eq(r, err, "%d: %s", r, brp_session_error(rig->s));
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, err);
	cr_assert(strstr(brp_session_error(rig->s), words), "%s", brp_session_error(rig->s));
	cr_assert_eq(told.kinds[told.nr - 1], BRP_EVENT_FAILED);
	cr_assert_eq(told.error, err);
}

static void expect_survival(struct fake_rig *rig)
{
	struct fake_io io = {0};

	fake_config.is_serving = false;
	cr_assert_eq(fake_submit(rig, BRP_READ, 0, 512, &io), 0);
	restart_target();
	fake_config.is_serving = true;
	wait_done(rig, &io);
	cr_assert_eq(io.result, 0, "%s", brp_session_error(rig->s));
}

/* ---- the volume ------------------------------------------------------------------------------ */

Test(recover_identity, another_volume)
{
	struct fake_rig rig = rig_up(1);

	fake_config.login.volume_uuid.b[9]++;
	expect_failure(&rig, -ESTALE, "came back as another volume");
	fake_rig_down(&rig);
}

Test(recover_identity, a_volume_that_came_back_empty)
{
	struct fake_rig rig = rig_up(1);

	fake_config.login.generation = 77;
	expect_failure(&rig, -ESTALE, "vol came back empty: generation 77");
	fake_rig_down(&rig);
}

Test(recover_identity, other_blocks)
{
	struct fake_rig rig = rig_up(1);

	fake_config.login.block_bytes = 4096;
	expect_failure(&rig, -ESTALE, "blocks of 4096");
	fake_rig_down(&rig);
}

Test(recover_identity, a_smaller_volume)
{
	struct fake_rig rig = rig_up(1);

	fake_config.login.size_blocks--;
	expect_failure(&rig, -ESTALE, "shrunk");
	fake_rig_down(&rig);
}

Test(recover_identity, a_cache_that_was_not_there)
{
	struct fake_rig rig = rig_up(1);

	fake_config.login.cache = BRP_CACHE_WRITE_BACK;
	expect_failure(&rig, -ESTALE, "volatile cache");
	fake_rig_down(&rig);
}

Test(recover_identity, a_larger_volume_is_told)
{
	struct brp_info info = {.size = sizeof(info)};
	struct fake_rig rig = rig_up(1);

	fake_config.login.size_blocks *= 2;
	expect_survival(&rig);
	cr_assert_eq(nr_told(BRP_EVENT_RESIZED), 1);
	cr_assert_eq(brp_session_info(rig.s, &info), 0);
	cr_assert_eq(info.size_bytes, 1024ull << 20);
	fake_rig_down(&rig);
}

Test(recover_identity, a_restart_without_a_cache_is_nothing)
{
	struct brp_info info = {.size = sizeof(info)};
	struct fake_rig rig = rig_up(1);
	struct fake_io io = {0};

	fake_config.is_serving = true;
	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &io), 0);
	wait_done(&rig, &io);
	expect_survival(&rig);
	cr_assert_eq(brp_session_info(rig.s, &info), 0);
	cr_assert_eq(info.boot_id[3], fake_config.login.boot_id.b[3]);
	fake_rig_down(&rig);
}

/* ---- acknowledged and not flushed ------------------------------------------------------------ */

static struct fake_rig cached_rig(unsigned int queues)
{
	fake_config.login.cache = BRP_CACHE_WRITE_BACK;
	return rig_up(queues);
}

static void do_io(struct fake_rig *rig, enum brp_io_op op, unsigned int flags)
{
	struct fake_io io = {0};
	bool has_data = op == BRP_WRITE || op == BRP_READ;

	fake_config.is_serving = true;
	cr_assert_eq(brp_submit(rig->q, &(struct brp_io){.op = op,
							 .flags = flags,
							 .bytes = op == BRP_FLUSH ? 0 : 512,
							 .buf = has_data ? rig->buf : NULL,
							 .mem = has_data ? rig->mem : NULL,
							 .done = fake_done,
							 .arg = &io}),
		     0);
	wait_done(rig, &io);
	cr_assert_eq(io.result, 0);
	fake_config.is_serving = false;
}

Test(recover_identity, unflushed_writes_may_be_lost)
{
	struct fake_rig rig = cached_rig(1);

	for (int i = 0; i < 3; i++)
		do_io(&rig, BRP_WRITE, 0);
	expect_failure(&rig, -EIO, "restarted and 3 acknowledged writes may be lost");
	fake_rig_down(&rig);
}

Test(recover_identity, zeroes_are_writes)
{
	struct fake_rig rig = cached_rig(1);

	do_io(&rig, BRP_WRITE_ZEROES, 0);
	expect_failure(&rig, -EIO, "1 acknowledged writes may be lost");
	fake_rig_down(&rig);
}

Test(recover_identity, what_is_stable_is_not_lost)
{
	struct fake_rig rig = cached_rig(1);

	do_io(&rig, BRP_READ, 0);
	do_io(&rig, BRP_WRITE, BRP_FUA);
	do_io(&rig, BRP_WRITE_ZEROES, BRP_FUA);
	do_io(&rig, BRP_DISCARD, 0);
	expect_survival(&rig);
	do_io(&rig, BRP_WRITE, 0);
	do_io(&rig, BRP_FLUSH, 0);
	expect_survival(&rig);
	do_io(&rig, BRP_WRITE, 0);
	expect_failure(&rig, -EIO, "1 acknowledged");
	fake_rig_down(&rig);
}

Test(recover_identity, a_loss_without_a_restart_keeps_the_cache)
{
	struct fake_rig rig = cached_rig(1);
	struct fake_io io = {0};

	do_io(&rig, BRP_WRITE, 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_deliver_closed(rig.c, -ECONNRESET);
	fake_config.is_serving = true;
	wait_done(&rig, &io);
	cr_assert_eq(io.result, 0);
	expect_failure(&rig, -EIO, "1 acknowledged");
	fake_rig_down(&rig);
}

Test(recover_identity, a_failed_flush_flushes_nothing)
{
	struct fake_rig rig = cached_rig(1);
	struct fake_io io = {0};

	do_io(&rig, BRP_WRITE, 0);
	cr_assert_eq(fake_submit(&rig, BRP_FLUSH, 0, 0, &io), 0);
	fake_jumbo(rig.c, fake_nr_jumbos(rig.c) - 1, reqs);
	fake_respond_one(rig.c, reqs[0].tag, BRP_ST_IO_ERROR);
	wait_done(&rig, &io);
	expect_failure(&rig, -EIO, "may be lost");
	fake_rig_down(&rig);
}

Test(recover_identity, a_flush_without_an_answer_flushes_nothing)
{
	struct fake_rig rig = cached_rig(1);
	struct fake_io io = {0};

	do_io(&rig, BRP_WRITE, 0);
	cr_assert_eq(fake_submit(&rig, BRP_FLUSH, 0, 0, &io), 0);
	expect_failure(&rig, -EIO, "may be lost");
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -EIO);
	fake_rig_down(&rig);
}

Test(recover_identity, a_flush_covers_only_what_was_answered_before_it)
{
	struct fake_rig rig = cached_rig(1);
	struct fake_io write = {0}, flush = {0};
	uint32_t write_tag;

	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &write), 0);
	fake_jumbo(rig.c, 0, reqs);
	write_tag = reqs[0].tag;
	cr_assert_eq(fake_submit(&rig, BRP_FLUSH, 0, 0, &flush), 0);
	brp_kick(rig.q);
	fake_jumbo(rig.c, 1, reqs);
	fake_respond_one(rig.c, write_tag, 0); /* while the FLUSH is under way */
	fake_respond_one(rig.c, reqs[0].tag, 0);
	wait_done(&rig, &flush);
	cr_assert_eq(write.nr_done, 1);
	expect_failure(&rig, -EIO, "1 acknowledged");
	fake_rig_down(&rig);
}

/* ---- several queues -------------------------------------------------------------------------- */

Test(recover_identity, a_flush_on_one_queue_covers_all)
{
	struct fake_rig rig = cached_rig(3);

	for (unsigned int i = 0; i < 3; i++) {
		rig.q = brp_session_queue(rig.s, i);
		do_io(&rig, BRP_WRITE, 0);
	}
	rig.q = brp_session_queue(rig.s, 1);
	do_io(&rig, BRP_FLUSH, 0);
	rig.q = brp_session_queue(rig.s, 2);
	expect_survival(&rig);
	fake_rig_down(&rig);
}

Test(recover_identity, writes_of_queues_that_nobody_polls_count)
{
	struct fake_rig rig = cached_rig(3);

	rig.q = brp_session_queue(rig.s, 2);
	do_io(&rig, BRP_WRITE, 0);
	do_io(&rig, BRP_WRITE, 0);
	rig.q = brp_session_queue(rig.s, 0);
	expect_failure(&rig, -EIO, "2 acknowledged");
	/* The others hear of it, too. */
	cr_assert_eq(brp_wait(brp_session_queue(rig.s, 1), 1000), -EIO);
	cr_assert_eq(brp_wait(brp_session_queue(rig.s, 2), 1000), -EIO);
	cr_assert_eq(nr_told(BRP_EVENT_FAILED), 1);
	fake_rig_down(&rig);
}

/*
 * The answer to a write of queue 1 lies in its socket when the target is killed. Queue 0 logs in at
 * the new target and finds nothing unflushed. Had queue 1 then believed the answer, a FLUSH at the
 * new target would have made a lost write look stable.
 */
Test(recover_identity, late_answers_of_a_target_that_restarted_are_not_believed)
{
	struct fake_rig rig = cached_rig(2);
	struct brp_queue *q[2] = {brp_session_queue(rig.s, 0), brp_session_queue(rig.s, 1)};
	struct fabric_conn *old;
	struct fake_io late = {0}, read = {0};

	old = fake_conns[1];
	rig.q = q[1];
	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &late), 0);
	fake_jumbo(old, 0, reqs);
	fake_respond_one(old, reqs[0].tag, 0);
	rig.q = q[0];
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &read), 0);
	restart_target();
	fake_config.is_serving = true;
	wait_done(&rig, &read); /* queue 0 is through */
	cr_assert_eq(late.nr_done, 0);
	rig.q = q[1];
	wait_done(&rig, &late);
	cr_assert_eq(late.result, 0);
	cr_assert_eq(fake_nr_jumbos(newest()), 1, "it was sent again");
	rig.q = q[0];
	expect_failure(&rig, -EIO, "acknowledged");
	fake_rig_down(&rig);
}

Test(recover_identity, an_old_reply_does_not_count_as_a_restart)
{
	struct fake_rig rig = cached_rig(2);
	struct brp_queue *q[2] = {brp_session_queue(rig.s, 0), brp_session_queue(rig.s, 1)};
	struct fake_io io[2] = {0};

	/* Queue 1's connection goes; the old target has admitted its new one when it is killed. */
	fake_deliver_closed(fake_conns[1], -ECONNRESET);
	while (fake_nr_conns < 3)
		(void)brp_wait(q[1], 1);
	/* Nobody looks at queue 1 while queue 0 finds the new target and writes there. */
	rig.q = q[0];
	expect_survival(&rig);
	do_io(&rig, BRP_WRITE, 0);
	fake_config.is_serving = true;
	rig.q = q[1];
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[1]), 0);
	wait_done(&rig, &io[1]);
	cr_assert_eq(io[1].result, 0, "%s", brp_session_error(rig.s));
	rig.q = q[0];
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[0]), 0);
	wait_done(&rig, &io[0]);
	cr_assert_eq(io[0].result, 0);
	fake_rig_down(&rig);
}
