/* SPDX-License-Identifier: BSD-2-Clause */
/* One-second clock that cuts off connections which take too long to set up or fall silent. Runs
 * only while there are any. */
#ifndef TARGET_TICKER_H
#define TARGET_TICKER_H

struct server;
struct ticker;

int ticker_create(struct server *s, struct ticker **ret_ticker);
void ticker_destroy(struct ticker *t); /* the pool has ended; NULL is fine */

/* Called under server.lock, when the first connection comes and the last one leaves. */
void ticker_start(struct ticker *t);
void ticker_stop(struct ticker *t);

#endif
