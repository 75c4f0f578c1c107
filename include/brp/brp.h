/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libbrp: block I/O on a remote volume, over RDMA or TCP.
 *
 * A session is one host's use of one volume; it has one or more queues, each a connection of its
 * own. Requests are submitted to a queue and complete through callbacks:
 *
 * 	struct brp_options opt = BRP_OPTIONS_INIT;
 * 	struct brp_session *s;
 * 	struct brp_queue *q;
 * 	struct brp_mem *mem;
 *
 * 	brp_connect("brp+tcp://host/vol1", &opt, &s);
 * 	q = brp_session_queue(s, 0);
 * 	brp_mem_register(s, buf, bytes, &mem);
 * 	brp_submit(q, &(struct brp_io){ .op = BRP_READ, .offset = 0, .bytes = 4096,
 * 					.buf = buf, .mem = mem, .done = on_done, .arg = ctx });
 * 	while (!is_finished)
 * 		brp_wait(q, -1);
 *
 * Threads. A queue is used by one thread at a time; different queues of a session by different
 * threads at once. brp_connect*(), brp_disconnect(), brp_mem_*() are called by one thread at a time
 * per session. The library starts no threads and installs no signal handlers.
 *
 * Losing the connection. By default a session survives its connections: each queue makes its own
 * again, from within brp_poll() and brp_wait(), so call them now and then or watch brp_queue_fd().
 * Meanwhile requests wait, those in flight and new ones; then what was not answered is sent again.
 * That is safe because requests are idempotent and the target admits the new connection only when
 * nothing of the old one can reach the medium any more. A session fails, once and for good, when it
 * may not reconnect or give up waiting (options), when it was taken over or refused for ever, or
 * when what comes back is not the volume with all acknowledged data (see docs/recovery.md): then
 * every request completes with an error.
 *
 * Errors. Functions return 0 or a count, or a negative errno. brp_last_error() tells what happened
 * in words.
 */
#ifndef BRP_BRP_H
#define BRP_BRP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BRP_API __attribute__((visibility("default")))
#else
#define BRP_API
#endif

struct brp_session;
struct brp_queue;
struct brp_mem;
struct brp_event;

/* ---- connecting ------------------------------------------------------------------------------ */

enum brp_merge {
	BRP_MERGE_ADAPTIVE = 0, /* merge what would wait anyway; a lone request never waits */
	BRP_MERGE_OFF = 1,      /* every request in a message of its own, at once */
	BRP_MERGE_ALWAYS =
		2, /* gather for merge_window_us, whatever the load (the paper's BRP-3T) */
};

struct brp_options {
	size_t size; /* sizeof(struct brp_options): newer fields are defaults for older callers */
	unsigned int queues;      /* connections, 1...256; 0 = 1 */
	unsigned int queue_depth; /* requests in flight per queue, 1...4096; 0 = 128. The target may
				     grant fewer */
	enum brp_merge merge;
	unsigned int merge_window_us; /* BRP_MERGE_ALWAYS: 0 = 20 */
	unsigned int merge_max_bytes; /* only requests up to this size are merged; 0 = 4096 */
	unsigned int
		merge_max_requests; /* in one message, 1...64; 0 = as many as the target allows */
	bool read_only;
	int poll_us; /* busy-poll before sleeping: 0 never, > 0 up to so many us, -1 = adaptive */
	unsigned int connect_timeout_ms; /* of the first connection, and of attempts to make it
					    again, those at most 5000; 0 = 10000 */
	unsigned int keepalive_ms; /* how often a silent connection is looked after; 0 = library
				      default, BRP_KEEPALIVE_NEVER = not at all. Either side takes
				      the other for dead after three to four times this */
	const char *host_name;     /* for the target's lists and logs; NULL = gethostname() */
	const uint8_t *host_uuid;  /* 16 bytes; NULL = derived from /etc/machine-id, or where there
				      is none from the kernel's boot id */

	/* A lost connection is made again from within brp_poll() and brp_wait(); the first attempt
	 * is made at once. */
	unsigned int reconnect_delay_ms; /* before the second attempt, then doubled, with jitter;
					    0 = 500 */
	unsigned int reconnect_delay_max_ms; /* it is never doubled beyond this; 0 = 10000 */
	int ctrl_loss_tmo_ms;    /* give up after so long without a connection: the session fails;
				    -1 = never, 0 = do not reconnect at all */
	int fast_io_fail_tmo_ms; /* requests that wait for a reconnect fail with -ETIMEDOUT after
				    so long; -1 = never */
	const uint8_t *session_uuid; /* 16 bytes; NULL = random. The restarted server of a device
					passes its predecessor's: the first login then takes the
					session over, and what the predecessor had in flight has
					ended in the device before */
	/* What happens to the session, in the thread of the queue that noticed; several queues may
	 * call it at once. It must not call brp_*(). NULL: nobody listens. */
	void (*on_event)(void *arg, const struct brp_event *ev);
	void *event_arg;

	int digest; /* TCP: CRC32C of all that is sent. 1 = insist on it, 0 = without, -1 = as the
		       target wants it. RDMA has its own. A write's buffer changed before done()
		       looks like damage */
};

#define BRP_KEEPALIVE_NEVER UINT32_MAX

#define BRP_OPTIONS_INIT                                                                   \
	{                                                                                  \
		.size = sizeof(struct brp_options), .poll_us = -1, .ctrl_loss_tmo_ms = -1, \
		.fast_io_fail_tmo_ms = -1, .digest = -1,                                   \
	}

/*
 * Connects to the volume `uri` (brp+tcp://host[:port]/volume or brp://host[:port]/volume),
 * blocking. opt may be NULL. -EINVAL bad URI or option; -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH,
 * ...; -ENODEV no RDMA device; -ENOENT no such volume; other refusals of the target as in
 * protocol.md 7. After an error brp_last_error() says more (thread-local).
 */
BRP_API int brp_connect(const char *uri, const struct brp_options *opt,
			struct brp_session **ret_session);

/*
 * The same without blocking (but for the name look-up): start, then call step whenever
 * brp_connect_fd() is readable and at least every 100 ms; 0 = connected, -EAGAIN = not yet, other =
 * failed: brp_disconnect() frees the session.
 */
BRP_API int brp_connect_start(const char *uri, const struct brp_options *opt,
			      struct brp_session **ret_session);
BRP_API int brp_connect_step(struct brp_session *s);
BRP_API int brp_connect_fd(const struct brp_session *s);

/* Ends the session and frees it with all its queues and registrations. Requests in flight complete
 * with -ECANCELED before it returns. NULL is fine. */
BRP_API void brp_disconnect(struct brp_session *s);

/* Ends the session for good, in words for people: what is in flight or waits for a reconnect, and
 * whatever is submitted later, completes with an error from the queues' next brp_poll() or
 * brp_wait(), which wake up for it. brp_disconnect() is still to be called. Any thread. */
BRP_API void brp_session_abort(struct brp_session *s, const char *why);

/* Words for the last failure of a brp_connect*, brp_list or brp_mem_register call in this thread,
 * or of this session. Never NULL. */
BRP_API const char *brp_last_error(void);
BRP_API const char *brp_session_error(const struct brp_session *s);

/* ---- what we are connected to ---------------------------------------------------------------- */

struct brp_info {
	size_t size; /* set by the caller to sizeof(struct brp_info) */
	uint8_t volume_uuid[16];
	uint8_t boot_id[16];
	uint64_t generation;
	uint64_t size_bytes;
	uint32_t block_bytes;
	uint32_t preferred_io_bytes;
	uint32_t max_transfer_bytes; /* longer I/O is split by the library */
	uint32_t queue_depth;        /* granted */
	unsigned int queues;
	bool read_only;
	bool has_discard;
	bool has_write_zeroes;
	bool has_fua;
	bool is_write_back; /* BRP_FLUSH or BRP_FUA needed for stable data */
	char volume_name[128];
	char transport[16]; /* "tcp", "verbs" */
	bool has_digest;    /* what is sent carries digests */
};

BRP_API int brp_session_info(const struct brp_session *s, struct brp_info *ret_info);

struct brp_list_item {
	char name[128];
	uint8_t uuid[16];
	uint64_t size_bytes;
	uint64_t generation;
	uint32_t block_bytes;
	bool read_only;
	bool is_write_back;
};

/* Volumes a target offers (uri without volume). Returns how many there are and writes up to max;
 * blocking. */
BRP_API int brp_list(const char *uri, const struct brp_options *opt,
		     struct brp_list_item *ret_items, unsigned int max);

/* ---- what happens to it ---------------------------------------------------------------------- */

enum brp_state {
	BRP_STATE_CONNECTING, /* for the first time */
	BRP_STATE_LIVE,
	BRP_STATE_RECONNECTING, /* at least one queue; its requests wait */
	BRP_STATE_FAILED,       /* for good: everything fails */
};

enum brp_event_kind {
	BRP_EVENT_LOST,        /* the connection; error and text say why */
	BRP_EVENT_RECONNECTED, /* all is as before */
	BRP_EVENT_RESIZED,     /* size_bytes: the volume's new size */
	BRP_EVENT_REMOVED,     /* the volume, from the target: the session fails */
	BRP_EVENT_GOING_DOWN,  /* the target says it will end: a loss follows */
	BRP_EVENT_FAILED,      /* the session, for good; error and text say why */
};

struct brp_event {
	size_t size; /* sizeof(struct brp_event) of the library */
	enum brp_event_kind kind;
	uint64_t size_bytes; /* BRP_EVENT_RESIZED */
	int error;           /* negative errno, or 0 */
	const char *text;    /* for people, never NULL; valid during the call */
};

struct brp_status {
	size_t size; /* set by the caller to sizeof(struct brp_status) */
	enum brp_state state;
	unsigned int attempt;      /* RECONNECTING: the attempt that runs or comes next, from 1 */
	uint64_t down_ms;          /* RECONNECTING: for how long now */
	uint64_t next_attempt_ms;  /* until the next attempt begins; 0: one runs */
	int64_t gives_up_ms;       /* until the session fails; -1 never */
	int64_t fails_io_ms;       /* until waiting requests fail (0: they do); -1 never */
	uint64_t reconnects;       /* of all queues */
	uint64_t retried_requests; /* sent again after a reconnect */
	uint64_t digest_errors;
	uint64_t epoch;
	int error;      /* FAILED: negative errno */
	char text[256]; /* one line for people: why, what happens next */
};

/* Any thread, at any time. -EINVAL: ret_status->size is not set. */
BRP_API int brp_session_status(const struct brp_session *s, struct brp_status *ret_status);

/* ---- memory ---------------------------------------------------------------------------------- */

/* Registers a buffer for I/O on every queue of the session. Needed on every transport so that a
 * program works on all. */
BRP_API int brp_mem_register(struct brp_session *s, void *base, size_t bytes,
			     struct brp_mem **ret_mem);
BRP_API void brp_mem_unregister(struct brp_mem *mem); /* no request is using it; NULL is fine */

/* ---- I/O ------------------------------------------------------------------------------------- */

enum brp_io_op {
	BRP_READ = 1,
	BRP_WRITE = 2,
	BRP_WRITE_ZEROES = 3,
	BRP_DISCARD = 4,
	BRP_FLUSH = 5,
};

#define BRP_FUA 0x1u /* stable before completion; BRP_WRITE, BRP_WRITE_ZEROES */
/* Another request follows before brp_kick(): this one need not leave without it although nothing is
 * in flight. */
#define BRP_MORE 0x2u

struct brp_io {
	enum brp_io_op op;
	unsigned int flags;
	uint64_t offset; /* bytes, multiple of the block size */
	uint64_t bytes;  /* likewise; BRP_FLUSH: 0 */
	void *buf; /* BRP_READ, BRP_WRITE: inside mem, unchanged (write) or unread (read) until done
		    */
	struct brp_mem *mem;
	/* result: 0 or negative errno. Called from brp_poll()/brp_wait()/brp_disconnect(), never
	 * from brp_submit(); may submit. */
	void (*done)(void *arg, int result);
	void *arg;
};

BRP_API struct brp_queue *brp_session_queue(struct brp_session *s, unsigned int index);

/*
 * Takes a request. io itself may be reused at once. -EAGAIN: the queue is full, call brp_poll() or
 * brp_wait(); -EINVAL: not aligned, empty, too long or not inside mem; -ERANGE: beyond the volume;
 * -EROFS; -EOPNOTSUPP; -ENOTCONN: the session has failed; -ETIMEDOUT: it has been reconnecting for
 * longer than fast_io_fail_tmo_ms. When merging, the request may stay here until brp_kick(),
 * brp_poll() or brp_wait(); while reconnecting it waits.
 */
BRP_API int brp_submit(struct brp_queue *q, const struct brp_io *io);

/* End of the submitter's batch: sends what was gathered (with BRP_MERGE_ALWAYS not before its
 * window ends). */
BRP_API void brp_kick(struct brp_queue *q);

/* Sends what was gathered and handles what has arrived, without sleeping. Number of completions
 * called back, or a negative errno once the session has failed and every request was completed.
 * While reconnecting: 0, and the next step of it is done. */
BRP_API int brp_poll(struct brp_queue *q);

/* The same, but sleeps until at least one completion or timeout_ms (-1 = no limit); 0 = time-out,
 * or a signal was caught. While reconnecting it sleeps likewise and does what is due. brp_poll()
 * and brp_wait() called from a done() give -EDEADLK. */
BRP_API int brp_wait(struct brp_queue *q, int timeout_ms);

/* For event loops: when readable, call brp_poll(). Before sleeping on it brp_poll() must have
 * returned 0 after the last submit. */
BRP_API int brp_queue_fd(struct brp_queue *q);

/*
 * For event loops that are told of every new event, not of a state (EPOLLET, io_uring's multishot
 * poll): the descriptors themselves, which wake up faster than the one that stands for them, and
 * with fewer system calls. From the first call on the queue is used with brp_submit(), brp_kick(),
 * brp_drain() and brp_spin() only.
 */
struct brp_queue_fds {
	int rare; /* time, the connection's state, the end; never changes */
	int data; /* of the connection, where completions come; -1 while there is none */
	/* Counts connections. When it differs after brp_drain(), `data` is another one, maybe of
	 * the same number, and the old one was closed. */
	unsigned int change;
};

/* Both are to be watched for POLLIN | POLLOUT | POLLRDHUP. */
BRP_API void brp_queue_fds(struct brp_queue *q, struct brp_queue_fds *ret_fds);

/*
 * After an event on them, and once before the first: everything that has arrived. is_rare: `rare`
 * had one. 0: the loop may sleep, also after more brp_submit() and brp_kick(); 1: call again before
 * sleeping; a negative errno as from brp_poll().
 */
BRP_API int brp_drain(struct brp_queue *q, bool is_rare);

/*
 * Such a loop may look for completions before it sleeps, for as long as brp_options.poll_us says;
 * has_other(arg), called between looks, ends that because the loop has something else to do.
 * Returns how many requests completed; -EAGAIN: it would not pay now, there was no look. After any
 * look brp_drain() must have said 0 before the loop may sleep; with nothing in flight it may sleep
 * for a moment without, for all that is late then are news of the connection.
 */
BRP_API int brp_spin(struct brp_queue *q, bool (*has_other)(void *arg), void *arg);

/* Requests submitted and not completed. */
BRP_API unsigned int brp_queue_in_flight(const struct brp_queue *q);

struct brp_stats {
	size_t size;       /* set by the caller */
	uint64_t requests; /* sent; a split request counts once per part */
	uint64_t messages; /* jumbo commands that carried them */
	uint64_t completions;
	uint64_t responses; /* messages and notices that carried those */
	uint64_t errors;    /* completions other than 0 */
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t sent_idle;               /* why messages left: nothing was in flight */
	uint64_t sent_full;               /* jumbo full */
	uint64_t sent_completion;         /* a completion arrived */
	uint64_t sent_kick;               /* kick, poll or wait */
	uint64_t sent_window;             /* merge window over */
	uint64_t sent_large;              /* not mergeable */
	uint64_t requests_per_message[7]; /* messages with 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64
					     requests */
	uint64_t sleeps;                  /* times brp_wait() went to sleep */
};
/* Any thread, at any time; each counter is right, together they may be a moment apart. */
BRP_API int brp_queue_stats(const struct brp_queue *q, struct brp_stats *ret_stats);

BRP_API const char *brp_version(void);

#ifdef __cplusplus
}
#endif

#endif
