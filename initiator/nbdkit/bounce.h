/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registered buffers between nbdkit's, whose addresses nobody knows before, and libbrp. As many as
 * there were requests at once; they are kept, and the one used last is taken first.
 */
#ifndef INITIATOR_NBDKIT_BOUNCE_H
#define INITIATOR_NBDKIT_BOUNCE_H

#include <pthread.h>

#include "brp/brp.h"

#define BOUNCE_BYTES (1u << 20)

struct bounce {
	struct bounce *next;
	void *buf; /* BOUNCE_BYTES */
	struct brp_mem *mem;
};

struct bounce_pool {
	struct brp_session *session;
	pthread_mutex_t lock; /* the rest, and brp_mem_register() */
	struct bounce *free;
};

void bounce_pool_init(struct bounce_pool *p, struct brp_session *session);
void bounce_pool_finish(struct bounce_pool *p); /* all were put back */

/* NULL: no memory, or it cannot be registered. Any thread. */
struct bounce *bounce_get(struct bounce_pool *p);
void bounce_put(struct bounce_pool *p, struct bounce *b);

#endif
