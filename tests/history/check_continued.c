/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions that went on after a crash that may have cost them acknowledged data. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/check_internal.h"

#define MAX_CLIENTS (HIST_NEMESIS + 1u)

struct crash {
	uint64_t since; /* the one before had ended */
	uint64_t start;
	uint64_t end;
};

/* Of one client. */
struct continued {
	const struct hist_rec *write; /* the last one that was acknowledged before the crash */
	const struct hist_rec *next;  /* something the same session did afterwards */
	bool is_covered;
};

static bool is_of(const struct hist_rec *r, const struct hist_rec *other)
{
	return r->client == other->client && r->session == other->session;
}

/* Sessions follow each other, so the last write is that of the last session. If a flush covers it,
 * so it does all earlier ones. */
static void find_write(struct continued *k, const struct hist_rec *r, const struct crash *crash)
{
	if (r->op == HIST_WRITE && r->result == HIST_OK && !(r->flags & HIST_FUA) &&
	    r->start > crash->since && r->end < crash->start &&
	    (!k->write || r->start > k->write->start))
		k->write = r;
}

/* By its end: the library may have seen the write's answer, and sent the flush, before the history
 * did. But a flush that started when the target was dead flushed what was left. */
static bool may_cover(const struct hist_rec *flush, const struct hist_rec *w,
		      const struct crash *crash)
{
	return flush->op == HIST_FLUSH && flush->end > w->start && flush->start < crash->end;
}

static void look_further(struct continued *k, const struct hist_rec *r, const struct crash *crash)
{
	if (!k->write || !is_of(r, k->write) || r->op > HIST_FLUSH || r->result != HIST_OK)
		return;
	if (r->start > crash->end)
		k->next = r;
	if (may_cover(r, k->write, crash))
		k->is_covered = true;
}

static void check_crash(struct checker *c, const struct crash *crash, struct continued *all)
{
	memset(all, 0, MAX_CLIENTS * sizeof(*all));
	for (size_t i = 0; i < c->nr_recs; i++)
		find_write(&all[c->recs[i].client], &c->recs[i], crash);
	for (size_t i = 0; i < c->nr_recs; i++)
		look_further(&all[c->recs[i].client], &c->recs[i], crash);
	for (size_t i = 0; i < MAX_CLIENTS; i++) {
		if (all[i].next && !all[i].is_covered)
			report(c, CHECK_CONTINUED,
			       "%s was acknowledged and not flushed before the crash [%llu,%llu]; "
			       "the session carried on with %s",
			       describe(all[i].write), (unsigned long long)crash->start,
			       (unsigned long long)crash->end, describe(all[i].next));
	}
}

int check_continued(struct checker *c)
{
	struct continued *all = malloc(MAX_CLIENTS * sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i + 1 < c->nr_eras; i++) {
		struct crash crash = {c->eras[i].from, c->eras[i].to, c->eras[i + 1].from};

		check_crash(c, &crash, all);
	}
	free(all);
	return 0;
}
