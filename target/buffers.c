/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/buffers.h"

#include <errno.h>
#include <stdlib.h>

static void region_remove(void *ctx, void *handle)
{
	struct buffers *b = ctx;
	struct region *r = handle;

	for (unsigned int i = 0; i < b->nr_fabrics; i++)
		fabric_mem_unregister(r->memory[i]);
	free(r);
}

/* Local access only: no peer ever reaches these buffers by itself, the target pulls and pushes. */
static int region_add(void *ctx, void *base, size_t bytes, void **ret_handle)
{
	struct buffers *b = ctx;
	struct region *r = calloc(1, sizeof(*r));
	int err = 0;

	if (!r)
		return -ENOMEM;
	for (unsigned int i = 0; i < b->nr_fabrics && !err; i++)
		err = fabric_mem_register(b->fabrics[i], base, bytes, FABRIC_MEM_LOCAL,
					  &r->memory[i]);
	if (err) {
		region_remove(ctx, r);
		return err;
	}
	*ret_handle = r;
	return 0;
}

int buffers_init(struct buffers *b, struct fabric *const *fabrics, unsigned int nr_fabrics,
		 size_t region_bytes, size_t max_bytes, int numa_node)
{
	struct arena_options opt = {
		.region_bytes = region_bytes,
		.max_bytes = max_bytes,
		.numa_node = numa_node,
		.region_add = region_add,
		.region_remove = region_remove,
		.ctx = b,
	};

	b->fabrics = fabrics;
	b->nr_fabrics = nr_fabrics;
	b->max_share_bytes = max_bytes / 4 * 3;
	b->max_buffer_bytes = region_bytes;
	while (b->max_buffer_bytes >
	       b->max_share_bytes) /* by powers of two, as the arena has them */
		b->max_buffer_bytes /= 2;
	atomic_init(&b->reserved.bytes, 0);
	b->nr_waiting = 0;
	list_init(&b->waiting);
	pthread_mutex_init(&b->lock, NULL);
	return arena_create(&opt, &b->arena);
}

void buffers_finish(struct buffers *b)
{
	arena_destroy(b->arena);
	b->arena = NULL;
	pthread_mutex_destroy(&b->lock);
}

static void wait_for_buffer(struct buffers *b, struct buffer_waiter *w)
{
	pthread_mutex_lock(&b->lock);
	if (list_empty(&w->link)) {
		list_add_tail(&b->waiting, &w->link);
		b->nr_waiting++;
	}
	pthread_mutex_unlock(&b->lock);
}

/* In what buffers take of the arena. */
static bool may_take(struct buffers *b, struct buffer_share *share, size_t bytes)
{
	size_t taken = arena_buffer_bytes(bytes);

	return atomic_fetch_add(&share->bytes, taken) + taken <= b->max_share_bytes;
}

static void give_back(struct buffer_share *share, size_t bytes)
{
	atomic_fetch_sub(&share->bytes, arena_buffer_bytes(bytes));
}

static bool try_to_get(struct buffers *b, struct buffer_share *share, size_t bytes, void **ret_buf,
		       struct region **ret_region)
{
	void *handle;

	if (may_take(b, share, bytes) && !arena_alloc(b->arena, bytes, ret_buf, &handle)) {
		*ret_region = handle;
		return true;
	}
	give_back(share, bytes);
	return false;
}

int buffers_reserve(struct buffers *b, size_t bytes, void **ret_buf, struct region **ret_region)
{
	return try_to_get(b, &b->reserved, bytes, ret_buf, ret_region) ? 0 : -ENOMEM;
}

void buffers_release(struct buffers *b, void *buf, size_t bytes)
{
	buffers_put(b, &b->reserved, buf, bytes);
}

int buffers_get(struct buffers *b, struct buffer_share *share, size_t bytes,
		struct buffer_waiter *w, void **ret_buf, struct region **ret_region)
{
	if (try_to_get(b, share, bytes, ret_buf, ret_region))
		return 0;
	wait_for_buffer(b, w);
	/* One may have come back between the failure and the entry in the list; nobody would tell
	 * us. */
	if (try_to_get(b, share, bytes, ret_buf, ret_region)) {
		buffers_forget(b, w);
		return 0;
	}
	return -EAGAIN;
}

void buffers_forget(struct buffers *b, struct buffer_waiter *w)
{
	pthread_mutex_lock(&b->lock);
	if (!list_empty(&w->link)) {
		list_del(&w->link);
		b->nr_waiting--;
	}
	pthread_mutex_unlock(&b->lock);
}

/*
 * Every waiter is told, not only the first: the buffer that came back may be too small for the
 * first one. retry() only wakes a task, so it may be called under our lock, which also keeps the
 * waiter alive (see buffers_forget()).
 */
static void tell_waiters(struct buffers *b)
{
	struct list *node;

	pthread_mutex_lock(&b->lock);
	while ((node = list_pop(&b->waiting))) {
		struct buffer_waiter *w = list_entry(node, struct buffer_waiter, link);

		b->nr_waiting--;
		w->retry(w);
	}
	pthread_mutex_unlock(&b->lock);
}

void buffers_put(struct buffers *b, struct buffer_share *share, void *buf, size_t bytes)
{
	arena_free(b->arena, buf, bytes);
	give_back(share, bytes);
	if (unlikely(b->nr_waiting))
		tell_waiters(b);
}
