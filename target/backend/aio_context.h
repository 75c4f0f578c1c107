/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel contexts of asynchronous I/O. io_destroy() waits for the kernel's other processors, tens
 * of milliseconds, far too long for a thread that has other connections to serve: who needs a
 * context no more retires it, at once. A thread that lives as long as there are retired ones
 * destroys them; whoever needs one meanwhile is given one of these.
 */
#ifndef BACKEND_AIO_CONTEXT_H
#define BACKEND_AIO_CONTEXT_H

#include <libaio.h>

#include "common/list.h"

struct aio_context {
	io_context_t ctx;

	/* private */
	unsigned int depth;
	struct list link;
};

/* For depth requests at a time, name's (for the log). Any thread. 0, -ENOMEM, -ENOBUFS when the
 * kernel has no room for so many, or another errno; logged. */
int aio_context_get(const char *name, unsigned int depth, struct aio_context **ret_context);
/* No request is in it and no event in its ring. Takes it over; any thread. NULL is fine. */
void aio_context_retire(struct aio_context *c);

#endif
