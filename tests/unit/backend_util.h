/* SPDX-License-Identifier: BSD-2-Clause */
/* Back end tests: one operation and wait, many operations and verify. */
#ifndef TESTS_BACKEND_UTIL_H
#define TESTS_BACKEND_UTIL_H

#include <criterion/criterion.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/util.h"
#include "target/backend/backend.h"

#define POLL_TIMEOUT_MS 20000

static inline struct bk_volume *must_open(const struct bk_spec *spec)
{
	struct bk_volume *v = NULL;
	int r = bk_open(spec, &v);

	cr_assert(r == 0, "%s: %s", spec->path, strerror(-r));
	return v;
}

static inline struct bk_queue *must_queue(struct bk_volume *v, unsigned int depth)
{
	struct bk_queue *q = NULL;
	int r = bk_queue_create(v, depth, &q);

	cr_assert(r == 0, "queue: %s", strerror(-r));
	return q;
}

/* Waits for at least one. The descriptor is never read, so it counts as an edge only to epoll;
 * poll() is enough here because bk_poll() comes first. */
static inline unsigned int reap(struct bk_queue *q, struct bk_req **done, unsigned int max)
{
	for (int ms = 0; ms < POLL_TIMEOUT_MS; ms++) {
		unsigned int n = bk_poll(q, done, max);
		struct timespec pause = {.tv_nsec = 200000};

		if (n)
			return n;
		nanosleep(&pause, NULL);
	}
	cr_assert(0, "nothing finished");
	return 0;
}

static inline int do_req(struct bk_queue *q, struct bk_req *r)
{
	struct bk_req *done;

	bk_submit(q, r);
	bk_flush(q);
	cr_assert(reap(q, &done, 1) == 1);
	cr_assert(done == r);
	cr_assert(bk_in_flight(q) == 0);
	return r->result;
}

static inline int do_op(struct bk_queue *q, enum brp_op op, uint64_t offset, uint64_t bytes,
			void *buf)
{
	struct bk_req r = {.op = op, .offset = offset, .bytes = bytes, .buf = buf};

	return do_req(q, &r);
}

static inline void *aligned(size_t bytes)
{
	void *p = NULL;

	cr_assert(posix_memalign(&p, 4096, bytes) == 0);
	memset(p, 0, bytes);
	return p;
}

static inline bool all_are(const void *p, size_t bytes, unsigned char value)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < bytes; i++) {
		if (c[i] != value)
			return false;
	}
	return true;
}

/*
 * Random reads and writes at a depth, each block in use by one request at a time; a block holds its
 * number and the count of its writes, and every read is verified.
 */
#define RV_BLOCK 4096u
struct rv_slot {
	struct bk_req req;
	unsigned char *buf;
	uint64_t block;
};

struct rv {
	struct bk_queue *q;
	uint64_t nr_blocks;
	unsigned int depth;
	unsigned int seed;
	uint64_t *version; /* of each block; 0 = zeroes */
	bool *is_busy;
	struct rv_slot *slots;
};

static inline void rv_start(struct rv *v, struct rv_slot *s)
{
	static const enum brp_op ops[] = {BRP_OP_READ, BRP_OP_WRITE, BRP_OP_READ, BRP_OP_WRITE};
	uint64_t head[2];

	do {
		s->block = (uint64_t)rand_r(&v->seed) % v->nr_blocks;
	} while (v->is_busy[s->block]);
	v->is_busy[s->block] = true;
	s->req = (struct bk_req){
		.op = ops[rand_r(&v->seed) % 4],
		.is_fua = rand_r(&v->seed) % 64 == 0,
		.offset = s->block * RV_BLOCK,
		.bytes = RV_BLOCK,
		.buf = s->buf,
	};
	if (rand_r(&v->seed) % 128 == 0)
		s->req.op = BRP_OP_WRITE_ZEROES;
	if (s->req.op == BRP_OP_WRITE) {
		head[0] = s->block;
		head[1] = v->version[s->block] + 1;
		memset(s->buf, (int)head[1], RV_BLOCK);
		memcpy(s->buf, head, sizeof(head));
	}
	if (s->req.op != BRP_OP_WRITE)
		s->req.is_fua = false;
	bk_submit(v->q, &s->req);
}

static inline void rv_finish(struct rv *v, struct rv_slot *s)
{
	uint64_t head[2];

	cr_assert(s->req.result == 0, "%s", strerror(-s->req.result));
	if (s->req.op == BRP_OP_WRITE) {
		v->version[s->block]++;
	} else if (s->req.op == BRP_OP_WRITE_ZEROES) {
		v->version[s->block] = 0;
	} else {
		memcpy(head, s->buf, sizeof(head));
		cr_assert(head[1] == v->version[s->block]);
		cr_assert(head[0] == (head[1] ? s->block : 0));
		cr_assert(all_are(s->buf + sizeof(head), RV_BLOCK - sizeof(head),
				  (unsigned char)head[1]));
	}
	v->is_busy[s->block] = false;
}

/* The volume reads as zeroes before. */
static inline void random_verify(struct bk_queue *q, uint64_t nr_blocks, unsigned int depth,
				 int total)
{
	struct rv v = {.q = q, .nr_blocks = nr_blocks, .depth = depth, .seed = 42};
	struct bk_req *done[16];
	int started = 0;
	int finished = 0;

	v.version = calloc(nr_blocks, sizeof(*v.version));
	v.is_busy = calloc(nr_blocks, sizeof(*v.is_busy));
	v.slots = calloc(depth, sizeof(*v.slots));
	for (unsigned int i = 0; i < depth; i++) {
		v.slots[i].buf = aligned(RV_BLOCK);
		rv_start(&v, &v.slots[i]);
		started++;
	}
	bk_flush(q);
	while (finished < total) {
		unsigned int n = reap(q, done, 16);

		for (unsigned int i = 0; i < n; i++) {
			struct rv_slot *s = container_of(done[i], struct rv_slot, req);

			rv_finish(&v, s);
			finished++;
			if (started < total) {
				rv_start(&v, s);
				started++;
			}
		}
		bk_flush(q);
	}
	cr_assert(bk_in_flight(q) == 0);
	for (unsigned int i = 0; i < depth; i++)
		free(v.slots[i].buf);
	free(v.slots);
	free(v.version);
	free(v.is_busy);
}

#endif
