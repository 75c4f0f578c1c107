/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue in an event loop that is told of every event, once: nothing else ever wakes it. */
#include "recover_rig.h"

#include <sys/epoll.h>
#include <unistd.h>

TestSuite(edge, .init = recover_reset, .timeout = 60);

#define WAIT_MS 10000 /* for what must come */

enum { RARE = 1, DATA = 2 };

struct loop {
	struct brp_queue *q;
	int epoll_fd;
	struct brp_queue_fds fds;
	int error;             /* of the session's end */
	bool has_been_without; /* a data descriptor */
};

static void watch(struct loop *l, int fd, uint32_t what)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				 .data.u32 = what};

	cr_assert_eq(epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev), 0);
}

static void follow(struct loop *l)
{
	unsigned int before = l->fds.change;

	brp_queue_fds(l->q, &l->fds);
	l->has_been_without |= l->fds.data < 0;
	if (l->fds.change != before && l->fds.data >= 0)
		watch(l, l->fds.data, DATA);
}

static void drain(struct loop *l, bool is_rare)
{
	int r = brp_drain(l->q, is_rare);

	while (r > 0)
		r = brp_drain(l->q, false);
	l->error = r;
	follow(l);
}

/* Sleeps once. False: nothing came. */
static bool turn(struct loop *l, int timeout_ms)
{
	struct epoll_event events[2];
	int n = epoll_wait(l->epoll_fd, events, 2, timeout_ms);
	bool is_rare = false;

	for (int i = 0; i < n; i++)
		is_rare |= events[i].data.u32 == RARE;
	if (n > 0)
		drain(l, is_rare);
	return n > 0;
}

/* Takes what there is, among it that the fake's eventfd has room again. */
static void settle(struct loop *l)
{
	while (turn(l, 0))
		;
}

static struct loop loop_up(struct fake_rig *rig)
{
	struct loop l = {.q = rig->q, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .fds.data = -1};

	cr_assert(l.epoll_fd >= 0);
	follow(&l);
	watch(&l, l.fds.rare, RARE);
	drain(&l, true);
	settle(&l);
	return l;
}

static void loop_down(struct loop *l, struct fake_rig *rig)
{
	fake_rig_down(rig);
	close(l->epoll_fd);
}

static uint32_t last_tag(struct fabric_conn *c)
{
	static struct brp_request reqs[BRP_MAX_JUMBO_REQUESTS];
	int n = fake_jumbo(c, fake_nr_jumbos(c) - 1, reqs);

	cr_assert_gt(n, 0);
	return reqs[n - 1].tag;
}

Test(edge, an_answer_is_an_event)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct loop l = loop_up(&rig);

	for (int i = 0; i < 100; i++) {
		struct fake_io io = {0};

		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
		brp_kick(rig.q);
		cr_assert_not(turn(&l, 0), "there is nothing yet");
		fake_respond_one(rig.c, last_tag(rig.c), 0);
		cr_assert(turn(&l, WAIT_MS));
		cr_assert_eq(io.nr_done, 1);
		settle(&l);
	}
	loop_down(&l, &rig);
}

/* Submitted after the last look: what comes from then on is told. */
Test(edge, an_answer_before_the_sleep_is_not_lost)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct loop l = loop_up(&rig);
	struct fake_io io[2] = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[0]), 0);
	brp_kick(rig.q);
	fake_respond_one(rig.c, last_tag(rig.c), 0);
	cr_assert(turn(&l, WAIT_MS));
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[1]), 0);
	brp_kick(rig.q);
	fake_respond_one(rig.c, last_tag(rig.c), 0);
	drain(&l, false); /* finds it without having slept */
	cr_assert_eq(io[1].nr_done, 1);
	settle(&l);
	loop_down(&l, &rig);
}

Test(edge, attempts_after_a_loss_wake_it_and_the_data_descriptor_changes)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct loop l = loop_up(&rig);
	unsigned int change = l.fds.change;
	struct fake_io io = {0}, next = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	brp_kick(rig.q);
	fake_config.refuse_first = 5;
	fake_config.is_serving = true;
	fake_deliver_closed(rig.c, -ECONNRESET);
	while (io.nr_done == 0)
		cr_assert(turn(&l, WAIT_MS), "nobody wakes us");
	cr_assert_eq(io.result, 0);
	cr_assert(l.has_been_without, "between two connections");
	cr_assert_neq(l.fds.change, change);
	cr_assert_geq(l.fds.data, 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &next), 0);
	brp_kick(rig.q);
	while (next.nr_done == 0)
		cr_assert(turn(&l, WAIT_MS), "nobody wakes us");
	loop_down(&l, &rig);
}

/* Submitted while there is no connection. */
Test(edge, a_request_of_the_outage_is_served_after_it)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig = fake_rig_up(&opt);
	struct loop l = loop_up(&rig);
	struct fake_io io = {0};

	fake_config.refuse_first = 3;
	fake_config.is_serving = true;
	fake_deliver_closed(rig.c, -ECONNRESET);
	cr_assert(turn(&l, WAIT_MS));
	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &io), 0);
	brp_kick(rig.q);
	while (io.nr_done == 0)
		cr_assert(turn(&l, WAIT_MS), "nobody wakes us");
	cr_assert_eq(io.result, 0);
	loop_down(&l, &rig);
}

Test(edge, time_wakes_it)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;
	struct loop l;

	opt.keepalive_ms = 20;
	opt.ctrl_loss_tmo_ms = 0;
	fake_config.login.keepalive_ms = 20;
	rig = fake_rig_up(&opt);
	l = loop_up(&rig);
	while (l.error == 0)
		cr_assert(turn(&l, WAIT_MS), "silence is not noticed");
	cr_assert_eq(l.error, -ETIMEDOUT);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &(struct fake_io){0}), -ENOTCONN);
	loop_down(&l, &rig);
}

/* Nothing ever comes on the data descriptor, not even that it has room. */
Test(edge, time_wakes_it_when_it_was_drained_before_the_loop_began)
{
	struct brp_options opt = quick_options();
	struct fake_rig rig;
	struct loop l;

	opt.keepalive_ms = 20;
	opt.ctrl_loss_tmo_ms = 0;
	fake_config.login.keepalive_ms = 20;
	rig = fake_rig_up(&opt);
	l = (struct loop){.q = rig.q, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .fds.data = -1};
	cr_assert(l.epoll_fd >= 0);
	while (brp_drain(rig.q, true) > 0)
		;
	brp_queue_fds(rig.q, &l.fds);
	watch(&l, l.fds.rare, RARE);
	while (l.error == 0)
		cr_assert(turn(&l, WAIT_MS), "silence is not noticed");
	cr_assert_eq(l.error, -ETIMEDOUT);
	loop_down(&l, &rig);
}

Test(edge, the_end_of_the_session_wakes_it)
{
	struct fake_rig rig = fake_rig_up(NULL);
	struct loop l = loop_up(&rig);
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	brp_kick(rig.q);
	brp_session_abort(rig.s, "enough");
	while (l.error == 0)
		cr_assert(turn(&l, WAIT_MS), "nobody wakes us");
	cr_assert_eq(io.nr_done, 1);
	cr_assert_lt(io.result, 0);
	loop_down(&l, &rig);
}

/* A window of --merge always is over without anybody calling brp_drain(). */
Test(edge, a_merge_window_wakes_it)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct fake_io io = {0};
	struct fake_rig rig;
	struct loop l;

	opt.merge = BRP_MERGE_ALWAYS;
	opt.merge_window_us = 2000;
	fake_config.is_serving = true;
	rig = fake_rig_up(&opt);
	l = loop_up(&rig);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	brp_kick(rig.q);
	while (io.nr_done == 0)
		cr_assert(turn(&l, WAIT_MS), "the window never ends");
	loop_down(&l, &rig);
}

/* ---- brp_spin() ------------------------------------------------------------------------------ */

#define LONG_US 10000000 /* nobody spins so long */

static bool has_nothing(void *arg)
{
	(void)arg;
	return false;
}

/* On the look after the third. */
static bool has_something_soon(void *arg)
{
	unsigned int *looks = arg;

	return ++*looks > 3;
}

static struct fake_rig spinning_rig(int poll_us)
{
	struct brp_options opt = BRP_OPTIONS_INIT;

	opt.poll_us = poll_us;
	fake_config.is_stream = false;
	return fake_rig_up(&opt);
}

Test(edge, spinning_finds_answers_and_loses_no_later_one)
{
	struct fake_rig rig = spinning_rig(LONG_US);
	struct loop l = loop_up(&rig);

	for (int i = 0; i < 100; i++) {
		struct fake_io io[2] = {0};

		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[0]), 0);
		brp_kick(rig.q);
		fake_respond_one(rig.c, last_tag(rig.c), 0);
		cr_assert_eq(brp_spin(rig.q, has_nothing, NULL), 1);
		cr_assert_eq(io[0].nr_done, 1);

		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[1]), 0);
		brp_kick(rig.q);
		drain(&l, false);
		settle(&l);
		fake_respond_one(rig.c, last_tag(rig.c), 0);
		cr_assert(turn(&l, WAIT_MS), "not told after brp_drain()");
		cr_assert_eq(io[1].nr_done, 1);
		settle(&l);
	}
	loop_down(&l, &rig);
}

Test(edge, other_work_ends_spinning)
{
	struct fake_rig rig = spinning_rig(LONG_US);
	struct loop l = loop_up(&rig);
	struct fake_io io = {0};
	unsigned int looks = 0;

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	brp_kick(rig.q);
	cr_assert_eq(brp_spin(rig.q, has_something_soon, &looks), 0);
	cr_assert_eq(looks, 4);
	loop_down(&l, &rig);
}

Test(edge, a_lost_connection_ends_spinning)
{
	struct fake_rig rig = spinning_rig(LONG_US);
	struct loop l = loop_up(&rig);
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	brp_kick(rig.q);
	fake_deliver_closed(rig.c, -ECONNRESET);
	cr_assert_eq(brp_spin(rig.q, has_nothing, NULL), 0);
	cr_assert_eq(brp_spin(rig.q, has_nothing, NULL), -EAGAIN);
	loop_down(&l, &rig);
}

/* Nothing on the wire; spinning switched off; a stream, whose looks are dear. */
Test(edge, where_spinning_does_not_pay_there_is_none)
{
	struct fake_rig rig = spinning_rig(LONG_US);
	struct loop l = loop_up(&rig);
	struct fake_io io[2] = {0};

	cr_assert_eq(brp_spin(rig.q, has_nothing, NULL), -EAGAIN);
	loop_down(&l, &rig);

	rig = spinning_rig(0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[0]), 0);
	brp_kick(rig.q);
	cr_assert_eq(brp_spin(rig.q, has_nothing, NULL), -EAGAIN);
	fake_rig_down(&rig);

	fake_config.is_stream = true;
	rig = fake_rig_up(NULL);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[1]), 0);
	brp_kick(rig.q);
	cr_assert_eq(brp_spin(rig.q, has_nothing, NULL), -EAGAIN);
	fake_rig_down(&rig);
}

/* An adaptive queue gives up by itself, and after a few times does not even try. */
Test(edge, spinning_in_vain_ends)
{
	struct fake_rig rig = spinning_rig(-1);
	struct loop l = loop_up(&rig);
	struct fake_io io = {0};
	int tries = 0;

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	brp_kick(rig.q);
	while (brp_spin(rig.q, has_nothing, NULL) == 0)
		cr_assert_leq(++tries, 100, "it never learns");
	cr_assert_gt(tries, 0);
	loop_down(&l, &rig);
}

/* A wait without time looks all the same. */
Test(edge, a_wait_of_no_time_looks)
{
	struct fake_rig rig = spinning_rig(-1);
	struct fake_io io = {0};
	int n = 0;

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	brp_kick(rig.q);
	fake_respond_one(rig.c, last_tag(rig.c), 0);
	for (int i = 0; i < 100 && n == 0; i++)
		n = brp_wait(rig.q, 0);
	cr_assert_eq(n, 1);
	fake_rig_down(&rig);
}
