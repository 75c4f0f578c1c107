/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker against a model: a simulated target with clients, reconnects, takeovers and crashes,
 * played with many seeds. As long as the disk is correct nothing may be reported, whatever happens;
 * with each bug put in, many seeds must show it.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "tests/history/check.h"

#define BLOCKS     3u
#define CLIENTS    4u
#define DEPTH      3u
#define STEPS      1500u
#define MAX_RECS   (STEPS + 64u)
#define MAX_GHOSTS 64u
#define SEEDS      60u

enum bug {
	BUG_NONE,
	BUG_LOST,      /* a write is acknowledged and not carried out */
	BUG_LATE,      /* nothing is fenced: what was sent before a reconnect lands later */
	BUG_STALE,     /* a read finds what was there before */
	BUG_NO_FLUSH,  /* a flush does nothing */
	BUG_CONTINUED, /* nobody is told about a loss */
	BUG_MISPLACED, /* a write hits another block */
};

struct cell {
	uint64_t value;
	uint32_t block; /* it was written for */
};

struct slot {
	struct hist_rec *rec; /* NULL: free */
	bool is_done;         /* by the target; the answer may be on its way */
};

struct client {
	struct slot slots[DEPTH];
	uint32_t session;
	uint64_t sequence;
	uint64_t dirty; /* when the last write was acknowledged that no flush covers; 0 = none */
};

struct sim {
	enum bug bug;
	bool is_write_back;
	uint64_t random;
	uint64_t time;
	struct hist_rec recs[MAX_RECS];
	size_t nr_recs;
	struct client clients[CLIENTS];
	struct cell now[BLOCKS], before[BLOCKS], stable[BLOCKS];
	/* requests of older epochs, still in the device */
	struct hist_rec ghosts[MAX_GHOSTS];
	uint16_t nr_ghosts;
};

static struct sim sim;
static struct check_result result;

static uint64_t pick(struct sim *s, uint64_t n)
{
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return s->random * 0x2545f4914f6cdd1dull % n;
}

static struct hist_rec *record(struct sim *s, enum hist_op op, unsigned int client)
{
	struct hist_rec *r = &s->recs[s->nr_recs++];

	*r = (struct hist_rec){.op = (uint8_t)op, .client = (uint16_t)client, .start = ++s->time};
	if (client < CLIENTS)
		r->session = s->clients[client].session;
	return r;
}

/* ---- the target ------------------------------------------------------------------------------ */

static void store(struct sim *s, uint32_t block, struct cell cell, bool is_stable)
{
	s->before[block] = s->now[block];
	s->now[block] = cell;
	if (!s->is_write_back || is_stable)
		s->stable[block] = cell;
}

static void carry_out(struct sim *s, struct hist_rec *r)
{
	uint32_t block = r->first;

	switch (r->op) {
	case HIST_READ:
		if (s->bug == BUG_STALE && pick(s, 20) == 0)
			r->seen[0] = s->before[block].value;
		else
			r->seen[0] =
				s->now[block].block == block ? s->now[block].value : HIST_MISPLACED;
		break;
	case HIST_WRITE:
		if (s->bug == BUG_LOST && pick(s, 8) == 0)
			break;
		if (s->bug == BUG_MISPLACED && pick(s, 30) == 0)
			block = (block + 1) % BLOCKS;
		store(s, block, (struct cell){r->value, r->first}, r->flags & HIST_FUA);
		break;
	case HIST_ZEROES:
		store(s, block, (struct cell){HIST_ZERO, block}, false);
		break;
	case HIST_DISCARD:
		if (pick(s, 2))
			store(s, block, (struct cell){HIST_ZERO, block}, false);
		break;
	case HIST_FLUSH:
		if (s->bug != BUG_NO_FLUSH)
			memcpy(s->stable, s->now, sizeof(s->stable));
	}
}

/* Left behind by an epoch: the real target finishes or drops it before the next one is admitted. */
static void leave_behind(struct sim *s, const struct hist_rec *r)
{
	if (s->nr_ghosts < MAX_GHOSTS && r->op != HIST_READ && r->op != HIST_FLUSH)
		s->ghosts[s->nr_ghosts++] = *r;
}

static void haunt(struct sim *s)
{
	uint16_t i;

	if (!s->nr_ghosts)
		return;
	i = (uint16_t)pick(s, s->nr_ghosts);
	carry_out(s, &s->ghosts[i]);
	s->ghosts[i] = s->ghosts[--s->nr_ghosts];
}

static void fence(struct sim *s, unsigned int client)
{
	for (uint16_t i = 0; s->bug != BUG_LATE && i < s->nr_ghosts;) {
		if (s->ghosts[i].client == client)
			s->ghosts[i] = s->ghosts[--s->nr_ghosts];
		else
			i++;
	}
}

/* ---- clients --------------------------------------------------------------------------------- */

static void submit(struct sim *s, unsigned int client, struct slot *slot)
{
	static const uint8_t ops[] = {HIST_READ,   HIST_READ,  HIST_READ,    HIST_WRITE, HIST_WRITE,
				      HIST_ZEROES, HIST_FLUSH, HIST_DISCARD, HIST_WRITE, HIST_READ};
	struct client *c = &s->clients[client];
	struct hist_rec *r = record(s, ops[pick(s, ARRAY_SIZE(ops))], client);

	r->first = (uint32_t)pick(s, BLOCKS);
	if (r->op == HIST_DISCARD && pick(s, 8))
		r->op = HIST_READ;
	r->count = r->op != HIST_FLUSH;
	if (r->op == HIST_WRITE) {
		r->value = hist_value((uint16_t)client, ++c->sequence);
		r->flags = pick(s, 6) == 0 ? HIST_FUA : 0;
	}
	*slot = (struct slot){.rec = r};
}

static void answer(struct sim *s, struct client *c, struct slot *slot)
{
	struct hist_rec *r = slot->rec;

	r->end = ++s->time;
	r->result = HIST_OK;
	if ((r->op == HIST_WRITE || r->op == HIST_ZEROES) && !(r->flags & HIST_FUA))
		c->dirty = r->end;
	if (r->op == HIST_FLUSH && r->start > c->dirty)
		c->dirty = 0;
	slot->rec = NULL;
}

static void step_slot(struct sim *s, unsigned int client, struct slot *slot)
{
	if (!slot->rec)
		submit(s, client, slot);
	else if (slot->is_done)
		answer(s, &s->clients[client], slot);
	else {
		carry_out(s, slot->rec);
		slot->is_done = true;
	}
}

/* The connection is lost; after the login everything unanswered is sent again. */
static void reconnect(struct sim *s, unsigned int client)
{
	for (unsigned int i = 0; i < DEPTH; i++) {
		struct slot *slot = &s->clients[client].slots[i];

		if (!slot->rec)
			continue;
		if (!slot->is_done)
			leave_behind(s, slot->rec);
		slot->is_done = false;
		slot->rec->flags |= HIST_RETRIED;
	}
	if (pick(s, 2)) /* one of them lands before the barrier opens */
		haunt(s);
	fence(s, client);
}

static void end_session(struct sim *s, unsigned int client, enum hist_result how)
{
	for (unsigned int i = 0; i < DEPTH; i++) {
		struct slot *slot = &s->clients[client].slots[i];

		if (!slot->rec)
			continue;
		if (!slot->is_done)
			leave_behind(s, slot->rec);
		slot->rec->result = (uint8_t)how;
		slot->rec->end = how == HIST_PENDING ? 0 : ++s->time;
		slot->rec = NULL;
	}
	s->clients[client].dirty = 0;
}

static void log_in(struct sim *s, unsigned int client)
{
	struct hist_rec *r;

	s->clients[client].session++;
	r = record(s, HIST_LOGIN, client);
	if (pick(s, 2))
		haunt(s);
	fence(s, client);
	r->end = ++s->time;
	r->result = HIST_OK;
}

static void crash(struct sim *s)
{
	struct hist_rec *r = record(s, HIST_CRASH, HIST_NEMESIS);

	memcpy(s->now, s->stable, sizeof(s->now));
	memcpy(s->before, s->stable, sizeof(s->before));
	s->nr_ghosts = 0;
	r->end = ++s->time;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		if (s->is_write_back && s->clients[i].dirty && s->bug != BUG_CONTINUED) {
			end_session(s, i, HIST_UNKNOWN);
			log_in(s, i);
		} else {
			reconnect(s, i);
			s->clients[i].dirty = 0;
		}
	}
	if (s->bug != BUG_LATE)
		s->nr_ghosts = 0; /* of the dead target's requests none is left */
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void step(struct sim *s)
{
	unsigned int client = (unsigned int)pick(s, CLIENTS);
	uint64_t what = pick(s, 400);
	uint32_t block = (uint32_t)pick(s, BLOCKS);

	if (what < 6) {
		reconnect(s, client);
	} else if (what < 9) {
		end_session(s, client, HIST_PENDING);
		log_in(s, client);
	} else if (what < 11) {
		crash(s);
	} else if (what < 15) {
		s->stable[block] = s->now[block]; /* the cache writes back when it likes */
	} else if (what < 45) {
		haunt(s);
	} else {
		step_slot(s, client, &s->clients[client].slots[pick(s, DEPTH)]);
	}
}

static void fill(struct sim *s)
{
	for (uint32_t b = 0; b < BLOCKS; b++) {
		struct hist_rec *r = record(s, HIST_WRITE, 0);

		r->first = b;
		r->count = 1;
		r->value = hist_value(0, ++s->clients[0].sequence);
		r->flags = HIST_FUA;
		s->now[b] = s->before[b] = s->stable[b] = (struct cell){r->value, b};
		r->end = ++s->time;
		r->result = HIST_OK;
	}
}

static void play(enum bug bug, bool is_write_back, uint64_t seed)
{
	struct check_options opt = {.nr_blocks = BLOCKS, .is_write_back = is_write_back};

	memset(&sim, 0, sizeof(sim));
	sim.bug = bug;
	sim.is_write_back = is_write_back;
	sim.random = (seed + 1) * 0x9e3779b97f4a7c15ull;
	for (unsigned int i = 0; i < CLIENTS; i++)
		sim.clients[i].session = 1;
	fill(&sim);
	while (sim.nr_recs + CLIENTS + 2 < MAX_RECS && sim.time < 2 * STEPS)
		step(&sim);
	cr_assert_eq(check_history(sim.recs, sim.nr_recs, &opt, &result), 0);
}

static void accepts(bool is_write_back)
{
	for (uint64_t seed = 0; seed < 10 * SEEDS; seed++) {
		play(BUG_NONE, is_write_back, seed);
		cr_assert_eq(result.nr_all, 0, "seed %llu: %s", (unsigned long long)seed,
			     result.shown[0]);
		cr_assert(result.nr_reads > 200, "seed %llu judged %u reads only",
			  (unsigned long long)seed, result.nr_reads);
	}
}

/* At least one seed of so many. */
static void finds_every(unsigned int one_of, enum bug bug, bool is_write_back)
{
	unsigned int nr = 0;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		play(bug, is_write_back, seed);
		nr += result.nr_all > 0;
	}
	cr_assert(nr * one_of >= SEEDS, "found with %u of %u seeds", nr, SEEDS);
}

static void finds(enum bug bug, bool is_write_back)
{
	finds_every(2, bug, is_write_back);
}

Test(history_model, accepts_write_through)
{
	accepts(false);
}

Test(history_model, accepts_write_back)
{
	accepts(true);
}

Test(history_model, finds_lost_writes)
{
	finds(BUG_LOST, false);
	finds(BUG_LOST, true);
}

Test(history_model, finds_late_writes)
{
	finds(BUG_LATE, false);
	finds(BUG_LATE, true);
}

Test(history_model, finds_stale_reads)
{
	finds(BUG_STALE, false);
	finds(BUG_STALE, true);
}

Test(history_model, finds_a_flush_that_does_nothing)
{
	finds_every(4, BUG_NO_FLUSH, true);
}

Test(history_model, finds_sessions_that_continue)
{
	finds(BUG_CONTINUED, true);
	cr_assert(result.nr[CHECK_CONTINUED] > 0);
}

Test(history_model, finds_misplaced_writes)
{
	finds(BUG_MISPLACED, false);
	cr_assert(result.nr[CHECK_MISPLACED] > 0);
}
