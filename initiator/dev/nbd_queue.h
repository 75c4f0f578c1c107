/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue of an nbd device: our end of a socket pair, its thread, its slots. */
#ifndef INITIATOR_DEV_NBD_QUEUE_H
#define INITIATOR_DEV_NBD_QUEUE_H

#include <stdatomic.h>

#include "initiator/dev/front.h"
#include "initiator/dev/nbd_proto.h"
#include "initiator/dev/slots.h"
#include "initiator/dev/worker.h"

/* What the queues of a device share. */
struct nbd_shared {
	/* constant */
	const char *name;
	void (*gone)(void *arg, int error);
	void *arg;

	/* any thread */
	atomic_bool is_ending; /* nobody is told that the connection ended */
	atomic_int number;     /* of the device; -1: not connected yet */
};

struct nbd_queue {
	/* constant */
	struct nbd_shared *shared;
	struct dev_worker worker;

	/* the worker's */
	struct nbd_stream stream;
	struct nbd_ask ask; /* decoded, and there is no slot for it yet */
	bool is_blocked;
	struct dev_slot *writing; /* data of this WRITE is arriving */
	uint64_t received_bytes;  /* of it */
	struct list answers;      /* of this pass */
};

/* fd is the queue's from here on, also on failure. */
int nbd_queue_init(struct nbd_queue *q, struct nbd_shared *shared, const struct front_config *c,
		   unsigned int index, int fd);

#endif
