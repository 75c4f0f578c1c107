/* SPDX-License-Identifier: BSD-2-Clause */
/* A session that loses its connections, over the fake fabric, and what is told about it. */
#ifndef UNIT_RECOVER_RIG_H
#define UNIT_RECOVER_RIG_H

#include <criterion/criterion.h>

#include <errno.h>

#include "tests/fakes/fake_session.h"

#define MAX_TOLD 64

static struct {
	unsigned int nr;
	enum brp_event_kind kinds[MAX_TOLD];
	int error; /* of the last one */
	char text[256];
} told;

static void on_event(void *arg, const struct brp_event *ev)
{
	(void)arg;
	cr_assert_lt(told.nr, MAX_TOLD);
	told.kinds[told.nr++] = ev->kind;
	told.error = ev->error;
	strncpy(told.text, ev->text, sizeof(told.text) - 1);
}

static inline unsigned int nr_told(enum brp_event_kind kind)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < told.nr; i++)
		n += told.kinds[i] == kind;
	return n;
}

/* Quick enough for tests. */
static inline struct brp_options quick_options(void)
{
	struct brp_options opt = BRP_OPTIONS_INIT;

	opt.reconnect_delay_ms = 2;
	opt.reconnect_delay_max_ms = 10;
	opt.on_event = on_event;
	return opt;
}

static inline void recover_reset(void)
{
	fake_reset();
	fake_config.has_barrier = true;
	memset(&told, 0, sizeof(told));
}

/* The connection made last. */
static inline struct fabric_conn *newest(void)
{
	cr_assert_gt(fake_nr_conns, 0);
	return fake_conns[fake_nr_conns - 1];
}

static inline struct brp_status status_of(const struct fake_rig *rig)
{
	struct brp_status st = {.size = sizeof(st)};

	cr_assert_eq(brp_session_status(rig->s, &st), 0);
	return st;
}

static inline void lose(struct fabric_conn *c)
{
	fake_deliver_closed(c, -ECONNRESET);
}

static inline void hello(struct fabric_conn *c)
{
	uint8_t buf[64];

	fake_deliver(c, buf,
		     (uint32_t)brp_encode_hello_reply(buf, sizeof(buf), &fake_config.hello));
}

static inline void wait_conns(struct fake_rig *rig, unsigned int n)
{
	for (int i = 0; i < 2000 && fake_nr_conns < n; i++)
		(void)brp_wait(rig->q, 1);
	cr_assert_geq(fake_nr_conns, n);
}

/* Until the session is in this state; false: it takes too long. */
static inline bool reach(struct fake_rig *rig, enum brp_state state)
{
	for (int i = 0; i < 2000; i++) {
		if (status_of(rig).state == state)
			return true;
		(void)brp_wait(rig->q, 1);
	}
	return false;
}

/* Loses a connection and waits until there is a new one. */
static inline void lose_and_return(struct fake_rig *rig, struct fabric_conn *c)
{
	uint64_t before = status_of(rig).reconnects;

	fake_deliver_closed(c, -ECONNRESET);
	for (int i = 0; i < 2000 && status_of(rig).reconnects == before; i++)
		(void)brp_wait(rig->q, 1);
	cr_assert_eq(status_of(rig).reconnects, before + 1);
}

static inline void wait_done(struct fake_rig *rig, const struct fake_io *io)
{
	for (int i = 0; i < 2000 && io->nr_done == 0; i++)
		(void)brp_wait(rig->q, 1);
	cr_assert_eq(io->nr_done, 1);
}

static inline void expect_end(struct fake_rig *rig, int err, const char *words)
{
	struct fake_io io = {0};
	int r = 0;

	for (int i = 0; i < 2000 && r >= 0; i++)
		r = brp_wait(rig->q, 1);
	cr_assert_eq(r, err, "%d", r);
	cr_assert(strstr(brp_session_error(rig->s), words), "%s", brp_session_error(rig->s));
	cr_assert_eq(status_of(rig).state, BRP_STATE_FAILED);
	cr_assert_eq(status_of(rig).error, err);
	cr_assert_eq(nr_told(BRP_EVENT_FAILED), 1);
	cr_assert_eq(fake_submit(rig, BRP_READ, 0, 512, &io), -ENOTCONN);
}

#endif
