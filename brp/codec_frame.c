/* SPDX-License-Identifier: BSD-2-Clause */
/* What the fabrics put around messages: TCP frames and RDMA private data. protocol.md 2. */
#include "brp/codec.h"

#include <errno.h>

#include "brp/codec_util.h"

void brp_encode_frame(void *at, const struct brp_frame *f)
{
	struct brp_wire_frame *w = at;

	w->type = (uint8_t)f->type;
	w->flags = f->flags;
	memset(w->reserved, 0, sizeof(w->reserved));
	w->length = brp_put32(f->length_bytes);
	w->key = brp_put32(f->key);
	w->offset = brp_put32(f->offset);
}

static bool message_frame_ok(const struct brp_frame *f, uint32_t max_bytes)
{
	return f->flags == 0 && f->length_bytes <= max_bytes && f->key == 0 && f->offset == 0;
}

/* No request's data reaches beyond 32 bits; callers may add offset and length without a thought. */
static bool data_frame_ok(const struct brp_frame *f, uint32_t max_bytes)
{
	return (f->flags & ~BRP_FRAME_NOTICE) == 0 && f->length_bytes <= max_bytes &&
	       f->offset <= UINT32_MAX - f->length_bytes;
}

int brp_decode_frame(const void *at, uint32_t max_message_bytes, uint32_t max_data_bytes,
		     struct brp_frame *ret_f)
{
	const struct brp_wire_frame *w = at;
	struct brp_frame f = {
		.type = (enum brp_frame_type)w->type,
		.flags = w->flags,
		.length_bytes = brp_get32(w->length),
		.key = brp_get32(w->key),
		.offset = brp_get32(w->offset),
	};
	bool ok = w->type == BRP_FRAME_DATA      ? data_frame_ok(&f, max_data_bytes)
		  : w->type == BRP_FRAME_MESSAGE ? message_frame_ok(&f, max_message_bytes)
						 : false;

	if (!ok || f.length_bytes == 0 || !BRP_RESERVED_OK(w->reserved))
		return -EPROTO;
	*ret_f = f;
	return 0;
}

void brp_encode_digests(void *at, const struct brp_digests *d)
{
	struct brp_wire_digests *w = at;

	w->header = brp_put32(d->header);
	w->payload = brp_put32(d->payload);
}

void brp_decode_digests(const void *at, struct brp_digests *ret_d)
{
	const struct brp_wire_digests *w = at;

	ret_d->header = brp_get32(w->header);
	ret_d->payload = brp_get32(w->payload);
}

void brp_encode_cm_data(void *at, const struct brp_cm_data *d)
{
	struct brp_wire_cm_data *w = at;

	memset(w, 0, sizeof(*w));
	memcpy(w->magic, BRP_WIRE_CM_MAGIC, sizeof(w->magic));
	w->version = brp_put16(BRP_WIRE_CM_VERSION);
	w->recv_count = brp_put32(d->recv_count);
	w->recv_bytes = brp_put32(d->recv_bytes);
}

int brp_decode_cm_data(const void *buf, size_t len, struct brp_cm_data *ret_d)
{
	const struct brp_wire_cm_data *w = buf;

	if (len < sizeof(*w) || memcmp(w->magic, BRP_WIRE_CM_MAGIC, sizeof(w->magic)) != 0 ||
	    brp_get16(w->version) != BRP_WIRE_CM_VERSION)
		return -EPROTO;
	if (!BRP_RESERVED_OK(w->reserved1) || !BRP_RESERVED_OK(w->reserved2))
		return -EPROTO;
	ret_d->recv_count = brp_get32(w->recv_count);
	ret_d->recv_bytes = brp_get32(w->recv_bytes);
	return 0;
}
