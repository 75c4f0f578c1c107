/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libbrp inside. A session has queues; a queue has a tag table and a merge engine, which live as
 * long as the queue, and a connection, which may be replaced (other address now, reconnect later).
 *
 *	api.c      session.c ── setup.c (HELLO, LOGIN), list.c, address.c, ident.c, options.c,
 * error.c │ wait.c ── queue.c ── merge.c │ conn.c ── common/fabric
 *
 * Threads: a queue and its connection belong to the thread that uses the queue. What queues of one
 * session share after connecting is constant, atomic (size_blocks, the error), or locked by nothing
 * because only set-up and tear-down use it.
 */
#ifndef INITIATOR_INTERNAL_H
#define INITIATOR_INTERNAL_H

#include <netdb.h>
#include <stdatomic.h>

#include "brp/brp.h"
#include "brp/codec.h"
#include "brp/fsm.h"
#include "brp/proto.h"
#include "brp/uri.h"
#include "common/fabric/fabric.h"
#include "common/list.h"
#include "common/log.h"
#include "common/util.h"

#define INI_DEFAULT_DEPTH        128u
#define INI_DEFAULT_WINDOW_US    20u
#define INI_DEFAULT_MERGE_BYTES  4096u
#define INI_DEFAULT_CONNECT_MS   10000u
#define INI_DEFAULT_DELAY_MS     500u
#define INI_DEFAULT_DELAY_MAX_MS 10000u
#define INI_CLOSE_TIMEOUT_MS     1000u /* an orderly close that takes longer becomes an abort */
#define INI_ERROR_BYTES          256
#define INI_NONE                 UINT16_MAX /* no slot */
#define INI_FOREVER              UINT64_MAX

/* ---- error.c --------------------------------------------------------------------------------- */

/* The first error counts. Written once by any thread, then constant until ini_error_reset(). */
struct ini_error {
	atomic_int state; /* 0 none, 1 being written, 2 there */
	int err;          /* negative errno */
	char text[INI_ERROR_BYTES];
};

int ini_error_set(struct ini_error *e, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
void ini_error_reset(struct ini_error *e); /* while one thread has the session */
const char *ini_error_text(const struct ini_error *e);
int ini_error_code(const struct ini_error *e); /* 0: none */

/* What brp_last_error() tells in this thread. Returns err. */
int ini_last_error_set(int err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- status.c -------------------------------------------------------------------------------- */

/* Tells the session's owner. fmt: the words. Under no lock, from a queue's thread. */
void ini_event(const struct brp_session *s, enum brp_event_kind kind, int err, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* ---- options.c, ident.c ---------------------------------------------------------------------- */

/* Options with defaults filled in, and checked. */
int ini_options_resolve(const struct brp_options *opt, struct brp_options *ret_opt);

int ini_ident_host(const struct brp_options *opt, struct brp_uuid *ret_uuid);
int ini_ident_random(struct brp_uuid *ret_uuid);
void ini_ident_host_name(const struct brp_options *opt, char name[BRP_HOST_NAME_BYTES]);

/* ---- conn.c: one connection, from fabric_connect() to closed() ------------------------------- */

struct ini_conn {
	/* constant */
	struct brp_session *session; /* outlives the connection */
	struct brp_queue *queue;     /* likewise */
	struct fabric_conn *fabric;

	enum brp_conn_state state;
	uint32_t epoch;  /* that messages carry: 0 before login */
	int error;       /* why it is closing or closed, negative errno */
	bool is_by_peer; /* the target said GOODBYE */
	uint64_t close_deadline_ns;

	/* control messages that wait for a send slot */
	bool owes_reply;
	bool owes_keepalive;
	uint64_t reply_sequence;
	uint64_t keepalive_sequence;

	bool is_dirty;            /* committed and not flushed */
	unsigned int nr_sent;     /* messages since the last keepalive tick */
	unsigned int nr_received; /* likewise */
};

int ini_conn_create(struct brp_queue *q, const struct sockaddr *addr, socklen_t addr_bytes,
		    const struct fabric_params *params, struct ini_conn **ret_conn);
void ini_conn_destroy(struct ini_conn *c); /* closed, or never polled; NULL is fine */

/* A control message of at most `bytes` bytes: encode into what begin returns (NULL: no slot), then
 * commit. */
void *ini_conn_begin(struct ini_conn *c, uint32_t bytes);
void ini_conn_commit(struct ini_conn *c, int bytes);
void ini_conn_flush(struct ini_conn *c); /* if there is something */
void ini_conn_keepalive(struct ini_conn *c);

void ini_conn_set_state(struct ini_conn *c, enum brp_conn_state state);
/* Orderly end: GOODBYE, then close. */
void ini_conn_goodbye(struct ini_conn *c);
/* The peer broke the protocol: tells it so and closes. */
void ini_conn_protocol_error(struct ini_conn *c, const char *what);
/* Starts closing because of err; the words are the caller's business. */
void ini_conn_close(struct ini_conn *c, int err, bool is_abort);
/* An orderly close has had its time: abort. Call it now and then while CLOSING. */
void ini_conn_check_close(struct ini_conn *c);

static inline bool ini_conn_is_over(const struct ini_conn *c)
{
	return c->state >= BRP_CONN_CLOSING;
}

/* ---- setup.c: HELLO, LOGIN, LIST ------------------------------------------------------------- */

void ini_setup_hello(struct ini_conn *c);
void ini_setup_hello_reply(struct ini_conn *c, const void *buf, uint32_t bytes);
void ini_setup_login_reply(struct ini_conn *c, const void *buf, uint32_t bytes);
/* Whether a login reply agrees with the session's first one; NULL or what differs. */
const char *ini_setup_compare(const struct brp_login_reply *first, const struct brp_login_reply *m);

/* list.c */
void ini_list_request(struct ini_conn *c);
void ini_list_reply(struct ini_conn *c, const void *buf, uint32_t bytes);

/* ---- queue.c: tag table ---------------------------------------------------------------------- */

enum ini_slot_state {
	INI_SLOT_FREE,
	INI_SLOT_GATHERED, /* in the merge engine */
	INI_SLOT_SENT,     /* waits for its completion */
};

/* I/O longer than the target takes in one request. Parts are sent as slots get free. */
struct ini_parent {
	struct list
		link; /* queue.splitting while parts are left, else queue.free_parents or none */
	struct brp_io io;
	uint64_t done_bytes;   /* given to parts so far */
	unsigned int nr_parts; /* in flight */
	int result;            /* of the first part that failed */
};

struct ini_slot {
	void *buf;
	struct fabric_mem *mem;
	void (*done)(void *arg, int result);
	void *arg;
	struct ini_parent *parent; /* of a part; then done and arg are not used */
	uint64_t lba;
	uint32_t blocks;
	uint32_t bytes; /* data, 0 when the operation has none */
	uint16_t generation;
	uint16_t next_free;
	uint8_t op;    /* enum brp_op */
	uint8_t flags; /* BRP_REQ_* */
	uint8_t state; /* enum ini_slot_state */
	bool is_exposed;
};

enum ini_reason { /* why a message left; order of the sent_* fields */
		  INI_SENT_IDLE,
		  INI_SENT_FULL,
		  INI_SENT_COMPLETION,
		  INI_SENT_KICK,
		  INI_SENT_WINDOW,
		  INI_SENT_LARGE,
};

struct ini_merge {
	/* constant after login */
	enum brp_merge mode;
	uint64_t window_ns;
	uint32_t max_bytes;         /* larger requests are not merged */
	uint32_t max_requests;      /* in a message */
	uint32_t max_capsule_bytes; /* data in a message */
	uint32_t in_capsule_bytes;  /* data in it of one request */

	uint16_t *fifo; /* gathered slots, a ring of `mask` + 1 */
	uint32_t mask;
	uint32_t head;
	uint32_t count;
	uint32_t capsule_bytes; /* of all gathered */
	uint64_t window_end_ns; /* 0: not running */
	bool is_blocked;        /* no send slot: goes on in ini_merge_sendable() */
	enum ini_reason blocked_reason;
};

struct ini_spin {            /* wait.c: whether spinning pays */
	uint64_t ewma_ns;    /* what it took when it was not in vain; 0: not known */
	unsigned int misses; /* in a row */
	unsigned int tries;  /* that were not, since spinning began */
	unsigned int pause;  /* waits to go without spinning */
	unsigned int next_pause;
};

struct brp_queue {
	/* constant after login */
	struct brp_session *session;
	unsigned int index;
	struct brp_limits limits; /* of this connection; size_blocks: see session */
	unsigned int block_shift;
	int epoll_fd;
	struct ini_slot *slots; /* limits.queue_depth of them */
	struct ini_parent *parents;
	uint32_t nr_slots;
	struct fabric_params params;

	/* set-up */
	struct ini_conn *conn; /* owned */
	bool is_up;            /* logged in, takes requests */
	struct brp_login_reply login;

	/* I/O */
	uint16_t first_free;
	unsigned int in_flight; /* requests of the user */
	unsigned int on_wire;   /* parts sent and not completed */
	unsigned int fresh;     /* of those, sent since the last look at the connection */
	uint64_t nr_called;     /* done() calls so far */
	bool is_polling;        /* inside fabric_poll() */
	struct list splitting;  /* parents with parts left to send */
	struct list free_parents;
	struct ini_merge merge;
	struct brp_stats stats;

	/* wait.c */
	struct ini_spin spin;
	bool is_fd_used;
	int timer_fd;          /* -1: none */
	uint64_t keepalive_ns; /* 0: none */
	uint64_t next_tick_ns;
	unsigned int silent_ticks;
};

int ini_queue_create(struct brp_session *s, unsigned int index, struct brp_queue **ret_queue);
void ini_queue_destroy(struct brp_queue *q); /* NULL is fine */
/* After LOGIN_REPLY: memory for what was granted. Then requests may come. */
int ini_queue_open(struct brp_queue *q, const struct brp_login_reply *m);
/* The connection is gone for good: completes everything with err, each exactly once. */
void ini_queue_fail_all(struct brp_queue *q, int err);
void ini_queue_response(struct brp_queue *q, const void *buf, uint32_t bytes);
void ini_queue_notice(struct brp_queue *q, uint32_t tag);

/* ---- merge.c --------------------------------------------------------------------------------- */

int ini_merge_open(struct brp_queue *q, uint32_t max_message_bytes);
void ini_merge_close(struct brp_queue *q); /* forgets what was gathered and frees */
void ini_merge_clear(struct brp_queue *q); /* forgets what was gathered */
void ini_merge_add(struct brp_queue *q, uint16_t index);
/* The submitter's batch ends; now also when a window is over. Sends and flushes what may go. */
void ini_merge_kick(struct brp_queue *q, enum ini_reason reason);
void ini_merge_sendable(struct brp_queue *q);

/* ---- wait.c ---------------------------------------------------------------------------------- */

int ini_wait_attach(
	struct brp_queue *q);           /* a new connection's descriptors into the queue's epoll */
int ini_wait_pass(struct brp_queue *q); /* fabric_poll(), then send what it brought about */
bool ini_wait_sleep(struct brp_queue *q, uint64_t ns); /* false: a signal was caught */

/* spin.c */
uint64_t ini_spin_budget(struct brp_queue *q); /* for how long this wait may spin, in ns */
/* After a wait that spun. */
void ini_spin_learn(struct ini_spin *s, uint64_t waited_ns, bool has_slept);

/* ---- session.c ------------------------------------------------------------------------------- */

struct brp_mem {
	struct list link;
	struct brp_session *session;
	struct fabric_mem *fabric;
};

/* What brp_list() collects instead of logging in. */
struct ini_listing {
	struct brp_list_item *items;
	unsigned int max;
	unsigned int next; /* index of the first volume asked for */
	bool is_done;
};

struct brp_session {
	/* constant after start */
	struct brp_options opt; /* resolved; pointers in it are not used after start */
	struct brp_uri uri;
	struct brp_uuid host_uuid;
	struct brp_uuid session_uuid;
	char host_name[BRP_HOST_NAME_BYTES];
	struct ini_listing *listing; /* brp_list() */
	struct fabric *fabric;
	struct brp_queue **queues; /* opt.queues of them */

	/* connecting */
	uint64_t epoch;
	struct addrinfo *addrs; /* owned */
	struct addrinfo *addr;  /* being tried, or the one that worked */
	uint64_t deadline_ns;   /* of everything */
	uint64_t attempt_deadline_ns;
	unsigned int nr_started;
	int fd;     /* epoll over the queues' epolls */
	int result; /* of connecting: -EAGAIN, then for ever 0 or what went wrong */
	bool is_connected;
	bool has_answer; /* a target spoke to us at this address */
	struct brp_hello_reply hello;
	struct brp_login_reply login; /* of queue 0 */

	struct list mems;
	struct ini_error error;
	atomic_uint_least64_t size_blocks; /* any queue: RESIZED */
};

/* brp_connect_start() and brp_list(). */
int ini_session_start(const char *uri, const struct brp_options *opt, struct ini_listing *listing,
		      struct brp_session **ret_session);
int ini_session_connect(struct brp_session *s); /* steps until connected or failed */

/* api.c */
void ini_session_free_mems(struct brp_session *s);
/* For results whose struct the caller may know in an older (shorter) or newer (longer, the rest is
 * zeroed) form. */
int ini_copy_out(void *to, size_t to_bytes, const void *from, size_t from_bytes);

/* address.c: the name look-up (blocking). *ret_addrs: freeaddrinfo(). */
int ini_address_resolve(const struct brp_uri *uri, struct addrinfo **ret_addrs);

#endif
