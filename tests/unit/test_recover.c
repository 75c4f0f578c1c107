/* SPDX-License-Identifier: BSD-2-Clause */
/* Losing connections: what was not answered is sent again, once, in order, at an epoch that fences;
 * nothing is completed twice or never. */
#include "recover_rig.h"

#include "initiator/internal.h"

TestSuite(recover, .init = recover_reset, .timeout = 60);

static struct brp_request reqs[BRP_MAX_JUMBO_REQUESTS];

/* ---- one queue ------------------------------------------------------------------------------- */

Test(recover, a_loss_is_a_pause)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io[3] = {0};
	struct brp_status st;
	uint32_t first_tag;

	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 4096, &io[0]), 0);
	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 4096, 65536, &io[1]), 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[2]), 0);
	brp_kick(rig.q);
	fake_jumbo(rig.c, 0, reqs);
	first_tag = reqs[0].tag;
	lose_and_return(&rig, rig.c);
	rig.c = newest();
	cr_assert_eq(rig.c->epoch, 2, "unanswered requests need a newer epoch");
	cr_assert_eq(fake_jumbo(rig.c, 0, reqs), 2, "up to the large one");
	cr_assert_eq(reqs[0].lba, 0);
	cr_assert_eq(reqs[1].lba, 8);
	cr_assert_eq(brp_tag_index(reqs[0].tag), brp_tag_index(first_tag));
	cr_assert_neq(reqs[0].tag, first_tag, "another generation");
	cr_assert_eq(rig.c->nr_exposed, 2);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(io[i].nr_done, 0);
	for (unsigned int j = 0; j < 2; j++) {
		int n = fake_jumbo(rig.c, j, reqs);

		for (int i = 0; i < n; i++)
			fake_respond_one(rig.c, reqs[i].tag, 0);
	}
	cr_assert_eq(brp_poll(rig.q), 3);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(io[i].nr_done, 1);
		cr_assert_eq(io[i].result, 0);
	}
	st = status_of(&rig);
	cr_assert_eq(st.reconnects, 1);
	cr_assert_eq(st.retried_requests, 3);
	cr_assert_eq(st.epoch, 2);
	cr_assert_eq(told.nr, 2);
	cr_assert_eq(told.kinds[0], BRP_EVENT_LOST);
	cr_assert_eq(told.kinds[1], BRP_EVENT_RECONNECTED);
	fake_rig_down(&rig);
}

Test(recover, what_was_answered_is_not_sent_again)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io a = {0}, b = {0};

	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &a), 0);
	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 512, 512, &b), 0);
	brp_kick(rig.q);
	fake_jumbo(rig.c, 0, reqs);
	fake_respond_one(rig.c, reqs[0].tag, 0);
	lose(rig.c);
	fake_config.is_serving = true;
	wait_done(&rig, &b);
	cr_assert_eq(a.nr_done, 1);
	cr_assert_eq(fake_nr_jumbos(newest()), 1);
	cr_assert_eq(fake_jumbo(newest(), 0, reqs), 1);
	cr_assert_eq(reqs[0].lba, 1);
	fake_rig_down(&rig);
}

Test(recover, new_requests_wait_until_the_tags_are_used_up)
{
	struct brp_options opt = quick_options();
	struct fake_io io[5] = {0};
	struct fake_rig rig;

	opt.queue_depth = 4;
	rig = fake_rig_up(&opt);
	fake_config.refuse_first = 1000000;
	lose(rig.c);
	cr_assert(reach(&rig, BRP_STATE_RECONNECTING));
	for (int i = 0; i < 4; i++)
		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[i]), 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[4]), -EAGAIN);
	brp_kick(rig.q);
	cr_assert_eq(brp_wait(rig.q, 5), 0, "they wait");
	cr_assert_eq(brp_queue_in_flight(rig.q), 4);
	fake_config.refuse_first = 0;
	fake_config.is_serving = true;
	for (int i = 0; i < 4; i++)
		wait_done(&rig, &io[i]);
	fake_rig_down(&rig);
}

Test(recover, split_io_goes_on)
{
	struct brp_options opt = quick_options();
	struct fake_io io = {0};
	struct fake_rig rig;

	opt.queue_depth = 2;
	rig = fake_rig_up(&opt);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 7 * 65536, &io), 0);
	brp_kick(rig.q);
	lose(rig.c);
	fake_config.is_serving = true;
	wait_done(&rig, &io);
	cr_assert_eq(io.result, 0);
	cr_assert_eq(fake_stats(&rig).bytes_read, 7 * 65536);
	fake_rig_down(&rig);
}

Test(recover, nothing_unanswered_raises_no_epoch)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);

	lose_and_return(&rig, rig.c);
	cr_assert_eq(newest()->epoch, 1);
	fake_rig_down(&rig);
}

Test(recover, a_target_that_has_not_noticed_is_fenced)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	unsigned int n;

	fake_config.login.status = BRP_ST_BUSY; /* "this queue is connected already" */
	lose(rig.c);
	n = fake_nr_conns;
	while (fake_nr_conns < n + 1)
		(void)brp_wait(rig.q, 1);
	(void)brp_poll(rig.q);
	fake_config.login.status = BRP_ST_OK;
	cr_assert(reach(&rig, BRP_STATE_LIVE));
	cr_assert_geq(newest()->epoch, 2);
	fake_rig_down(&rig);
}

Test(recover, an_attempt_without_a_reply_may_be_half_admitted)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fabric_conn *c;

	fake_config.is_auto = false;
	lose(rig.c);
	while (fake_nr_conns < 2)
		(void)brp_wait(rig.q, 1);
	c = newest();
	fake_deliver_connected(c);
	(void)brp_poll(rig.q);
	hello(c);
	(void)brp_poll(rig.q);
	cr_assert_eq(c->epoch, 1, "LOGIN was sent");
	lose(c);
	fake_config.is_auto = true;
	cr_assert(reach(&rig, BRP_STATE_LIVE));
	cr_assert_eq(newest()->epoch, 2);
	fake_rig_down(&rig);
}

Test(recover, goodbye_is_a_loss_like_any_other)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_config.is_serving = true;
	fake_event(rig.c, &(struct brp_event_msg){.kind = BRP_EV_GOING_DOWN});
	fake_goodbye(rig.c, 1, BRP_ST_SHUTTING_DOWN, "going home");
	wait_done(&rig, &io);
	cr_assert_eq(io.result, 0);
	cr_assert_eq(nr_told(BRP_EVENT_GOING_DOWN), 1);
	cr_assert_eq(nr_told(BRP_EVENT_LOST), 1);
	fake_rig_down(&rig);
}

Test(recover, silence_is_a_loss)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;
	struct fake_io io = {0};

	opt.keepalive_ms = 10;
	fake_config.login.keepalive_ms = 10;
	rig = fake_rig_up(&opt);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_config.is_serving = true;
	wait_done(&rig, &io);
	cr_assert_eq(io.result, 0);
	cr_assert_geq(fake_nr_conns, 2);
	fake_rig_down(&rig);
}

/* ---- what a later login grants --------------------------------------------------------------- */

Test(recover, fewer_tags_than_requests)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io[40] = {0};

	for (int i = 0; i < 40; i++)
		cr_assert_eq(fake_submit(&rig, BRP_WRITE, 512u * (unsigned int)i, 512, &io[i]), 0);
	brp_kick(rig.q);
	fake_config.login.queue_depth = 3; /* the fake checks that no tag is beyond */
	fake_config.is_serving = true;
	lose(rig.c);
	for (int i = 0; i < 40; i++) {
		wait_done(&rig, &io[i]);
		cr_assert_eq(io[i].result, 0);
	}
	for (int i = 0; i < 3; i++)
		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[i]), 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[3]), -EAGAIN);
	/* And back to all of them. */
	fake_config.login.queue_depth = 4096;
	lose_and_return(&rig, newest());
	for (int i = 0; i < 100; i++)
		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[4]), 0);
	fake_rig_down(&rig);
}

Test(recover, smaller_messages)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io[20] = {0};

	for (int i = 0; i < 20; i++)
		cr_assert_eq(fake_submit(&rig, BRP_WRITE, 4096u * (unsigned int)i, 4096, &io[i]),
			     0);
	brp_kick(rig.q);
	fake_config.login.in_capsule_bytes = 0;
	fake_config.login.max_requests = 2;
	fake_config.is_serving = true;
	lose(rig.c);
	for (int i = 0; i < 20; i++)
		wait_done(&rig, &io[i]);
	cr_assert_eq(fake_nr_jumbos(newest()), 10);
	cr_assert_eq(newest()->nr_exposed, 0);
	fake_rig_down(&rig);
}

Test(recover, transfers_that_have_become_too_long_fail_the_session)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 65536, &io), 0);
	fake_config.login.max_transfer_bytes = 32768;
	lose(rig.c);
	wait_done(&rig, &io);
	cr_assert_eq(io.result, -EMSGSIZE);
	cr_assert(strstr(brp_session_error(rig.s), "at most 32768 bytes"));
	fake_rig_down(&rig);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void refuse(enum brp_status_code st)
{
	fake_config.login.status = (uint16_t)st;
}

Test(recover, refusals_that_may_pass_are_waited_for)
{
	static const enum brp_status_code st[] = {
		BRP_ST_NO_VOLUME,
		BRP_ST_SHUTTING_DOWN,
		BRP_ST_NO_RESOURCES,
		BRP_ST_BUSY,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(st); i++) {
		struct brp_options opt = quick_options();
		struct fake_rig rig;
		unsigned int n;

		recover_reset();
		fake_nr_conns = 0;
		rig = fake_rig_up(&opt);
		refuse(st[i]);
		lose(rig.c);
		for (n = 0; n < 1000 && status_of(&rig).attempt < 3; n++)
			(void)brp_wait(rig.q, 1);
		cr_assert_lt(n, 1000);
		cr_assert(strstr(status_of(&rig).text, "I/O waits, gives up never"), "%s",
			  status_of(&rig).text);
		refuse(BRP_ST_OK);
		cr_assert(reach(&rig, BRP_STATE_LIVE));
		fake_rig_down(&rig);
	}
}

static void refused_for_good(enum brp_status_code status, int err, const char *words)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	refuse(status);
	lose(rig.c);
	expect_end(&rig, err, words);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, err);
	fake_rig_down(&rig);
}

Test(recover, denied_is_final)
{
	refused_for_good(BRP_ST_DENIED, -EACCES, "refused");
}

Test(recover, another_version_is_final)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);

	fake_config.hello.status = BRP_ST_BAD_VERSION;
	fake_config.hello.version = 9;
	lose(rig.c);
	expect_end(&rig, -EPROTONOSUPPORT, "version");
	fake_rig_down(&rig);
}

Test(recover, a_session_taken_over_is_lost)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);

	fake_config.newest_epoch = 1000;
	lose(rig.c);
	expect_end(&rig, -ESTALE, "taken over by another process");
	fake_rig_down(&rig);
}

Test(recover, a_removed_volume_is_gone)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_event(rig.c, &(struct brp_event_msg){.kind = BRP_EV_REMOVED});
	expect_end(&rig, -ENODEV, "removed");
	cr_assert_eq(io.result, -ENODEV);
	cr_assert_eq(nr_told(BRP_EVENT_REMOVED), 1);
	fake_rig_down(&rig);
}

/* As when it was removed while the network was down. */
Test(recover, a_volume_that_was_removed_meanwhile_is_gone)
{
	refused_for_good(BRP_ST_GONE, -ENODEV, "removed");
}

Test(recover, what_every_connection_hears_is_told_once)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;

	opt.queues = 3;
	rig = fake_rig_up(&opt);
	for (unsigned int i = 0; i < 3; i++)
		fake_event(fake_conns[i], &(struct brp_event_msg){.kind = BRP_EV_GOING_DOWN});
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_eq(brp_poll(brp_session_queue(rig.s, i)), 0);
	cr_assert_eq(nr_told(BRP_EVENT_GOING_DOWN), 1);
	for (unsigned int i = 0; i < 3; i++)
		fake_event(fake_conns[i], &(struct brp_event_msg){.kind = BRP_EV_REMOVED});
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_eq(brp_poll(brp_session_queue(rig.s, i)), -ENODEV);
	cr_assert_eq(nr_told(BRP_EVENT_REMOVED), 1);
	cr_assert_eq(nr_told(BRP_EVENT_FAILED), 1);
	fake_rig_down(&rig);
}

/* The target fences the other queues because of the first one's login: that is no news. */
Test(recover, a_loss_of_one_queue_is_told_once)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;
	struct fake_io io[3] = {0};

	opt.queues = 3;
	rig = fake_rig_up(&opt);
	for (unsigned int i = 0; i < 3; i++) {
		rig.q = brp_session_queue(rig.s, i);
		cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &io[i]), 0);
	}
	fake_config.is_serving = true;
	lose(fake_conns[0]);
	for (unsigned int i = 0; i < 3; i++) {
		rig.q = brp_session_queue(rig.s, i);
		wait_done(&rig, &io[i]);
		cr_assert_eq(io[i].result, 0);
	}
	cr_assert_eq(nr_told(BRP_EVENT_LOST), 1);
	cr_assert_eq(nr_told(BRP_EVENT_RECONNECTED), 1);
	cr_assert_eq(status_of(&rig).epoch, 2);
	cr_assert_eq(status_of(&rig).reconnects, 3);
	fake_rig_down(&rig);
}

Test(recover, an_heir_takes_the_session_over)
{
	static const uint8_t uuid[16] = {5, 6, 7};
	static const uint64_t far_ahead = UINT64_MAX / 2;
	struct brp_options opt = quick_options();
	struct fake_rig rig;

	opt.session_uuid = uuid;
	fake_config.newest_epoch = 7;
	rig = fake_rig_up(&opt);
	cr_assert_arr_eq(newest()->login.session_uuid.b, uuid, 16);
	cr_assert_eq(fake_nr_conns, 1, "without being refused first");
	cr_assert_gt(newest()->epoch, (uint64_t)1 << 50, "the time is in it");
	fake_rig_down(&rig);

	/* The clock was set back. */
	recover_reset();
	fake_nr_conns = 0;
	fake_config.newest_epoch = far_ahead;
	rig = fake_rig_up(&opt);
	cr_assert_eq(fake_nr_conns, 2);
	cr_assert_geq(newest()->epoch, far_ahead + (1 << 24),
		      "where its predecessor does not get by counting on");
	fake_rig_down(&rig);

	/* Others are refused. */
	recover_reset();
	fake_nr_conns = 0;
	fake_config.newest_epoch = 7;
	opt.session_uuid = NULL;
	cr_assert_eq(brp_connect("brp+tcp://127.0.0.1/vol", &opt, &rig.s), -ESTALE);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The library writes nothing itself: what the transport knows must be in what it says. */
Test(recover, text_of_a_loss_has_the_transports_words)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;

	opt.ctrl_loss_tmo_ms = 0;
	rig = fake_rig_up(&opt);
	rig.c->why = "transport retry counter exceeded";
	fake_deliver_closed(rig.c, -ETIMEDOUT);
	cr_assert(reach(&rig, BRP_STATE_FAILED));
	cr_assert(strstr(brp_session_error(rig.s),
			 "Connection timed out (transport retry counter exceeded)"),
		  "%s", brp_session_error(rig.s));
	fake_rig_down(&rig);
}

Test(recover, disconnect_at_every_stage)
{
	for (int stage = 0; stage < 3; stage++) {
		struct brp_options opt = quick_options();
		struct fake_io io = {0}, more = {0};
		struct fake_rig rig;

		recover_reset();
		fake_nr_conns = 0;
		opt.reconnect_delay_ms = opt.reconnect_delay_max_ms = 10000;
		rig = fake_rig_up(&opt);
		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
		if (stage == 1)
			fake_config.refuse_first = 1000000;
		if (stage == 2)
			fake_config.is_auto = false;
		lose(rig.c);
		if (stage > 0) {
			cr_assert(reach(&rig, BRP_STATE_RECONNECTING));
			(void)brp_wait(rig.q, 5);
			cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &more), 0);
		}
		fake_rig_down(&rig);
		cr_assert_eq(io.nr_done, 1);
		cr_assert_eq(io.result, -ECANCELED);
		cr_assert_eq(more.nr_done, stage > 0);
	}
}

/* ---- losses everywhere ----------------------------------------------------------------------- */

#define NR_QUEUES 3u
#define NR_IO     8u

static bool is_over(const struct fake_rig *rig, struct fake_io io[NR_QUEUES][NR_IO],
		    unsigned int twice)
{
	for (unsigned int i = 0; i < NR_QUEUES * NR_IO; i++) {
		if (io[i / NR_IO][i % NR_IO].nr_done == 0)
			return false;
	}
	return !twice && status_of(rig).state == BRP_STATE_LIVE;
}

/* Every queue gets requests; the n-th event of all is a loss instead. All complete, once, with 0.
 */
static bool survive(unsigned int lose_at, unsigned int twice)
{
	struct brp_options opt = quick_options();
	struct fake_io io[NR_QUEUES][NR_IO] = {0};
	struct fake_rig rig;
	bool was_lost;

	recover_reset();
	fake_nr_conns = 0;
	opt.queues = NR_QUEUES;
	rig = fake_rig_up(&opt);
	fake_config.is_serving = true;
	fake_config.lose_at = lose_at;
	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		rig.q = brp_session_queue(rig.s, i);
		for (unsigned int k = 0; k < NR_IO; k++)
			cr_assert_eq(fake_submit(&rig, k % 2 ? BRP_WRITE : BRP_READ,
						 8192 * (i * NR_IO + k), k % 3 ? 512 : 8192,
						 &io[i][k]),
				     0);
	}
	for (int round = 0; round < 500 && !is_over(&rig, io, twice); round++) {
		for (unsigned int i = 0; i < NR_QUEUES; i++)
			cr_assert_geq(brp_wait(brp_session_queue(rig.s, i), round > 5), 0);
		if (fake_config.lose_at == 0 && twice) {
			fake_config.lose_at = twice;
			twice = 0;
		}
	}
	was_lost = fake_config.lose_at == 0;
	for (unsigned int i = 0; i < NR_QUEUES; i++) {
		for (unsigned int k = 0; k < NR_IO; k++) {
			cr_assert_eq(io[i][k].nr_done, 1, "loss at %u: queue %u", lose_at, i);
			cr_assert_eq(io[i][k].result, 0);
		}
	}
	cr_assert_eq(status_of(&rig).state, BRP_STATE_LIVE, "%s", status_of(&rig).text);
	cr_assert_leq(status_of(&rig).epoch, 8, "epochs run away");
	fake_rig_down(&rig);
	return was_lost;
}

Test(recover, a_loss_at_every_event)
{
	unsigned int n = 1;

	while (survive(n, 0))
		cr_assert_lt(++n, 1000);
	cr_assert_gt(n, 10);
}

Test(recover, two_losses_at_every_distance)
{
	for (unsigned int n = 1; n < 12; n++) {
		for (unsigned int m = 1; m < 16; m++)
			survive(n, m);
	}
}
