/* SPDX-License-Identifier: BSD-2-Clause */
/* One block: which version each of its reads saw. */
#include <errno.h>
#include <stdlib.h>

#include "tests/history/check_internal.h"

/* A record that changes the block. */
struct change {
	const struct hist_rec *rec;
	uint64_t last;
};

struct block_view {
	struct checker *c;
	uint32_t block;
	const struct hist_rec **recs;
	size_t nr_recs;
	struct change *writes; /* by value */
	size_t nr_writes;
	struct change *zeroes;
	size_t nr_zeroes;
	struct change *discards;
	size_t nr_discards;
	struct change *acked;  /* writes and zeroes that succeeded, by end */
	uint64_t *newest;      /* of acked[0...i] the latest start */
	uint64_t *newest_data; /* the same without zeroes */
	size_t nr_acked;

	/* from era to era */
	uint64_t stable_start; /* latest start of what was stable when the era began */
	uint64_t known_from;   /* at this time the block is known to have held ... */
	uint64_t known_value;  /* ... this; HIST_GARBAGE: nothing is known */
};

/* The era that is being judged. */
struct era_state {
	struct block_view *b;
	struct era era;
	bool is_first;
	struct era_view view;
	size_t nr_data; /* the first so many of its versions are writes, sorted by value */
	struct version *inherited; /* what the era began with; NULL: not known yet */
};

static void push(struct change *list, size_t *n, const struct checker *c, const struct hist_rec *r)
{
	list[(*n)++] = (struct change){r, fate_of(c, r)->last};
}

static int by_value(const void *a, const void *b)
{
	const struct change *x = a;
	const struct change *y = b;

	return (x->rec->value > y->rec->value) - (x->rec->value < y->rec->value);
}

static int by_end(const void *a, const void *b)
{
	const struct change *x = a;
	const struct change *y = b;

	return (x->rec->end > y->rec->end) - (x->rec->end < y->rec->end);
}

static void sort_changes(struct block_view *b)
{
	uint64_t newest = 0;
	uint64_t newest_data = 0;

	for (size_t i = 0; i < b->nr_recs; i++) {
		const struct hist_rec *r = b->recs[i];

		if (r->op == HIST_WRITE)
			push(b->writes, &b->nr_writes, b->c, r);
		else if (r->op == HIST_ZEROES)
			push(b->zeroes, &b->nr_zeroes, b->c, r);
		else if (r->op == HIST_DISCARD)
			push(b->discards, &b->nr_discards, b->c, r);
		if ((r->op == HIST_WRITE || r->op == HIST_ZEROES) && r->result == HIST_OK)
			push(b->acked, &b->nr_acked, b->c, r);
	}
	qsort(b->writes, b->nr_writes, sizeof(*b->writes), by_value);
	qsort(b->acked, b->nr_acked, sizeof(*b->acked), by_end);
	for (size_t i = 0; i < b->nr_acked; i++) {
		const struct hist_rec *r = b->acked[i].rec;

		newest = MAX(newest, r->start);
		if (r->op == HIST_WRITE)
			newest_data = MAX(newest_data, r->start);
		b->newest[i] = newest;
		b->newest_data[i] = newest_data;
	}
}

/* Of the writes that were acknowledged before t the latest start, by one of the tables above; what
 * was before the era counts for nothing: a crash may have undone it. */
static uint64_t superseded(const struct era_state *e, const uint64_t *table, uint64_t t)
{
	const struct block_view *b = e->b;
	size_t lo = 0;
	size_t n = b->nr_acked;

	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;

		if (b->acked[mid].rec->end < t)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo && table[lo - 1] > e->era.from ? table[lo - 1] : 0;
}

/* ---- versions of an era ---------------------------------------------------------------------- */

static void add_version(struct era_state *e, const struct change *ch)
{
	const struct hist_rec *r = ch->rec;
	bool is_inside = r->start > e->era.from && ch->last <= e->era.to;
	bool is_answered = r->result == HIST_OK || r->result == HIST_FAILED;

	if (ch->last < e->era.from || r->start > e->era.to)
		return;
	e->view.versions[e->view.nr_versions++] = (struct version){
		.write = r,
		.value = r->op == HIST_WRITE ? r->value : HIST_ZERO,
		.start = MAX(r->start, e->era.from),
		.last = MIN(ch->last, e->era.to),
		.is_forced = r->result == HIST_OK && is_inside,
		.is_repeated = !is_inside || !is_answered || r->flags & HIST_RETRIED,
	};
}

static void add_versions(struct era_state *e)
{
	for (size_t i = 0; i < e->b->nr_writes; i++)
		add_version(e, &e->b->writes[i]);
	e->nr_data = e->view.nr_versions;
	for (size_t i = 0; i < e->b->nr_zeroes; i++)
		add_version(e, &e->b->zeroes[i]);
}

static const struct change *find_write(const struct block_view *b, uint64_t value)
{
	size_t lo = 0;
	size_t n = b->nr_writes;

	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;

		if (b->writes[mid].rec->value < value)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo < b->nr_writes && b->writes[lo].rec->value == value ? &b->writes[lo] : NULL;
}

static struct version *find_version(const struct era_state *e, uint64_t value)
{
	size_t lo = 0;
	size_t n = e->nr_data;

	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;

		if (e->view.versions[mid].value < value)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo < e->nr_data && e->view.versions[lo].value == value ? &e->view.versions[lo]
								      : NULL;
}

/* ---- what an era began with ------------------------------------------------------------------ */

/* A value of an earlier era was read: the block began this one with it. */
static bool is_legal_inheritance(const struct block_view *b, uint64_t value, uint64_t last)
{
	if (last < b->stable_start)
		return false;
	return b->known_value == HIST_GARBAGE || b->known_value == value || last >= b->known_from;
}

static struct version *inherit(struct era_state *e, const struct hist_rec *read, uint64_t value)
{
	struct version *v = e->inherited;

	if (v && v->value == value)
		return v;
	if (v) {
		report(e->b->c, CHECK_STALE,
		       "block %u: %s saw write %llu of client %u, but after that crash it held %s",
		       e->b->block, describe(read), (unsigned long long)hist_value_sequence(value),
		       hist_value_client(value), describe_version(v));
		return NULL;
	}
	v = &e->view.versions[e->view.nr_versions++];
	*v = (struct version){.value = value, .start = e->era.from, .last = e->era.from};
	e->inherited = v;
	return v;
}

static void inherit_value(struct era_state *e, struct look *look, const struct change *ch)
{
	const struct hist_rec *w = ch->rec;

	if (!is_legal_inheritance(e->b, w->value, ch->last)) {
		report(e->b->c, CHECK_LOST,
		       "block %u: %s saw %s; a newer write was flushed before the crash, or this "
		       "one had gone with an earlier one",
		       e->b->block, describe(look->read), describe(w));
		return;
	}
	look->version = inherit(e, look->read, w->value);
	if (look->version)
		e->view.looks[e->view.nr_looks++] = *look;
}

/* ---- reads ----------------------------------------------------------------------------------- */

static bool is_excused(const struct era_state *e, const struct hist_rec *read)
{
	const struct block_view *b = e->b;

	for (size_t i = 0; i < b->nr_discards; i++) {
		if (b->discards[i].rec->start < read->end &&
		    b->discards[i].last >= superseded(e, b->newest, read->start))
			return true;
	}
	return false;
}

static bool may_inherit_zeroes(const struct era_state *e)
{
	const struct block_view *b = e->b;

	if (e->is_first || (e->inherited && e->inherited->value != HIST_ZERO))
		return false;
	for (size_t i = 0; i < b->nr_zeroes; i++) {
		if (b->zeroes[i].rec->start < e->era.from &&
		    is_legal_inheritance(b, HIST_ZERO, b->zeroes[i].last))
			return true;
	}
	return false;
}

/* Zeroes have no name: the writes of them that can be meant. Only if it is one, it is known. */
static void look_at_zeroes(struct era_state *e, struct look *look)
{
	uint64_t newer = superseded(e, e->b->newest_data, look->read->start);
	unsigned int nr = 0;

	for (size_t i = 0; i < e->view.nr_versions; i++) {
		struct version *v = &e->view.versions[i];

		if (v->value != HIST_ZERO || !v->write || v->start >= look->read->end ||
		    v->last < newer)
			continue;
		look->version = v;
		nr++;
	}
	if (!newer && may_inherit_zeroes(e) && nr++ == 0)
		look->version = inherit(e, look->read, HIST_ZERO);
	if (nr == 0) {
		report(e->b->c, CHECK_LOST,
		       "block %u: %s saw zeroes that nothing explains any more", e->b->block,
		       describe(look->read));
		return;
	}
	if (nr > 1)
		look->version = NULL;
	e->view.looks[e->view.nr_looks++] = *look;
}

static void look_at_value(struct era_state *e, struct look *look, uint64_t value)
{
	const struct change *w = find_write(e->b, value);

	if (!w || w->rec->start > look->read->end) {
		report(e->b->c, CHECK_FOREIGN,
		       "block %u: %s saw write %llu of client %u, which is not one of this block%s",
		       e->b->block, describe(look->read),
		       (unsigned long long)hist_value_sequence(value), hist_value_client(value),
		       w ? " yet" : "");
		return;
	}
	look->version = find_version(e, value);
	if (look->version)
		e->view.looks[e->view.nr_looks++] = *look;
	else
		inherit_value(e, look, w);
}

static const struct change *nth_change(const struct block_view *b, size_t i)
{
	return i < b->nr_writes ? &b->writes[i] : &b->zeroes[i - b->nr_writes];
}

static bool overlap(const struct change *x, const struct change *y)
{
	return x->rec->start < y->last && y->rec->start < x->last;
}

/* Memory moves word by word: a read beside a write sees parts of both, and so it stays after two
 * writes side by side until the block is written again. */
static bool may_be_torn(const struct era_state *e, const struct hist_rec *read)
{
	const struct block_view *b = e->b;
	const struct change self = {read, read->end};
	uint64_t newer = superseded(e, b->newest, read->start);

	for (size_t i = 0; i < b->nr_writes + b->nr_zeroes; i++) {
		const struct change *x = nth_change(b, i);

		if (overlap(x, &self))
			return true;
		for (size_t k = 0; x->last >= newer && x->rec->start < read->end && k < i; k++) {
			const struct change *y = nth_change(b, k);

			if (y->last >= newer && y->rec->start < read->end && overlap(x, y))
				return true;
		}
	}
	return false;
}

/* What no order of writes could explain. */
static bool is_nonsense(struct era_state *e, const struct hist_rec *read, uint64_t seen)
{
	struct block_view *b = e->b;

	if (seen <= HIST_MAX_VALUE)
		return false;
	if (seen == HIST_TORN && b->c->opt->may_tear && may_be_torn(e, read))
		return true;
	report(b->c,
	       seen == HIST_TORN        ? CHECK_TORN
	       : seen == HIST_MISPLACED ? CHECK_MISPLACED
					: CHECK_FOREIGN,
	       "block %u, seen by %s", b->block, describe(read));
	return true;
}

/* A read that began in one era and ended in another may have been answered in either: of it only
 * its content is judged. */
static void look_at(struct era_state *e, const struct hist_rec *read)
{
	uint64_t seen = read->seen[e->b->block - read->first];
	struct look look = {.read = read};

	if (read->end < e->era.from || read->start > e->era.to || is_excused(e, read))
		return;
	e->b->c->result->nr_reads++;
	if (is_nonsense(e, read, seen) || read->start < e->era.from || read->end > e->era.to)
		return;
	if (seen == HIST_ZERO)
		look_at_zeroes(e, &look);
	else
		look_at_value(e, &look, seen);
}

/* ---- everything ------------------------------------------------------------------------------ */

static void carry_over(struct era_state *e)
{
	struct block_view *b = e->b;

	if (e->inherited) {
		b->known_from = e->era.from;
		b->known_value = e->inherited->value;
	}
	for (size_t i = 0; i < b->nr_acked; i++) {
		const struct hist_rec *r = b->acked[i].rec;

		if (r->start > e->era.from && fate_of(b->c, r)->stable_at < e->era.to)
			b->stable_start = MAX(b->stable_start, r->start);
	}
}

static int check_era(struct block_view *b, size_t index, struct version *versions,
		     struct look *looks)
{
	struct era_state e = {.b = b,
			      .era = b->c->eras[index],
			      .is_first = index == 0,
			      .view = {b->block, versions, 0, looks, 0}};
	int err;

	add_versions(&e);
	for (size_t i = 0; i < b->nr_recs; i++) {
		if (b->recs[i]->op == HIST_READ && b->recs[i]->result == HIST_OK)
			look_at(&e, b->recs[i]);
	}
	err = zones_check(b->c, &e.view);
	carry_over(&e);
	return err;
}

static int check_eras(struct block_view *b)
{
	struct version *versions = calloc(b->nr_recs + 1, sizeof(*versions));
	struct look *looks = calloc(b->nr_recs + 1, sizeof(*looks));
	int err = versions && looks ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < b->c->nr_eras; i++)
		err = check_era(b, i, versions, looks);
	free(versions);
	free(looks);
	return err;
}

int check_block(struct checker *c, uint32_t block)
{
	size_t first = c->first_touch[block];
	size_t n = c->first_touch[block + 1] - first;
	struct change *changes = calloc(4 * n + 1, sizeof(*changes));
	uint64_t *newest = calloc(2 * n + 1, sizeof(*newest));
	struct block_view b = {
		.c = c,
		.block = block,
		.recs = c->touches + first,
		.nr_recs = n,
		.writes = changes,
		.zeroes = changes + n,
		.discards = changes + 2 * n,
		.acked = changes + 3 * n,
		.newest = newest,
		.newest_data = newest + n,
		.known_value = HIST_GARBAGE,
	};
	int err = changes && newest ? 0 : -ENOMEM;

	if (!err) {
		sort_changes(&b);
		err = check_eras(&b);
	}
	free(changes);
	free(newest);
	return err;
}
