/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two ends of a fabric in one thread, for fabric_suite.c: a listener, connections to it, and a pump
 * that polls them all and sleeps as callers are told to sleep (armed, edge-triggered), so a lost
 * wake-up shows as a time-out. Knows fabric.h only.
 *
 * The initiator sends messages that begin with a struct rig_msg. What the target does with one is
 * in its `op`.
 */
#ifndef FABRIC_RIG_H
#define FABRIC_RIG_H

#include "common/fabric/fabric.h"

#define RIG_DEPTH      32u
#define RIG_RECV_BYTES 69632u
#define RIG_DATA_BYTES (256u << 10)
#define RIG_SENDS      16u
#define RIG_MAX_ENDS   8u

enum rig_op {
	RIG_PLAIN,        /* only the message; what follows the header is rig_byte(seed, i) */
	RIG_PULL,         /* pull `bytes` from key, addr into slot tag */
	RIG_PULL_LATE,    /* the same, but the buffer comes later: rig_give_buffers() */
	RIG_PULL_DISCARD, /* thrown away */
	RIG_PUSH,         /* push `bytes` of rig_byte(seed, i) with a notice */
	RIG_PUSH_REPLY,   /* without a notice, a message behind it */
};

struct rig_msg {
	uint32_t op;
	uint32_t bytes; /* of the message (RIG_PLAIN) or of the data */
	uint32_t seed;
	uint32_t tag;
	uint32_t key;
	uint32_t reserved;
	uint64_t addr;
};

struct rig_end {
	struct rig *rig;
	struct fabric_conn *conn;
	char *data; /* RIG_DEPTH slots of RIG_DATA_BYTES */
	struct fabric_mem *mem;
	struct fabric_xfer xfers[RIG_DEPTH];
	uint32_t xfer_seed[RIG_DEPTH];
	bool is_busy[RIG_DEPTH]; /* xfer is the fabric's */
	bool is_late[RIG_DEPTH]; /* ... and lacks its buffer */

	/* what happened */
	bool is_connected;
	bool is_closed;
	int error;
	unsigned int messages;
	unsigned int notices;
	unsigned int sendables;
	unsigned int pulls_done;
	unsigned int pushes_done;
	unsigned int canceled;
	uint32_t next_seed; /* RIG_PLAIN messages must come with ascending seeds */
	uint32_t exposed_seed[RIG_DEPTH];
	uint32_t exposed_bytes[RIG_DEPTH];
	const char *wrong; /* first thing that must not be */

	bool is_polling; /* callbacks come now and at no other time */
	enum rig_close { RIG_STAY, RIG_CLOSE, RIG_ABORT } on_next_message;
	unsigned int refuse; /* answer so many messages with -EAGAIN */
	unsigned int refused;
};

struct rig {
	struct fabric *fabric;
	struct fabric_listener *listener;
	const char *address;
	struct rig_end *ends[2 * RIG_MAX_ENDS];
	unsigned int nr_ends;
	struct rig_end *last_target; /* accepted last */
	bool is_rejecting;
	int epoll_fd;
	const char *wrong;
};

static inline uint8_t rig_byte(uint32_t seed, uint32_t i)
{
	return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

struct fabric_fault_plan;

/* From the next rig_open() on, the fabric is wrapped to fail so. NULL: not. */
void rig_set_plan(const struct fabric_fault_plan *plan);
/* From now on sockets get small buffers, so that everything comes and goes in pieces. */
void rig_set_tight(bool is_tight);
/* From now on nobody waits for the end of small pushes (fabric_params.is_lazy). */
void rig_set_lazy(bool is_lazy);
/* From now on connections carry digests from the first message on. */
void rig_set_digest(bool on);
/* NULL or what is wrong. */
const char *rig_open(struct rig *rig, const char *fabric, const char *address);
void rig_close(struct rig *rig);

/* Starts connecting; NULL when even that fails. */
struct rig_end *rig_connect(struct rig *rig, uint16_t port);
/* Polls all until is_done(arg); false after some seconds. */
bool rig_pump(struct rig *rig, bool (*is_done)(void *arg), void *arg);
/* fabric_poll() of one end. */
int rig_poll(struct rig_end *e);
/* So many passes, without sleeping. */
void rig_spin(struct rig *rig, unsigned int passes);
/* A connected pair. */
const char *rig_pair(struct rig *rig, struct rig_end **ret_i, struct rig_end **ret_t);
void rig_forget(struct rig *rig, struct rig_end *e);

/* Sends a RIG_PLAIN message of so many bytes; the last gathered_bytes of it as `data`. -EAGAIN: no
 * slot. */
int rig_send(struct rig_end *e, uint32_t seed, uint32_t bytes, uint32_t gathered_bytes);
/* Exposes slot `tag` and asks the peer to do op. */
int rig_request(struct rig_end *e, enum rig_op op, uint32_t tag, uint32_t seed, uint32_t bytes);
void rig_give_buffers(struct rig_end *e);
unsigned int rig_busy(const struct rig_end *e);

#endif
