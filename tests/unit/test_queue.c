/* SPDX-License-Identifier: BSD-2-Clause */
/* The tag table: every request completes exactly once, and only by its own tag. */
#include <criterion/criterion.h>

#include <errno.h>
#include <poll.h>

#include "tests/fakes/fake_session.h"

TestSuite(queue, .init = fake_reset);

static struct brp_request reqs[BRP_MAX_JUMBO_REQUESTS];

Test(queue, completes_once_with_the_status)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 65536, &io), 0);
	cr_assert_eq(brp_queue_in_flight(rig.q), 1);
	cr_assert_eq(rig.c->nr_exposed, 1);
	fake_respond_one(rig.c, fake_last_tag(&rig), BRP_ST_NO_SPACE);
	cr_assert_eq(brp_wait(rig.q, 1000), 1);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -ENOSPC);
	cr_assert_eq(rig.c->nr_exposed, 0);
	cr_assert_eq(brp_queue_in_flight(rig.q), 0);
	cr_assert_eq(fake_stats(&rig).errors, 1);
	fake_rig_down(&rig);
	cr_assert_eq(io.nr_done, 1);
}

Test(queue, notice_completes_a_read)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 4096, &io), 0);
	fake_deliver_notice(rig.c, fake_last_tag(&rig));
	cr_assert_eq(brp_poll(rig.q), 1);
	cr_assert_eq(io.result, 0);
	cr_assert_eq(fake_stats(&rig).bytes_read, 4096);
	fake_rig_down(&rig);
}

Test(queue, notice_for_a_write_breaks_the_connection)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 4096, &io), 0);
	fake_deliver_notice(rig.c, fake_last_tag(&rig));
	fake_expect_protocol_error(&rig, &io);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -EPROTO);
	fake_rig_down(&rig);
}

Test(queue, stale_generation_breaks_the_connection)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io first = {0}, second = {0};
	uint32_t tag;

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &first), 0);
	tag = fake_last_tag(&rig);
	fake_respond_one(rig.c, tag, 0);
	cr_assert_eq(brp_poll(rig.q), 1);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &second), 0);
	cr_assert_eq(brp_tag_index(fake_last_tag(&rig)), brp_tag_index(tag),
		     "slots are reused hot");
	cr_assert_neq(fake_last_tag(&rig), tag);
	fake_respond_one(rig.c, tag, 0);
	fake_expect_protocol_error(&rig, &second);
	cr_assert_eq(second.nr_done, 1);
	cr_assert_eq(second.result, -EPROTO);
	fake_rig_down(&rig);
}

Test(queue, tag_outside_the_table_breaks_the_connection)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_respond_one(rig.c, 0xffff, 0);
	fake_expect_protocol_error(&rig, &io);
	fake_rig_down(&rig);
}

Test(queue, completion_of_a_gathered_request_breaks_the_connection)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io a = {0}, b = {0};
	uint32_t tag;

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &a), 0);
	tag = fake_last_tag(&rig);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &b), 0);
	/* The free list hands out indices in order: the second one has the next. Its message is
	 * blocked. */
	fake_config.keeps_slots = true;
	rig.c->slots_used = rig.c->params.send_count;
	fake_respond_one(rig.c, tag + 1, 0);
	fake_expect_protocol_error(&rig, &b);
	cr_assert_eq(a.nr_done, 1);
	cr_assert_eq(b.nr_done, 1);
	fake_rig_down(&rig);
}

Test(queue, full_queue_says_again)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct fake_rig rig;
	struct fake_io io = {0};

	opt.queue_depth = 4;
	rig = fake_rig_up(&opt);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), -EAGAIN);
	cr_assert_eq(brp_poll(rig.q), 0);
	fake_respond_one(rig.c, fake_last_tag(&rig), 0);
	cr_assert_eq(brp_poll(rig.q), 1);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_rig_down(&rig);
	cr_assert_eq(io.nr_done, 5);
}

Test(queue, refuses_what_is_wrong)
{
	struct fake_rig rig = fake_rig_one_connection();
	uint64_t end = fake_config.login.size_blocks * 512;
	struct fake_io io = {0};
	struct brp_io raw = {.op = BRP_READ,
			     .bytes = 512,
			     .buf = rig.buf,
			     .mem = rig.mem,
			     .done = fake_done,
			     .arg = &io};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 0, &io), -EINVAL);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 1, 512, &io), -EINVAL);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 513, &io), -EINVAL);
	cr_assert_eq(fake_submit(&rig, BRP_READ, end, 512, &io), -ERANGE);
	cr_assert_eq(fake_submit(&rig, BRP_READ, end - 512, 1024, &io), -ERANGE);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 512, UINT64_MAX - 511, &io), -ERANGE);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, FAKE_BUF_BYTES + 512, &io), -EINVAL);
	cr_assert_eq(fake_submit(&rig, BRP_FLUSH, 0, 512, &io), -EINVAL);
	cr_assert_eq(fake_submit(&rig, (enum brp_io_op)9, 0, 512, &io), -EINVAL);
	raw.flags = BRP_FUA;
	cr_assert_eq(brp_submit(rig.q, &raw), -EINVAL, "FUA read");
	raw.flags = 0x80;
	cr_assert_eq(brp_submit(rig.q, &raw), -EINVAL);
	raw.flags = 0;
	raw.mem = NULL;
	cr_assert_eq(brp_submit(rig.q, &raw), -EINVAL);
	raw.mem = rig.mem;
	raw.done = NULL;
	cr_assert_eq(brp_submit(rig.q, &raw), -EINVAL);
	cr_assert_eq(fake_nr_jumbos(rig.c), 0);
	cr_assert_eq(io.nr_done, 0);
	fake_rig_down(&rig);
}

Test(queue, what_the_volume_cannot_do)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct fake_io io = {0};
	struct fake_rig rig;
	struct brp_io fua;

	fake_config.login.volume_flags = 0;
	fake_config.login.cache = BRP_CACHE_WRITE_BACK;
	rig = fake_rig_up(&opt);
	fua = (struct brp_io){.op = BRP_WRITE,
			      .flags = BRP_FUA,
			      .bytes = 512,
			      .buf = rig.buf,
			      .mem = rig.mem,
			      .done = fake_done,
			      .arg = &io};
	cr_assert_eq(fake_submit(&rig, BRP_DISCARD, 0, 512, &io), -EOPNOTSUPP);
	cr_assert_eq(fake_submit(&rig, BRP_WRITE_ZEROES, 0, 512, &io), -EOPNOTSUPP);
	cr_assert_eq(brp_submit(rig.q, &fua), -EOPNOTSUPP);
	fake_rig_down(&rig);

	fake_reset();
	fake_nr_conns = 0;
	opt.read_only = true;
	rig = fake_rig_up(&opt);
	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 512, &io), -EROFS);
	cr_assert_eq(fake_submit(&rig, BRP_DISCARD, 0, 512, &io), -EROFS);
	cr_assert_eq(fake_submit(&rig, BRP_FLUSH, 0, 0, &io), 0);
	fake_rig_down(&rig);
}

Test(queue, operations_without_data)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_FLUSH, 0, 0, &io), 0);
	cr_assert_eq(fake_submit(&rig, BRP_DISCARD, 512, 1 << 20, &io), 0);
	cr_assert_eq(fake_submit(&rig, BRP_WRITE_ZEROES, 512, 1 << 20, &io), 0);
	brp_kick(rig.q);
	cr_assert_eq(fake_jumbo(rig.c, 0, reqs), 1);
	cr_assert_eq(reqs[0].op, BRP_OP_FLUSH);
	cr_assert_eq(reqs[0].blocks, 0);
	cr_assert_eq(fake_jumbo(rig.c, 1, reqs), 2);
	cr_assert_eq(reqs[0].op, BRP_OP_DISCARD);
	cr_assert_eq(reqs[0].lba, 1);
	cr_assert_eq(reqs[0].blocks, 2048, "not split: it carries no data");
	cr_assert_eq(rig.c->nr_exposed, 0);
	fake_rig_down(&rig);
}

/* ---- split I/O ------------------------------------------------------------------------------- */

static unsigned int answer_all(struct fake_rig *rig, unsigned int from, uint16_t status_of_first)
{
	unsigned int jumbos = fake_nr_jumbos(rig->c);

	for (unsigned int i = from; i < jumbos; i++) {
		int n = fake_jumbo(rig->c, i, reqs);

		for (int j = 0; j < n; j++)
			fake_respond_one(rig->c, reqs[j].tag,
					 i == from && j == 0 ? status_of_first : 0);
	}
	return jumbos;
}

Test(queue, long_io_is_split)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};
	uint64_t lba = 10;

	cr_assert_eq(fake_submit(&rig, BRP_READ, 5120, 3 * 65536 + 512, &io), 0);
	cr_assert_eq(brp_queue_in_flight(rig.q), 1);
	brp_kick(rig.q);
	for (unsigned int i = 0; i < fake_nr_jumbos(rig.c); i++) {
		int n = fake_jumbo(rig.c, i, reqs);

		for (int j = 0; j < n; j++) {
			cr_assert_eq(reqs[j].lba, lba);
			lba += reqs[j].blocks;
		}
	}
	cr_assert_eq(lba, 10 + 3 * 128 + 1);
	answer_all(&rig, 0, 0);
	cr_assert_eq(brp_poll(rig.q), 1);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, 0);
	cr_assert_eq(fake_stats(&rig).requests, 4);
	fake_rig_down(&rig);
}

Test(queue, a_part_that_fails_fails_the_whole)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_WRITE, 0, 4 * 65536, &io), 0);
	brp_kick(rig.q);
	answer_all(&rig, 0, BRP_ST_NO_SPACE);
	cr_assert_eq(brp_poll(rig.q), 1);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -ENOSPC);
	fake_rig_down(&rig);
}

static struct fake_rig shallow_rig(void)
{
	struct brp_options opt = BRP_OPTIONS_INIT;

	opt.queue_depth = 2;
	opt.ctrl_loss_tmo_ms = 0;
	return fake_rig_up(&opt);
}

Test(queue, more_parts_than_slots)
{
	struct fake_rig rig = shallow_rig();
	struct fake_io io = {0}, other = {0};
	unsigned int at = 0;

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 7 * 65536, &io), 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &other), -EAGAIN);
	for (int i = 0; i < 10 && io.nr_done == 0; i++) {
		brp_kick(rig.q);
		at = answer_all(&rig, at, 0);
		cr_assert_geq(brp_poll(rig.q), 0);
	}
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, 0);
	cr_assert_eq(fake_stats(&rig).bytes_read, 7 * 65536);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &other), 0);
	fake_rig_down(&rig);
}

Test(queue, parts_not_sent_are_dropped_when_one_fails)
{
	struct fake_rig rig = shallow_rig();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 7 * 65536, &io), 0);
	brp_kick(rig.q);
	answer_all(&rig, 0, BRP_ST_IO_ERROR);
	while (io.nr_done == 0)
		cr_assert_geq(brp_poll(rig.q), 0);
	cr_assert_eq(io.result, -EIO);
	cr_assert_eq(fake_stats(&rig).requests, 2);
	fake_rig_down(&rig);
}

Test(queue, split_io_ends_once_when_the_connection_does)
{
	struct fake_rig rig = shallow_rig();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 7 * 65536, &io), 0);
	fake_deliver_closed(rig.c, -ECONNRESET);
	cr_assert_eq(brp_wait(rig.q, 1000), 1);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -ECONNRESET);
	cr_assert_eq(brp_wait(rig.q, 1000), -ECONNRESET);
	fake_rig_down(&rig);
}

/* ---- closing --------------------------------------------------------------------------------- */

Test(queue, everything_completes_once_on_close)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io[20] = {0};

	for (int i = 0; i < 20; i++)
		cr_assert_eq(fake_submit(&rig, i % 2 ? BRP_READ : BRP_WRITE, 0, 8192, &io[i]), 0);
	fake_deliver_closed(rig.c, -ETIMEDOUT);
	cr_assert_eq(brp_poll(rig.q), 20);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(io[i].nr_done, 1);
		cr_assert_eq(io[i].result, -ETIMEDOUT);
	}
	cr_assert_eq(brp_poll(rig.q), -ETIMEDOUT);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io[0]), -ENOTCONN);
	cr_assert(strstr(brp_session_error(rig.s), "timed out"));
	fake_rig_down(&rig);
}

Test(queue, goodbye_of_the_target)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_goodbye(rig.c, 1, BRP_ST_SHUTTING_DOWN, "going home");
	cr_assert_eq(brp_wait(rig.q, 1000), 1);
	cr_assert_eq(io.result, -ESHUTDOWN);
	cr_assert(strstr(brp_session_error(rig.s), "going home"));
	fake_rig_down(&rig);
}

Test(queue, disconnect_cancels_what_is_in_flight)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_rig_down(&rig);
	cr_assert_eq(io.nr_done, 2);
	cr_assert_eq(io.result, -ECANCELED);
}

Test(queue, disconnect_does_not_wait_for_a_target_that_hangs)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	fake_config.holds_close = true;
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	fake_rig_down(&rig);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -ECANCELED);
}

Test(queue, expose_that_fails_ends_the_connection)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	fake_config.expose_error = -ENOMEM;
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	cr_assert_eq(brp_wait(rig.q, 1000), 1);
	cr_assert_eq(io.nr_done, 1);
	cr_assert_eq(io.result, -ENOMEM);
	fake_rig_down(&rig);
}

/* ---- beside the I/O -------------------------------------------------------------------------- */

Test(queue, keepalive_is_answered)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct brp_keepalive m;
	const struct fake_message *last;

	fake_keepalive(rig.c, 1, 0x1234);
	cr_assert_eq(brp_poll(rig.q), 0);
	last = &rig.c->sent[rig.c->nr_sent - 1];
	cr_assert_eq(last->bytes[0], BRP_MSG_KEEPALIVE_REPLY);
	cr_assert_eq(brp_decode_keepalive(last->bytes, last->length, &m), 0);
	cr_assert_eq(m.sequence, 0x1234);
	cr_assert_eq(rig.c->nr_flushed, rig.c->nr_sent);
	fake_rig_down(&rig);
}

Test(queue, keepalive_is_sent_and_silence_ends_the_connection)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct fake_rig rig;
	int r;

	opt.keepalive_ms = 20;
	opt.ctrl_loss_tmo_ms = 0;
	fake_config.login.keepalive_ms = 20;
	rig = fake_rig_up(&opt);
	r = brp_wait(rig.q, 5000);
	cr_assert_eq(r, -ETIMEDOUT);
	cr_assert_eq(fake_count(rig.c, BRP_MSG_KEEPALIVE), 2); /* the third silent tick ends it */
	cr_assert(strstr(brp_session_error(rig.s), "silent"));
	fake_rig_down(&rig);
}

Test(queue, message_of_another_epoch_breaks_the_connection)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};

	fake_goodbye(rig.c, 2, BRP_ST_OK, "");
	fake_expect_protocol_error(&rig, &io);
	fake_rig_down(&rig);
}

Test(queue, keepalive_of_another_epoch_is_answered)
{
	struct fake_rig rig = fake_rig_one_connection();

	fake_keepalive(rig.c, 2, 0);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(fake_count(rig.c, BRP_MSG_KEEPALIVE_REPLY), 1);
	fake_rig_down(&rig);
}

Test(queue, resize_is_followed)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct brp_info info = {.size = sizeof(info)};
	struct fake_io io = {0};

	fake_event(rig.c, &(struct brp_event_msg){.kind = BRP_EV_RESIZED, .size_blocks = 8});
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(brp_session_info(rig.s, &info), 0);
	cr_assert_eq(info.size_bytes, 4096);
	cr_assert_eq(fake_submit(&rig, BRP_READ, 4096, 512, &io), -ERANGE);
	fake_event(rig.c, &(struct brp_event_msg){.kind = 77});
	cr_assert_eq(brp_poll(rig.q), 0, "unknown kinds are ignored");
	fake_event(rig.c,
		   &(struct brp_event_msg){.kind = BRP_EV_RESIZED, .size_blocks = UINT64_MAX});
	fake_expect_protocol_error(&rig, &io);
	fake_rig_down(&rig);
}

Test(queue, garbage_breaks_the_connection)
{
	struct fake_rig rig = fake_rig_one_connection();
	uint8_t garbage[64];
	struct fake_io io = {0};

	memset(garbage, 0xee, sizeof(garbage));
	fake_deliver(rig.c, garbage, sizeof(garbage));
	fake_expect_protocol_error(&rig, &io);
	fake_rig_down(&rig);
}

Test(queue, event_loop_descriptor_is_quiet_after_poll)
{
	struct fake_rig rig = fake_rig_one_connection();
	struct fake_io io = {0};
	struct pollfd pfd;

	pfd = (struct pollfd){.fd = brp_queue_fd(rig.q), .events = POLLIN};
	cr_assert_eq(fake_submit(&rig, BRP_READ, 0, 512, &io), 0);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(poll(&pfd, 1, 0), 0, "nothing to do");
	fake_respond_one(rig.c, fake_last_tag(&rig), 0);
	cr_assert_eq(poll(&pfd, 1, 1000), 1);
	cr_assert_eq(brp_poll(rig.q), 1);
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(poll(&pfd, 1, 0), 0);
	fake_rig_down(&rig);
}

/* ---- what the owner is told ------------------------------------------------------------------ */

struct told {
	unsigned int nr;
	enum brp_event_kind kind;
	uint64_t size_bytes;
	int error;
};

static void on_event(void *arg, const struct brp_event *ev)
{
	struct told *t = arg;

	cr_assert_eq(ev->size, sizeof(*ev));
	cr_assert(ev->text && ev->text[0]);
	t->nr++;
	t->kind = ev->kind;
	t->size_bytes = ev->size_bytes;
	t->error = ev->error;
}

Test(queue, events_are_told_and_a_resize_only_once)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct told told = {0};
	struct fake_rig rig;

	opt.on_event = on_event;
	opt.event_arg = &told;
	rig = fake_rig_up(&opt);
	for (int i = 0; i < 2; i++) {
		fake_event(rig.c,
			   &(struct brp_event_msg){.kind = BRP_EV_RESIZED, .size_blocks = 8});
		cr_assert_eq(brp_poll(rig.q), 0);
		cr_assert_eq(told.nr, 1);
		cr_assert_eq(told.kind, BRP_EVENT_RESIZED);
		cr_assert_eq(told.size_bytes, 4096);
	}
	fake_event(rig.c, &(struct brp_event_msg){.kind = BRP_EV_GOING_DOWN});
	cr_assert_eq(brp_poll(rig.q), 0);
	cr_assert_eq(told.kind, BRP_EVENT_GOING_DOWN);
	fake_event(rig.c, &(struct brp_event_msg){.kind = BRP_EV_REMOVED});
	cr_assert_eq(brp_poll(rig.q), -ENODEV);
	cr_assert_eq(told.nr, 4, "REMOVED, then FAILED");
	cr_assert_eq(told.kind, BRP_EVENT_FAILED);
	cr_assert_eq(told.error, -ENODEV);
	fake_rig_down(&rig);
}

Test(queue, status_is_told)
{
	struct brp_status st = {.size = sizeof(st)};
	struct fake_rig rig = fake_rig_one_connection();

	cr_assert_eq(brp_session_status(rig.s, &st), 0);
	cr_assert_eq(st.state, BRP_STATE_LIVE);
	cr_assert_eq(st.epoch, 1);
	cr_assert_eq(st.gives_up_ms, -1);
	cr_assert_eq(st.error, 0);
	st.size = 0;
	cr_assert_eq(brp_session_status(rig.s, &st), -EINVAL);
	fake_rig_down(&rig);
}
