/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fabric for tests of what is above it, linked instead of common/fabric. It records what is sent;
 * the test says what arrives. With `is_auto` it plays a willing target up to LOGIN_REPLY. It aborts
 * on what a caller must not do.
 */
#ifndef FAKE_FABRIC_H
#define FAKE_FABRIC_H

#include "brp/codec.h"
#include "common/fabric/fabric.h"

#define FAKE_MAX_CONNS    256
#define FAKE_MAX_MESSAGES 4096
#define FAKE_MAX_EVENTS   1024

struct fake_message {
	uint8_t *bytes;
	uint32_t length;
};

enum fake_event_kind {
	FAKE_CONNECTED,
	FAKE_MESSAGE,
	FAKE_NOTICE,
	FAKE_SENDABLE,
	FAKE_CLOSED,
};

struct fake_event {
	enum fake_event_kind kind;
	uint32_t value;
	int error;
	struct fake_message message;
};

struct fabric_conn {
	const struct fabric_handler *handler;
	void *ctx;
	struct fabric_params params;
	struct fabric_stats stats;
	int fd;          /* eventfd: events are waiting */
	const char *why; /* fabric_conn_why() */
	bool is_closed, is_closing, is_aborted, is_destroyed, is_begun;
	uint8_t *begun;
	uint32_t begun_bytes;
	struct fake_message sent[FAKE_MAX_MESSAGES];
	unsigned int nr_sent;
	unsigned int nr_flushed; /* of them */
	unsigned int nr_flushes;
	unsigned int slots_used;
	bool owes_sendable;
	bool has_digest; /* enabled */
	bool *exposed;
	unsigned int nr_exposed;
	struct fake_event events[FAKE_MAX_EVENTS];
	unsigned int head, tail;
	struct sockaddr_storage addr;
	uint64_t epoch; /* of the last LOGIN */
	struct brp_login login;
};

/* What the next connections are like. */
struct fake_config {
	bool is_auto;      /* connect, HELLO_REPLY, LOGIN_REPLY by itself */
	bool has_barrier;  /* is_auto: a newer epoch ends older connections, older ones are refused
			    */
	bool is_serving;   /* every request is answered OK */
	bool holds_close;  /* an orderly close is not answered */
	bool keeps_slots;  /* send slots are freed by fake_free_slots() only */
	int create_error;  /* of fabric_create() */
	int connect_error; /* of fabric_connect() */
	int refuse_first;  /* so many connections end with -ECONNREFUSED */
	int expose_error;
	bool has_digest;      /* of the transport */
	bool is_stream;       /* likewise */
	unsigned int lose_at; /* so many events from now a connection is lost instead; 0: never */
	struct brp_hello_reply hello;
	struct brp_login_reply login; /* epoch 0: the one asked for */
	uint32_t list_total;
	uint64_t newest_epoch; /* has_barrier */
};
extern struct fake_config fake_config;
extern struct fabric_conn *fake_conns[FAKE_MAX_CONNS];
extern unsigned int fake_nr_conns;
extern unsigned int fake_nr_objects; /* fabrics, memories, connections alive */

/* Sensible defaults: 1024 blocks of 512 bytes, depth as asked, 64 requests, 4096 in-capsule, 64 KiB
 * transfers. */
void fake_reset(void);

void fake_deliver_connected(struct fabric_conn *c);
void fake_deliver(struct fabric_conn *c, const void *buf, uint32_t bytes);
void fake_deliver_notice(struct fabric_conn *c, uint32_t value);
void fake_deliver_closed(struct fabric_conn *c, int error);
void fake_free_slots(struct fabric_conn *c);

/* A RESPONSE with these completions. */
void fake_respond(struct fabric_conn *c, const struct brp_completion *completions, unsigned int n);
/* The same with data bytes behind them, as the completions say or not. */
void fake_respond_data(struct fabric_conn *c, const struct brp_completion *completions,
		       unsigned int n, const void *data, uint32_t data_bytes);
void fake_respond_one(struct fabric_conn *c, uint32_t tag, uint16_t status);
void fake_keepalive(struct fabric_conn *c, uint32_t epoch, uint64_t sequence);
void fake_goodbye(struct fabric_conn *c, uint32_t epoch, uint16_t status, const char *text);
void fake_event(struct fabric_conn *c, const struct brp_event_msg *m);

/* Number of requests in the i-th JUMBO sent (from the front), decoded; aborts if there is none. */
int fake_jumbo(struct fabric_conn *c, unsigned int i,
	       struct brp_request requests[BRP_MAX_JUMBO_REQUESTS]);
unsigned int fake_nr_jumbos(const struct fabric_conn *c);
unsigned int fake_count(const struct fabric_conn *c, enum brp_msg_type type);

#endif
