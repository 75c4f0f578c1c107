/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue of a FUSE connection: a descriptor of /dev/fuse, its thread, its slots. */
#ifndef INITIATOR_DEV_FUSE_QUEUE_H
#define INITIATOR_DEV_FUSE_QUEUE_H

#include <stdatomic.h>

#include "initiator/dev/front.h"
#include "initiator/dev/fuse_proto.h"
#include "initiator/dev/slots.h"
#include "initiator/dev/worker.h"

/* What the queues of a device share. */
struct fuse_shared {
	/* constant */
	struct fuse_volume volume; /* size_bytes: see below */
	void (*gone)(void *arg, int error);
	void *arg;

	/* any thread */
	atomic_uint_least64_t size_bytes;
	atomic_bool is_gone; /* gone() was called */
};

struct fuse_queue {
	struct fuse_shared *shared;
	struct dev_worker worker;
};

/* Memory. fd is the queue's from here on, also on failure. */
int fuse_queue_init(struct fuse_queue *q, struct fuse_shared *shared, const struct front_config *c,
		    unsigned int index, int fd);

#endif
