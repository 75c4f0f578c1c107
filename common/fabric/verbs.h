/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The verbs fabric, private part: RDMA through libibverbs and librdmacm (protocol.md 2.2). The only
 * header that includes theirs. Files, one subject each:
 *
 *   verbs_dev.c	devices, protection domains, registered memory
 *   verbs_listen.c	listening, connection requests, accept, reject
 *   verbs_cm.c		connecting and the events of a connection's own event channel
 *   verbs_qp.c		queue pair, completion queues and buffers of a connection
 *   verbs_srq.c	the receives that accepted connections share
 *   verbs_rx.c		posting receives (own or shared), delivery, messages kept for later
 *   verbs_tx.c		messages, pushes, pulls until they are sent, and when they are done
 *   verbs_sq.c		send queue: chains, signalling, retirement
 *   verbs_cq.c		polling, dispatch, arming
 *   verbs_close.c	the one teardown
 *
 * Threads: as fabric.h says. A connection has no lock; what connections share is the device's
 * shared receive queue, which verbs make thread-safe, and its reference count under verbs_dev.lock.
 *
 * fork(): ibv_fork_init() is not called. It costs an madvise() per registration and modern kernels
 * copy pinned pages at fork(); programs fork before they create a fabric, or only to exec.
 */
#ifndef FABRIC_VERBS_H
#define FABRIC_VERBS_H

#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>

#include "brp/proto.h"
#include "common/fabric/provider.h"

/* Receives that all accepted connections of a device share: 16 for each, but no fewer than 256 and
 * no more than 1024 (68 MiB) together, unless one connection alone asks for more. In chunks. */
#define VERBS_SRQ_SHARE 16u
#define VERBS_SRQ_MIN   256u
#define VERBS_SRQ_MAX   1024u
#define VERBS_SRQ_CHUNK 64u
/* RDMA READs in flight per connection at most. Adapters allow 16 (ConnectX) to 128 (rxe). */
#define VERBS_MAX_READS 32u
/* Wished for; 7 requests or 15 completions fit. rxe allows 512. */
#define VERBS_INLINE_BYTES 256u
#define VERBS_MAX_SQ       1024u  /* work requests on the send queue; the rest waits in software */
#define VERBS_RESERVED_SQ  2u     /* fence and marker, see verbs_close.c */
#define VERBS_SIGNAL_EVERY 16u    /* in a long chain */
#define VERBS_BIG_PULL     65536u /* is reported by itself, so that its I/O starts at once */
#define VERBS_WC_BATCH     16
#define VERBS_POLL_BATCHES 4
#define VERBS_REPOST_BATCH 16
/* Receives that wait for each other to be posted again, which costs a tenth of a small request's
 * instructions: there are as many more than anybody needs. */
#define VERBS_REPOST_DUE 8u
/* 4.096 us << 16 = 0.27 s, with 7 retries 2 s (IBTA 9.7.6.1.3): long enough for a busy rxe. */
#define VERBS_ACK_TIMEOUT 16
/* "receiver not ready": try again after 0.12 ms (IBTA table 45). The CM's default 0 means 655 ms.
 */
#define VERBS_MIN_RNR_TIMER 7
#define VERBS_RESOLVE_MS    3000
#define VERBS_RECV_FLAG \
	(1ull << 63) /* in wr_id: a receive; the opcode of a failed completion is not valid */

struct verbs_fabric;

/* Anonymous memory registered with one device. */
struct verbs_region {
	char *base;
	size_t bytes;
	struct ibv_mr *mr;
};

struct verbs_srq {
	struct ibv_srq *srq;
	char *base; /* of room for so many buffers */
	uint32_t room;
	uint32_t min_bufs;
	uint32_t buf_bytes;
	struct ibv_mr **chunks;
	unsigned int repost_due; /* atomic: how many a connection collects */
	/* lock: verbs_dev.lock */
	unsigned int nr_users;
	uint32_t nr_bufs; /* posted once */
	bool is_stuck;    /* more could not be had */
};

struct verbs_dev {
	struct ibv_context *ctx; /* librdmacm's, borrowed */
	struct ibv_pd *pd;
	struct ibv_device_attr attr;
	unsigned int index;       /* in verbs_fabric.devs and verbs_mem.mrs */
	unsigned int next_vector; /* atomic: completion vectors go round */
	pthread_mutex_t lock;
	struct verbs_srq srq; /* exists while nr_users > 0 */
};

struct verbs_fabric {
	struct fabric base;
	struct ibv_context **list; /* as rdma_get_devices() gave it */
	unsigned int nr_devs;
	struct verbs_dev devs[];
};

struct verbs_mem {
	struct fabric_mem base;
	struct ibv_mr *mrs[]; /* one per device */
};

/* Kinds of fabric_xfer in our queues; kept in its done_bytes. */
enum verbs_kind {
	VERBS_SEND,
	VERBS_PUSH,
	VERBS_PULL,
};

/* A message buffer of the send side. It queues like a push, hence the xfer. */
struct verbs_slot {
	struct fabric_xfer x;
};

/* One place on the send queue. */
struct verbs_sqe {
	struct ibv_send_wr wr;
	struct ibv_sge sge;
	struct fabric_xfer *x; /* NULL: fence or marker */
};

/* A receive that waits behind a message the handler would not take yet. */
struct verbs_rx {
	uint32_t buf;
	uint32_t value; /* bytes, or the notice */
	bool is_notice;
};

/* A completion queue, and what was taken from it but not handled yet. */
struct verbs_cq {
	struct ibv_cq *cq;
	struct ibv_wc wcs[VERBS_WC_BATCH];
	int nr_wcs;
	int next_wc;
	bool is_empty;           /* the last poll found nothing */
	bool is_armed;           /* an event is to come or there */
	bool is_event_due;       /* completions were seen since */
	unsigned int empty_arms; /* calls of verbs_arm() without any */
	unsigned int nr_unacked; /* events taken from chan */
};

enum verbs_state {
	VERBS_ASKED,      /* passive: between incoming() and accept or reject */
	VERBS_RESOLVING,  /* active: waits for ADDR_RESOLVED, then ROUTE_RESOLVED */
	VERBS_CONNECTING, /* waits for ESTABLISHED; the passive side also for the first receive */
	VERBS_OPEN,
	VERBS_FLUSHING, /* we close: waits for the completions of what was queued */
	VERBS_DRAINING, /* queue pair in error: waits for the marker and our flushed receives */
	VERBS_CLOSED,   /* queue pair gone, closed() called */
};

struct verbs_conn {
	struct fabric_conn base;

	/* constant after connect or accept */
	struct verbs_dev *dev;
	struct rdma_cm_id *id; /* owned, with its queue pair */
	struct rdma_event_channel *cm;
	struct ibv_comp_channel *chan;
	struct verbs_srq *srq; /* passive: a reference; active: NULL */
	struct fabric_params params;
	bool is_passive;
	uint32_t max_inline_bytes;
	struct verbs_region bufs; /* send slots, then our own receive buffers */
	uint32_t slot_bytes;
	uint32_t recv_bytes; /* stride of the receive buffers, own or shared */
	char *recv_base;
	struct verbs_slot *slots;

	/* connection */
	enum verbs_state state;
	int error;                   /* for closed() */
	bool was_open;               /* connected() was called */
	bool has_no_marker;          /* nothing will tell when it is drained */
	bool was_left;               /* the peer ended it, not we */
	bool is_peer_gone;           /* DISCONNECTED came */
	struct brp_cm_data peer;     /* what the peer announced */
	uint32_t read_depth;         /* RDMA READs we may have in flight */
	uint32_t peer_reads;         /* passive, for accept: RDMA READs of the peer */
	struct rdma_cm_event *event; /* taken from cm, not handled yet */
	unsigned int polls;
	bool is_cm_due; /* the CM may have an event */

	/* send side; sequence numbers count work requests: done <= posted <= head */
	struct verbs_sqe *ring;
	uint32_t ring_mask;
	uint32_t sq_size;
	uint32_t signal_every; /* of messages alone */
	uint64_t sq_head;
	uint64_t sq_posted;
	uint64_t sq_done;
	uint32_t unsignalled; /* at the end of what is queued */
	uint32_t reads;       /* on the send queue */
	uint32_t awaited;     /* on the send queue: those whose end somebody waits for */
	bool has_fence;
	struct list free_slots;
	struct verbs_slot *begun;
	bool wants_slot;   /* msg_begin() returned NULL */
	struct list tx;    /* messages and pushes, in order */
	struct list pulls; /* ready pulls, in order */
	struct list late;  /* pulls without a buffer yet */
	struct list over;  /* finished without the adapter: discards; cancelled ones when closing */
	uint32_t tx_due;   /* flushed, but still in tx: the send queue was full */
	uint32_t pulls_due;
	uint32_t nr_slots_used;

	/* receive side */
	uint32_t nr_receives; /* of our own; 0: shared */
	uint32_t nr_posted;   /* own receive queue */
	uint32_t repost[VERBS_REPOST_BATCH];
	unsigned int nr_repost;
	struct verbs_rx *rx; /* ring of receives kept back */
	uint32_t rx_size;
	uint32_t rx_head;
	uint32_t rx_count;
	bool is_held; /* first of rx was answered with -EAGAIN */

	/* completion queues of the two work queues, and their events */
	struct verbs_cq send_cq;
	struct verbs_cq recv_cq;
};

static inline struct verbs_conn *to_conn(struct fabric_conn *c)
{
	return container_of(c, struct verbs_conn, base);
}

static inline struct verbs_fabric *to_verbs(struct fabric *f)
{
	return container_of(f, struct verbs_fabric, base);
}

static inline struct ibv_mr *verbs_mr(const struct verbs_conn *c, struct fabric_mem *mem)
{
	return container_of(mem, struct verbs_mem, base)->mrs[c->dev->index];
}

/* verbs_dev.c */
struct verbs_dev *verbs_find_dev(struct verbs_fabric *vf, const struct ibv_context *ctx);
int verbs_region_create(struct verbs_dev *dev, size_t bytes, struct verbs_region *ret_region);
void verbs_region_destroy(struct verbs_region *region);
/* Says why -ENOMEM came from registering: the memlock limit, the need, the cure. */
void verbs_log_memlock(const char *what, size_t bytes);
int verbs_set_nonblock(int fd);

/* verbs_qp.c */
int verbs_qp_create(struct verbs_conn *c);
void verbs_qp_destroy(struct verbs_conn *c); /* the queue pair alone; NULL is fine */
void verbs_qp_free(struct verbs_conn *c);    /* all the rest of verbs_qp_create() */
void verbs_qp_established(struct verbs_conn *c);

/* verbs_srq.c */
int verbs_srq_get(struct verbs_dev *dev, const struct fabric_params *params,
		  struct verbs_srq **ret_srq);
void verbs_srq_put(struct verbs_dev *dev);
uint32_t verbs_srq_lkey(const struct verbs_srq *s, uint32_t buf);

/* verbs_rx.c */
int verbs_rx_post_all(struct verbs_conn *c);
void verbs_rx_done(struct verbs_conn *c, const struct ibv_wc *wc);
int verbs_rx_deliver_kept(struct verbs_conn *c);
void verbs_rx_repost(struct verbs_conn *c);

static inline void verbs_rx_repost_due(struct verbs_conn *c)
{
	unsigned int due = VERBS_REPOST_DUE;

	if (c->srq)
		due = __atomic_load_n(&c->srq->repost_due, __ATOMIC_RELAXED);
	if (c->nr_repost >= due)
		verbs_rx_repost(c);
}

void verbs_rx_drop_kept(struct verbs_conn *c);
void verbs_resume(struct fabric_conn *base);

/* verbs_tx.c */
void *verbs_msg_begin(struct fabric_conn *base, uint32_t head_bytes);
int verbs_msg_commit(struct fabric_conn *base, uint32_t head_bytes, const struct iovec *data,
		     unsigned int nr_data);
int verbs_pull(struct fabric_conn *base, struct fabric_xfer *x);
void verbs_pull_ready(struct fabric_conn *base, struct fabric_xfer *x);
int verbs_push(struct fabric_conn *base, struct fabric_xfer *x);
void verbs_flush(struct fabric_conn *base);
int verbs_expose(struct fabric_conn *base, uint32_t tag, void *mem_base, uint32_t bytes,
		 struct fabric_mem *mem, unsigned int access, uint32_t *ret_key,
		 uint64_t *ret_addr);
void verbs_unexpose(struct fabric_conn *base, uint32_t tag);
/* verbs_sq.c: what tx.c queued, on its way through the adapter */
void verbs_sq_pump(struct verbs_conn *c);
void verbs_sq_fence(struct verbs_conn *c);
void verbs_sq_done(struct verbs_conn *c, const struct ibv_wc *wc);
void verbs_sq_cancel_unposted(struct verbs_conn *c);
void verbs_sq_cancel_posted(struct verbs_conn *c); /* the queue pair is gone */
void verbs_tx_finish(struct verbs_conn *c, struct fabric_xfer *x, int status);
int verbs_tx_finish_over(struct verbs_conn *c);
void verbs_tx_cancel_all(struct verbs_conn *c);
int verbs_tx_tell_sendable(struct verbs_conn *c);

static inline bool verbs_cq_is_empty(const struct verbs_conn *c)
{
	return c->send_cq.is_empty && c->recv_cq.is_empty;
}

static inline bool verbs_sq_idle(const struct verbs_conn *c)
{
	return c->sq_done == c->sq_head;
}

/* verbs_cq.c */
int verbs_poll(struct fabric_conn *base);
int verbs_arm(struct fabric_conn *base);
void verbs_look(struct fabric_conn *base);
int verbs_cq_poll(struct verbs_conn *c);
/* Without callbacks: returns shared buffers that completed unseen. The queue pair is gone. */
void verbs_cq_return_receives(struct verbs_conn *c);
int verbs_wc_error(enum ibv_wc_status status);

/* verbs_cm.c */
int verbs_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		  const struct fabric_params *params, struct fabric_conn **ret_conn);
int verbs_conn_alloc(struct verbs_fabric *vf, struct verbs_conn **ret_conn);
int verbs_cm_poll(struct verbs_conn *c);
bool verbs_cm_peek(struct verbs_conn *c);
void verbs_cm_connected(struct verbs_conn *c);
void verbs_cm_param(const struct verbs_conn *c, struct rdma_conn_param *ret_param,
		    uint8_t data[BRP_CM_DATA_BYTES]);
int verbs_fds(const struct fabric_conn *base, int ret_fds[FABRIC_MAX_FDS]);

/* verbs_listen.c */
int verbs_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		 struct fabric_listener **ret_l);
int verbs_listener_fd(const struct fabric_listener *l);
int verbs_listener_poll(struct fabric_listener *l);
void verbs_listener_destroy(struct fabric_listener *l);
int verbs_accept(struct fabric_conn *base, const struct fabric_params *params);
void verbs_reject(struct fabric_conn *base);

/* verbs_close.c */
void verbs_close(struct fabric_conn *base, bool is_abort);
void verbs_conn_destroy(struct fabric_conn *base);
void verbs_fail(struct verbs_conn *c, int error); /* closes at once, error told by closed() */
/* Says why it is about to fail, a constant text: to the log when the peer came to us, else to
 * fabric_conn_why(). */
void verbs_say_why(struct verbs_conn *c, const char *why);
int verbs_close_progress(struct verbs_conn *c);
bool verbs_close_is_due(const struct verbs_conn *c);

#endif
