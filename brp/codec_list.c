/* SPDX-License-Identifier: BSD-2-Clause */
/* LIST and LIST_REPLY. protocol.md 4.3. */
#include "brp/codec.h"

#include <assert.h>
#include <errno.h>

#include "brp/codec_util.h"

static size_t list_reply_bytes(uint32_t count)
{
	return sizeof(struct brp_wire_list_reply) + count * sizeof(struct brp_wire_list_entry);
}

int brp_encode_list(void *buf, size_t cap, const struct brp_list *m)
{
	struct brp_wire_list *w = buf;
	int len = brp_put_fixed(buf, cap, sizeof(*w), BRP_MSG_LIST, 0);

	if (len < 0)
		return len;
	w->first = brp_put32(m->first);
	return len;
}

int brp_decode_list(const void *buf, size_t len, struct brp_list *ret_m)
{
	const struct brp_wire_list *w = buf;

	if (!brp_is_setup(buf, len, sizeof(*w), BRP_MSG_LIST) || !BRP_RESERVED_OK(w->reserved))
		return -EPROTO;
	ret_m->first = brp_get32(w->first);
	return 0;
}

static void put_entry(struct brp_wire_list_entry *w, const struct brp_list_entry *e)
{
	memset(w, 0, sizeof(*w));
	memcpy(w->uuid, e->uuid.b, sizeof(w->uuid));
	w->size_blocks = brp_put64(e->size_blocks);
	w->block_bytes = brp_put32(e->block_bytes);
	w->volume_flags = brp_put32(e->volume_flags);
	w->generation = brp_put64(e->generation);
	w->cache = (uint8_t)e->cache;
	brp_put_text(w->name, sizeof(w->name), e->name);
}

int brp_encode_list_reply(void *buf, size_t cap, const struct brp_list_reply *m,
			  const struct brp_list_entry *entries)
{
	struct brp_wire_list_reply *w = buf;
	struct brp_wire_list_entry *at = (struct brp_wire_list_entry *)(w + 1);
	size_t len = list_reply_bytes(m->count);

	assert(m->count <= BRP_MAX_LIST_ENTRIES);
	if (cap < len)
		return -ENOSPC;
	memset(w, 0, sizeof(*w));
	brp_put_header(&w->h, BRP_MSG_LIST_REPLY, (uint16_t)m->count, (uint32_t)len, 0);
	w->status = brp_put16(m->status);
	w->total = brp_put32(m->total);
	w->first = brp_put32(m->first);
	for (uint32_t i = 0; i < m->count; i++)
		put_entry(&at[i], &entries[i]);
	return (int)len;
}

static bool get_entry(const struct brp_wire_list_entry *w, struct brp_list_entry *e)
{
	if (!BRP_RESERVED_OK(w->reserved) || w->cache > BRP_CACHE_WRITE_BACK)
		return false;
	memcpy(e->uuid.b, w->uuid, sizeof(w->uuid));
	e->size_blocks = brp_get64(w->size_blocks);
	e->block_bytes = brp_get32(w->block_bytes);
	e->volume_flags = brp_get32(w->volume_flags);
	e->generation = brp_get64(w->generation);
	e->cache = (enum brp_cache_mode)w->cache;
	return !(e->volume_flags & ~BRP_VOL_KNOWN) &&
	       brp_volume_size_ok(e->size_blocks, e->block_bytes) &&
	       brp_get_text(w->name, sizeof(w->name), e->name);
}

/* The entries lie within the list they are a part of. */
static bool part_ok(uint32_t total, uint32_t first, uint32_t count)
{
	return count == 0 || (first < total && count <= total - first);
}

static bool list_reply_ok(const struct brp_wire_list_reply *w, size_t len)
{
	uint16_t count;

	if (len < sizeof(*w) || w->h.type != BRP_MSG_LIST_REPLY || !brp_header_in_step(&w->h, len))
		return false;
	count = brp_get16(w->h.count);
	return count <= BRP_MAX_LIST_ENTRIES && len == list_reply_bytes(count) &&
	       brp_get32(w->h.epoch) == 0 &&
	       part_ok(brp_get32(w->total), brp_get32(w->first), count) &&
	       BRP_RESERVED_OK(w->reserved1) && BRP_RESERVED_OK(w->reserved2);
}

int brp_decode_list_reply(const void *buf, size_t len, struct brp_list_reply *ret_m,
			  struct brp_list_entry *ret_entries)
{
	const struct brp_wire_list_reply *w = buf;
	const struct brp_wire_list_entry *at = (const struct brp_wire_list_entry *)(w + 1);
	uint16_t count;

	if (!list_reply_ok(w, len))
		return -EPROTO;
	count = brp_get16(w->h.count);
	for (uint16_t i = 0; i < count; i++) {
		if (!get_entry(&at[i], &ret_entries[i]))
			return -EPROTO;
	}
	ret_m->status = brp_get16(w->status);
	ret_m->total = brp_get32(w->total);
	ret_m->first = brp_get32(w->first);
	ret_m->count = count;
	return 0;
}
