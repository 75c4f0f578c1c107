/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection at the target, a task of the pool: set-up (setup.c), then requests (request.c).
 * Everything but what is marked otherwise belongs to the thread that runs the task; others reach it
 * only through orders.
 */
#ifndef TARGET_CONN_H
#define TARGET_CONN_H

#include <stdatomic.h>

#include "brp/codec.h"
#include "brp/fsm.h"
#include "common/fabric/fabric.h"
#include "common/pool.h"
#include "target/request.h"

struct server;
struct session;

/* What other threads tell a connection; bits, any number at once. */
#define CONN_ORDER_ADMIT  0x01u /* at the barrier: ask again                  */
#define CONN_ORDER_FENCED 0x02u /* a newer epoch logged in: cut off           */
#define CONN_ORDER_BUFFER 0x04u /* an I/O buffer may be free                  */
#define CONN_ORDER_GATE   0x08u /* the gate let one of our requests pass      */
#define CONN_ORDER_DRAIN  0x10u /* the target ends: finish, say goodbye       */
#define CONN_ORDER_ABORT  0x20u /* the target ends, now                       */
#define CONN_ORDER_SILENT 0x40u /* set-up or keep-alive time is over: cut off */

struct conn {
	struct pool_task task;

	/* constant after conn_create() */
	struct server *server;
	struct fabric_conn *fc;
	unsigned int fabric_index;
	unsigned int born_s; /* server.tick_s */

	/* atomic, any thread */
	atomic_uint orders;
	atomic_uint heard_s;      /* server.tick_s of the last message or transfer */
	atomic_bool is_moving;    /* transfers are under way that need the peer */
	atomic_uint keepalive_ms; /* 0: never time out */
	atomic_bool is_set_up;    /* LOGIN came: no set-up time-out */
	atomic_uint closing_s;    /* server.tick_s + 1 when CLOSING began, 0 before */

	/* server.lock */
	struct list server_link;
	struct list session_link;
	struct session *session;
	uint64_t epoch;
	uint16_t queue_index;

	/* owner thread only */
	int fds[FABRIC_MAX_FDS];
	int nr_fds; /* 0 before the first run */
	enum brp_conn_state state;
	bool is_fabric_closed;
	bool is_draining;
	bool owes_keepalive;
	bool has_digest; /* what we send must not change any more: nothing out of shared memory */
	uint64_t keepalive_sequence;
	struct brp_login login; /* GREETED, ADMITTING: what was asked for */
	struct brp_limits limits;
	struct volume *volume; /* READY and after */
	struct bk_queue *queue;
	struct request_table requests;
};

/* Takes over fc, which a listener announced: accepts or rejects it. */
void conn_create(struct server *s, struct fabric_conn *fc, unsigned int fabric_index);

/* Leaves an order and wakes the connection. The caller holds a lock under which the connection
 * unpublishes itself. */
void conn_order(struct conn *c, unsigned int order);

/* Moves on, checked against the table of protocol.md 8. */
void conn_set_state(struct conn *c, enum brp_conn_state to);

/* Ends the connection with a GOODBYE that carries status and text. Requests in flight run to their
 * end unanswered. */
void conn_close(struct conn *c, enum brp_status_code status, const char *text);

/* The peer broke the protocol: logs what, says goodbye, closes. */
void conn_protocol_error(struct conn *c, const char *what);

/* The peer is alive: it sent something, or took something. */
void conn_heard(struct conn *c);

/* setup.c: any message but JUMBO, already known to be allowed in this state. */
void conn_setup_message(struct conn *c, const struct brp_header *h, const void *buf,
			uint32_t bytes);
/* setup.c: CONN_ORDER_ADMIT. */
void conn_try_admission(struct conn *c);

#endif
