/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Both ends of fabric connections in one thread, for checks on a real device: a target that does
 * what small messages ask for, initiators that count what comes back, and a loop that sleeps on the
 * descriptors as the product does.
 */
#ifndef TESTS_RDMA_RIG_H
#define TESTS_RDMA_RIG_H

#include <netinet/in.h>
#include <stdio.h>

#include "common/fabric/fabric.h"

#define RIG_DEPTH      256u
#define RIG_DATA_BYTES (1u << 20)
#define RIG_AREA_BYTES (64u << 20) /* unless told otherwise */
#define RIG_MAX_ENDS   512

enum rig_op {
	RIG_ECHO,
	RIG_PUSH, /* push bytes from the target's area at offset to key/addr, with a notice */
	RIG_PULL, /* pull to the target's area at offset, then answer */
	RIG_PULL_LATE,
	RIG_DISCARD,
	RIG_DROP, /* nothing */
};

struct rig_msg {
	uint32_t op;
	uint32_t tag;
	uint32_t key;
	uint32_t bytes;
	uint64_t addr;
	uint64_t offset;
};

struct rig;

struct rig_end {
	struct rig *rig;
	struct fabric_conn *conn;
	bool is_target;
	bool is_connected;
	bool is_closed;
	int error;
	unsigned int messages;
	unsigned int notices;
	unsigned int done; /* xfers finished well */
	unsigned int cancelled;
	unsigned int sendables;
	uint32_t last_tag;
	bool is_out_of_order;
	unsigned int hold_every; /* target: answers -EAGAIN to each n-th message, once */
	bool holds;
	struct fabric_xfer xfers[RIG_DEPTH];
	bool busy[RIG_DEPTH];
	struct fabric_xfer *late[RIG_DEPTH];
	unsigned int nr_late;
	uint32_t owed[4096]; /* answers that found no slot */
	unsigned int owed_head, owed_tail;
};

struct rig {
	struct fabric *fabric;
	struct fabric_listener *listener;
	struct sockaddr_in addr;
	struct fabric_params target_params;
	struct fabric_params initiator_params;
	size_t area_bytes;  /* of each of these; 0 at the start: RIG_AREA_BYTES */
	uint32_t msg_bytes; /* of the longest message; 0 at the start: the protocol's */
	char *target_area;
	char *initiator_area;
	struct fabric_mem *target_mem;
	struct fabric_mem *initiator_mem;
	struct rig_end *ends[RIG_MAX_ENDS];
	unsigned int nr_ends;
	struct rig_end *last_target; /* accepted last */
	bool rejects;
	bool spins;   /* never sleeps */
	int sleep_ms; /* at most, when nothing happens; 0 at the start: 200 */
	unsigned int sleeps;
	unsigned int
		timeouts; /* sleeps that nothing ended: a lost wake-up, while work is under way */
};

int rig_start(struct rig *r, const char *fabric, const char *address);
void rig_stop(struct rig *r);
struct rig_end *rig_connect(struct rig *r); /* starts only; NULL when that failed */
/* One turn over all ends. Returns what fabric_poll() returned in all. */
int rig_turn(struct rig *r);
/* Runs until cond(arg), or a time-out of 20 s: false. */
bool rig_until(struct rig *r, bool (*cond)(void *arg), void *arg);
bool rig_connected(struct rig_end *e);
bool rig_wait_closed(struct rig_end *e);
bool rig_wait_all_closed(struct rig *r);
void rig_forget(struct rig *r, struct rig_end *e); /* destroys */
void rig_forget_closed(struct rig *r);
/* false: no slot now. Waits for its turn otherwise. */
bool rig_send(struct rig_end *e, const struct rig_msg *m, const void *data, uint32_t data_bytes);
void rig_send_wait(struct rig_end *e, const struct rig_msg *m, const void *data,
		   uint32_t data_bytes);
void rig_fill(char *p, size_t bytes, unsigned int seed);
bool rig_same(const char *p, size_t bytes, unsigned int seed);
/* What must not grow: descriptors of the process, and its RDMA objects in the kernel. */
unsigned int rig_open_fds(void);
unsigned int rig_kernel_objects(void);

#endif
