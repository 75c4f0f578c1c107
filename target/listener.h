/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening addresses: each a task of the pool that hands new connections to conn_create(). */
#ifndef TARGET_LISTENER_H
#define TARGET_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "brp/uri.h"

#define TARGET_MAX_LISTEN 16

struct server;
struct listener_task;

struct pending_listener {
	unsigned int fabric_index;
	struct sockaddr_storage addr;
	socklen_t addr_bytes;
};

struct listeners {
	struct listener_task *tasks[TARGET_MAX_LISTEN];
	unsigned int nr_tasks;
	struct pending_listener pending[TARGET_MAX_LISTEN];
	unsigned int nr_pending;
};

/*
 * Listens on one address; every address the host part stands for. 0 or -errno, logged. An address
 * that no interface has (yet: at boot the network may come later) is no error: it is said once, and
 * listeners_retry() tries it again.
 */
int listener_add(struct server *s, const struct brp_uri *uri);
/* The default: TCP on all addresses, and RDMA where there is a device. */
int listener_add_default(struct server *s);
/* True while there are addresses that are not there. Control thread, like all of these. */
bool listeners_retry(struct server *s);
/* "tcp://ADDRESS:PORT" of one that listens. */
#define LISTENER_NAME_BYTES 80
void listener_name(const struct server *s, unsigned int index, char name[LISTENER_NAME_BYTES]);
/* Accepts nothing more. The tasks go with the pool. */
void listeners_stop(struct server *s);

#endif
