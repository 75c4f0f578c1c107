/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Leader-follower thread pool (seed paper 4.2; Schmidt et al., "Leader/Followers"). One thread at a
 * time, the leader, waits for events in epoll. When it gets some it hands leadership on only if
 * there is something for another thread to do, and works itself: no event is passed between threads
 * at low load, and no thread is woken for nothing.
 *
 * A task owns event sources (descriptors, edge-triggered) and is run by one thread at a time: while
 * it runs, further events only mark it, and it runs again afterwards. So what belongs to a task
 * needs no locks.
 *
 * 	   IDLE ──event/wake──▶ QUEUED ──a thread──▶ RUNNING ──run() returned──▶ IDLE
 * 	                                                │ event/wake: RUNNING+AGAIN ──▶ QUEUED
 */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/list.h"

struct pool;

struct pool_task {
	/*
	 * Handles everything that is ready, without blocking, and returns true; or false: the task
	 * has ended, its descriptors are closed or removed, run() is never called again, and end()
	 * will be.
	 */
	bool (*run)(struct pool_task *t);
	/* No thread can refer to the task any more: free it. On any pool thread; from
	 * pool_destroy() at the latest. */
	void (*end)(struct pool_task *t);

	/* the pool's own */
	struct pool *pool;
	atomic_uint state;
	atomic_bool has_rare; /* see pool_task_add_rare_fd() */
	struct list link;
	struct list all; /* every task that has not ended */
};

struct pool_options {
	unsigned int threads; /* >= 1 */
	int poll_us; /* the leader's busy polling before it sleeps: 0 never, > 0 up to so many us,
			-1 adaptive */
};

int pool_create(const struct pool_options *opt, struct pool **ret_pool);

/* Starts the threads. Tasks may be added before and after. */
int pool_start(struct pool *p);

/* Stops and joins the threads, then ends all tasks that are left (calls end()). Not from a pool
 * thread. NULL is fine. */
void pool_destroy(struct pool *p);

/* Makes t known, idle; run() is first called after an event or pool_task_wake(). Any thread. */
void pool_task_init(struct pool *p, struct pool_task *t, bool (*run)(struct pool_task *t),
		    void (*end)(struct pool_task *t));

/* Adds an edge-triggered source (readable, writable, hang-up). 0 or -errno. The descriptor is
 * removed with pool_task_del_fd() before it is closed. A descriptor that is ready already makes the
 * task run. */
int pool_task_add_fd(struct pool_task *t, int fd);
/* The same for one that is seldom ready and costs something to look at: pool_task_take_rare() tells
 * run() once that there was an event of such a descriptor. */
int pool_task_add_rare_fd(struct pool_task *t, int fd);
bool pool_task_take_rare(struct pool_task *t);
void pool_task_del_fd(struct pool_task *t, int fd);
/* A source that was added with pool_task_add_fd(): muted, it does not make the task run. If it is
 * ready when it is heard again, it does so then. */
void pool_task_mute_fd(struct pool_task *t, int fd, bool is_muted);

/* run() will be called (again) after this call began. Any thread, any number of times; the caller
 * makes sure that t has not ended (mostly: holds the lock under which the owner unpublishes the
 * task before it ends). */
void pool_task_wake(struct pool_task *t);

/*
 * Called by run() before work that takes long (copying megabytes, a large batch): promotes a
 * follower now, if one is idle, so that other events do not wait.
 */
void pool_promote(struct pool *p);

struct pool_stats {
	uint64_t waits; /* epoll_wait calls that slept */
	uint64_t polls; /* epoll_wait calls that did not */
	uint64_t runs;
	uint64_t promotions; /* followers woken */
};
void pool_get_stats(struct pool *p, struct pool_stats *ret_stats);

#endif
