/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volatile write-back cache in the memory of this process, in front of another back end: a test
 * instrument (fault=volatile). Writes are answered when they are here and die with the process
 * unless a FLUSH or FUA has pushed them down before: a disk that keeps its cache for as long as
 * brp-target lives. Shared by all queues of the volume; bounded: when it is full, writes wait until
 * older ones are written down.
 *
 * A read that touches no cached block goes to the lower back end directly. Everything else that
 * needs the lower back end is done by one thread in order of arrival, so nothing is written down
 * while a read looks at both.
 */
#ifndef BACKEND_FAULT_CACHE_H
#define BACKEND_FAULT_CACHE_H

#include <pthread.h>

#include "target/backend/backend.h"

#define FAULT_CACHE_DEFAULT_BYTES (64u << 20)

struct fault_cache;

/* What the thread gives back to one queue. */
struct fault_cache_port {
	int event_fd; /* edge-triggered; never read */
	pthread_mutex_t lock;
	/* lock */
	struct list done;
};

enum fault_cache_verdict {
	FAULT_CACHE_DONE,  /* finished: result 0 */
	FAULT_CACHE_TAKEN, /* comes back through the port */
	FAULT_CACHE_LOWER, /* a read of nothing cached: for the lower back end */
};

/* lower is borrowed. 0, -ENOMEM or another errno (logged). */
int fault_cache_create(struct bk_volume *lower, uint64_t max_bytes, struct fault_cache **ret_cache);
/* An orderly end: what is cached is written down and flushed; what cannot be is lost and logged. No
 * request is left. NULL is fine. */
void fault_cache_destroy(struct fault_cache *c);

int fault_cache_port_init(struct fault_cache_port *p);
void fault_cache_port_finish(struct fault_cache_port *p);

/* By the queue's owner. is_fua instead of r->is_fua. */
enum fault_cache_verdict fault_cache_submit(struct fault_cache *c, struct fault_cache_port *p,
					    struct bk_req *r, bool is_fua);
/* The next finished one with its result, or NULL. */
struct bk_req *fault_cache_reap(struct fault_cache_port *p);

#endif
