/* SPDX-License-Identifier: BSD-2-Clause */
/* A session over the fake fabric with one registered buffer, and requests that count their
 * completions. */
#ifndef FAKE_SESSION_H
#define FAKE_SESSION_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "brp/brp.h"
#include "tests/fakes/fake_fabric.h"

#define FAKE_BUF_BYTES (4u << 20)

struct fake_rig {
	struct brp_session *s;
	struct brp_queue *q;
	struct brp_mem *mem;
	struct fabric_conn *c;
	char *buf;
};

struct fake_io {
	int nr_done;
	int result;
};

static inline void fake_done(void *arg, int result)
{
	struct fake_io *io = arg;

	io->nr_done++;
	io->result = result;
}

static inline struct fake_rig fake_rig_up(const struct brp_options *opt)
{
	struct fake_rig rig = {0};
	int r = brp_connect("brp+tcp://127.0.0.1/vol", opt, &rig.s);

	cr_assert_eq(r, 0, "%s", brp_last_error());
	rig.q = brp_session_queue(rig.s, 0);
	rig.buf = aligned_alloc(4096, FAKE_BUF_BYTES);
	cr_assert(rig.q && rig.buf);
	memset(rig.buf, 0x5a, FAKE_BUF_BYTES);
	cr_assert_eq(brp_mem_register(rig.s, rig.buf, FAKE_BUF_BYTES, &rig.mem), 0);
	rig.c = fake_conns[0];
	return rig;
}

static inline void fake_rig_down(struct fake_rig *rig)
{
	brp_disconnect(rig->s);
	free(rig->buf);
	cr_assert_eq(fake_nr_objects, 0);
}

static inline int fake_submit(struct fake_rig *rig, enum brp_io_op op, uint64_t offset,
			      uint64_t bytes, struct fake_io *io)
{
	bool has_data = op == BRP_READ || op == BRP_WRITE;

	return brp_submit(rig->q, &(struct brp_io){
					  .op = op,
					  .offset = offset,
					  .bytes = bytes,
					  .buf = has_data ? rig->buf : NULL,
					  .mem = has_data ? rig->mem : NULL,
					  .done = fake_done,
					  .arg = io,
				  });
}

static inline struct brp_stats fake_stats(const struct fake_rig *rig)
{
	struct brp_stats stats = {.size = sizeof(stats)};

	cr_assert_eq(brp_queue_stats(rig->q, &stats), 0);
	return stats;
}

/* A session that ends with its connection; what reconnecting does is test_recover.c's. */
static inline struct fake_rig fake_rig_one_connection(void)
{
	struct brp_options opt = BRP_OPTIONS_INIT;

	opt.ctrl_loss_tmo_ms = 0;
	return fake_rig_up(&opt);
}

/* Of the last request sent. */
static inline uint32_t fake_last_tag(struct fake_rig *rig)
{
	struct brp_request reqs[BRP_MAX_JUMBO_REQUESTS];
	int n = fake_jumbo(rig->c, fake_nr_jumbos(rig->c) - 1, reqs);

	return reqs[n - 1].tag;
}

/* io: a request's, which is not in flight any more afterwards. */
static inline void fake_expect_protocol_error(struct fake_rig *rig, struct fake_io *io)
{
	while (brp_poll(rig->q) >= 0)
		;
	cr_assert_eq(brp_poll(rig->q), -EPROTO);
	cr_assert_eq(fake_submit(rig, BRP_READ, 0, 512, io), -ENOTCONN);
	if (!fake_config.keeps_slots) /* else there was no slot for it */
		cr_assert_eq(fake_count(rig->c, BRP_MSG_GOODBYE), 1);
	cr_assert(strstr(brp_session_error(rig->s), "broke the protocol"));
}

#endif
