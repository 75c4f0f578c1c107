/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions and the admission barrier (protocol.md 4.2, design rule 1). A session is known by its
 * UUID; its connections all carry one epoch. A login with a higher epoch cuts off the connections
 * of the older one and is admitted only when the last of them has left, which a connection does
 * after its last request is out of the device. So a late write of an old epoch can never land after
 * a write of a newer one.
 *
 * A session without connections is remembered (bounded, oldest forgotten first), so that a stale
 * login is still known as such.
 */
#ifndef TARGET_SESSION_H
#define TARGET_SESSION_H

#include "brp/proto.h"
#include "common/list.h"

struct conn;
struct server;

struct session {
	/* constant */
	struct brp_uuid uuid;
	struct brp_uuid host_uuid;
	/* server.lock */
	struct list link;    /* in server.sessions, most recently used last */
	uint64_t epoch;      /* highest seen */
	struct list members; /* admitted connections: conn.session_link */
	struct list waiting; /* those at the barrier: conn.session_link */
};

/*
 * A connection asks for admission. BRP_ST_OK with *ret_wait false: admitted, a member now. With
 * *ret_wait true: at the barrier; the connection is woken with CONN_ORDER_ADMIT when it may ask
 * again. Otherwise refused, *ret_why says why. On STALE_EPOCH *ret_epoch is the newest one.
 */
enum brp_status_code session_enter(struct server *s, struct conn *c, const struct brp_login *login,
				   bool *ret_wait, uint64_t *ret_epoch, const char **ret_why);

/* The connection is gone, its requests are out of the device. Also leaves the barrier. Harmless for
 * one that never entered. */
void session_leave(struct server *s, struct conn *c);

/* Frees all that are remembered; no connection is left. */
void sessions_finish(struct server *s);

#endif
