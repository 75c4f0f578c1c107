/* SPDX-License-Identifier: BSD-2-Clause */
/* LOGIN and LOGIN_REPLY. */
#include "tests/fuzz/fuzz.h"

static void check_text(const char *text, size_t n)
{
	CHECK(strnlen(text, n) < n);
	for (; *text; text++)
		CHECK((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void check_login(const struct brp_login *m)
{
	CHECK(m->epoch >= 1);
	CHECK(m->queue_count <= BRP_MAX_QUEUES && m->queue_index < m->queue_count);
	CHECK(m->queue_depth >= 1);
	check_text(m->volume_name, sizeof(m->volume_name));
	check_text(m->host_name, sizeof(m->host_name));
}

static void check_grant(const struct brp_login_reply *m)
{
	CHECK(m->block_bytes >= BRP_MIN_BLOCK_BYTES && m->block_bytes <= BRP_MAX_BLOCK_BYTES);
	CHECK((m->block_bytes & (m->block_bytes - 1)) == 0);
	CHECK(m->max_transfer_bytes && m->max_transfer_bytes % m->block_bytes == 0);
	CHECK(m->preferred_io_bytes && m->preferred_io_bytes % m->block_bytes == 0);
	CHECK(m->queue_depth >= 1 && m->queue_depth <= BRP_MAX_QUEUE_DEPTH);
	CHECK(m->max_requests >= 1 && m->max_requests <= BRP_MAX_JUMBO_REQUESTS);
	CHECK(m->in_capsule_bytes <= BRP_MAX_CAPSULE_BYTES);
	CHECK(m->size_blocks <= INT64_MAX / m->block_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct brp_login_reply reply;
	struct brp_login login;
	uint8_t made[288];

	if (brp_decode_login(data, len, &login) == 0) {
		check_same_bytes(made, brp_encode_login(made, sizeof(made), &login), data, len);
		check_login(&login);
	}
	if (brp_decode_login_reply(data, len, &reply) == 0) {
		check_same_bytes(made, brp_encode_login_reply(made, sizeof(made), &reply), data,
				 len);
		check_text(reply.reason, sizeof(reply.reason));
		if (reply.status == BRP_ST_OK)
			check_grant(&reply);
	}
	return 0;
}
