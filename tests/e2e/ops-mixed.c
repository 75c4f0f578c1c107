/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many requests at once, on all queues, of all operations and sizes, at random places; everything
 * read is compared with a shadow copy. There is no order between requests in flight
 * (protocol.md 5.1), so none overlaps another unless both read.
 */
#include "ops.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIG_SLOTS      4u
#define MAX_QUEUES     64u
#define HANG_MS        30000u
#define MAX_PICK_TRIES 100

struct slot {
	struct mix *mix;
	uint8_t *buf; /* a page longer than its room: requests start anywhere in the first page */
	uint64_t room;
	bool is_busy;
	enum brp_io_op op;
	uint64_t at; /* within the span */
	uint64_t bytes;
	uint8_t *data;
};

struct mix {
	const struct ops_options *o;
	struct ops_session os;
	struct shadow shadow;
	struct slot *slots;
	unsigned int nr_slots;
	unsigned int nr_busy;
	uint64_t rng;
	uint64_t nr_submitted;
	uint64_t nr_completed;
	uint64_t checked_bytes;
	uint64_t progress_ms;
	uint64_t end_ms;
	bool is_lost;
	bool is_wrong;
};

/*
 * ---- choosing requests
 * --------------------------------------------------------------------------------------------------
 */

static uint64_t below(struct mix *m, uint64_t limit)
{
	return ops_random(&m->rng) % limit;
}

static bool only_reads(const struct slot *a, enum brp_io_op op)
{
	return a->op == BRP_READ && op == BRP_READ;
}

static bool collides(const struct mix *m, const struct slot *mine)
{
	for (unsigned int i = 0; i < m->nr_slots; i++) {
		const struct slot *s = &m->slots[i];

		if (s == mine || !s->is_busy || s->op == BRP_FLUSH || only_reads(s, mine->op))
			continue;
		if (s->at < mine->at + mine->bytes && mine->at < s->at + s->bytes)
			return true;
	}
	return false;
}

static enum brp_io_op pick_op(struct mix *m)
{
	uint64_t dice = below(m, 100);

	if (m->o->is_read_only || dice < 45)
		return BRP_READ;
	if (dice < 88)
		return BRP_WRITE;
	if (dice < 92 && m->os.info.has_write_zeroes)
		return BRP_WRITE_ZEROES;
	if (dice < 96 && m->os.info.has_discard && !m->o->no_discard)
		return BRP_DISCARD;
	return dice < 98 ? BRP_FLUSH : BRP_WRITE;
}

/* Mostly one block, then a few, then anything up to what the slot holds. */
static uint64_t pick_bytes(struct mix *m, const struct slot *s)
{
	uint64_t block = m->os.info.block_bytes;
	uint64_t max = s->room / block;

	if (s->room > OPS_SMALL_BYTES)
		return (1 + below(m, max)) * block;
	return (below(m, 3) ? 1 : 1 + below(m, max)) * block;
}

static bool pick(struct mix *m, struct slot *s)
{
	uint64_t block = m->os.info.block_bytes;

	s->op = pick_op(m);
	if (s->op == BRP_FLUSH) {
		s->at = s->bytes = 0;
		return true;
	}
	for (int i = 0; i < MAX_PICK_TRIES; i++) {
		s->bytes = pick_bytes(m, s);
		s->at = below(m, (m->shadow.span - s->bytes) / block + 1) * block;
		if (!collides(m, s))
			return true;
	}
	return false;
}

static void fill(struct mix *m, struct slot *s)
{
	uint64_t state = ops_random(&m->rng) | 1;

	for (uint64_t i = 0; i < s->bytes; i += 8) {
		uint64_t word = ops_random(&state);

		memcpy(s->data + i, &word, 8);
	}
}

/*
 * ---- completions
 * --------------------------------------------------------------------------------------------------------
 */

static void book_failure(struct mix *m, struct slot *s, int result)
{
	/* Its outcome is unknown: it may have reached the volume, in part. */
	if (s->op != BRP_READ && s->op != BRP_FLUSH)
		shadow_forget(&m->shadow, s->at, s->bytes);
	if (result == -EIO || result == -EINVAL || result == -ERANGE || result == -EOPNOTSUPP) {
		fprintf(stderr, "brp-ops: op %d of %llu bytes at %llu: %s\n", s->op,
			(unsigned long long)s->bytes,
			(unsigned long long)(m->shadow.offset + s->at), strerror(-result));
		m->is_wrong = true;
	}
	m->is_lost = true;
}

static void book_success(struct mix *m, struct slot *s)
{
	switch (s->op) {
	case BRP_READ:
		if (!shadow_matches(&m->shadow, s->at, s->bytes, s->data))
			m->is_wrong = true;
		m->checked_bytes += s->bytes;
		break;
	case BRP_WRITE:
		shadow_write(&m->shadow, s->at, s->bytes, s->data);
		break;
	case BRP_WRITE_ZEROES:
		shadow_zero(&m->shadow, s->at, s->bytes);
		break;
	case BRP_DISCARD:
		shadow_forget(&m->shadow, s->at, s->bytes);
		break;
	case BRP_FLUSH:
		break;
	}
}

static void on_done(void *arg, int result)
{
	struct slot *s = arg;
	struct mix *m = s->mix;

	if (!s->is_busy) {
		fprintf(stderr, "brp-ops: a request was completed twice\n");
		exit(OPS_BAD_DATA);
	}
	s->is_busy = false;
	m->nr_busy--;
	m->nr_completed++;
	m->progress_ms = ops_now_ms();
	if (result) {
		book_failure(m, s, result);
		return;
	}
	ops_say_flowing();
	book_success(m, s);
}

/*
 * ---- the loop
 * -----------------------------------------------------------------------------------------------------------
 */

static volatile sig_atomic_t is_told_to_end;

static void on_end(int sig)
{
	(void)sig;
	is_told_to_end = true;
}

/* Until then the signal kills, as it should while nothing is connected. */
static void end_when_told(void)
{
	struct sigaction sa = {.sa_handler = on_end, .sa_flags = SA_RESTART};

	sigaction(SIGTERM, &sa, NULL);
}

static bool is_finished(const struct mix *m)
{
	if (m->is_lost || m->is_wrong || is_told_to_end)
		return true;
	return m->o->seconds ? ops_now_ms() >= m->end_ms : m->nr_submitted >= m->o->requests;
}

/* 0, -EAGAIN when the queue is full, else the connection is gone. */
static int submit(struct mix *m, struct slot *s, struct brp_queue *q)
{
	bool has_data = s->op == BRP_READ || s->op == BRP_WRITE;
	struct brp_io io = {.op = s->op, .done = on_done, .arg = s, .bytes = s->bytes};
	int err;

	s->data = s->buf + below(m, OPS_UNALIGNED_MAX);
	if (s->op == BRP_WRITE)
		fill(m, s);
	if (s->op != BRP_FLUSH)
		io.offset = m->shadow.offset + s->at;
	if (has_data) {
		io.buf = s->data;
		io.mem = m->os.mem;
	}
	if (m->os.info.has_fua && s->op == BRP_WRITE && !below(m, 16))
		io.flags = BRP_FUA;
	err = brp_submit(q, &io);
	if (err)
		return err;
	s->is_busy = true;
	m->nr_busy++;
	m->nr_submitted++;
	return 0;
}

/* Gives queue number i a batch. */
static void feed(struct mix *m, unsigned int i)
{
	struct brp_queue *q = brp_session_queue(m->os.s, i);

	for (unsigned int k = i; k < m->nr_slots && !is_finished(m); k += m->os.info.queues) {
		struct slot *s = &m->slots[k];
		int err;

		if (s->is_busy || !pick(m, s))
			continue;
		err = submit(m, s, q);
		if (err == -EAGAIN)
			break;
		if (err) {
			fprintf(stderr, "brp-ops: submit: %s\n", strerror(-err));
			m->is_wrong |= err == -EINVAL;
			m->is_lost = true;
		}
	}
	brp_kick(q);
}

/* All queues; true when nothing more is to be had now. */
static bool reap(struct mix *m)
{
	bool is_idle = true;

	for (unsigned int i = 0; i < m->os.info.queues; i++) {
		int n = brp_poll(brp_session_queue(m->os.s, i));

		is_idle &= n <= 0;
		m->is_lost |= n < 0;
	}
	return is_idle;
}

static void sleep_for_any(struct mix *m)
{
	struct pollfd fds[MAX_QUEUES];
	unsigned int n = m->os.info.queues;

	for (unsigned int i = 0; i < n; i++)
		fds[i] = (struct pollfd){
			.fd = brp_queue_fd(brp_session_queue(m->os.s, i)),
			.events = POLLIN,
		};
	poll(fds, n, 100);
}

static void guard(const struct mix *m)
{
	if (!m->nr_busy || ops_now_ms() - m->progress_ms < HANG_MS)
		return;
	fprintf(stderr, "brp-ops: %u requests without an answer for %u ms\n", m->nr_busy, HANG_MS);
	exit(OPS_HANG);
}

static void run_mix(struct mix *m)
{
	end_when_told();
	m->progress_ms = ops_now_ms();
	m->end_ms = m->progress_ms + m->o->seconds * 1000ull;
	while (!is_finished(m) || m->nr_busy) {
		for (unsigned int i = 0; i < m->os.info.queues && !is_finished(m); i++)
			feed(m, i);
		if (reap(m) && m->nr_busy)
			sleep_for_any(m);
		guard(m);
	}
}

/*
 * ---- before and after
 * ---------------------------------------------------------------------------------------------------
 */

static int read_back(struct ops_session *os, const struct shadow *sh)
{
	uint64_t step = os->info.max_transfer_bytes;

	if (step > os->bytes)
		step = os->bytes / sh->block * sh->block;
	for (uint64_t at = 0; at < sh->span; at += step) {
		uint64_t bytes = sh->span - at < step ? sh->span - at : step;
		int err = ops_sync(os, BRP_READ, sh->offset + at, bytes, os->base);

		if (err) {
			fprintf(stderr, "brp-ops: reading back: %s\n", strerror(-err));
			return OPS_LOST;
		}
		if (!shadow_matches(sh, at, bytes, os->base))
			return OPS_BAD_DATA;
	}
	return OPS_OK;
}

static size_t slot_stride(uint64_t room)
{
	return room + OPS_UNALIGNED_MAX;
}

/* A few slots for large requests, depth x queues in all. */
static int make_slots(struct mix *m, uint64_t big_room)
{
	uint8_t *p = m->os.base;

	m->slots = calloc(m->nr_slots, sizeof(*m->slots));
	if (!m->slots)
		return OPS_USAGE;
	for (unsigned int i = 0; i < m->nr_slots; i++) {
		struct slot *s = &m->slots[i];

		s->mix = m;
		s->buf = p;
		s->room = i < BIG_SLOTS ? big_room : OPS_SMALL_BYTES;
		p += slot_stride(s->room);
	}
	return OPS_OK;
}

static uint64_t usable_span(const struct ops_options *o, const struct brp_info *info)
{
	uint64_t left = info->size_bytes - o->offset;

	return o->span && o->span < left ? o->span / info->block_bytes * info->block_bytes : left;
}

static int prepare(struct mix *m)
{
	const struct ops_options *o = m->o;
	unsigned int big;
	int rc;

	m->nr_slots = o->depth * o->queues;
	m->rng = 0x9e3779b97f4a7c15ull ^ o->seed;
	big = m->nr_slots < BIG_SLOTS ? m->nr_slots : BIG_SLOTS;
	rc = ops_connect(
		o, big * slot_stride(o->max_bytes) + m->nr_slots * slot_stride(OPS_SMALL_BYTES),
		&m->os);
	if (rc != OPS_OK)
		return rc;
	ops_say("connected", o->uri);
	if (m->os.info.queues > MAX_QUEUES || o->offset >= m->os.info.size_bytes ||
	    m->os.info.block_bytes > OPS_SMALL_BYTES)
		return OPS_USAGE;
	if (shadow_init(&m->shadow, o->offset, usable_span(o, &m->os.info), m->os.info.block_bytes))
		return OPS_USAGE;
	return make_slots(m, o->max_bytes);
}

static void print_figures(struct mix *m)
{
	struct brp_status status = {.size = sizeof(status)};
	uint64_t requests = 0, messages = 0;

	brp_session_status(m->os.s, &status);
	for (unsigned int i = 0; i < m->os.info.queues; i++) {
		struct brp_stats st = {.size = sizeof(st)};

		brp_queue_stats(brp_session_queue(m->os.s, i), &st);
		requests += st.requests;
		messages += st.messages;
	}
	printf("mixed: %llu requests, %llu on the wire in %llu messages, %llu bytes compared\n",
	       (unsigned long long)m->nr_completed, (unsigned long long)requests,
	       (unsigned long long)messages, (unsigned long long)m->checked_bytes);
	if (status.reconnects)
		printf("mixed: %llu reconnects, %llu requests sent again\n",
		       (unsigned long long)status.reconnects,
		       (unsigned long long)status.retried_requests);
}

static int result_of(struct mix *m)
{
	int rc = OPS_OK;

	if (m->is_wrong)
		return OPS_BAD_DATA;
	if (!m->is_lost)
		rc = read_back(&m->os, &m->shadow);
	else
		fprintf(stderr, "brp-ops: connection lost: %s\n", brp_session_error(m->os.s));
	if (rc == OPS_OK && m->o->state && shadow_save(&m->shadow, m->o->state))
		rc = OPS_USAGE;
	return rc == OPS_OK && m->is_lost ? OPS_LOST : rc;
}

int ops_mixed(const struct ops_options *o)
{
	struct mix m = {.o = o};
	int rc = prepare(&m);

	if (rc == OPS_OK) {
		run_mix(&m);
		print_figures(&m);
		rc = result_of(&m);
	}
	if (m.os.s)
		ops_disconnect(&m.os);
	shadow_finish(&m.shadow);
	free(m.slots);
	return rc;
}

int ops_check(const struct ops_options *o)
{
	struct ops_session os;
	struct shadow sh;
	int rc;

	if (!o->state || shadow_load(&sh, o->state)) {
		fprintf(stderr, "brp-ops: check needs --state of an earlier run\n");
		return OPS_USAGE;
	}
	rc = ops_connect(o, 1u << 20, &os);
	if (rc == OPS_OK) {
		rc = read_back(&os, &sh);
		ops_disconnect(&os);
	}
	shadow_finish(&sh);
	return rc;
}
