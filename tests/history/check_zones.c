/* SPDX-License-Identifier: BSD-2-Clause */
/* The order of what one block held during one era: see check.h for the argument. */
#include <errno.h>
#include <stdlib.h>

#include "tests/history/check_internal.h"

/* The block certainly held v from `from` to `to`. */
struct zone {
	uint64_t from;
	uint64_t to;
	const struct version *v;
};

/* A version must have had a moment of its own between lo and hi. */
struct moment {
	uint64_t lo;
	uint64_t hi;
	const struct version *v; /* NULL: zeroes, of whichever write */
	uint64_t value;
	const struct hist_rec *read; /* NULL: because it was acknowledged */
};

static void see(struct version *v, const struct hist_rec *read)
{
	v->is_seen = true;
	v->last_start = MAX(v->last_start, read->start);
	if (!v->is_repeated)
		v->first_end = MIN(v->first_end, read->end);
}

static void measure(const struct era_view *view)
{
	for (size_t i = 0; i < view->nr_versions; i++) {
		struct version *v = &view->versions[i];

		v->is_seen = false;
		v->first_end = v->last;
		v->last_start = v->start;
	}
	for (size_t i = 0; i < view->nr_looks; i++) {
		if (view->looks[i].version)
			see(view->looks[i].version, view->looks[i].read);
	}
}

static int by_zone_from(const void *a, const void *b)
{
	const struct zone *x = a;
	const struct zone *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

static size_t collect(const struct era_view *view, struct zone *zones)
{
	size_t n = 0;

	for (size_t i = 0; i < view->nr_versions; i++) {
		const struct version *v = &view->versions[i];

		if (v->is_seen && v->first_end < v->last_start)
			zones[n++] = (struct zone){v->first_end, v->last_start, v};
	}
	qsort(zones, n, sizeof(*zones), by_zone_from);
	return n;
}

/* Two writes of zeroes wrote the same: their zones may overlap. */
static bool agree(const struct zone *x, const struct zone *y)
{
	return x->v->value == y->v->value;
}

/* Afterwards zones are disjoint: of two that overlap the longer lasting one stays. */
static size_t check_overlap(struct checker *c, uint32_t block, struct zone *zones, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct zone *last = kept ? &zones[kept - 1] : NULL;

		if (!last || zones[i].from > last->to) {
			zones[kept++] = zones[i];
			continue;
		}
		if (!agree(last, &zones[i]))
			report(c, CHECK_STALE,
			       "block %u held %s from %llu to %llu, and from %llu to %llu %s",
			       block, describe_version(last->v), (unsigned long long)last->from,
			       (unsigned long long)last->to, (unsigned long long)zones[i].from,
			       (unsigned long long)zones[i].to, describe_version(zones[i].v));
		if (zones[i].to > last->to)
			*last = zones[i];
	}
	return kept;
}

static const struct zone *zone_around(const struct zone *zones, size_t n, const struct moment *m)
{
	size_t lo = 0;

	while (lo < n) { /* the last one that begins before the moment */
		size_t mid = lo + (n - lo) / 2;

		if (zones[mid].from < m->lo)
			lo = mid + 1;
		else
			n = mid;
	}
	if (lo == 0 || zones[lo - 1].to <= m->hi || zones[lo - 1].v->value == m->value)
		return NULL;
	return &zones[lo - 1];
}

struct judge {
	struct checker *c;
	uint32_t block;
	const struct zone *zones;
	size_t nr_zones;
};

static void judge(const struct judge *j, struct moment m)
{
	const struct zone *z = zone_around(j->zones, j->nr_zones, &m);

	if (!z)
		return;
	if (m.read)
		report(j->c, CHECK_STALE,
		       "block %u: %s came back: a read from %llu on saw it, after %s had shown %s",
		       j->block, describe_version(z->v), (unsigned long long)z->to,
		       describe(m.read), m.v ? describe_version(m.v) : "zeroes");
	else
		report(j->c, CHECK_LOST,
		       "block %u: %s was acknowledged, yet a read from %llu on saw %s", j->block,
		       describe_version(m.v), (unsigned long long)z->to, describe_version(z->v));
}

static void judge_versions(const struct judge *j, const struct era_view *view)
{
	for (size_t i = 0; i < view->nr_versions; i++) {
		const struct version *v = &view->versions[i];

		/* With a zone of its own it was judged by the overlaps, unless it can come and go.
		 */
		if (v->is_forced && (v->is_repeated || !v->is_seen))
			judge(j, (struct moment){
					 .lo = v->start, .hi = v->last, .v = v, .value = v->value});
	}
}

/* What is not repeated had one life, which touches each time between last_start and first_end: all
 * its reads share that moment. */
static void judge_looks(const struct judge *j, const struct era_view *view)
{
	for (size_t i = 0; i < view->nr_looks; i++) {
		const struct look *l = &view->looks[i];
		const struct version *v = l->version;
		struct moment m = {
			.lo = l->read->start, .hi = l->read->end, .v = v, .read = l->read};

		if (v && !v->is_repeated && v->first_end < v->last_start)
			continue; /* a zone */
		if (v) {
			m.value = v->value;
			m.lo = v->is_repeated ? MAX(m.lo, v->start) : v->last_start;
			m.hi = v->is_repeated ? MIN(m.hi, v->last) : v->first_end;
		}
		if (m.lo < m.hi)
			judge(j, m);
	}
}

int zones_check(struct checker *c, const struct era_view *view)
{
	struct zone *zones = calloc(view->nr_versions + 1, sizeof(*zones));
	struct judge j = {.c = c, .block = view->block, .zones = zones};

	if (!zones)
		return -ENOMEM;
	measure(view);
	j.nr_zones = check_overlap(c, view->block, zones, collect(view, zones));
	judge_versions(&j, view);
	judge_looks(&j, view);
	free(zones);
	return 0;
}
