/* SPDX-License-Identifier: BSD-2-Clause */
/* Data of READs inside the RESPONSE (protocol.md 5.2): it goes to the READ that asked for it and
 * nowhere else, whatever a target says. */
#include <criterion/criterion.h>

#include <errno.h>

#include "tests/fakes/fake_session.h"

TestSuite(queue_data, .init = fake_reset);

#define READ_AT 8192 /* where in the rig's buffer the second request's data belongs */

struct two_reads {
	struct fake_rig rig;
	struct fake_io a, b;
	uint32_t tag_a, tag_b;
	uint8_t data[4096];
};

static void read_into(struct fake_rig *rig, uint64_t offset, uint32_t bytes, char *buf,
		      struct fake_io *io)
{
	cr_assert_eq(brp_submit(rig->q, &(struct brp_io){.op = BRP_READ,
							 .offset = offset,
							 .bytes = bytes,
							 .buf = buf,
							 .mem = rig->mem,
							 .done = fake_done,
							 .arg = io}),
		     0);
}

/* 512 bytes to the front of the buffer and 1024 to READ_AT, both sent. The second op may be
 * another. */
static void two_in_flight(struct two_reads *t, bool has_read_data, enum brp_io_op second)
{
	fake_config.is_stream = false;
	fake_config.hello.features = has_read_data ? BRP_FEATURE_READ_DATA : 0;
	t->rig = fake_rig_one_connection();
	read_into(&t->rig, 0, 512, t->rig.buf, &t->a);
	t->tag_a = fake_last_tag(&t->rig);
	if (second == BRP_READ)
		read_into(&t->rig, 0, 1024, t->rig.buf + READ_AT, &t->b);
	else
		cr_assert_eq(fake_submit(&t->rig, second, 0, 1024, &t->b), 0);
	brp_kick(t->rig.q);
	t->tag_b = fake_last_tag(&t->rig);
	cr_assert_neq(t->tag_a, t->tag_b);
	memset(t->data, 0xaa, 512);
	memset(t->data + 512, 0xbb, 1024);
}

static void expect_bytes(const char *at, size_t n, uint8_t value, const char *what)
{
	for (size_t i = 0; i < n; i++)
		cr_assert_eq((uint8_t)at[i], value, "%s: byte %zu is %02x", what, i,
			     (uint8_t)at[i]);
}

Test(queue_data, data_in_the_response_goes_to_its_reads)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_READ);
	/* The order is the target's. */
	fake_respond_data(
		t.rig.c, (struct brp_completion[]){{t.tag_b, 0, 1024, 48}, {t.tag_a, 0, 512, 1072}},
		2, (uint8_t[1536]){0}, 1536);
	cr_assert_eq(brp_poll(t.rig.q), 2);
	cr_assert_eq(t.a.nr_done + t.b.nr_done, 2);
	cr_assert_eq(t.a.result | t.b.result, 0);
	expect_bytes(t.rig.buf, 512, 0, "first");
	expect_bytes(t.rig.buf + 512, READ_AT - 512, 0x5a, "behind the first");
	expect_bytes(t.rig.buf + READ_AT, 1024, 0, "second");
	expect_bytes(t.rig.buf + READ_AT + 1024, 4096, 0x5a, "behind the second");
	cr_assert_eq(fake_stats(&t.rig).bytes_read, 1536);
	cr_assert_eq(fake_stats(&t.rig).responses, 1);
	cr_assert_eq(t.rig.c->nr_exposed, 0);
	fake_rig_down(&t.rig);
}

Test(queue_data, response_may_mix_data_and_pushes)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_READ);
	fake_respond_data(t.rig.c,
			  (struct brp_completion[]){{t.tag_b, 0, 0, 0}, {t.tag_a, 0, 512, 48}}, 2,
			  t.data, 512);
	cr_assert_eq(brp_poll(t.rig.q), 2);
	cr_assert_eq(t.a.result | t.b.result, 0);
	expect_bytes(t.rig.buf, 512, 0xaa, "first");
	expect_bytes(t.rig.buf + READ_AT, 1024, 0x5a, "second, pushed by nobody here");
	fake_rig_down(&t.rig);
}

/* What must close the connection, and then the buffer of neither request was touched beyond `good`
 * bytes of the first. */
static void expect_refused(struct two_reads *t, const struct brp_completion c[2],
			   uint32_t data_bytes, uint32_t good)
{
	fake_respond_data(t->rig.c, c, 2, t->data, data_bytes);
	fake_expect_protocol_error(&t->rig, &t->b);
	cr_assert_eq(t->a.nr_done, 1);
	cr_assert_eq(t->b.nr_done, 1);
	cr_assert_eq(t->b.result, -EPROTO);
	expect_bytes(t->rig.buf, good, 0xaa, "first");
	expect_bytes(t->rig.buf + good, FAKE_BUF_BYTES - good, 0x5a, "the rest");
	fake_rig_down(&t->rig);
}

Test(queue_data, data_not_granted_breaks_the_connection)
{
	struct two_reads t = {0};

	two_in_flight(&t, false, BRP_READ);
	expect_refused(&t,
		       (struct brp_completion[]){{t.tag_a, 0, 512, 48}, {t.tag_b, 0, 1024, 560}},
		       1536, 0);
}

Test(queue_data, data_shorter_than_the_read_breaks_the_connection)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_READ);
	expect_refused(&t, (struct brp_completion[]){{t.tag_a, 0, 512, 48}, {t.tag_b, 0, 512, 560}},
		       1024, 512);
}

Test(queue_data, data_longer_than_the_read_breaks_the_connection)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_READ);
	expect_refused(&t,
		       (struct brp_completion[]){{t.tag_a, 0, 1024, 48}, {t.tag_b, 0, 512, 1072}},
		       1536, 0);
}

Test(queue_data, data_for_a_write_breaks_the_connection)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_WRITE);
	expect_refused(&t,
		       (struct brp_completion[]){{t.tag_a, 0, 512, 48}, {t.tag_b, 0, 1024, 560}},
		       1536, 512);
}

Test(queue_data, data_beyond_the_message_breaks_the_connection)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_READ);
	expect_refused(&t,
		       (struct brp_completion[]){{t.tag_a, 0, 512, 48}, {t.tag_b, 0, 1024, 560}},
		       1024, 0);
}

/* The first one completes it; after that the buffer is the user's again. */
Test(queue_data, data_twice_for_a_tag_breaks_the_connection)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_READ);
	memset(t.data + 512, 0xcc, 512);
	expect_refused(&t, (struct brp_completion[]){{t.tag_a, 0, 512, 48}, {t.tag_a, 0, 512, 560}},
		       1024, 512);
}

Test(queue_data, data_for_a_stale_tag_breaks_the_connection)
{
	struct two_reads t = {0};

	two_in_flight(&t, true, BRP_READ);
	expect_refused(
		&t,
		(struct brp_completion[]){{t.tag_a - 0x10000, 0, 512, 48}, {t.tag_b, 0, 1024, 560}},
		1536, 0);
}
