/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The target's I/O buffers: an arena whose regions are registered with every fabric the target
 * serves, and the list of those who wait for a buffer when the arena is used up.
 */
#ifndef TARGET_BUFFERS_H
#define TARGET_BUFFERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/arena.h"
#include "common/fabric/fabric.h"

/* Fabrics a target can serve at once: tcp and verbs. */
#define TARGET_MAX_FABRICS 2

/* What arena buffers carry as their handle: the registration of their region, by fabric. */
struct region {
	struct fabric_mem *memory[TARGET_MAX_FABRICS];
};

struct buffer_waiter {
	struct list link; /* empty when not waiting */
	/* A buffer may be free now: have the owner try again. Called under the lock: only wakes a
	 * task. */
	void (*retry)(struct buffer_waiter *w);
};

/* What one volume holds. It never gets all there is: a device that does not answer any more must
 * not take the buffers of all the others with it. */
struct buffer_share {
	atomic_size_t bytes;
};

/* Nor does what logins reserve, else what needs more than it reserved would wait for ever. */
struct buffers {
	struct arena *arena;
	struct fabric *const *fabrics; /* borrowed from the server */
	unsigned int nr_fabrics;
	size_t max_share_bytes;
	size_t max_buffer_bytes; /* the longest that can be had */
	struct buffer_share reserved;
	pthread_mutex_t lock;
	struct list waiting; /* locked: struct buffer_waiter */
	atomic_uint nr_waiting;
};

int buffers_init(struct buffers *b, struct fabric *const *fabrics, unsigned int nr_fabrics,
		 size_t region_bytes, size_t max_bytes, int numa_node);
void buffers_finish(struct buffers *b);

/* What a login keeps until its connection ends, or -ENOMEM. */
int buffers_reserve(struct buffers *b, size_t bytes, void **ret_buf, struct region **ret_region);
void buffers_release(struct buffers *b, void *buf, size_t bytes);

/* A buffer, or -EAGAIN: w waits and will be told to retry. */
int buffers_get(struct buffers *b, struct buffer_share *share, size_t bytes,
		struct buffer_waiter *w, void **ret_buf, struct region **ret_region);
void buffers_put(struct buffers *b, struct buffer_share *share, void *buf, size_t bytes);
/* w does not want to be told any more. */
void buffers_forget(struct buffers *b, struct buffer_waiter *w);

#endif
