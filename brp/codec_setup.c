/* SPDX-License-Identifier: BSD-2-Clause */
/* HELLO and LOGIN with their replies. protocol.md 4.1 and 4.2. */
#include "brp/codec.h"

#include <errno.h>

#include "brp/codec_util.h"

#define LOGIN_FLAGS_KNOWN (BRP_LOGIN_READ_ONLY | BRP_LOGIN_BY_UUID)

static bool magic_ok(const uint8_t *magic)
{
	return memcmp(magic, BRP_WIRE_HELLO_MAGIC, 8) == 0;
}

int brp_encode_hello(void *buf, size_t cap, const struct brp_hello *m)
{
	struct brp_wire_hello *w = buf;
	int len = brp_put_fixed(buf, cap, sizeof(*w), BRP_MSG_HELLO, 0);

	if (len < 0)
		return len;
	memcpy(w->magic, BRP_WIRE_HELLO_MAGIC, sizeof(w->magic));
	w->version_min = brp_put16(m->version_min);
	w->version_max = brp_put16(m->version_max);
	w->features_offered = brp_put64(m->features_offered);
	w->features_required = brp_put64(m->features_required);
	return len;
}

int brp_decode_hello(const void *buf, size_t len, struct brp_hello *ret_m)
{
	const struct brp_wire_hello *w = buf;

	if (!brp_is_setup(buf, len, sizeof(*w), BRP_MSG_HELLO) || !magic_ok(w->magic))
		return -EPROTO;
	if (!BRP_RESERVED_OK(w->reserved1) || !BRP_RESERVED_OK(w->reserved2))
		return -EPROTO;
	ret_m->version_min = brp_get16(w->version_min);
	ret_m->version_max = brp_get16(w->version_max);
	ret_m->features_offered = brp_get64(w->features_offered);
	ret_m->features_required = brp_get64(w->features_required);
	return 0;
}

int brp_encode_hello_reply(void *buf, size_t cap, const struct brp_hello_reply *m)
{
	struct brp_wire_hello_reply *w = buf;
	int len = brp_put_fixed(buf, cap, sizeof(*w), BRP_MSG_HELLO_REPLY, 0);

	if (len < 0)
		return len;
	memcpy(w->magic, BRP_WIRE_HELLO_MAGIC, sizeof(w->magic));
	w->status = brp_put16(m->status);
	w->version = brp_put16(m->version);
	w->max_message = brp_put32(m->max_message_bytes);
	w->features = brp_put64(m->features);
	memcpy(w->boot_id, m->boot_id.b, sizeof(w->boot_id));
	return len;
}

int brp_decode_hello_reply(const void *buf, size_t len, struct brp_hello_reply *ret_m)
{
	const struct brp_wire_hello_reply *w = buf;

	if (!brp_is_setup(buf, len, sizeof(*w), BRP_MSG_HELLO_REPLY) || !magic_ok(w->magic))
		return -EPROTO;
	if (!BRP_RESERVED_OK(w->reserved))
		return -EPROTO;
	/* A target that greets must at least take the LOGIN that comes next. */
	if (brp_get16(w->status) == BRP_ST_OK &&
	    brp_get32(w->max_message) < sizeof(struct brp_wire_login))
		return -EPROTO;
	ret_m->status = brp_get16(w->status);
	ret_m->version = brp_get16(w->version);
	ret_m->max_message_bytes = brp_get32(w->max_message);
	ret_m->features = brp_get64(w->features);
	memcpy(ret_m->boot_id.b, w->boot_id, sizeof(w->boot_id));
	return 0;
}

int brp_encode_login(void *buf, size_t cap, const struct brp_login *m)
{
	struct brp_wire_login *w = buf;
	int len = brp_put_fixed(buf, cap, sizeof(*w), BRP_MSG_LOGIN, 0);

	if (len < 0)
		return len;
	memcpy(w->host_uuid, m->host_uuid.b, sizeof(w->host_uuid));
	memcpy(w->session_uuid, m->session_uuid.b, sizeof(w->session_uuid));
	w->epoch = brp_put64(m->epoch);
	w->queue_index = brp_put16(m->queue_index);
	w->queue_count = brp_put16(m->queue_count);
	w->queue_depth = brp_put32(m->queue_depth);
	w->keepalive_ms = brp_put32(m->keepalive_ms);
	w->flags = brp_put32(m->flags);
	if (m->flags & BRP_LOGIN_BY_UUID)
		memcpy(w->volume_uuid, m->volume_uuid.b, sizeof(w->volume_uuid));
	else
		brp_put_text(w->volume_name, sizeof(w->volume_name), m->volume_name);
	brp_put_text(w->host_name, sizeof(w->host_name), m->host_name);
	return len;
}

static bool login_queues_ok(const struct brp_wire_login *w)
{
	uint16_t count = brp_get16(w->queue_count);

	return count >= 1 && count <= BRP_MAX_QUEUES && brp_get16(w->queue_index) < count &&
	       brp_get32(w->queue_depth) >= 1;
}

static bool login_ok(const struct brp_wire_login *w)
{
	uint32_t flags = brp_get32(w->flags);
	bool unused_is_zero = flags & BRP_LOGIN_BY_UUID ? BRP_RESERVED_OK(w->volume_name)
							: BRP_RESERVED_OK(w->volume_uuid);

	return !(flags & ~LOGIN_FLAGS_KNOWN) && unused_is_zero && brp_get64(w->epoch) >= 1 &&
	       login_queues_ok(w) && BRP_RESERVED_OK(w->reserved);
}

int brp_decode_login(const void *buf, size_t len, struct brp_login *ret_m)
{
	const struct brp_wire_login *w = buf;
	struct brp_login m;

	if (!brp_is_setup(buf, len, sizeof(*w), BRP_MSG_LOGIN) || !login_ok(w))
		return -EPROTO;
	if (!brp_get_text(w->volume_name, sizeof(w->volume_name), m.volume_name) ||
	    !brp_get_text(w->host_name, sizeof(w->host_name), m.host_name))
		return -EPROTO;
	memcpy(m.host_uuid.b, w->host_uuid, sizeof(w->host_uuid));
	memcpy(m.session_uuid.b, w->session_uuid, sizeof(w->session_uuid));
	m.epoch = brp_get64(w->epoch);
	m.queue_index = brp_get16(w->queue_index);
	m.queue_count = brp_get16(w->queue_count);
	m.queue_depth = brp_get32(w->queue_depth);
	m.keepalive_ms = brp_get32(w->keepalive_ms);
	m.flags = brp_get32(w->flags);
	memcpy(m.volume_uuid.b, w->volume_uuid, sizeof(w->volume_uuid));
	*ret_m = m;
	return 0;
}

int brp_encode_login_reply(void *buf, size_t cap, const struct brp_login_reply *m)
{
	struct brp_wire_login_reply *w = buf;
	int len = brp_put_fixed(buf, cap, sizeof(*w), BRP_MSG_LOGIN_REPLY, 0);

	if (len < 0)
		return len;
	w->status = brp_put16(m->status);
	w->max_requests = brp_put16(m->max_requests);
	w->queue_depth = brp_put32(m->queue_depth);
	memcpy(w->volume_uuid, m->volume_uuid.b, sizeof(w->volume_uuid));
	w->generation = brp_put64(m->generation);
	memcpy(w->boot_id, m->boot_id.b, sizeof(w->boot_id));
	w->size_blocks = brp_put64(m->size_blocks);
	w->block_bytes = brp_put32(m->block_bytes);
	w->max_transfer_bytes = brp_put32(m->max_transfer_bytes);
	w->in_capsule_bytes = brp_put32(m->in_capsule_bytes);
	w->volume_flags = brp_put32(m->volume_flags);
	w->cache = (uint8_t)m->cache;
	w->epoch = brp_put64(m->epoch);
	w->keepalive_ms = brp_put32(m->keepalive_ms);
	w->preferred_io_bytes = brp_put32(m->preferred_io_bytes);
	brp_put_text(w->reason, sizeof(w->reason), m->reason);
	return len;
}

static void get_login_reply(const struct brp_wire_login_reply *w, struct brp_login_reply *m)
{
	m->status = brp_get16(w->status);
	m->max_requests = brp_get16(w->max_requests);
	m->queue_depth = brp_get32(w->queue_depth);
	memcpy(m->volume_uuid.b, w->volume_uuid, sizeof(w->volume_uuid));
	m->generation = brp_get64(w->generation);
	memcpy(m->boot_id.b, w->boot_id, sizeof(w->boot_id));
	m->size_blocks = brp_get64(w->size_blocks);
	m->block_bytes = brp_get32(w->block_bytes);
	m->max_transfer_bytes = brp_get32(w->max_transfer_bytes);
	m->in_capsule_bytes = brp_get32(w->in_capsule_bytes);
	m->volume_flags = brp_get32(w->volume_flags);
	m->cache = (enum brp_cache_mode)w->cache;
	m->epoch = brp_get64(w->epoch);
	m->keepalive_ms = brp_get32(w->keepalive_ms);
	m->preferred_io_bytes = brp_get32(w->preferred_io_bytes);
}

static bool login_reply_reserved_ok(const struct brp_wire_login_reply *w)
{
	return BRP_RESERVED_OK(w->reserved1) && BRP_RESERVED_OK(w->one_sided_base) &&
	       BRP_RESERVED_OK(w->one_sided_key) && BRP_RESERVED_OK(w->reserved2);
}

static bool is_blocks(uint32_t bytes, uint32_t block_bytes)
{
	return bytes > 0 && bytes % block_bytes == 0;
}

/* What a session may rely on; a refusal (status not OK) carries none of it. */
static bool grant_ok(const struct brp_login_reply *m)
{
	return brp_volume_size_ok(m->size_blocks, m->block_bytes) && m->max_requests >= 1 &&
	       m->max_requests <= BRP_MAX_JUMBO_REQUESTS && m->queue_depth >= 1 &&
	       m->queue_depth <= BRP_MAX_QUEUE_DEPTH &&
	       is_blocks(m->max_transfer_bytes, m->block_bytes) &&
	       is_blocks(m->preferred_io_bytes, m->block_bytes) &&
	       m->in_capsule_bytes <= BRP_MAX_CAPSULE_BYTES && m->epoch >= 1;
}

int brp_decode_login_reply(const void *buf, size_t len, struct brp_login_reply *ret_m)
{
	const struct brp_wire_login_reply *w = buf;
	struct brp_login_reply m;

	if (!brp_is_setup(buf, len, sizeof(*w), BRP_MSG_LOGIN_REPLY) ||
	    !login_reply_reserved_ok(w) || w->cache > BRP_CACHE_WRITE_BACK)
		return -EPROTO;
	get_login_reply(w, &m);
	if ((m.volume_flags & ~BRP_VOL_KNOWN) || (m.status == BRP_ST_OK && !grant_ok(&m)))
		return -EPROTO;
	if (!brp_get_text(w->reason, sizeof(w->reason), m.reason))
		return -EPROTO;
	*ret_m = m;
	return 0;
}
