/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to loopback.c (listeners, pairs) and loopback_io.c (what moves between the ends of a
 * pair). */
#ifndef FABRIC_LOOPBACK_H
#define FABRIC_LOOPBACK_H

#include <pthread.h>
#include <sys/eventfd.h>

#include "common/fabric/provider.h"

enum loop_state {
	LOOP_CONNECTING, /* not accepted yet */
	LOOP_CONNECTED,  /* connected() is due */
	LOOP_OPEN,
	LOOP_DEAD, /* closed() is due or was called */
};

enum loop_event_kind {
	LOOP_MESSAGE,
	LOOP_NOTICE,
	LOOP_PUSH, /* only in the queue of what is not flushed */
	LOOP_END,  /* orderly close */
};

/* Something under way; in `out` until the flush, then in the peer's `events`. */
struct loop_event {
	struct list link;
	enum loop_event_kind kind;
	uint32_t value; /* notice */
	uint32_t bytes; /* message */
	struct fabric_xfer *push;
	uint64_t buf[]; /* message */
};

struct loop_exposed {
	char *base;
	uint32_t bytes;
	unsigned int access; /* 0: not exposed */
};

struct loop_conn {
	struct fabric_conn base;
	struct fabric_params params;
	struct loop_pair *pair;
	bool is_initiator;
	int fd;
	struct list link; /* in the listener, lock: its table's */

	/* lock: pair */
	enum loop_state state;
	int error;
	struct list events;
	struct loop_exposed *exposed;

	/* owner only */
	struct list out;
	struct list pulls; /* not done, in order */
	struct list done;  /* pushes done, not reported */
	struct loop_event *begun;
	uint32_t nr_out_msgs;
	bool is_refused;
	bool is_wanting;
	bool is_closing;
};

struct loop_pair {
	pthread_mutex_t lock;
	struct loop_conn *end[2]; /* initiator, target; NULL once destroyed. lock: this */
};

struct loop_listener {
	struct fabric_listener base;
	int fd;
	struct list link;     /* lock: table's */
	struct list incoming; /* likewise */
};

static inline struct loop_conn *to_loop(struct fabric_conn *c)
{
	return (struct loop_conn *)c;
}

/* Under the pair's lock. */
static inline struct loop_conn *loop_peer(const struct loop_conn *c)
{
	return c->pair->end[c->pair->end[0] == c];
}

static inline void loop_signal(int fd)
{
	eventfd_write(fd, 1);
}

static inline void loop_clear(int fd)
{
	eventfd_t v;

	eventfd_read(fd, &v);
}

void loop_conn_destroy(struct fabric_conn *base);
void loop_drop_events(struct list *head);
void loop_set_dead(struct loop_conn *c, int error); /* under the pair's lock */
void loop_fail(struct loop_conn *c, int error);     /* both ends */

int loop_poll(struct fabric_conn *base);
int loop_arm(struct fabric_conn *base);
void loop_close(struct fabric_conn *base, bool is_abort);
void *loop_msg_begin(struct fabric_conn *base, uint32_t head_bytes);
int loop_msg_commit(struct fabric_conn *base, uint32_t head_bytes, const struct iovec *data,
		    unsigned int nr_data);
void loop_flush(struct fabric_conn *base);
void loop_resume(struct fabric_conn *base);
int loop_expose(struct fabric_conn *base, uint32_t tag, void *p, uint32_t bytes,
		struct fabric_mem *mem, unsigned int access, uint32_t *ret_key, uint64_t *ret_addr);
void loop_unexpose(struct fabric_conn *base, uint32_t tag);
int loop_pull(struct fabric_conn *base, struct fabric_xfer *x);
void loop_pull_ready(struct fabric_conn *base, struct fabric_xfer *x);
int loop_push(struct fabric_conn *base, struct fabric_xfer *x);

#endif
