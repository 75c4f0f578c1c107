/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening addresses: each a task of the pool that hands new connections to conn_create(). */
#ifndef TARGET_LISTENER_H
#define TARGET_LISTENER_H

#include "brp/uri.h"

struct server;

/* Listens on one address; every address the host part stands for. 0 or -errno, logged. */
int listener_add(struct server *s, const struct brp_uri *uri);
/* The default: TCP on all addresses, and RDMA where there is a device. */
int listener_add_default(struct server *s);
/* Accepts nothing more. The tasks go with the pool. */
void listeners_stop(struct server *s);

#endif
