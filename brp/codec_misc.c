/* SPDX-License-Identifier: BSD-2-Clause */
/* KEEPALIVE, EVENT and GOODBYE. protocol.md 6. */
#include "brp/codec.h"

#include <errno.h>

#include "brp/codec_util.h"

int brp_encode_keepalive(void *buf, size_t cap, uint32_t epoch, bool is_reply,
			 const struct brp_keepalive *m)
{
	struct brp_wire_keepalive *w = buf;
	enum brp_msg_type type = is_reply ? BRP_MSG_KEEPALIVE_REPLY : BRP_MSG_KEEPALIVE;
	int len = brp_put_fixed(buf, cap, sizeof(*w), type, epoch);

	if (len < 0)
		return len;
	w->sequence = brp_put64(m->sequence);
	return len;
}

int brp_decode_keepalive(const void *buf, size_t len, struct brp_keepalive *ret_m)
{
	const struct brp_wire_keepalive *w = buf;

	if (!brp_is_fixed(buf, len, sizeof(*w), BRP_MSG_KEEPALIVE) &&
	    !brp_is_fixed(buf, len, sizeof(*w), BRP_MSG_KEEPALIVE_REPLY))
		return -EPROTO;
	ret_m->sequence = brp_get64(w->sequence);
	return 0;
}

int brp_encode_event(void *buf, size_t cap, uint32_t epoch, const struct brp_event_msg *m)
{
	struct brp_wire_event *w = buf;
	int len = brp_put_fixed(buf, cap, sizeof(*w), BRP_MSG_EVENT, epoch);

	if (len < 0)
		return len;
	w->kind = brp_put16(m->kind);
	w->size_blocks = brp_put64(m->size_blocks);
	w->generation = brp_put64(m->generation);
	return len;
}

/* Kinds are not checked: an unknown one is ignored by the receiver, 6.2. */
int brp_decode_event(const void *buf, size_t len, struct brp_event_msg *ret_m)
{
	const struct brp_wire_event *w = buf;

	if (!brp_is_fixed(buf, len, sizeof(*w), BRP_MSG_EVENT) || !BRP_RESERVED_OK(w->reserved1) ||
	    !BRP_RESERVED_OK(w->reserved2))
		return -EPROTO;
	ret_m->kind = brp_get16(w->kind);
	ret_m->size_blocks = brp_get64(w->size_blocks);
	ret_m->generation = brp_get64(w->generation);
	return 0;
}

int brp_encode_goodbye(void *buf, size_t cap, uint32_t epoch, const struct brp_goodbye *m)
{
	struct brp_wire_goodbye *w = buf;
	int len = brp_put_fixed(buf, cap, sizeof(*w), BRP_MSG_GOODBYE, epoch);

	if (len < 0)
		return len;
	w->status = brp_put16(m->status);
	brp_put_text(w->text, sizeof(w->text), m->text);
	return len;
}

int brp_decode_goodbye(const void *buf, size_t len, struct brp_goodbye *ret_m)
{
	const struct brp_wire_goodbye *w = buf;

	if (!brp_is_fixed(buf, len, sizeof(*w), BRP_MSG_GOODBYE) || !BRP_RESERVED_OK(w->reserved) ||
	    !brp_get_text(w->text, sizeof(w->text), ret_m->text))
		return -EPROTO;
	ret_m->status = brp_get16(w->status);
	return 0;
}
