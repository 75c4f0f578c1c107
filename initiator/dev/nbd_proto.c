/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/nbd_proto.h"

#include <endian.h>
#include <errno.h>
#include <linux/nbd.h>
#include <string.h>

#include "common/util.h"
#include "initiator/dev/nbd_errno.h"

/* Newer than the headers of Debian 12; the numbers are the protocol's. */
#define CMD_WRITE_ZEROES       6u
#define FLAG_SEND_WRITE_ZEROES (1u << 6)

#define CMD_MASK 0xffffu

_Static_assert(sizeof(struct nbd_request) == NBD_HEAD_BYTES, "as the protocol says");
_Static_assert(sizeof(struct nbd_reply) == NBD_ANSWER_BYTES, "as the protocol says");

/* ---- the stream ------------------------------------------------------------------------------ */

struct iovec nbd_stream_room(struct nbd_stream *s)
{
	if (s->start > 0) {
		memmove(s->buf, s->buf + s->start, s->end - s->start);
		s->end -= s->start;
		s->start = 0;
	}
	return (struct iovec){.iov_base = s->buf + s->end, .iov_len = sizeof(s->buf) - s->end};
}

void nbd_stream_add(struct nbd_stream *s, size_t bytes)
{
	s->end += (unsigned int)bytes;
}

size_t nbd_stream_take(struct nbd_stream *s, void *to, size_t bytes)
{
	size_t n = MIN(bytes, (size_t)(s->end - s->start));

	memcpy(to, s->buf + s->start, n);
	s->start += (unsigned int)n;
	return n;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void decode_type(uint32_t type, struct nbd_ask *a)
{
	if (type & NBD_CMD_FLAG_FUA)
		a->flags = BRP_FUA;
	switch (type & CMD_MASK) {
	case NBD_CMD_READ:
		a->op = BRP_READ;
		a->flags = 0;
		break;
	case NBD_CMD_WRITE:
		a->op = BRP_WRITE;
		break;
	case CMD_WRITE_ZEROES:
		a->op = BRP_WRITE_ZEROES;
		break;
	case NBD_CMD_TRIM:
		a->op = BRP_DISCARD;
		a->flags = 0; /* the kernel asks for none */
		break;
	case NBD_CMD_FLUSH:
		a->op = BRP_FLUSH;
		a->offset = 0;
		a->bytes = 0;
		a->flags = 0;
		break;
	case NBD_CMD_DISC:
		a->is_goodbye = true;
		break;
	default:
		a->error = -EINVAL;
		break;
	}
}

int nbd_stream_next(struct nbd_stream *s, struct nbd_ask *ret_ask)
{
	struct nbd_request head;

	if (s->end - s->start < sizeof(head))
		return 0;
	nbd_stream_take(s, &head, sizeof(head));
	if (be32toh(head.magic) != NBD_REQUEST_MAGIC)
		return -EPROTO;
	*ret_ask = (struct nbd_ask){
		.offset = be64toh(head.from),
		.bytes = be32toh(head.len),
	};
	memcpy(&ret_ask->cookie, head.handle, sizeof(ret_ask->cookie));
	decode_type(be32toh(head.type), ret_ask);
	/* Data too long to be received leaves no way to find the next request. */
	if (ret_ask->op == BRP_WRITE && ret_ask->bytes > NBD_MAX_IO_BYTES)
		return -EPROTO;
	if (ret_ask->op == BRP_READ && ret_ask->bytes > NBD_MAX_IO_BYTES)
		ret_ask->error = -EINVAL;
	return 1;
}

void nbd_encode_answer(void *to, uint64_t cookie, int err)
{
	struct nbd_reply reply = {
		.magic = htobe32(NBD_REPLY_MAGIC),
		.error = htobe32((uint32_t)nbd_errno(err)),
	};

	memcpy(reply.handle, &cookie, sizeof(cookie));
	memcpy(to, &reply, sizeof(reply));
}

uint64_t nbd_flags_of(const struct brp_info *info)
{
	/* A flush on one connection covers what was answered on all. */
	uint64_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_CAN_MULTI_CONN;

	if (info->read_only)
		flags |= NBD_FLAG_READ_ONLY;
	if (info->is_write_back) {
		flags |= NBD_FLAG_SEND_FLUSH;
		if (info->has_fua)
			flags |= NBD_FLAG_SEND_FUA;
	}
	if (info->has_discard)
		flags |= NBD_FLAG_SEND_TRIM;
	if (info->has_write_zeroes)
		flags |= FLAG_SEND_WRITE_ZEROES;
	return flags;
}
