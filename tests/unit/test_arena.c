/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena: buffers never overlap, free memory merges again, the limit holds, failing registration
 * is no leak. */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/util.h"

#define REGION (1ul << 20)
#define PAGE   4096ul

struct reg {
	int nr_added;
	int nr_removed;
	int fail_at; /* the call with this number fails; 0 = none */
	int calls;
};

static int region_add(void *ctx, void *base, size_t bytes, void **ret_handle)
{
	struct reg *g = ctx;

	if (++g->calls == g->fail_at)
		return -EPERM;
	memset(base, 0xee, bytes);
	g->nr_added++;
	*ret_handle = base;
	return 0;
}

static void region_remove(void *ctx, void *handle)
{
	struct reg *g = ctx;

	cr_assert(handle);
	g->nr_removed++;
}

static struct arena *new_arena(struct reg *g, size_t max)
{
	struct arena_options opt = {
		.region_bytes = REGION,
		.max_bytes = max,
		.numa_node = -1,
		.region_add = region_add,
		.region_remove = region_remove,
		.ctx = g,
	};
	struct arena *a;

	cr_assert(arena_create(&opt, &a) == 0);
	return a;
}

struct buf {
	unsigned char *p;
	size_t bytes;
	unsigned char tag;
};

static void fill(struct buf *b, unsigned char tag)
{
	b->tag = tag;
	memset(b->p, tag, b->bytes);
}

static void check(const struct buf *b)
{
	for (size_t i = 0; i < b->bytes; i += 61)
		cr_assert(b->p[i] == b->tag);
	cr_assert(b->p[b->bytes - 1] == b->tag);
}

static void random_use(struct arena *a, unsigned int seed, int rounds)
{
	struct buf b[64] = {0};

	for (int i = 0; i < rounds; i++) {
		struct buf *x = &b[rand_r(&seed) % 64];
		void *handle;
		void *p;

		if (x->p) {
			check(x);
			arena_free(a, x->p, x->bytes);
			x->p = NULL;
			continue;
		}
		x->bytes = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 8 ? 4 * PAGE : 64 * PAGE);
		if (arena_alloc(a, x->bytes, &p, &handle) < 0)
			continue;
		x->p = p;
		cr_assert((uintptr_t)p % PAGE == 0);
		cr_assert((uintptr_t)p - (uintptr_t)handle <= REGION - x->bytes);
		fill(x, (unsigned char)rand_r(&seed));
	}
	for (size_t i = 0; i < ARRAY_SIZE(b); i++) {
		if (b[i].p) {
			check(&b[i]);
			arena_free(a, b[i].p, b[i].bytes);
		}
	}
}

Test(arena, random_and_merges_back)
{
	struct reg g = {0};
	struct arena *a = new_arena(&g, 4 * REGION);
	void *p[4];
	void *h;

	random_use(a, 7, 20000);
	cr_assert(arena_bytes_used(a) == 0);
	cr_assert(arena_bytes_reserved(a) <= 4 * REGION);
	for (int i = 0; i < 4; i++) /* whole regions again */
		cr_assert(arena_alloc(a, REGION, &p[i], &h) == 0);
	cr_assert(arena_alloc(a, 1, &h, &h) == -ENOMEM);
	for (int i = 0; i < 4; i++)
		arena_free(a, p[i], REGION);
	arena_destroy(a);
	cr_assert(g.nr_added == 4 && g.nr_removed == 4);
}

Test(arena, every_page_once)
{
	struct reg g = {0};
	struct arena *a = new_arena(&g, REGION);
	void *p[REGION / PAGE];
	void *h;
	void *x;

	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		cr_assert(arena_alloc(a, PAGE, &p[i], &h) == 0);
		memset(p[i], 0, PAGE);
		memcpy(p[i], &i, sizeof(i));
	}
	cr_assert(arena_alloc(a, 1, &x, &h) == -ENOMEM);
	cr_assert(arena_bytes_used(a) == REGION);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		cr_assert(memcmp(p[i], &i, sizeof(i)) == 0);
	/* Every second page: nothing larger than a page is there. */
	for (size_t i = 0; i < ARRAY_SIZE(p); i += 2)
		arena_free(a, p[i], PAGE);
	cr_assert(arena_alloc(a, 2 * PAGE, &x, &h) == -ENOMEM);
	for (size_t i = 1; i < ARRAY_SIZE(p); i += 2)
		arena_free(a, p[i], PAGE);
	cr_assert(arena_alloc(a, REGION, &x, &h) == 0);
	arena_free(a, x, REGION);
	arena_destroy(a);
}

Test(arena, bad_arguments)
{
	struct arena_options opt = {.region_bytes = 3 << 20, .max_bytes = 3 << 20, .numa_node = -1};
	struct reg g = {0};
	struct arena *a;
	void *p;
	void *h;

	cr_assert(arena_create(&opt, &a) == -EINVAL);
	opt.region_bytes = 4096;
	cr_assert(arena_create(&opt, &a) == -EINVAL);
	a = new_arena(&g, REGION);
	cr_assert(arena_alloc(a, 0, &p, &h) == -EINVAL);
	cr_assert(arena_alloc(a, REGION + 1, &p, &h) == -EINVAL);
	arena_destroy(a);
	arena_destroy(NULL);
	cr_assert(g.calls == 0);
}

Test(arena, failing_registration)
{
	struct reg g = {.fail_at = 2};
	struct arena *a = new_arena(&g, 4 * REGION);
	void *p;
	void *q;
	void *h;

	cr_assert(arena_alloc(a, REGION, &p, &h) == 0);
	cr_assert(arena_alloc(a, REGION, &q, &h) == -EPERM);
	cr_assert(arena_bytes_reserved(a) == REGION);
	cr_assert(arena_bytes_used(a) == REGION);
	cr_assert(arena_alloc(a, REGION, &q, &h) == 0); /* next time it works */
	arena_free(a, p, REGION);
	arena_free(a, q, REGION);
	arena_destroy(a);
	cr_assert(g.nr_added == 2 && g.nr_removed == 2);
}

static void *user(void *arg)
{
	static atomic_uint seed;

	random_use(arg, atomic_fetch_add(&seed, 1) + 100, 5000);
	return NULL;
}

Test(arena, threads)
{
	struct reg g = {0};
	struct arena *a = new_arena(&g, 8 * REGION);
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, user, a);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	cr_assert(arena_bytes_used(a) == 0);
	arena_destroy(a);
	cr_assert(g.nr_added == g.nr_removed);
}

Test(arena, pages)
{
	static const size_t sizes[] = {1, 4096, 5000, 2 << 20, (2 << 20) + 4096, 10 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *p;

		/* node 0 is everywhere, node 1000 nowhere: both give memory */
		cr_assert(arena_map_pages(sizes[i], i % 2 ? 0 : 1000, &p) == 0);
		cr_assert((uintptr_t)p % PAGE == 0);
		for (size_t at = 0; at < sizes[i]; at += 511)
			cr_assert(((char *)p)[at] == 0);
		memset(p, 1, sizes[i]);
		arena_unmap_pages(p, sizes[i]);
	}
	cr_assert(arena_map_pages(0, -1, &(void *){NULL}) == -EINVAL);
	cr_assert(arena_map_pages(SIZE_MAX / 2, -1, &(void *){NULL}) == -ENOMEM);
	arena_unmap_pages(NULL, 4096);
}
