/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/check_internal.h"

/* ---- words ----------------------------------------------------------------------------------- */

static const char *const kind_names[CHECK_KINDS] = {
	[CHECK_LOST] = "lost write",      [CHECK_STALE] = "stale value",
	[CHECK_TORN] = "torn block",      [CHECK_MISPLACED] = "misplaced block",
	[CHECK_FOREIGN] = "foreign data", [CHECK_CONTINUED] = "session continued after a loss",
};

const char *check_kind_name(enum check_kind kind)
{
	return kind_names[kind];
}

void report(struct checker *c, enum check_kind kind, const char *fmt, ...)
{
	struct check_result *res = c->result;
	va_list ap;
	char *s;
	int n;

	res->nr[kind]++;
	if (res->nr_all++ >= CHECK_MAX_SHOWN)
		return;
	s = res->shown[res->nr_all - 1];
	n = snprintf(s, sizeof(res->shown[0]), "%s: ", kind_names[kind]);
	va_start(ap, fmt);
	vsnprintf(s + n, sizeof(res->shown[0]) - (size_t)n, fmt, ap);
	va_end(ap);
}

static const char *op_name(const struct hist_rec *r)
{
	static const char *const names[] = {
		[HIST_READ] = "read",
		[HIST_WRITE] = "write",
		[HIST_ZEROES] = "write of zeroes",
		[HIST_DISCARD] = "discard",
		[HIST_FLUSH] = "flush",
		[HIST_LOGIN] = "login",
		[HIST_CRASH] = "crash",
	};

	return names[r->op];
}

#define DESCRIBE_BYTES 96u

static char *next_buffer(void)
{
	static _Thread_local char buffers[6][DESCRIBE_BYTES];
	static _Thread_local unsigned int next;

	return buffers[next++ % ARRAY_SIZE(buffers)];
}

const char *describe(const struct hist_rec *r)
{
	char *s = next_buffer();
	char number[24] = "";

	if (r->op == HIST_WRITE)
		snprintf(number, sizeof(number), " %llu",
			 (unsigned long long)hist_value_sequence(r->value));
	snprintf(s, DESCRIBE_BYTES, "client %u's %s%s [%llu,%llu]", r->client, op_name(r), number,
		 (unsigned long long)r->start, (unsigned long long)r->end);
	return s;
}

const char *describe_version(const struct version *v)
{
	char *s;

	if (v->write)
		return describe(v->write);
	s = next_buffer();
	snprintf(s, DESCRIBE_BYTES, "write %llu of client %u, there since the crash",
		 (unsigned long long)hist_value_sequence(v->value), hist_value_client(v->value));
	return s;
}

/* ---- what follows from a client's other records ---------------------------------------------- */

static int by_client_and_start(const void *a, const void *b)
{
	const struct hist_rec *x = *(const struct hist_rec *const *)a;
	const struct hist_rec *y = *(const struct hist_rec *const *)b;

	if (x->client != y->client)
		return x->client < y->client ? -1 : 1;
	return (x->start > y->start) - (x->start < y->start);
}

/*
 * Of one client, latest start first. A login of a later session ends what is unanswered; the
 * earliest end of the flushes that started after a write was answered makes it stable. Both are
 * carried along while going back in time; a flush counts for its own session only.
 */
static void set_fates(struct checker *c, const struct hist_rec **recs, size_t n)
{
	uint64_t login_end = HIST_NEVER;
	uint32_t login_session = 0;

	for (size_t i = n; i-- > 0;) {
		const struct hist_rec *r = recs[i];
		struct fate *f = &c->fates[r - c->recs];

		if (r->op == HIST_LOGIN && r->result == HIST_OK) {
			login_end = r->end;
			login_session = r->session;
		}
		f->stable_at = HIST_NEVER;
		if (r->result == HIST_OK || r->result == HIST_FAILED)
			f->last = r->end;
		else
			f->last = login_session > r->session ? login_end : HIST_NEVER;
		if (r->op == HIST_WRITE && r->result == HIST_OK && r->flags & HIST_FUA)
			f->stable_at = r->end;
	}
}

/* First flush of [0, n), sorted by start, that started after t. */
static size_t first_after(const struct hist_rec **flushes, size_t n, uint64_t t)
{
	size_t lo = 0;

	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;

		if (flushes[mid]->start > t)
			n = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* The flushes of one client that succeeded; earliest[i] is the earliest end of flushes i and later
 * ones of its session. */
static void set_stable(struct checker *c, const struct hist_rec **recs, size_t n,
		       const struct hist_rec **flushes, uint64_t *earliest)
{
	size_t nr = 0;

	for (size_t i = 0; i < n; i++) {
		if (recs[i]->op == HIST_FLUSH && recs[i]->result == HIST_OK)
			flushes[nr++] = recs[i];
	}
	for (size_t i = nr; i-- > 0;) {
		earliest[i] = flushes[i]->end;
		if (i + 1 < nr && flushes[i + 1]->session == flushes[i]->session)
			earliest[i] = MIN(earliest[i], earliest[i + 1]);
	}
	for (size_t i = 0; i < n; i++) {
		const struct hist_rec *r = recs[i];
		struct fate *f = &c->fates[r - c->recs];
		size_t k;

		if ((r->op != HIST_WRITE && r->op != HIST_ZEROES) || r->result != HIST_OK)
			continue;
		k = first_after(flushes, nr, r->end);
		if (k < nr && flushes[k]->session == r->session)
			f->stable_at = MIN(f->stable_at, earliest[k]);
	}
}

static int find_fates(struct checker *c)
{
	const struct hist_rec **recs = calloc(c->nr_recs + 1, sizeof(*recs));
	const struct hist_rec **flushes = calloc(c->nr_recs + 1, sizeof(*flushes));
	uint64_t *earliest = calloc(c->nr_recs + 1, sizeof(*earliest));
	int err = recs && flushes && earliest ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < c->nr_recs; i++)
		recs[i] = &c->recs[i];
	if (!err)
		qsort(recs, c->nr_recs, sizeof(*recs), by_client_and_start);
	for (size_t i = 0, j; !err && i < c->nr_recs; i = j) {
		for (j = i; j < c->nr_recs && recs[j]->client == recs[i]->client;)
			j++;
		set_fates(c, recs + i, j - i);
		set_stable(c, recs + i, j - i, flushes, earliest);
	}
	free(recs);
	free(flushes);
	free(earliest);
	return err;
}

/* ---- eras and blocks ------------------------------------------------------------------------- */

static int by_from(const void *a, const void *b)
{
	const struct era *x = a;
	const struct era *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

/* Crashes as [start, end] in `from` and `to` first, then turned into what lies between them. */
static int find_eras(struct checker *c)
{
	uint64_t from = 0;
	size_t n = 0;

	for (size_t i = 0; i < c->nr_recs; i++)
		n += c->recs[i].op == HIST_CRASH;
	c->eras = calloc(n + 1, sizeof(*c->eras));
	if (!c->eras)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; c->opt->is_write_back && i < c->nr_recs; i++) {
		if (c->recs[i].op == HIST_CRASH)
			c->eras[n++] = (struct era){c->recs[i].start, c->recs[i].end};
	}
	qsort(c->eras, n, sizeof(*c->eras), by_from);
	for (size_t i = 0; i < n; i++) {
		struct era crash = c->eras[i];

		c->eras[i] = (struct era){from, crash.from};
		from = crash.to;
	}
	c->eras[n] = (struct era){from, HIST_NEVER};
	c->nr_eras = n + 1;
	return 0;
}

static bool has_blocks(const struct hist_rec *r)
{
	return r->op == HIST_READ || r->op == HIST_WRITE || r->op == HIST_ZEROES ||
	       r->op == HIST_DISCARD;
}

static int sort_by_block(struct checker *c)
{
	uint32_t nr_blocks = c->opt->nr_blocks;
	size_t *next;

	c->first_touch = calloc(nr_blocks + 2, sizeof(*c->first_touch));
	if (!c->first_touch)
		return -ENOMEM;
	next = c->first_touch +
	       1; /* becomes the end of each block, which is where the next begins */
	for (size_t i = 0; i < c->nr_recs; i++) {
		for (uint32_t b = 0; has_blocks(&c->recs[i]) && b < c->recs[i].count; b++)
			next[c->recs[i].first + b]++;
	}
	for (size_t b = 0, sum = 0; b <= nr_blocks; b++) {
		size_t n = next[b];

		next[b] = sum;
		sum += n;
	}
	c->touches = calloc(next[nr_blocks] + 1, sizeof(const struct hist_rec *));
	if (!c->touches)
		return -ENOMEM;
	for (size_t i = 0; i < c->nr_recs; i++) {
		for (uint32_t b = 0; has_blocks(&c->recs[i]) && b < c->recs[i].count; b++)
			c->touches[next[c->recs[i].first + b]++] = &c->recs[i];
	}
	return 0;
}

int check_history(const struct hist_rec *recs, size_t nr_recs, const struct check_options *opt,
		  struct check_result *ret_result)
{
	struct checker c = {.opt = opt, .recs = recs, .nr_recs = nr_recs, .result = ret_result};
	int err;

	memset(ret_result, 0, sizeof(*ret_result));
	c.fates = calloc(nr_recs + 1, sizeof(*c.fates));
	err = c.fates ? find_fates(&c) : -ENOMEM;
	if (!err)
		err = find_eras(&c);
	if (!err)
		err = sort_by_block(&c);
	for (uint32_t b = 0; !err && b < opt->nr_blocks; b++)
		err = check_block(&c, b);
	if (!err && opt->is_write_back)
		err = check_continued(&c);
	free(c.fates);
	free(c.eras);
	free(c.first_touch);
	free(c.touches);
	return err;
}
