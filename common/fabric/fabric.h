/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fabric: a small subset of verbs that carries BRP connections (protocol.md 2). One request
 * engine runs above it on both sides; `verbs` implements it with libibverbs + librdmacm, `tcp` over
 * a byte stream, `loopback` inside a process and `fault` around another one (the last two for
 * tests). Callers never know which one they use.
 *
 * What moves: messages in order, both ways, at most the sizes agreed on in fabric_params
 *              pull         target side: initiator's memory -> local memory (data of a write)
 *              push         target side: local memory -> initiator's memory (data of a read),
 * optionally with a notice
 *
 * Threads. A fabric is used from any thread. A connection or listener is used by one thread at a
 * time (its owner of the moment, see common/pool.h); the hand-over must be a synchronisation point.
 * Callbacks run on the thread that called fabric_poll(), never inside any other fabric call, never
 * under a lock. No function here blocks, except fabric_create(), fabric_destroy(),
 * fabric_mem_register() and fabric_mem_unregister(), which belong to set-up and tear-down.
 *
 * Errors. Functions return 0 or a negative errno. -EAGAIN means "not now, nothing is wrong" and
 * only that. A connection that fails tells so by the closed() callback, once; calls on it after
 * that, and until fabric_conn_destroy(), are harmless and return -ENOTCONN.
 */
#ifndef FABRIC_FABRIC_H
#define FABRIC_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/list.h"

struct fabric;     /* a transport with its devices */
struct fabric_mem; /* memory registered with every device of a fabric */
struct fabric_listener;
struct fabric_conn;

/* ---- set-up ---------------------------------------------------------------------------------- */

/* name: "tcp", "verbs", "loopback". -EOPNOTSUPP: not built in; -ENODEV: no device (verbs). Logs
 * what is wrong. */
int fabric_create(const char *name, struct fabric **ret_fabric);
/* Everything made from it is gone before. NULL is fine. */
void fabric_destroy(struct fabric *f);
const char *fabric_name(const struct fabric *f);

/* What a peer may do with a region. Local access is always allowed. Ask for the least. */
#define FABRIC_MEM_LOCAL        0x0u
#define FABRIC_MEM_REMOTE_WRITE 0x1u /* the peer pushes into it  */
#define FABRIC_MEM_REMOTE_READ  0x2u /* the peer pulls out of it */

/*
 * Registers [base, base + bytes) once, for all connections of the fabric, present and future. The
 * memory stays mapped until fabric_mem_unregister(). -ENOMEM from verbs is mostly the memlock
 * limit: logs the limit, the need and how to raise it.
 */
int fabric_mem_register(struct fabric *f, void *base, size_t bytes, unsigned int access,
			struct fabric_mem **ret_mem);
void fabric_mem_unregister(struct fabric_mem *mem); /* NULL is fine */
/* Whether [p, p + bytes) lies inside. */
bool fabric_mem_contains(const struct fabric_mem *mem, const void *p, size_t bytes);

/* ---- connections ----------------------------------------------------------------------------- */

#define FABRIC_LAZY_BYTES 4096u /* see fabric_params.is_lazy */

/* What the owner of a side promises and needs; fixed before connect or accept. */
struct fabric_params {
	uint32_t recv_bytes; /* longest message we receive */
	uint32_t recv_count; /* messages and notices the peer may have under way towards us */
	uint32_t send_bytes; /* longest message we send, gathered data included */
	uint32_t send_count; /* our messages that may be unfinished locally; more are refused with
				-EAGAIN */
	uint32_t max_data_bytes; /* longest pull, push or exposed range */
	uint32_t
		depth; /* requests in flight: pulls + pushes (target), exposed ranges (initiator) */
	/* The owner calls fabric_look(): spares a look at the second descriptor before each sleep.
	 */
	bool is_looking;
	/* push_done() of up to FABRIC_LAZY_BYTES need not wake the owner: it comes when something
	 * else does, when the connection is polled, or when it closes. */
	bool is_lazy;
};

/* Pulls and pushes. Owned by the caller; the fabric's from fabric_pull()/fabric_push() until the
 * done callback. */
struct fabric_xfer {
	void *local;    /* where the bytes go to or come from; see fabric_pull() for NULL */
	uint32_t bytes; /* > 0 */
	uint32_t key;   /* remote side, from the request */
	uint64_t addr;
	struct fabric_mem *mem; /* holds local */
	bool is_notice;         /* push: also deliver a notice */
	bool is_discard;        /* pull: throw the bytes away (the request was refused) */
	uint32_t
		notice; /* push with is_notice: its value; on tcp it equals key (protocol.md 2.1) */

	/* the fabric's own */
	struct list link;
	uint32_t done_bytes;
	int status;
};

struct fabric_handler {
	/* Messages can be exchanged from now on. */
	void (*connected)(struct fabric_conn *c);

	/*
	 * A message. buf is readable until the callback returns, is private (the peer cannot change
	 * it any more) and at least 8-byte aligned. Return 0, or -EAGAIN to have the same message
	 * delivered again after fabric_resume(); until then nothing else is delivered. Every pull
	 * the message calls for is posted before returning 0.
	 */
	int (*message)(struct fabric_conn *c, const void *buf, uint32_t bytes);

	/* Initiator: a push with a notice is in place. */
	void (*notice)(struct fabric_conn *c, uint32_t value);

	/*
	 * Exactly once for every accepted xfer: 0, or -ECANCELED when the connection failed first.
	 * See fabric_params.is_lazy.
	 */
	void (*pull_done)(struct fabric_conn *c, struct fabric_xfer *x, int status);
	void (*push_done)(struct fabric_conn *c, struct fabric_xfer *x, int status);

	/* A message can be begun again after fabric_msg_begin() returned NULL. */
	void (*sendable)(struct fabric_conn *c);

	/*
	 * Last callback, exactly once, after all xfers are done; also when it never connected. No
	 * memory of ours can be touched through this connection any more. error: 0 orderly end by
	 * either side, else negative errno (-ECONNREFUSED, -ECONNRESET, -ETIMEDOUT, -EPROTO,
	 * -EBADMSG: a digest did not match, ...).
	 */
	void (*closed)(struct fabric_conn *c, int error);
};

/* Every callback is set. The handler outlives the connection. */

/*
 * Starts connecting; connected() or closed() follows from fabric_poll(). Name resolution is the
 * caller's business. params are copied.
 */
int fabric_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		   const struct fabric_params *params, const struct fabric_handler *h, void *ctx,
		   struct fabric_conn **ret_conn);

void *fabric_conn_ctx(const struct fabric_conn *c);
/* Peer's address as text for logs, e.g. "10.0.0.2:40112"; valid as long as the connection. */
const char *fabric_conn_peer(const struct fabric_conn *c);
const char *fabric_conn_fabric_name(const struct fabric_conn *c);
/* Why it failed, where the transport knows more than the error of closed() says, else NULL. A
 * constant text. Nothing is logged of connections that we began: who connects says it. */
const char *fabric_conn_why(const struct fabric_conn *c);

/*
 * Digests (protocol.md 2.1): from now on everything sent carries them and everything received is
 * checked before it is delivered. Call it right behind committing or receiving HELLO_REPLY, while
 * no message is begun. Bytes that do not match end the connection with closed(-EBADMSG). What is
 * given to fabric_push(), fabric_expose() and fabric_msg_commit() must then really not change, or
 * the peer takes it for damage. -EOPNOTSUPP when !fabric_has_digest().
 */
int fabric_enable_digest(struct fabric_conn *c);
/* Whether the transport needs digests and can do them: false where it has its own. */
bool fabric_has_digest(const struct fabric *f);
bool fabric_conn_has_digest(const struct fabric_conn *c); /* the same for its fabric */

/* Whether messages and bulk data are one stream of bytes (tcp): the bytes of a push cost what they
 * would cost in a message, and a notice costs nothing. Elsewhere a push is a work request of its
 * own and a notice takes a receive at the peer, as a message does. */
bool fabric_conn_is_stream(const struct fabric_conn *c);

/* Descriptors to sleep on for readable or edge-triggered readable/writable; constant from
 * connect/accept on. Data comes on the first one, what is rare on the other. */
#define FABRIC_MAX_FDS 2
int fabric_conn_fds(const struct fabric_conn *c, int ret_fds[FABRIC_MAX_FDS]); /* how many */

/*
 * Handles what is ready, up to a bounded amount, and calls back. Returns > 0 when something was
 * handled, 0 when nothing was. Sends nothing that was queued by the callbacks: call fabric_flush()
 * after it.
 */
int fabric_poll(struct fabric_conn *c);

/*
 * Before sleeping on the descriptors: asks for a wake-up. Returns 0 when it is safe to sleep,
 * whatever the last poll did, 1 when something is ready already (poll again). Cheap when the fabric
 * needs no arming.
 */
int fabric_arm(struct fabric_conn *c);

/* The second descriptor became ready: the next fabric_poll() looks at what it stands for. Whoever
 * promised it (fabric_params.is_looking) calls this for every such event, sleeping or not. */
void fabric_look(struct fabric_conn *c);

/*
 * Starts closing from our side: what was queued before is sent if the peer takes it, then the
 * connection ends; closed() follows from fabric_poll(). `is_abort`: do not wait for anything.
 * Idempotent.
 */
void fabric_close(struct fabric_conn *c, bool is_abort);

/* After closed(), or without it for a connection that was never polled. Not from within a callback
 * of c. */
void fabric_conn_destroy(struct fabric_conn *c);

/* ---- sending --------------------------------------------------------------------------------- */

/*
 * Room for the head of a message: head_bytes (<= send_bytes), at least 8-byte aligned, to be
 * encoded in place. NULL when no send slot is free: sendable() will be called. At most one message
 * is begun at a time.
 */
void *fabric_msg_begin(struct fabric_conn *c, uint32_t head_bytes);

/*
 * Queues the message begun: its first head_bytes (may be fewer than asked for) followed by `data`
 * (in-capsule bytes, may be none). The bytes that data points to stay unchanged until the peer has
 * answered what they belong to, or closed(). Nothing leaves before fabric_flush().
 */
int fabric_msg_commit(struct fabric_conn *c, uint32_t head_bytes, const struct iovec *data,
		      unsigned int nr_data);

/* Sends all that was queued: one system call or doorbell where possible. */
void fabric_flush(struct fabric_conn *c);

/* Redelivers the message that the handler answered with -EAGAIN, at the next fabric_poll(). */
void fabric_resume(struct fabric_conn *c);

/* ---- bulk data, initiator side --------------------------------------------------------------- */

/*
 * Lets the peer push into (FABRIC_MEM_REMOTE_WRITE) or pull from (FABRIC_MEM_REMOTE_READ) [base,
 * base + bytes) for one request. tag: index (low 16 bits) below params.depth and unexposed. Returns
 * what the request must carry. Call it between fabric_msg_begin() and fabric_msg_commit() of the
 * message that carries the request, in the order of the requests.
 */
int fabric_expose(struct fabric_conn *c, uint32_t tag, void *base, uint32_t bytes,
		  struct fabric_mem *mem, unsigned int access, uint32_t *ret_key,
		  uint64_t *ret_addr);

/* The request with this tag was answered: the peer has no business with its memory any more. */
void fabric_unexpose(struct fabric_conn *c, uint32_t tag);

/* ---- bulk data, target side ------------------------------------------------------------------ */

/*
 * Queues the pull of x->bytes bytes. Called for every request of a message whose data is not
 * in-capsule, in their order, from within message(). x->local NULL and not is_discard: the buffer
 * comes later by fabric_pull_ready(); meanwhile a stream fabric may have to stop reading.
 */
int fabric_pull(struct fabric_conn *c, struct fabric_xfer *x);
void fabric_pull_ready(struct fabric_conn *c,
		       struct fabric_xfer *x); /* local and mem are set now */

/* Queues the push of x->bytes bytes. They stay unchanged until push_done(), and are in place at the
 * peer before any message committed later is delivered. */
int fabric_push(struct fabric_conn *c, struct fabric_xfer *x);

/* ---- listening ------------------------------------------------------------------------------- */

/*
 * A peer asks for a connection. The callee owns c until fabric_accept() or fabric_reject(), which
 * may come later and from another thread; between incoming() and that the connection is only a peer
 * name.
 */
struct fabric_listen_handler {
	void (*incoming)(struct fabric_listener *l, struct fabric_conn *c, void *ctx);
};

int fabric_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		  const struct fabric_listen_handler *h, void *ctx, struct fabric_listener **ret_l);
int fabric_listener_fd(const struct fabric_listener *l);
int fabric_listener_poll(struct fabric_listener *l); /* as fabric_poll() */
/* Address really bound (port 0 asks the kernel for one), as text. */
const char *fabric_listener_name(const struct fabric_listener *l);
uint16_t fabric_listener_port(const struct fabric_listener *l);
void fabric_listener_destroy(struct fabric_listener *l); /* NULL is fine */

/* connected() or closed() follows from fabric_poll(). On error the connection is destroyed by the
 * caller. */
int fabric_accept(struct fabric_conn *c, const struct fabric_params *params,
		  const struct fabric_handler *h, void *ctx);
void fabric_reject(struct fabric_conn *c); /* also destroys it */

/* ---- figures --------------------------------------------------------------------------------- */

/* Counters of one connection; read by its owner. */
struct fabric_stats {
	uint64_t messages_sent;
	uint64_t messages_received;
	uint64_t notices_sent;
	uint64_t notices_received;
	uint64_t bytes_sent; /* payload of messages and bulk data */
	uint64_t bytes_received;
	uint64_t send_calls; /* system calls or doorbells */
	uint64_t receive_calls;
	uint64_t digest_errors; /* 0 or 1: the first one ends the connection */
};
const struct fabric_stats *fabric_conn_stats(const struct fabric_conn *c);

#endif
