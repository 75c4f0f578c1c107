/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a back end implements; private to this folder. backend.c checks and counts, so the ops need
 * not. A back end embeds struct bk_volume and struct bk_queue in its own and finds them again with
 * container_of.
 */
#ifndef BACKEND_OPS_H
#define BACKEND_OPS_H

#include <pthread.h>

#include "target/backend/backend.h"

struct bk_ops {
	/* All are called, none is NULL, unless it says "may be NULL". */
	void (*close)(struct bk_volume *v); /* copes with a half-built one */
	void *(*map)(struct bk_volume *v, uint64_t offset, uint64_t bytes); /* may be NULL */
	void *(*memory)(struct bk_volume *v, size_t *ret_bytes);            /* may be NULL */

	/* May be NULL: fixed size. set_bytes > 0: makes it so large first. The size now, not yet
	 * cut to whole blocks. Logs. */
	int (*resize)(struct bk_volume *v, uint64_t set_bytes, uint64_t *ret_bytes);

	int (*queue_create)(struct bk_volume *v, unsigned int depth, struct bk_queue **ret_queue);
	void (*queue_destroy)(struct bk_queue *q); /* copes with a half-built one */
	int (*queue_fd)(const struct bk_queue *q); /* may be NULL: see bk_queue_fd() */

	void (*use_memory)(struct bk_queue *q, void *base, size_t bytes); /* may be NULL */

	/* Takes r and ends in bk_finish(), now or later. */
	void (*submit)(struct bk_queue *q, struct bk_req *r);
	void (*flush)(struct bk_queue *q); /* may be NULL */
	/* Finds out what has finished since and calls bk_finish() for it. May be NULL. */
	void (*reap)(struct bk_queue *q);
};

struct bk_volume {
	const struct bk_ops *ops;
	const char *kind;
	struct bk_info info;
};

struct bk_queue {
	struct bk_volume *volume;
	unsigned int depth;
	unsigned int nr_in_flight;
	struct list done; /* finished, not yet returned by bk_poll() */
};

/* By the thread that owns q. result: 0 or negative errno. */
static inline void bk_finish(struct bk_queue *q, struct bk_req *r, int result)
{
	r->result = result;
	list_add_tail(&q->done, &r->link);
}

/* What open() makes of spec. Each logs its refusals. */
int mem_open(const struct bk_spec *spec, const char *size, struct bk_volume **ret_volume);
int null_open(const struct bk_spec *spec, const char *size, struct bk_volume **ret_volume);
int aio_open(const struct bk_spec *spec, struct bk_volume **ret_volume);
/* Takes lower, also when it fails. */
int fault_open(const struct bk_spec *spec, struct bk_volume *lower, struct bk_volume **ret_volume);

/* For the volumes that are gone with the process: block size asked for or 4096, size in whole
 * blocks, identity anew. */
int bk_info_volatile(const struct bk_spec *spec, const char *size, struct bk_info *ret_info);
bool bk_block_bytes_ok(const struct bk_spec *spec); /* 0, or a power of two within the protocol's
						       limits; else logs */
void bk_uuid_random(struct brp_uuid *ret_uuid);
/* A thread that takes no signals: those are for the program's main thread. 0 or -errno. */
int bk_start_thread(pthread_t *ret_thread, void *(*fn)(void *), void *arg);

#endif
