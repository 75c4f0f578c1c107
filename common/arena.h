/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O buffers: page-aligned memory out of a few large regions, each registered with the fabrics
 * once when it is made, so that no I/O registers memory. Bounded: grows region by region up to
 * max_bytes and never beyond. NUMA-placed (libnuma) when a node is given; transparent huge pages
 * where the kernel has them. Thread-safe.
 *
 * Sizes are rounded up to powers of two of at least a page (buddy allocator within a region).
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena;

struct arena_options {
	size_t region_bytes; /* a power of two, >= 1 MiB; also the largest single buffer */
	size_t max_bytes;    /* multiple of region_bytes */
	int numa_node;       /* -1 = none */
	/*
	 * Called when a region is made and before it is unmapped; the handle that region_add
	 * returns (*ret_handle) is what arena_alloc() hands out with each buffer, e.g. a set of
	 * fabric_mem. 0 or negative errno: then the region is not used.
	 */
	int (*region_add)(void *ctx, void *base, size_t bytes, void **ret_handle);
	void (*region_remove)(void *ctx, void *handle);
	void *ctx;
};

int arena_create(const struct arena_options *opt, struct arena **ret_arena);
void arena_destroy(struct arena *a); /* every buffer was freed; NULL is fine */

/*
 * -ENOMEM: max_bytes is reached (nothing is wrong with the machine; wait for a buffer to be freed).
 */
int arena_alloc(struct arena *a, size_t bytes, void **ret_buf, void **ret_handle);
void arena_free(struct arena *a, void *buf, size_t bytes);

/* What a buffer of so many bytes takes. */
size_t arena_buffer_bytes(size_t bytes);

size_t arena_bytes_used(struct arena *a);
size_t arena_bytes_reserved(struct arena *a); /* sum of regions */

/* Anonymous zeroed memory, page-aligned, on a NUMA node (-1 = any); used by memory volumes too. */
int arena_map_pages(size_t bytes, int numa_node, void **ret_base);
void arena_unmap_pages(void *base, size_t bytes);

#endif
