/* SPDX-License-Identifier: BSD-2-Clause */
/* Connection states, protocol.md 8, and which messages each role accepts in them. */
#ifndef BRP_FSM_H
#define BRP_FSM_H

#include "brp/proto.h"

enum brp_role {
	BRP_ROLE_TARGET,
	BRP_ROLE_INITIATOR,
};

enum brp_conn_state {
	BRP_CONN_NEW,       /* waits for HELLO (target) or HELLO_REPLY (initiator) */
	BRP_CONN_GREETED,   /* waits for LIST or LOGIN, or their replies */
	BRP_CONN_ADMITTING, /* target only: LOGIN waits until older epochs are out of the device */
	BRP_CONN_READY,     /* I/O */
	BRP_CONN_CLOSING,   /* sends nothing more; waits for what is in flight and for the fabric */
	BRP_CONN_CLOSED,
	BRP_CONN_COUNT
};

const char *brp_conn_state_name(enum brp_conn_state s);

/* Whether `to` may follow `from` directly. */
bool brp_conn_may_move(enum brp_conn_state from, enum brp_conn_state to);

/* Whether `role` in state `s` accepts a message of `type`. A message that is not accepted breaks
 * the connection. */
bool brp_conn_accepts(enum brp_role role, enum brp_conn_state s, enum brp_msg_type type);

/* HELLO negotiation of the target, 4.1: fills status, version, features of *ret_reply; the caller
 * adds the rest. features_demanded, of those supported, are what the target does not do without. */
void brp_negotiate(const struct brp_hello *h, uint64_t features_supported,
		   uint64_t features_demanded, struct brp_hello_reply *ret_reply);

#endif
