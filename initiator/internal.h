/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libbrp inside. A session has queues; a queue has a tag table and a merge engine, which live as
 * long as the queue, and a connection, which may be replaced (other address now, reconnect later).
 *
 * From the top: api.c and status.c; session.c (connecting, the end) with setup.c (HELLO, LOGIN),
 * list.c, address.c, ident.c, options.c; recover.c (connections made again) with backoff.c,
 * identity.c, stable.c, regrant.c; wait.c with spin.c, edge.c; queue.c; merge.c; conn.c;
 * common/fabric.
 *
 * Threads: a queue and its connection belong to the thread that uses the queue. What queues of one
 * session share after connecting is constant, atomic, or under session.lock, which only the control
 * path takes.
 */
#ifndef INITIATOR_INTERNAL_H
#define INITIATOR_INTERNAL_H

#include <netdb.h>
#include <pthread.h>
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
#define INI_DEFAULT_KEEPALIVE_MS 1000u
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
	uint32_t epoch;       /* that messages carry: 0 before login */
	int error;            /* why it is closing or closed, negative errno */
	struct ini_error why; /* the same in words; the first one counts */
	uint64_t close_deadline_ns;

	/* set-up */
	struct brp_hello_reply hello;
	uint64_t login_epoch;   /* of the LOGIN sent; 0: none */
	uint16_t refusal;       /* status of a LOGIN_REPLY that says no; 0: none */
	uint64_t refusal_epoch; /* the newest one, in the same reply */
	uint64_t heard_ns;      /* when the last message came, until READY */
	bool has_answer;        /* a target spoke to us */
	bool is_admitted;       /* was READY */
	bool is_final;          /* what ended it ends the session */

	/* control messages that wait for a send slot */
	bool owes_reply;
	bool owes_keepalive;
	uint64_t reply_sequence;
	uint64_t keepalive_sequence;

	bool is_dirty;            /* committed and not flushed */
	unsigned int nr_sent;     /* messages since the last keepalive tick */
	unsigned int nr_received; /* likewise */
};

/* After an error brp_last_error() has the words. */
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
void ini_setup_ready(struct ini_conn *c, uint64_t epoch); /* logged in: requests go out */

/* list.c */
void ini_list_request(struct ini_conn *c);
void ini_list_reply(struct ini_conn *c, const void *buf, uint32_t bytes);

/* ---- queue.c: tag table ---------------------------------------------------------------------- */

enum ini_slot_state {
	INI_SLOT_FREE,
	INI_SLOT_GATHERED, /* in the merge engine */
	INI_SLOT_SENT,     /* waits for its completion */
	INI_SLOT_PARKED,   /* waits for a tag: after a login that granted fewer than before */
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
	union {
		void *buf;
		uint64_t flush_round; /* of a FLUSH on the wire, see stable.c */
	};
	struct fabric_mem *mem;
	union {
		struct { /* not is_part */
			void (*done)(void *arg, int result);
			void *arg;
		};
		struct ini_parent *parent; /* is_part */
	};
	uint64_t seq; /* order of submission */
	uint64_t lba;
	uint32_t blocks;
	uint32_t bytes; /* data, 0 when the operation has none */
	uint16_t generation;
	uint16_t next_free;
	uint8_t op;    /* enum brp_op */
	uint8_t flags; /* BRP_REQ_* */
	uint8_t state; /* enum ini_slot_state */
	bool is_exposed : 1;
	bool is_part : 1;
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

/* recover.c: what a queue's connection is doing. */
enum ini_link_state {
	INI_LINK_FIRST,   /* session.c makes the first connection */
	INI_LINK_UP,      /* logged in; or lost, and the fabric has not let go of our memory yet */
	INI_LINK_WAITING, /* no connection: the next attempt has its time */
	INI_LINK_TRYING,  /* connecting and logging in again */
	INI_LINK_DEAD,    /* the session failed and every request was completed */
	INI_LINK_COUNT
};

struct ini_link {
	/* owner only */
	const struct addrinfo *addr;  /* being tried, or the one that worked */
	const struct addrinfo *first; /* of this round */
	uint64_t jitter;              /* state of the random numbers */
	uint64_t up_ns;               /* of the last login */
	uint64_t completions;         /* at that time: what came since is progress */
	uint64_t tick_ns;             /* TRYING: next KEEPALIVE */
	bool was_busy;                /* refused so, in this outage */

	/* written by the owner under session.lock, read by others under it */
	enum ini_link_state state;
	unsigned int failed;  /* attempts of this outage */
	uint64_t lost_ns;     /* begin of the outage */
	uint64_t next_ns;     /* WAITING: time of the next attempt */
	uint64_t deadline_ns; /* TRYING: of what it waits for */
};

/* stable.c: whether acknowledged writes wait for a FLUSH. */
struct ini_dirt {
	/* owner only */
	bool is_tracked;   /* the volume is write-back */
	uint64_t boot_seq; /* session's at this queue's login */
	/* written by the owner, read by any queue that logs in again */
	atomic_uint_least64_t round; /* of the last write acknowledged; 0: none */
	atomic_uint_least64_t nr;    /* writes acknowledged since the last clean moment */
};

struct brp_queue {
	/* constant after the first login */
	struct brp_session *session;
	unsigned int index;
	unsigned int block_shift;
	int epoll_fd;
	struct ini_slot *slots; /* as many as the first login granted */
	struct ini_parent *parents;
	uint32_t nr_slots;
	struct fabric_params params;

	/* of the last login */
	struct brp_limits limits; /* size_blocks: see session */
	struct brp_login_reply login;
	uint32_t nr_usable; /* slots whose tag the target takes, <= nr_slots */

	struct ini_conn *conn; /* owned; NULL between two */
	struct ini_link link;
	struct ini_dirt dirt;
	bool is_up;       /* logged in */
	bool is_open;     /* takes requests: they wait while it is not up */
	int closed_error; /* what brp_submit() says otherwise */

	/* I/O */
	uint64_t next_seq;
	unsigned int nr_parked; /* slots */
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
	bool is_edge;             /* edge.c: data_fd is not in the epoll */
	int timer_fd;             /* -1: none */
	int data_fd;              /* the connection's; -1: none */
	int rare_fd;              /* the connection's: fabric_look(); -1: none */
	unsigned int nr_attached; /* changes of these two */
	uint64_t timer_ns;        /* it is set to that; INI_FOREVER: not set */
	uint64_t keepalive_ns;    /* 0: none */
	uint64_t next_tick_ns;
	unsigned int silent_ticks;
};

/* A counter of q->stats, by the queue's thread; brp_queue_stats() may look at any time. As cheap as
 * ++. */
static inline void ini_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

int ini_queue_create(struct brp_session *s, unsigned int index, struct brp_queue **ret_queue);
void ini_queue_destroy(struct brp_queue *q); /* NULL is fine */
/* After the first LOGIN_REPLY: memory for what was granted. Then requests may come. */
int ini_queue_open(struct brp_queue *q, const struct brp_login_reply *m);
/* The connection is closed: what was not answered waits for the next one, in order. How many had
 * been sent. */
unsigned int ini_queue_requeue(struct brp_queue *q);
/* After a later LOGIN_REPLY. -EMSGSIZE: a request that waits is longer than the target takes now.
 */
int ini_queue_reopen(struct brp_queue *q, const struct brp_login_reply *m);
/* Nothing is on the wire any more: completes everything with err, each exactly once. */
void ini_queue_fail_all(struct brp_queue *q, int err);
void ini_queue_response(struct brp_queue *q, const void *buf, uint32_t bytes);
void ini_queue_notice(struct brp_queue *q, uint32_t tag);

/* regrant.c: tags after a login that granted fewer. */
uint32_t ini_regrant_longest(const struct brp_queue *q);
void ini_regrant_tags(struct brp_queue *q); /* all requests wait: moves or parks them */
void ini_regrant_unpark(struct brp_queue *q, uint16_t to); /* the oldest one, into a free slot */

/* ---- merge.c --------------------------------------------------------------------------------- */

int ini_merge_open(struct brp_queue *q, uint32_t max_message_bytes);
void ini_merge_close(struct brp_queue *q); /* forgets what was gathered and frees */
void ini_merge_clear(struct brp_queue *q); /* forgets what was gathered */
/* Sizes of messages as the last login grants them. */
void ini_merge_resize(struct brp_queue *q, uint32_t max_message_bytes);
/* Gathers anew, from the slots in state GATHERED in the order of their submission, and sends
 * nothing before ini_merge_sendable(). */
void ini_merge_refill(struct brp_queue *q);
/* is_more: another comes before the submitter's batch ends. */
void ini_merge_add(struct brp_queue *q, uint16_t index, bool is_more);
/* The submitter's batch ends; now also when a window is over. Sends and flushes what may go. */
void ini_merge_kick(struct brp_queue *q, enum ini_reason reason);
void ini_merge_sendable(struct brp_queue *q);

/* ---- wait.c ---------------------------------------------------------------------------------- */

int ini_wait_attach(struct brp_queue *q);  /* a new connection's descriptors */
void ini_wait_detach(struct brp_queue *q); /* the connection is about to be destroyed */
/* Whether the data descriptor is left to an event loop. */
void ini_wait_set_edge(struct brp_queue *q, bool is_edge);
void ini_wait_take_events(struct brp_queue *q); /* handles them; does not wait */
void ini_wait_update_timer(struct brp_queue *q);
bool ini_wait_is_gone(const struct brp_queue *q);
int ini_wait_gone_error(const struct brp_queue *q); /* why */
int ini_wait_pass(struct brp_queue *q); /* fabric_poll(), then send what it brought about */
/* Asks for a wake-up; false: look again instead of sleeping. */
bool ini_wait_arm(struct brp_queue *q);
bool ini_wait_sleep(struct brp_queue *q, uint64_t ns); /* false: a signal was caught */

/* ---- recover.c, backoff.c, identity.c, stable.c -----------------------------------------------
 */

/* The queue's connection was closed: what comes next. From within fabric_poll(). */
void ini_recover_closed(struct brp_queue *q);
/* LOGIN_REPLY with status OK, of any login but the first. */
void ini_recover_admitted(struct brp_queue *q, const struct brp_login_reply *m);
/* Does what is due while the queue is not up. Not from within fabric_poll(). */
void ini_recover_step(struct brp_queue *q);
uint64_t ini_recover_next_ns(const struct brp_queue *q); /* when that is, or INI_FOREVER */
/* All queues are logged in for the first time. */
void ini_recover_begin(struct brp_session *s);
/* Ends the session for good, once: the words, the event, a wake-up for the other queues. Returns
 * err. */
int ini_session_fail(struct brp_session *s, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

enum ini_failure {                     /* how an attempt ended */
		   INI_FAILED_SILENT,  /* no answer, or no way to it */
		   INI_FAILED_REFUSED, /* at once, by a host that is there */
		   INI_FAILED_USELESS, /* logged in, and lost before anything was done */
};
/* How long to wait before the next attempt, in ms. nr_failed >= 1: so many have. */
uint64_t ini_backoff_ms(const struct brp_options *opt, unsigned int nr_failed, enum ini_failure how,
			uint64_t *jitter);

enum ini_identity {
	INI_IDENTITY_SAME,
	INI_IDENTITY_LARGER,   /* the same, but for its size */
	INI_IDENTITY_OUTDATED, /* a reply from before another queue's login: ask again */
	INI_IDENTITY_OTHER,    /* not what the application knows: *ret_err, why */
};
/* Whether this login reply is from the volume we know, its acknowledged data with it. Under
 * session.lock; takes over what may change. */
enum ini_identity ini_identity_check(struct brp_queue *q, const struct brp_login_reply *m,
				     int *ret_err, char why[INI_ERROR_BYTES]);
/* The session's first login. */
void ini_identity_init(struct brp_session *s, const struct brp_login_reply *m);
/* NULL, or in what the reply to another queue at the first connect differs. */
const char *ini_identity_differs(const struct brp_login_reply *a, const struct brp_login_reply *b);

/* A request of a volume that is_tracked was answered OK. False: by a target that has restarted
 * since; not to be believed. */
bool ini_stable_answered(struct brp_queue *q, const struct ini_slot *slot);
uint64_t ini_stable_flush_sent(struct brp_session *s); /* the FLUSH's round */
/* Acknowledged writes that no FLUSH has made stable, about (never 0 when there are some). After a
 * new boot_seq. */
uint64_t ini_stable_nr_unflushed(const struct brp_session *s);

/* spin.c */
bool ini_spin_is_due(const struct brp_queue *q); /* whether the next wait will spin */
uint64_t ini_spin_budget(struct brp_queue *q);   /* for how long this wait may spin, in ns */
/* After a wait that spun. spun_ns: what it took us, if it was not in vain. */
void ini_spin_learn(struct ini_spin *s, uint64_t spun_ns, bool has_slept);
/* Looks, from now on, until something completes, the connection is lost, has_other(arg) (may be
 * NULL), the looks have taken budget_ns, or end_ns. Returns what they have taken. */
uint64_t ini_spin(struct brp_queue *q, uint64_t now, uint64_t budget_ns, uint64_t end_ns,
		  bool (*has_other)(void *arg), void *arg);

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
	struct brp_options opt; /* resolved; pointers to bytes in it are not used after start */
	struct brp_uri uri;
	struct brp_uuid host_uuid;
	struct brp_uuid session_uuid;
	char host_name[BRP_HOST_NAME_BYTES];
	bool is_heir;                /* the session UUID was given: may take the session over */
	struct ini_listing *listing; /* brp_list() */
	struct fabric *fabric;
	struct brp_queue **queues; /* opt.queues of them */
	int failed_fd;             /* eventfd in every queue's epoll: the session has failed */

	/* connecting */
	struct addrinfo *addrs;      /* owned */
	const struct addrinfo *addr; /* being tried, or the one that worked */
	uint64_t deadline_ns;        /* of everything */
	uint64_t attempt_deadline_ns;
	unsigned int nr_started;
	int fd;     /* epoll over the queues' epolls */
	int result; /* of connecting: -EAGAIN, then for ever 0 or what went wrong */
	bool has_taken_over;
	bool is_ending; /* brp_disconnect() */

	struct list mems;

	/* any queue, atomic */
	atomic_uint_least64_t epoch;
	atomic_bool is_connected;
	atomic_bool has_failed;
	atomic_bool is_removed;            /* every connection hears of these; the owner once */
	atomic_bool is_going_down;         /* until a queue has logged in again */
	struct ini_error error;            /* after connecting: why it failed for good */
	atomic_uint_least64_t size_blocks; /* RESIZED */
	atomic_uint_least64_t features;    /* of the newest connection */
	/* write-back volumes (stable.c) */
	atomic_uint_least64_t boot_seq;    /* grows when another boot id is seen */
	atomic_uint_least64_t round;       /* FLUSHes sent + 1 */
	atomic_uint_least64_t clean_round; /* writes acknowledged in an earlier one are stable */

	/* control path only */
	pthread_mutex_t lock;
	struct brp_login_reply login; /* what we know of the volume: of the newest login */
	unsigned int nr_down;         /* queues WAITING or TRYING */
	bool is_loss_told;            /* BRP_EVENT_LOST, and not yet RECONNECTED */
	uint64_t nr_reconnects;
	uint64_t nr_retried;
	uint64_t nr_digest_errors;
	char why_down[INI_ERROR_BYTES]; /* of the last loss or failed attempt */
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
