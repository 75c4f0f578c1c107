/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the target counts. One list each: the name is that of the control socket's JSON, the text is
 * what people read. Counters only grow.
 */
#ifndef TARGET_COUNTERS_H
#define TARGET_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "brp/proto.h"

/* Of the whole target; set beside the I/O path only. */
#define TARGET_COUNTERS(X)                                                           \
	X(connections, "connections accepted")                                       \
	X(connections_refused, "connections turned away: too many")                  \
	X(connections_lost, "connections that ended without a goodbye")              \
	X(logins, "logins admitted")                                                 \
	X(logins_refused, "logins refused")                                          \
	X(logins_stale, "logins refused: a newer epoch of the session is known")     \
	X(logins_waited, "logins that waited at the admission barrier")              \
	X(fenced, "connections cut off by a newer epoch")                            \
	X(stale_messages, "messages of older epochs refused")                        \
	X(protocol_errors, "connections closed because the peer broke the protocol") \
	X(digest_errors, "connections closed because a checksum did not fit")        \
	X(cut_setup, "connections cut off: no login in time")                        \
	X(cut_keepalive, "connections cut off: silent longer than agreed")           \
	X(cut_stalled, "connections cut off: took or sent no data for too long")     \
	X(cut_closing, "connections cut off: did not see their end in time")         \
	X(cut_draining, "connections cut off: did not finish in time")               \
	X(cut_crowded, "connections without a login cut off to make room")           \
	X(events, "events sent")                                                     \
	X(volumes_added, "volumes added")                                            \
	X(volumes_removed, "volumes removed")                                        \
	X(volumes_resized, "volumes that changed their size")                        \
	X(reloads, "configurations loaded again")

enum target_counter {
#define X(name, text) TARGET_COUNT_##name,
	TARGET_COUNTERS(X)
#undef X
		TARGET_COUNTER_COUNT
};

struct target_counters {
	atomic_ullong v[TARGET_COUNTER_COUNT];
};

/* Of one connection (counted by the thread that owns it) and, summed up, of one volume. In the
 * order of enum brp_op, then the rest. */
#define IO_COUNTERS(X)                  \
	X(reads, "reads")               \
	X(writes, "writes")             \
	X(zeroes, "write zeroes")       \
	X(discards, "discards")         \
	X(flushes, "flushes")           \
	X(read_bytes, "bytes read")     \
	X(write_bytes, "bytes written") \
	X(errors, "requests that failed in the device")

enum io_counter {
#define X(name, text) IO_COUNT_##name,
	IO_COUNTERS(X)
#undef X
		IO_COUNTER_COUNT
};
_Static_assert(IO_COUNT_flushes == BRP_OP_FLUSH - BRP_OP_READ, "in the order of enum brp_op");

struct io_counters {
	atomic_ullong v[IO_COUNTER_COUNT];
};

/* One writer: no locked instruction on the I/O path. */
static inline void io_count(struct io_counters *c, enum io_counter which, uint64_t n)
{
	uint64_t old = atomic_load_explicit(&c->v[which], memory_order_relaxed);

	atomic_store_explicit(&c->v[which], old + n, memory_order_relaxed);
}

static inline void io_count_request(struct io_counters *c, uint8_t op, uint64_t data_bytes)
{
	io_count(c, (enum io_counter)(op - BRP_OP_READ), 1);
	if (op == BRP_OP_READ)
		io_count(c, IO_COUNT_read_bytes, data_bytes);
	else if (op == BRP_OP_WRITE)
		io_count(c, IO_COUNT_write_bytes, data_bytes);
}

/* Adds `from` to `sum`, which nobody else writes. */
static inline void io_counters_add(struct io_counters *sum, const struct io_counters *from)
{
	for (int i = 0; i < IO_COUNTER_COUNT; i++)
		io_count(sum, (enum io_counter)i,
			 atomic_load_explicit(&from->v[i], memory_order_relaxed));
}

#endif
