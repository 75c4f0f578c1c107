/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arena of I/O buffers. Each region is managed as a binary tree over its pages, kept outside the
 * region itself: what a peer may write to by RDMA holds no pointers of ours. A node of the tree
 *says how large the largest free block below it is; allocating walks down from the root, freeing
 *walks up and merges two free halves on the way.
 *
 *	node 1: the whole region; node n: halves 2n and 2n+1; the leaves are pages
 *	free[n] = 0: nothing; k: a block of 2^(k-1) pages
 *
 * One mutex; making a region (mapping and registering it) happens under it too: that is rare, and
 * the others would have to wait for its memory anyway.
 */
#include "common/arena.h"

#include <assert.h>
#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"

#define HUGE_PAGE_BYTES  (2ul << 20)
#define MIN_REGION_BYTES (1ul << 20)

struct region {
	char *base;
	void *handle;
	bool is_added; /* region_add was successful */
	uint8_t *free; /* the tree, 2 * pages nodes */
};

struct arena {
	/* constant after create */
	struct arena_options opt;
	unsigned int max_order; /* of a block: log2(pages of a region) */
	size_t max_regions;

	pthread_mutex_t lock;
	struct region *regions; /* max_regions of them, the first nr_regions are there */
	size_t nr_regions;
	size_t used_bytes;
};

/* ---- pages ----------------------------------------------------------------------------------- */

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Placement is an optimization: memory on another node is slower, not wrong. */
static void place_on_node(void *base, size_t bytes, int node)
{
	struct bitmask *nodes;

	if (node < 0)
		return;
	if (numa_available() < 0 || node > numa_max_node()) {
		log_warning("no NUMA node %d on this machine; its memory is taken from anywhere",
			    node);
		return;
	}
	/* numa_tonode_memory() would bind: a node that is full then kills us, however much the
	 * others have. */
	nodes = numa_allocate_nodemask();
	numa_bitmask_setbit(nodes, (unsigned int)node);
	if (mbind(base, bytes, MPOL_PREFERRED, nodes->maskp, nodes->size + 1, 0) < 0)
		log_debug("memory on NUMA node %d: %s", node, strerror(errno));
	numa_free_nodemask(nodes);
}

/* Huge pages need an address aligned to their size: maps more and gives back what sticks out. */
static void *map_aligned(size_t bytes, size_t align)
{
	size_t extra = align > page_bytes() ? align : 0;
	size_t head;
	char *p;

	if (bytes > SIZE_MAX - extra)
		return MAP_FAILED;
	p = mmap(NULL, bytes + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || !extra)
		return p;
	head = align_up((uintptr_t)p, align) - (uintptr_t)p;
	if (head)
		munmap(p, head);
	munmap(p + head + bytes, extra - head);
	return p + head;
}

int arena_map_pages(size_t bytes, int numa_node, void **ret_base)
{
	void *p;

	if (bytes == 0 || bytes > SIZE_MAX - HUGE_PAGE_BYTES)
		return -EINVAL;
	bytes = align_up(bytes, page_bytes());
	p = map_aligned(bytes, bytes >= HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : page_bytes());
	if (p == MAP_FAILED)
		return -ENOMEM;
	place_on_node(p, bytes, numa_node);
	if (bytes >= HUGE_PAGE_BYTES)
		madvise(p, bytes, MADV_HUGEPAGE); /* EINVAL: a kernel without them */
	/* A child must not share these pages: after fork() the first write of either copies them
	 * away from the NIC. */
	madvise(p, bytes, MADV_DONTFORK);
	*ret_base = p;
	return 0;
}

void arena_unmap_pages(void *base, size_t bytes)
{
	if (base)
		munmap(base, align_up(bytes, page_bytes()));
}

/* ---- the tree of one region ------------------------------------------------------------------ */

static void tree_init(const struct arena *a, uint8_t *free_below)
{
	size_t node = 1;

	for (unsigned int depth = 0; depth <= a->max_order; depth++) {
		for (size_t i = 0; i < (size_t)1 << depth; i++)
			free_below[node++] = (uint8_t)(a->max_order - depth + 1);
	}
}

/* After a change of node: corrects everything above it. order: that of the node. */
static void tree_update(uint8_t *f, size_t node, unsigned int order)
{
	for (node /= 2, order++; node; node /= 2, order++) {
		uint8_t left = f[2 * node];
		uint8_t right = f[2 * node + 1];
		/* Two free halves are one free block; a free block of order k is written k + 1. */
		uint8_t v =
			left == order && right == order ? (uint8_t)(order + 1) : MAX(left, right);

		if (f[node] == v)
			return;
		f[node] = v;
	}
}

/* Takes a block that is known to be there; returns the number of its first page. */
static size_t tree_take(const struct arena *a, uint8_t *f, unsigned int order)
{
	unsigned int at = a->max_order;
	size_t node = 1;

	for (; at > order; at--) {
		uint8_t left = f[2 * node];
		uint8_t right = f[2 * node + 1];
		/* The tighter half that will do keeps large blocks whole. */
		bool is_left = left > order && (right <= order || left <= right);

		node = 2 * node + !is_left;
	}
	assert(f[node] == order + 1);
	f[node] = 0;
	tree_update(f, node, order);
	return (node << order) - ((size_t)1 << a->max_order);
}

static void tree_give(const struct arena *a, uint8_t *f, size_t page, unsigned int order)
{
	size_t node = (page + ((size_t)1 << a->max_order)) >> order;

	assert(f[node] == 0);
	f[node] = (uint8_t)(order + 1);
	tree_update(f, node, order);
}

/* ---- regions; the lock is held --------------------------------------------------------------- */

static void region_finish(struct arena *a, struct region *r)
{
	if (r->is_added && a->opt.region_remove)
		a->opt.region_remove(a->opt.ctx, r->handle);
	arena_unmap_pages(r->base, a->opt.region_bytes);
	free(r->free);
	*r = (struct region){0};
}

static int region_init(struct arena *a, struct region *r)
{
	void *base;
	int err;

	r->free = malloc((size_t)2 << a->max_order);
	if (!r->free)
		return -ENOMEM;
	tree_init(a, r->free);
	err = arena_map_pages(a->opt.region_bytes, a->opt.numa_node, &base);
	if (err < 0)
		return err;
	r->base = base;
	if (a->opt.region_add)
		err = a->opt.region_add(a->opt.ctx, base, a->opt.region_bytes, &r->handle);
	r->is_added = err >= 0;
	return MIN(err, 0);
}

static int grow(struct arena *a)
{
	struct region *r = &a->regions[a->nr_regions];
	int err;

	if (a->nr_regions == a->max_regions)
		return -ENOMEM;
	err = region_init(a, r);
	if (err < 0) {
		region_finish(a, r);
		return err;
	}
	a->nr_regions++;
	return 0;
}

static struct region *region_with_room(struct arena *a, unsigned int order)
{
	for (size_t i = 0; i < a->nr_regions; i++) {
		if (a->regions[i].free[1] > order)
			return &a->regions[i];
	}
	return NULL;
}

static struct region *region_of(struct arena *a, const void *buf)
{
	for (size_t i = 0; i < a->nr_regions; i++) {
		if ((uintptr_t)buf - (uintptr_t)a->regions[i].base < a->opt.region_bytes)
			return &a->regions[i];
	}
	return NULL;
}

/* ---- the arena ------------------------------------------------------------------------------- */

static unsigned int log2_ceil(size_t n)
{
	return n <= 1 ? 0 : 64 - (unsigned int)__builtin_clzll(n - 1);
}

static unsigned int order_of(size_t bytes)
{
	return log2_ceil(align_up(bytes, page_bytes()) / page_bytes());
}

int arena_create(const struct arena_options *opt, struct arena **ret_arena)
{
	struct arena *a;

	if (opt->region_bytes < MIN_REGION_BYTES || opt->region_bytes & (opt->region_bytes - 1) ||
	    opt->max_bytes % opt->region_bytes || opt->max_bytes == 0)
		return -EINVAL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->opt = *opt;
	a->max_order = order_of(opt->region_bytes);
	a->max_regions = opt->max_bytes / opt->region_bytes;
	pthread_mutex_init(&a->lock, NULL);
	a->regions = calloc(a->max_regions, sizeof(*a->regions));
	if (!a->regions) {
		arena_destroy(a);
		return -ENOMEM;
	}
	*ret_arena = a;
	return 0;
}

void arena_destroy(struct arena *a)
{
	if (!a)
		return;
	assert(a->used_bytes == 0);
	while (a->nr_regions)
		region_finish(a, &a->regions[--a->nr_regions]);
	pthread_mutex_destroy(&a->lock);
	free(a->regions);
	free(a);
}

int arena_alloc(struct arena *a, size_t bytes, void **ret_buf, void **ret_handle)
{
	struct region *r;
	unsigned int order;
	int err = 0;

	if (bytes == 0 || bytes > a->opt.region_bytes)
		return -EINVAL;
	order = order_of(bytes);
	pthread_mutex_lock(&a->lock);
	r = region_with_room(a, order);
	if (!r) {
		err = grow(a);
		r = err < 0 ? NULL : &a->regions[a->nr_regions - 1];
	}
	if (r) {
		*ret_buf = r->base + tree_take(a, r->free, order) * page_bytes();
		*ret_handle = r->handle;
		a->used_bytes += page_bytes() << order;
	}
	pthread_mutex_unlock(&a->lock);
	return err;
}

void arena_free(struct arena *a, void *buf, size_t bytes)
{
	unsigned int order = order_of(bytes);
	struct region *r;

	if (!buf)
		return;
	pthread_mutex_lock(&a->lock);
	r = region_of(a, buf);
	assert(r);
	tree_give(a, r->free, (size_t)((char *)buf - r->base) / page_bytes(), order);
	a->used_bytes -= page_bytes() << order;
	pthread_mutex_unlock(&a->lock);
}

size_t arena_buffer_bytes(size_t bytes)
{
	return page_bytes() << order_of(bytes);
}

size_t arena_bytes_used(struct arena *a)
{
	size_t bytes;

	pthread_mutex_lock(&a->lock);
	bytes = a->used_bytes;
	pthread_mutex_unlock(&a->lock);
	return bytes;
}

size_t arena_bytes_reserved(struct arena *a)
{
	size_t bytes;

	pthread_mutex_lock(&a->lock);
	bytes = a->nr_regions * a->opt.region_bytes;
	pthread_mutex_unlock(&a->lock);
	return bytes;
}
