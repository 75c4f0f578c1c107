/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer of the TCP fabric made of raw bytes (protocol.md 2.1), for test_fabric_frames.c and
 * test_fabric_digest.c: one connection at a time, whose other end is a rig_end. Asserts with
 * Criterion.
 */
#ifndef FABRIC_RAW_H
#define FABRIC_RAW_H

#include "brp/codec.h"
#include "tests/unit/fabric_rig.h"

extern struct rig raw_rig;
extern int raw_fd;              /* the peer's socket */
extern struct rig_end *raw_end; /* the fabric's end */

/* ---- what is to be sent ---------------------------------------------------------------------- */

struct raw_stream {
	uint32_t bytes;
	uint8_t b[512 << 10];
};
extern struct raw_stream raw_stream;

void raw_add(const void *p, uint32_t bytes);
void raw_add_frame(enum brp_frame_type type, uint8_t flags, uint32_t length, uint32_t key,
		   uint32_t offset);
/* A message RIG_PLAIN, a request, a DATA frame of rig_byte(seed). */
void raw_add_plain(uint32_t seed, uint32_t bytes);
void raw_add_request(enum rig_op op, uint32_t tag, uint32_t seed, uint32_t bytes);
void raw_add_data(uint8_t flags, uint32_t key, uint32_t seed, uint32_t from, uint32_t bytes);
/* Puts the right digests into all frames that are there. */
void raw_add_digests(void);
uint32_t raw_get32(const uint8_t *p);

/* ---- the connection -------------------------------------------------------------------------- */

void raw_open(void);
/* From now on connections carry digests. */
void raw_with_digests(void);
/* Connects; the fabric is the target or the initiator. */
void raw_meet_target(void);
void raw_meet_initiator(void);
void raw_part(void);
void raw_send(const void *p, size_t bytes);

/* For rig_pump(): raw_end has had so many messages and notices, and finished so many pulls. */
extern unsigned int raw_want_messages;
extern unsigned int raw_want_answers;
bool raw_has_all(void *arg);
bool raw_is_closed(void *arg);

/* Some of everything; sets the two above. */
void raw_build_for_target(void);
void raw_build_for_initiator(void);
/* Sends what build() makes, cut in two at every place, and in small pieces. */
void raw_cut_everywhere(void (*meet)(void), void (*build)(void));

#endif
