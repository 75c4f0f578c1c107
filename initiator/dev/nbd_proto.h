/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The NBD protocol's transmission phase as the kernel speaks it: requests out of a byte stream in
 * whatever pieces it comes, and replies. Pure: no I/O.
 *
 * The stream is read into a small buffer; what a WRITE carries is read straight to where it
 * belongs, but for the bytes that came along with its head (nbd_stream_take()).
 */
#ifndef INITIATOR_DEV_NBD_PROTO_H
#define INITIATOR_DEV_NBD_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "brp/brp.h"

#define NBD_HEAD_BYTES   28u
#define NBD_ANSWER_BYTES 16u
#define NBD_STREAM_BYTES 1024u       /* 36 requests without data; and so much is copied at most */
#define NBD_MAX_IO_BYTES (32u << 20) /* the kernel's limit */

struct nbd_ask {
	uint64_t cookie;
	uint64_t offset;
	uint32_t bytes;
	bool is_goodbye;
	int error; /* what it asks for is not known: the answer */
	enum brp_io_op op;
	unsigned int flags; /* BRP_FUA */
};

struct nbd_stream {
	uint8_t buf[NBD_STREAM_BYTES];
	unsigned int start; /* of what was not looked at yet */
	unsigned int end;
};

/* Where bytes that arrive go; never empty once nbd_stream_next() said 0. */
struct iovec nbd_stream_room(struct nbd_stream *s);
void nbd_stream_add(struct nbd_stream *s, size_t bytes);

/*
 * 1: a request; the data of a WRITE follows. 0: more bytes are needed. -EPROTO: this is not NBD.
 */
int nbd_stream_next(struct nbd_stream *s, struct nbd_ask *ret_ask);

/* Moves up to `bytes` bytes of data that came along; how many. */
size_t nbd_stream_take(struct nbd_stream *s, void *to, size_t bytes);

/* err: 0 or negative errno. A successful READ's data follows it. */
void nbd_encode_answer(void *to, uint64_t cookie, int err);

/* Transmission flags that tell the kernel what the volume can. */
uint64_t nbd_flags_of(const struct brp_info *info);

#endif
