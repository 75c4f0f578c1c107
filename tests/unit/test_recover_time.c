/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a reconnect goes on: limits, back-off, what hangs, what waiting costs. */
#include "recover_rig.h"

#include <poll.h>

#include "initiator/internal.h"

TestSuite(recover_time, .init = recover_reset, .timeout = 60);

Test(recover_time, gives_up_in_time)
{
	struct brp_options opt = quick_options();
	struct fake_io io = {0};
	struct fake_rig rig;

	opt.ctrl_loss_tmo_ms = 500;
	rig = fake_rig_up(&opt);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_config.refuse_first = 1000000;
	lose(rig.c);
	cr_assert(reach(&rig, BRP_STATE_RECONNECTING));
	cr_assert_geq(status_of(&rig).gives_up_ms, 0, "it is told how long it goes on");
	expect_end(&rig, -ETIMEDOUT, "gave up reconnecting after 0.500 s");
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -ETIMEDOUT);
	fake_rig_down(&rig);
}

Test(recover_time, fast_io_fail_lets_requests_go_and_the_session_live)
{
	struct brp_options opt = quick_options();
	struct fake_io io = {0}, late = {0}, after = {0};
	struct fake_rig rig;

	opt.fast_io_fail_tmo_ms = 20;
	rig = fake_rig_up(&opt);
	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &io), 0);
	fake_config.refuse_first = 1000000;
	lose(rig.c);
	wait_done(&rig, &io);
	cr_assert_eq(io.result, -ETIMEDOUT);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &late), -ETIMEDOUT);
	cr_assert_eq(status_of(&rig).state, BRP_STATE_RECONNECTING);
	cr_assert(strstr(status_of(&rig).text, "I/O fails"));
	fake_config.refuse_first = 0;
	fake_config.is_serving = true;
	cr_assert(reach(&rig, BRP_STATE_LIVE));
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &after), 0);
	wait_done(&rig, &after);
	cr_assert_eq(io.nr_done, 1);
	fake_rig_down(&rig);
}

Test(recover_time, event_loops_are_woken_for_attempts)
{
	struct brp_options opt = quick_options();
	struct fake_io io = {0};
	struct fake_rig rig = fake_rig_up(&opt);
	struct pollfd pfd = {.fd = brp_queue_fd(rig.q), .events = POLLIN};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	cr_assert_eq(brp_poll(rig.q), 0);
	fake_config.refuse_first = 5;
	fake_config.is_serving = true;
	lose(rig.c);
	while (io.nr_done == 0) {
		cr_assert_eq(poll(&pfd, 1, 5000), 1, "nobody wakes us");
		cr_assert_geq(brp_poll(rig.q), 0);
	}
	cr_assert_eq(io.result, 0);
	fake_rig_down(&rig);
}

Test(recover_time, waiting_costs_no_passes)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;
	uint64_t sleeps;

	opt.reconnect_delay_ms = 10000;
	opt.reconnect_delay_max_ms = 10000;
	rig = fake_rig_up(&opt);
	fake_config.refuse_first = 1000000;
	lose(rig.c);
	cr_assert(reach(&rig, BRP_STATE_RECONNECTING));
	(void)brp_wait(rig.q, 20);
	sleeps = fake_stats(&rig).sleeps;
	cr_assert_eq(brp_wait(rig.q, 100), 0);
	cr_assert_leq(fake_stats(&rig).sleeps, sleeps + 2);
	cr_assert_gt(status_of(&rig).next_attempt_ms, 1000);
	fake_rig_down(&rig);
}

Test(recover_time, back_off_doubles_within_its_limits)
{
	struct brp_options opt = {.reconnect_delay_ms = 100, .reconnect_delay_max_ms = 3000};
	uint64_t jitter = 1;
	bool is_spread = false;

	for (unsigned int n = 1; n < 70; n++) {
		uint64_t nominal = n > 5 ? 3000 : MIN(100ull << (n - 1), 3000ull);
		uint64_t ms = ini_backoff_ms(&opt, n, INI_FAILED_SILENT, &jitter);

		cr_assert(ms >= nominal * 3 / 4 && ms <= nominal * 5 / 4 + 1, "%u: %llu", n,
			  (unsigned long long)ms);
		is_spread |= ms != nominal;
		ms = ini_backoff_ms(&opt, n, INI_FAILED_REFUSED, &jitter);
		cr_assert_leq(ms, 626, "a host that answers is asked often");
	}
	cr_assert(is_spread);
	opt.reconnect_delay_ms = 2000;
	cr_assert_geq(ini_backoff_ms(&opt, 1, INI_FAILED_REFUSED, &jitter), 1500,
		      "but as the user said");
}

Test(recover_time, logins_that_lead_to_nothing_are_backed_off)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;

	opt.reconnect_delay_ms = 10000;
	opt.reconnect_delay_max_ms = 10000;
	rig = fake_rig_up(&opt);
	lose_and_return(&rig, rig.c); /* the first time at once */
	lose(newest());
	cr_assert(reach(&rig, BRP_STATE_RECONNECTING));
	(void)brp_wait(rig.q, 20);
	cr_assert_gt(status_of(&rig).next_attempt_ms, 1000);
	fake_rig_down(&rig);
}

Test(recover_time, an_attempt_that_hangs_is_given_up)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;

	opt.connect_timeout_ms = 50;
	rig = fake_rig_up(&opt);
	fake_config.is_auto = false;
	lose(rig.c);
	wait_conns(&rig, 2); /* never connects */
	wait_conns(&rig, 3);
	cr_assert(strstr(status_of(&rig).text, "no answer within 50 ms"), "%s",
		  status_of(&rig).text);
	fake_deliver_connected(newest());
	hello(newest()); /* and then nothing more after the LOGIN */
	wait_conns(&rig, 4);
	cr_assert(strstr(status_of(&rig).text, "no sign of life"), "%s", status_of(&rig).text);
	cr_assert_eq(status_of(&rig).epoch, 2, "it may be half admitted");
	fake_config.is_auto = true;
	fake_deliver_connected(newest());
	cr_assert(reach(&rig, BRP_STATE_LIVE));
	fake_rig_down(&rig);
}

/* The target waits for its device before it admits us, and says that it is alive. */
Test(recover_time, a_login_may_take_its_time)
{
	struct brp_options opt = quick_options();
	struct fabric_conn *c;
	struct fake_rig rig;

	opt.connect_timeout_ms = 100;
	rig = fake_rig_up(&opt);
	fake_config.is_auto = false;
	lose(rig.c);
	wait_conns(&rig, 2);
	c = newest();
	fake_deliver_connected(c);
	hello(c);
	for (uint64_t end = now_ns() + 300 * NS_PER_MS; now_ns() < end;) {
		fake_keepalive(c, 0, 1);
		(void)brp_wait(rig.q, 1);
	}
	cr_assert_eq(fake_nr_conns, 2, "still the same attempt");
	cr_assert_gt(fake_count(c, BRP_MSG_KEEPALIVE), 1, "it is asked");
	fake_rig_down(&rig);
}

Test(recover_time, an_attempt_that_cannot_even_begin_is_one)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct fake_io io = {0};

	fake_config.connect_error = -EMFILE;
	lose(rig.c);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	cr_assert(reach(&rig, BRP_STATE_RECONNECTING));
	for (int i = 0; i < 2000 && status_of(&rig).attempt < 4; i++)
		(void)brp_wait(rig.q, 1);
	cr_assert(strstr(status_of(&rig).text, "Too many open files"), "%s", status_of(&rig).text);
	fake_config.connect_error = 0;
	fake_config.is_serving = true;
	wait_done(&rig, &io);
	cr_assert_eq(io.result, 0);
	fake_rig_down(&rig);
}
