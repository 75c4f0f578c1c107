/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TCP fabric (protocol.md 2.1), private to tcp*.c: tcp.c sets up and ends connections, tcp_rx.c
 * receives, tcp_tx.c sends, tcp_listen.c listens.
 *
 * A connection is one non-blocking socket. Its memory is one mapping, sized by fabric_params; pages
 * that are never used cost nothing. Nothing is allocated after connect and accept (but for the
 * zeroes of tcp_tx_disown()).
 *
 * Sleeping: the descriptor is watched edge-triggered for reading and writing. A pass stops
 * receiving after a short read, without the extra call that would only say EAGAIN: data that comes
 * later makes a new edge, and TCP_INQ tells of an end of stream that came together with the data.
 * What it cannot tell of is a reset right behind data: the next send sees it, or the keepalives of
 * the layers above and below.
 */
#ifndef FABRIC_TCP_H
#define FABRIC_TCP_H

#include "brp/codec.h"
#include "common/fabric/provider.h"

enum tcp_state {
	TCPC_INCOMING,   /* the kernel has accepted it, its owner not yet: no buffers */
	TCPC_CONNECTING, /* the handshake is under way */
	TCPC_CONNECTED,  /* handshake done, connected() is due */
	TCPC_OPEN,
	TCPC_CLOSING, /* sends what is queued, drops what comes, waits for the peer's end */
	TCPC_DEAD,    /* no more I/O; closed() is due or was called */
};

/* Iovecs of in-capsule data in one message: 64 requests of at most two pieces each. */
#define TCP_MAX_GATHER 128u
#define TCP_NO_TAG     UINT32_MAX
/* What stands before a payload, digests included. */
#define TCP_MAX_FRAME_BYTES (BRP_FRAME_BYTES + BRP_DIGESTS_BYTES)

/* One element of the send queue; stands beside its iovec and, if it begins a DATA frame, the
 * frame's header. */
struct tcp_seg {
	struct fabric_xfer *push; /* ends with this segment */
	uint64_t stage_end; /* staging up to here is free once this is sent; 0: has no staging */
	uint32_t nr_msgs;   /* messages that end with this segment */
	uint32_t tag;       /* exposed range it sends, or TCP_NO_TAG */
};

/*
 *   iov[], seg[], hdr[] are one ring:   head ── to be sent ──▶ tail
 *   stage is a ring of bytes: [frame header, head of message] ...
 * Both begin at 0 again whenever they run empty, so that in normal use a few cache lines are all
 * that is touched.
 */
struct tcp_tx {
	struct iovec *iov;
	struct tcp_seg *seg;
	uint8_t (*hdr)[TCP_MAX_FRAME_BYTES];
	uint32_t nr_segs; /* a power of two */
	uint32_t head;
	uint32_t tail;
	uint32_t nr_msgs; /* unfinished */
	bool is_blocked;  /* the kernel takes no more: EPOLLOUT will come */
	bool is_wanting;  /* sendable() is owed */
	int error;        /* a send failed; the rest of the queue stays */

	char *stage;
	uint64_t stage_bytes; /* a power of two */
	uint64_t stage_head;
	uint64_t stage_tail;

	uint64_t begun_at;    /* the message begun, in stage */
	uint32_t begun_bytes; /* room for its head; 0: none is begun */
	uint32_t first_tag;   /* exposed for reading since begin; chained by tcp_exposed.next */
	uint32_t last_tag;

	struct list done; /* pushes the kernel has taken: push_done() is due */
	bool is_awaited;  /* one of them is more than fabric_params.is_lazy allows to leave */
	char *zeroes;     /* see tcp_tx_disown() */
};

struct tcp_exposed {
	char *base;
	uint32_t bytes;
	uint32_t key; /* the whole tag */
	uint32_t done_bytes;
	uint32_t access; /* 0: not exposed */
	uint32_t seg;    /* index of the segment that sends it, or TCP_NO_TAG */
	uint32_t next;
};

struct tcp_rx {
	char *buf;
	uint32_t bytes;
	uint32_t head; /* [head, tail) is received and not looked at */
	uint32_t tail;
	uint32_t need; /* bytes from head on without which there is no progress */
	uint32_t skip; /* hole behind the message at head, see align_message() */

	/* Rest of a DATA frame. */
	uint32_t data_rest;
	char *data_to; /* NULL: thrown away */
	struct tcp_exposed *data_exposed;
	struct fabric_xfer *data_pull;
	bool is_data_notice;
	uint32_t data_crc; /* of what has come of it */
	uint32_t digest;   /* of the payload, as the frame at head says */
	bool is_checked;   /* and the message at head agrees with it */

	bool is_refused;  /* message() said -EAGAIN */
	bool is_starving; /* the first pull has no buffer yet */
	bool is_ready;    /* something to do without the kernel */
	bool is_dry;      /* the last read took all there was: the next pass need not ask */
	bool is_unread;   /* the last pass may have left something in the kernel */
	bool is_eof;
	bool is_bulk; /* the last DATA frame was large: read little ahead of the next */

	struct list pulls; /* in the order of their data */
};

struct tcp_conn {
	struct fabric_conn base;
	struct fabric_params params;
	enum tcp_state state;
	int fd;
	int error;
	bool is_initiator;
	bool has_inq;
	bool has_digest;
	uint32_t frame_bytes; /* before a payload */
	bool is_shut;         /* our end of stream is sent */
	uint64_t close_deadline_ns;
	struct tcp_exposed *exposed; /* initiator: params.depth of them */
	struct tcp_rx rx;
	struct tcp_tx tx;
	void *map;
	size_t map_bytes;
};

struct tcp_listener {
	struct fabric_listener base;
	int fd;
	int reserve_fd; /* closed to have one descriptor for refusing a peer when there are no more
			 */
};

static inline struct tcp_conn *to_tcp(struct fabric_conn *c)
{
	return (struct tcp_conn *)c;
}

/* The only way to TCPC_DEAD; closed(error) follows from the next poll. Harmless when dead. */
void tcp_fail(struct tcp_conn *c, int error);
/* Socket options of connecting and accepted sockets. */
void tcp_set_options(struct tcp_conn *c);
int tcp_conn_alloc(struct fabric *f, struct tcp_conn **ret_c);
void tcp_conn_destroy(struct fabric_conn *base);

int tcp_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
	       struct fabric_listener **ret_l);
int tcp_listener_fd(const struct fabric_listener *base);
int tcp_listener_poll(struct fabric_listener *base);
void tcp_listener_destroy(struct fabric_listener *base);

/* Bytes of the mapping that the two directions want, and their taking it from p on; returns what
 * follows. */
size_t tcp_rx_bytes(const struct fabric_params *params);
size_t tcp_tx_bytes(const struct fabric_params *params);
void tcp_rx_init(struct tcp_conn *c, char *p);
void tcp_tx_init(struct tcp_conn *c, char *p);
int tcp_enable_digest(struct fabric_conn *base);

/*
 * Receives and calls back, within a budget. Returns > 0 when it did something. is_idle: nothing
 * else was done in this pass, so that the caller will sleep if this does nothing either.
 */
int tcp_rx_poll(struct tcp_conn *c, bool is_idle);
/* TCPC_CLOSING: throws away what comes, until the end of the stream. */
int tcp_rx_drain(struct tcp_conn *c);
void tcp_rx_cancel(struct tcp_conn *c); /* pull_done(-ECANCELED) for all */
int tcp_pull(struct fabric_conn *base, struct fabric_xfer *x);
void tcp_pull_ready(struct fabric_conn *base, struct fabric_xfer *x);
void tcp_resume(struct fabric_conn *base);

static inline bool tcp_rx_is_paused(const struct tcp_rx *rx)
{
	return rx->is_refused || rx->is_starving;
}

void *tcp_msg_begin(struct fabric_conn *base, uint32_t head_bytes);
int tcp_msg_commit(struct fabric_conn *base, uint32_t head_bytes, const struct iovec *data,
		   unsigned int nr_data);
int tcp_push(struct fabric_conn *base, struct fabric_xfer *x);
int tcp_expose(struct fabric_conn *base, uint32_t tag, void *p, uint32_t bytes,
	       struct fabric_mem *mem, unsigned int access, uint32_t *ret_key, uint64_t *ret_addr);
void tcp_unexpose(struct fabric_conn *base, uint32_t tag);
void tcp_flush(struct fabric_conn *base);
void tcp_tx_send(struct tcp_conn *c);
int tcp_tx_report(struct tcp_conn *c);  /* push_done() and sendable(); > 0 when there were any */
void tcp_tx_cancel(struct tcp_conn *c); /* push_done() for all */
bool tcp_tx_has_report(const struct tcp_conn *c);

static inline bool tcp_tx_is_empty(const struct tcp_tx *tx)
{
	return tx->head == tx->tail;
}

#endif
