/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wire <-> host form, and all validation of bytes a peer sent (design rule: once, here, before
 * use). Every function is pure and reentrant, allocates nothing and keeps no pointer.
 *
 * brp_encode_X(buf, cap, ...) writes a whole message, header included, and returns its length in
 * bytes, or -ENOSPC when cap is too small. Everything reserved is written as zero. Texts are cut to
 * fit, between characters; what may not stand in a text is written as '?'.
 *
 * brp_decode_X(buf, len, ...) reads a whole message of exactly len bytes. Returns 0, or -EPROTO
 * when anything in it breaks protocol.md, another type than X included; *ret_x is written only on
 * success, but arrays (ret_requests, ret_completions, ret_entries) may hold rubbish after a
 * failure. Texts in *ret_x are terminated UTF-8 without control characters; a text with such
 * characters, without terminator or with bytes other than zero behind it is -EPROTO. The epoch of
 * HELLO, LOGIN, LIST and their replies must be 0 (protocol.md 3); that of the messages of section 6
 * depends on the state, and the caller compares it.
 *
 * buf need not be aligned. A buffer the peer can still write must be copied before it is decoded.
 */
#ifndef BRP_CODEC_H
#define BRP_CODEC_H

#include <stddef.h>

#include "brp/proto.h"

/* Header alone: known type, flags and reserved zero, length == len, count 0 unless the type has
 * entries. 3. */
int brp_decode_header(const void *buf, size_t len, struct brp_header *ret_h);

int brp_encode_hello(void *buf, size_t cap, const struct brp_hello *m);
int brp_decode_hello(const void *buf, size_t len, struct brp_hello *ret_m);
int brp_encode_hello_reply(void *buf, size_t cap, const struct brp_hello_reply *m);
/* When status is OK, max_message_bytes lets a LOGIN through. version is for the caller to judge. */
int brp_decode_hello_reply(const void *buf, size_t len, struct brp_hello_reply *ret_m);

int brp_encode_login(void *buf, size_t cap, const struct brp_login *m);
int brp_decode_login(const void *buf, size_t len, struct brp_login *ret_m);
int brp_encode_login_reply(void *buf, size_t cap, const struct brp_login_reply *m);
/*
 * When status is OK the limits in the reply are checked against those of protocol.md 1: block size
 * a power of two in range, transfer and preferred I/O size non-zero multiples of it, max_requests
 * and queue depth in range, in-capsule data within that of one message, epoch not 0, and the size
 * in bytes fits an off_t. Only the caller can compare depth and epoch with its LOGIN.
 */
int brp_decode_login_reply(const void *buf, size_t len, struct brp_login_reply *ret_m);

int brp_encode_list(void *buf, size_t cap, const struct brp_list *m);
int brp_decode_list(const void *buf, size_t len, struct brp_list *ret_m);
/* entries has m->count elements. */
int brp_encode_list_reply(void *buf, size_t cap, const struct brp_list_reply *m,
			  const struct brp_list_entry *entries);
/* ret_entries has room for BRP_MAX_LIST_ENTRIES. */
int brp_decode_list_reply(const void *buf, size_t len, struct brp_list_reply *ret_m,
			  struct brp_list_entry *ret_entries);

int brp_encode_keepalive(void *buf, size_t cap, uint32_t epoch, bool is_reply,
			 const struct brp_keepalive *m);
int brp_decode_keepalive(const void *buf, size_t len, struct brp_keepalive *ret_m); /* both types */
int brp_encode_event(void *buf, size_t cap, uint32_t epoch, const struct brp_event_msg *m);
int brp_decode_event(const void *buf, size_t len, struct brp_event_msg *ret_m);
int brp_encode_goodbye(void *buf, size_t cap, uint32_t epoch, const struct brp_goodbye *m);
int brp_decode_goodbye(const void *buf, size_t len, struct brp_goodbye *ret_m);

/*
 * JUMBO is built in place, request by request, without a copy of the whole: the descriptors go to
 * buf + BRP_HEADER_BYTES + i * BRP_REQUEST_BYTES, the header last when count and in-capsule bytes
 * are known.
 */
void brp_encode_request(void *at, const struct brp_request *r); /* BRP_REQUEST_BYTES at `at` */
void brp_encode_jumbo_header(void *buf, uint32_t epoch, uint16_t count, uint32_t capsule_bytes);

/* What the target granted at login; both sides keep one. Constant during a session. */
struct brp_limits {
	uint32_t epoch; /* low 32 bits */
	uint32_t queue_depth;
	uint32_t max_requests;
	uint32_t block_bytes;
	uint32_t max_transfer_bytes;
	uint32_t in_capsule_bytes;
	uint64_t size_blocks;
	uint32_t volume_flags; /* BRP_VOL_*; READ_ONLY also when the login was read-only */
	bool has_read_data;    /* BRP_FEATURE_READ_DATA: a RESPONSE may hold data */
};

/*
 * Decodes a JUMBO of len bytes into ret_requests (room for BRP_MAX_JUMBO_REQUESTS) and returns
 * their number (>= 1). -EPROTO when the message breaks the connection (protocol.md 5.1, last
 * paragraph), except tags in flight, which only the caller knows. After success every IN_CAPSULE
 * WRITE's addr is an offset inside the message with all its data there. What is wrong with single
 * requests is found by brp_check_request().
 */
int brp_decode_jumbo(const void *buf, size_t len, const struct brp_limits *lim,
		     struct brp_request *ret_requests);

/* BRP_ST_OK, or the status that protocol.md 5.1 gives a single bad request. Written against
 * lim->size_blocks as blocks > size - lba, never lba + blocks > size. */
enum brp_status_code brp_check_request(const struct brp_request *r, const struct brp_limits *lim);

/* Bytes of data that request r moves (READ, WRITE), 0 for the others. r has passed
 * brp_decode_jumbo(). */
uint32_t brp_request_data_bytes(const struct brp_request *r, const struct brp_limits *lim);

/* RESPONSE, likewise built in place: completions at buf + BRP_HEADER_BYTES + i *
 * BRP_COMPLETION_BYTES, data_bytes of data in all behind them. */
void brp_encode_completion(void *at, const struct brp_completion *c);
void brp_encode_response_header(void *buf, uint32_t epoch, uint16_t count, uint32_t data_bytes);
/*
 * Returns the number of completions; ret_completions has room for BRP_MAX_RESPONSES. -EPROTO as
 * above. After success all data_bytes at data_offset are inside the message, belong to one
 * completion alone, have status OK, and are whole blocks within the data limit. Only the caller
 * knows the requests: that the tag is one of a READ in flight of just that length.
 */
int brp_decode_response(const void *buf, size_t len, const struct brp_limits *lim,
			struct brp_completion *ret_completions);

/*
 * TCP frames, 2.1. max_message_bytes and max_data_bytes bound length for the two types. offset +
 * length_bytes does not wrap. That NOTICE goes towards the initiator only is for the caller to
 * check.
 */
void brp_encode_frame(void *at, const struct brp_frame *f); /* BRP_FRAME_BYTES at `at` */
int brp_decode_frame(const void *at, uint32_t max_message_bytes, uint32_t max_data_bytes,
		     struct brp_frame *ret_f);

/* Digests, 2.1: only their places. Computing and comparing them is the fabric's. BRP_DIGESTS_BYTES
 * at `at`, right behind the frame header. */
void brp_encode_digests(void *at, const struct brp_digests *d);
void brp_decode_digests(const void *at, struct brp_digests *ret_d);

/* RDMA private data, 2.2. len may exceed BRP_CM_DATA_BYTES (the connection manager pads). */
void brp_encode_cm_data(void *at, const struct brp_cm_data *d); /* BRP_CM_DATA_BYTES at `at` */
int brp_decode_cm_data(const void *buf, size_t len, struct brp_cm_data *ret_d);

#endif
