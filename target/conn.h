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
#include "target/counters.h"
#include "target/request.h"

struct server;
struct session;

/* What other threads tell a connection; bits, any number at once. */
#define CONN_ORDER_ADMIT   0x001u /* at the barrier: ask again                  */
#define CONN_ORDER_FENCED  0x002u /* a newer epoch logged in: cut off           */
#define CONN_ORDER_BUFFER  0x004u /* an I/O buffer may be free                  */
#define CONN_ORDER_GATE    0x008u /* the gate let one of our requests pass      */
#define CONN_ORDER_DRAIN   0x010u /* the target ends: finish, say goodbye       */
#define CONN_ORDER_ABORT   0x020u /* the target ends, now                       */
#define CONN_ORDER_LATE    0x040u /* a time-out is over: cut off; see late_for  */
#define CONN_ORDER_REMOVED 0x080u /* its volume is removed: finish, say goodbye */
#define CONN_ORDER_RESIZED 0x100u /* its volume has another size                */
#define CONN_ORDER_CROWDED 0x200u /* without a login, and others need the room  */
#define CONN_ORDER_ALIVE   0x400u /* say something: we do not hear the peer      */

/* Why the target cut a connection off. */
enum conn_cut {
	CONN_CUT_SETUP,     /* no login in time */
	CONN_CUT_KEEPALIVE, /* silent */
	CONN_CUT_STALLED,   /* data does not move */
	CONN_CUT_CLOSING,   /* does not see its end */
	CONN_CUT_DRAINING,  /* does not finish */
	CONN_CUT_FENCED,
	CONN_CUT_CROWDED,
	CONN_CUT_ENDING, /* the target ends */
	CONN_CUT_BROKEN, /* out of descriptors or memory */
	CONN_CUT_COUNT
};

struct conn {
	struct pool_task task;

	/* constant after conn_create() */
	struct server *server;
	struct fabric_conn *fc;
	unsigned int fabric_index;
	unsigned int born_s; /* server.tick_s */
	char peer[64];       /* its address */

	/* atomic, any thread */
	atomic_uint orders;
	atomic_uint heard_s;      /* server.tick_s of the last message or transfer */
	atomic_bool is_moving;    /* transfers are under way that need the peer */
	atomic_bool is_deaf;      /* not read at the moment, for want of something of ours */
	atomic_uint keepalive_ms; /* 0: never time out */
	atomic_bool is_set_up;    /* LOGIN came: no set-up time-out */
	atomic_uint closing_s;    /* server.tick_s + 1 when CLOSING began, 0 before */
	atomic_uint draining_s;   /* server.tick_s + 1 when its volume was removed, 0 before */
	atomic_uint late_for;     /* enum conn_cut, with CONN_ORDER_LATE */
	struct io_counters io;    /* written by the owner thread */

	/* server.lock */
	struct list server_link;
	struct list session_link;
	struct session *session;
	uint64_t epoch;
	uint16_t queue_index;
	bool is_crowded; /* told to leave (CONN_ORDER_CROWDED) */
	/* written by the owner thread under server.lock, so that it may read it without */
	struct volume *volume; /* asked for at LOGIN, with a reference */

	/* owner thread only */
	int fds[FABRIC_MAX_FDS];
	int nr_fds; /* 0 before the first run */
	enum brp_conn_state state;
	bool is_fabric_closed;
	bool is_draining;
	bool is_cut;
	bool is_fenced;
	enum brp_status_code goodbye; /* draining: what to say at the end */
	unsigned int owed_events;     /* bits 1 << BRP_EV_* */
	bool owes_keepalive;
	bool owes_sign_of_life;
	bool has_digest; /* what we send must not change any more: nothing out of shared memory */
	uint64_t keepalive_sequence;
	struct brp_login login; /* GREETED, ADMITTING: what was asked for */
	struct brp_limits limits;
	struct bk_queue *queue; /* READY and after */
	unsigned int nr_inline; /* passes in a row that left nothing in the device */
	bool is_device_muted;   /* its descriptor does not wake us */
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

/* Cuts the connection off, without a goodbye; logged and counted. */
void conn_cut_off(struct conn *c, enum conn_cut why);

/* The peer is alive: it sent something, or took something. */
void conn_heard(struct conn *c);

/* setup.c: any message but JUMBO, already known to be allowed in this state. 0, or -EAGAIN: there
 * is no room for its answer, redeliver. */
int conn_setup_message(struct conn *c, const struct brp_header *h, const void *buf, uint32_t bytes);
/* setup.c: CONN_ORDER_ADMIT. */
void conn_try_admission(struct conn *c);

#endif
