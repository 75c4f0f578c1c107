/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The target as a whole: fabrics, listeners, volumes, buffers, the pool, and the table of
 * connections and sessions.
 *
 * Locks: server.lock guards the tables only; it is never taken on the I/O path. Order: server.lock
 * before the locks inside pool, buffers and gate (which take no other).
 */
#ifndef TARGET_SERVER_H
#define TARGET_SERVER_H

#include <limits.h>
#include <pthread.h>

#include "brp/uri.h"
#include "common/pool.h"
#include "target/buffers.h"
#include "target/counters.h"
#include "target/listener.h"
#include "target/volumes.h"

#define TARGET_MAX_VOLUMES 1024
#define TARGET_MAX_GONE    64u

/* Digests on TCP (protocol.md 2.1). */
enum server_digest {
	SERVER_DIGEST_OFF,     /* not granted */
	SERVER_DIGEST_ALLOW,   /* to those who insist on them */
	SERVER_DIGEST_ON,      /* to those who can do them */
	SERVER_DIGEST_REQUIRE, /* others are refused */
};

#define SERVER_NODE_AUTO (-1) /* where the RDMA devices are, or else the disks */
#define SERVER_NODE_ANY  (-2)

#define SERVER_NICE_AUTO INT_MIN /* -5, unless the process was started with another than 0 */

struct server_options {
	struct volume_config volumes[TARGET_MAX_VOLUMES];
	unsigned int nr_volumes;
	struct brp_uri listen[TARGET_MAX_LISTEN]; /* none: RDMA if there is a device, and TCP */
	unsigned int nr_listen;
	unsigned int threads;
	int poll_us; /* as pool_options */
	bool is_serial;
	enum bk_engine engine;
	unsigned int max_connections;
	unsigned int max_queue_depth;
	uint64_t buffer_bytes; /* I/O buffers in all */
	int numa_node;         /* of threads, buffers and memory volumes, or SERVER_NODE_* */
	int nice;              /* of the pool's threads, as nice(1), or SERVER_NICE_AUTO */
	/* To prove that the checks find what goes wrong without (docs/testing.md). */
	bool is_unsafe_no_fence; /* a new epoch does not wait for the older one's requests */
	bool is_unsafe_no_flush; /* FLUSH and FUA do nothing */
	enum server_digest digest;
};

/* A volume that was removed while the target ran, and has not come back. */
struct gone_volume {
	struct brp_uuid uuid;
	char name[BRP_VOLUME_NAME_BYTES];
};

struct server {
	/* constant after server_start() */
	struct server_options opt;
	uint64_t started_ns;    /* now_ns() */
	struct brp_uuid run_id; /* of this process: HELLO_REPLY */
	struct pool *pool;
	struct fabric *fabrics[TARGET_MAX_FABRICS];
	unsigned int nr_fabrics;
	int numa_node;  /* -1: any */
	int control_fd; /* eventfd: a removed volume has lost its last user */
	struct ticker *ticker;
	struct buffers buffers; /* has its own lock */

	pthread_mutex_t lock;
	pthread_cond_t conn_left; /* nr_conns fell to zero */
	/* lock */
	struct list volumes; /* written by the control thread only, which may read it unlocked */
	unsigned int nr_volumes;
	struct list removed; /* volumes that are gone from the table, until they are closed */
	struct gone_volume gone[TARGET_MAX_GONE]; /* the last ones; free places have no name */
	unsigned int next_gone;
	struct list conns;
	unsigned int nr_conns;
	struct list sessions;
	unsigned int nr_idle_sessions;
	bool is_stopping;

	/* control thread: the program's main thread */
	struct listeners listeners;

	/* atomic */
	atomic_uint tick_s; /* one-second clock for time-outs, running while someone has one */
	struct target_counters counters;
};

/* Opens everything, listens, starts the threads. What fails is logged. The calling thread is the
 * control thread from then on. */
int server_start(struct server *s, const struct server_options *opt);

/*
 * Clean end: stops accepting, tells every connection, lets it finish what is in flight and say
 * goodbye, cuts off those that have not within grace_ms, waits as long again for the devices, and
 * frees everything. -EBUSY: a device still has requests (logged); everything else is closed, but
 * nothing is freed: the process must end, and the kernel keeps the device until it has answered.
 */
int server_stop(struct server *s, unsigned int grace_ms);

static inline void server_count(struct server *s, enum target_counter which)
{
	atomic_fetch_add_explicit(&s->counters.v[which], 1, memory_order_relaxed);
}

#endif
