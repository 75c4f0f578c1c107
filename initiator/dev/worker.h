/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread of a queue, for front ends whose kernel side is a descriptor to read from (fuse, nbd).
 * It sleeps on that descriptor and on libbrp's queue together. Each time it wakes it takes all
 * requests that are there, gives them to libbrp as one batch, and handles what has completed.
 */
#ifndef INITIATOR_DEV_WORKER_H
#define INITIATOR_DEV_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "brp/brp.h"

struct dev_pool;
struct dev_worker;

/* All run on the worker's thread. */
struct dev_worker_ops {
	/* Whether there is room for a request. While there is not, source_fd is left alone. */
	bool (*can_receive)(struct dev_worker *w);
	/* Takes what is there, without blocking. Negative: the source is gone for good, the thread
	 * ends once nothing is in flight. */
	int (*receive)(struct dev_worker *w);
	/* The pass is over: answers that were gathered leave. Negative: as above. */
	int (*flush)(struct dev_worker *w);
};

struct dev_worker {
	/* constant; filled in before dev_worker_start() */
	const struct dev_worker_ops *ops;
	struct brp_queue *queue;
	int source_fd;         /* owned */
	struct dev_pool *pool; /* owned; of the front end's slots */
	bool is_shared;        /* other workers sleep on the same source: one is woken, not all */
	/* The source is gone although nobody called dev_worker_stop(). On the worker's thread. */
	void (*gone)(struct dev_worker *w, int error);

	/* private */
	int epoll_fd;
	int stop_fd;
	struct brp_queue_fds fds; /* watched */
	bool is_source_watched;
	bool is_running; /* owner: started and not joined */
	bool is_queue_gone;
	bool is_blocked; /* there was no room for a request */
	atomic_bool is_stopping;
	pthread_t thread;
};

/* The thread is called KIND/INDEX. */
int dev_worker_start(struct dev_worker *w, const char *kind, unsigned int index);
/* Ends the thread after its pass, joins it and closes source_fd. One that was not started is fine.
 */
void dev_worker_stop(struct dev_worker *w);
/* After it: frees the pool. */
void dev_worker_finish(struct dev_worker *w);

#endif
