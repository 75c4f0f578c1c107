/* SPDX-License-Identifier: BSD-2-Clause */
/* NBD requests out of a byte stream in whatever pieces it comes; answers; flags; errors. */
#include <criterion/criterion.h>

#include <endian.h>
#include <errno.h>
#include <linux/nbd.h>
#include <string.h>

#include "initiator/dev/nbd_errno.h"
#include "initiator/dev/nbd_proto.h"

static size_t put_head(uint8_t *to, uint32_t type, uint64_t cookie, uint64_t from, uint32_t bytes)
{
	struct nbd_request head = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.type = htobe32(type),
		.from = htobe64(from),
		.len = htobe32(bytes),
	};

	memcpy(head.handle, &cookie, sizeof(cookie));
	memcpy(to, &head, sizeof(head));
	return sizeof(head);
}

/* ---- fragments ------------------------------------------------------------------------------- */

/* Three requests, the second a WRITE with data; the receiver takes it as nbd_queue.c does. */
#define DATA_BYTES 3000u

static uint8_t wire[3 * NBD_HEAD_BYTES + DATA_BYTES];

static void make_wire(void)
{
	size_t at = put_head(wire, NBD_CMD_READ, 1, 4096, 512);

	at += put_head(wire + at, NBD_CMD_WRITE | NBD_CMD_FLAG_FUA, 2, 8192, DATA_BYTES);
	for (unsigned int i = 0; i < DATA_BYTES; i++)
		wire[at++] = (uint8_t)(i * 7);
	at += put_head(wire + at, NBD_CMD_FLUSH, 3, 0, 0);
	cr_assert_eq(at, sizeof(wire));
}

struct receiver {
	struct nbd_stream stream;
	struct nbd_ask asks[3];
	unsigned int nr_asks;
	uint8_t data[DATA_BYTES];
	size_t nr_data;
	bool is_writing;
};

static void handle(struct receiver *r)
{
	for (;;) {
		if (r->is_writing) {
			r->nr_data += nbd_stream_take(&r->stream, r->data + r->nr_data,
						      DATA_BYTES - r->nr_data);
			if (r->nr_data < DATA_BYTES)
				return;
			r->is_writing = false;
		}
		if (r->nr_asks == 3)
			return;
		if (nbd_stream_next(&r->stream, &r->asks[r->nr_asks]) == 0)
			return;
		r->is_writing = r->asks[r->nr_asks++].op == BRP_WRITE;
	}
}

/* At most `max` bytes of the wire, to where a recvmsg() would put them. */
static size_t receive(struct receiver *r, size_t from, size_t max)
{
	size_t left = sizeof(wire) - from;
	size_t n = left < max ? left : max;
	size_t direct = r->is_writing ? DATA_BYTES - r->nr_data : 0;
	struct iovec room = nbd_stream_room(&r->stream);

	direct = direct < n ? direct : n;
	memcpy(r->data + r->nr_data, wire + from, direct);
	r->nr_data += direct;
	cr_assert(room.iov_len > 0, "no room: the receiver would wait for ever");
	n = n - direct < room.iov_len ? n : direct + room.iov_len;
	memcpy(room.iov_base, wire + from + direct, n - direct);
	nbd_stream_add(&r->stream, n - direct);
	handle(r);
	return n;
}

Test(nbd_proto, every_fragmentation)
{
	make_wire();
	for (size_t piece = 1; piece <= sizeof(wire); piece++) {
		struct receiver r = {0};

		for (size_t at = 0; at < sizeof(wire);)
			at += receive(&r, at, piece);
		cr_assert_eq(r.nr_asks, 3, "pieces of %zu", piece);
		cr_assert_eq(r.asks[0].op, BRP_READ);
		cr_assert_eq(r.asks[0].cookie, 1);
		cr_assert_eq(r.asks[0].offset, 4096);
		cr_assert_eq(r.asks[0].bytes, 512);
		cr_assert_eq(r.asks[1].op, BRP_WRITE);
		cr_assert_eq(r.asks[1].flags, BRP_FUA);
		cr_assert_eq(r.asks[2].op, BRP_FLUSH);
		cr_assert_eq(r.asks[2].cookie, 3);
		cr_assert_arr_eq(r.data, wire + 2ul * NBD_HEAD_BYTES, DATA_BYTES);
	}
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct nbd_ask ask(uint32_t type, uint64_t from, uint32_t bytes, int want)
{
	struct nbd_stream s = {0};
	struct nbd_ask a = {0};
	struct iovec room = nbd_stream_room(&s);

	nbd_stream_add(&s, put_head(room.iov_base, type, 9, from, bytes));
	cr_assert_eq(nbd_stream_next(&s, &a), want);
	return a;
}

Test(nbd_proto, operations)
{
	struct nbd_ask a = ask(NBD_CMD_TRIM, 4096, 1u << 31, 1);

	cr_assert_eq(a.op, BRP_DISCARD);
	cr_assert_eq(a.bytes, 1u << 31);
	a = ask(6, 4096, 1u << 31, 1);
	cr_assert_eq(a.op, BRP_WRITE_ZEROES);
	cr_assert_eq(a.flags, 0);
	a = ask(6 | NBD_CMD_FLAG_FUA | 1u << 17, 4096, 8192, 1);
	cr_assert_eq(a.op, BRP_WRITE_ZEROES);
	cr_assert_eq(a.flags, BRP_FUA);
	a = ask(NBD_CMD_FLUSH | NBD_CMD_FLAG_FUA, 77, 88, 1);
	cr_assert_eq(a.op, BRP_FLUSH);
	cr_assert_eq(a.offset + a.bytes + a.flags, 0);
	cr_assert(ask(NBD_CMD_DISC, 0, 0, 1).is_goodbye);
	cr_assert_eq(ask(5, 0, 4096, 1).error, -EINVAL);
	cr_assert_eq(ask(0xffff, 0, 4096, 1).error, -EINVAL);
}

Test(nbd_proto, too_long)
{
	cr_assert_eq(ask(NBD_CMD_READ, 0, NBD_MAX_IO_BYTES, 1).error, 0);
	cr_assert_eq(ask(NBD_CMD_READ, 0, NBD_MAX_IO_BYTES + 1, 1).error, -EINVAL);
	ask(NBD_CMD_WRITE, 0, NBD_MAX_IO_BYTES, 1);
	ask(NBD_CMD_WRITE, 0, NBD_MAX_IO_BYTES + 1, -EPROTO);
}

Test(nbd_proto, no_nbd)
{
	struct nbd_stream s = {0};
	struct nbd_ask a;
	struct iovec room = nbd_stream_room(&s);

	memset(room.iov_base, 0x55, NBD_HEAD_BYTES);
	nbd_stream_add(&s, NBD_HEAD_BYTES - 1);
	cr_assert_eq(nbd_stream_next(&s, &a), 0);
	nbd_stream_add(&s, 1);
	cr_assert_eq(nbd_stream_next(&s, &a), -EPROTO);
}

/* ---- answers --------------------------------------------------------------------------------- */

Test(nbd_proto, answers)
{
	struct nbd_reply reply;
	uint64_t cookie;

	nbd_encode_answer(&reply, 0x1122334455667788ull, 0);
	cr_assert_eq(be32toh(reply.magic), NBD_REPLY_MAGIC);
	cr_assert_eq(reply.error, 0);
	memcpy(&cookie, reply.handle, sizeof(cookie));
	cr_assert_eq(cookie, 0x1122334455667788ull);
	nbd_encode_answer(&reply, 1, -ENOSPC);
	cr_assert_eq(be32toh(reply.error), ENOSPC);
}

Test(nbd_proto, errors_that_nbd_knows)
{
	cr_assert_eq(nbd_errno(0), 0);
	cr_assert_eq(nbd_errno(-EIO), EIO);
	cr_assert_eq(nbd_errno(-EROFS), EPERM);
	cr_assert_eq(nbd_errno(-ERANGE), EINVAL);
	cr_assert_eq(nbd_errno(-ENOTCONN), EIO);
	cr_assert_eq(nbd_errno(-ETIMEDOUT), EIO);
	cr_assert_eq(nbd_errno(-12345), EIO);
}

Test(nbd_proto, flags)
{
	struct brp_info info = {0};
	const uint64_t always = NBD_FLAG_HAS_FLAGS | NBD_FLAG_CAN_MULTI_CONN;

	info.has_fua = true; /* a write-through volume needs neither */
	cr_assert_eq(nbd_flags_of(&info), always);
	info.is_write_back = true;
	cr_assert_eq(nbd_flags_of(&info), always | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA);
	info.has_fua = false;
	info.read_only = true;
	cr_assert_eq(nbd_flags_of(&info), always | NBD_FLAG_SEND_FLUSH | NBD_FLAG_READ_ONLY);
	info.has_discard = true;
	info.has_write_zeroes = true;
	cr_assert_eq(nbd_flags_of(&info), always | NBD_FLAG_SEND_FLUSH | NBD_FLAG_READ_ONLY |
						  NBD_FLAG_SEND_TRIM | 1u << 6);
}
