/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocking I/O from many threads on one queue of libbrp.
 *
 * A caller puts its request on a list and, if nobody else is using the queue just now, hands over
 * everything that is on the list as one batch. If somebody is, that one does it before it leaves.
 * So a request costs no thread switch on its way out, and requests that meet share a message. A
 * thread of the queue waits for completions, and for what happens to the session meanwhile.
 *
 * (Callers that wait for completions themselves, in turns, would save one thread switch at depth 1.
 * But an idle connection needs somebody who looks after it anyway, and with an own thread nobody
 * needs to be appointed.)
 */
#ifndef INITIATOR_NBDKIT_SYNCQ_H
#define INITIATOR_NBDKIT_SYNCQ_H

#include "brp/brp.h"

struct syncq;

int syncq_create(struct brp_queue *q, struct syncq **ret_syncq);
void syncq_destroy(struct syncq *s); /* nobody is in syncq_io(); NULL is fine */

/* Any thread. Blocks until the request is done; 0 or negative errno. io's done and arg are not
 * used. */
int syncq_io(struct syncq *s, const struct brp_io *io);

#endif
