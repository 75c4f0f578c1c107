/* SPDX-License-Identifier: BSD-2-Clause */
/* What a connection says before and beside its I/O: HELLO, LIST, LOGIN with the admission barrier,
 * keep-alive, goodbye. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "brp/status.h"
#include "common/log.h"
#include "target/conn.h"
#include "target/server.h"
#include "target/session.h"

/* ---- HELLO, LIST ----------------------------------------------------------------------------- */

/* Encodes and queues one message, for which there is a send slot (conn_setup_message()). */
#define SEND(c, bytes, encode, ...)                                                    \
	({                                                                             \
		void *buf_ = fabric_msg_begin((c)->fc, bytes);                         \
		int len_ = buf_ ? encode(buf_, bytes, __VA_ARGS__) : -EAGAIN;          \
		len_ > 0 ? fabric_msg_commit((c)->fc, (uint32_t)len_, NULL, 0) : len_; \
	})

static void negotiate(const struct conn *c, const struct brp_hello *hello,
		      struct brp_hello_reply *reply)
{
	enum server_digest digest = c->server->opt.digest;
	uint64_t supported = 0, demanded = 0;

	if (!fabric_conn_is_stream(c->fc))
		supported |= BRP_FEATURE_READ_DATA;
	if (fabric_conn_has_digest(c->fc)) {
		bool is_asked = hello->features_required & BRP_FEATURE_DIGEST;

		if (digest >= SERVER_DIGEST_ON || (digest == SERVER_DIGEST_ALLOW && is_asked))
			supported |= BRP_FEATURE_DIGEST;
		if (digest == SERVER_DIGEST_REQUIRE)
			demanded |= BRP_FEATURE_DIGEST;
	}
	brp_negotiate(hello, supported, demanded, reply);
}

static void greet(struct conn *c, const struct brp_hello_reply *reply)
{
	c->has_digest = reply->features & BRP_FEATURE_DIGEST;
	c->limits.has_read_data = reply->features & BRP_FEATURE_READ_DATA;
	conn_set_state(c, BRP_CONN_GREETED);
	if (c->has_digest && fabric_enable_digest(c->fc))
		conn_protocol_error(c, "sent more than HELLO before the reply");
}

static void refuse_hello(struct conn *c, const struct brp_hello *hello)
{
	if (hello->version_min <= BRP_VERSION && BRP_VERSION <= hello->version_max)
		log_peer(LOG_NOTICE,
			 "%s: refused: wants features 0x%llx and needs 0x%llx; digests are %s here "
			 "(--digest)",
			 fabric_conn_peer(c->fc), (unsigned long long)hello->features_offered,
			 (unsigned long long)hello->features_required,
			 c->server->opt.digest == SERVER_DIGEST_REQUIRE ? "required"
									: "optional or off");
	else
		log_peer(LOG_NOTICE, "%s: speaks protocol versions %u to %u, we speak %u",
			 fabric_conn_peer(c->fc), hello->version_min, hello->version_max,
			 BRP_VERSION);
	conn_set_state(c, BRP_CONN_CLOSING);
	fabric_close(c->fc, false);
}

static void on_hello(struct conn *c, const void *buf, uint32_t bytes)
{
	struct brp_hello hello;
	struct brp_hello_reply reply = {0};

	if (brp_decode_hello(buf, bytes, &hello)) {
		conn_protocol_error(c, "malformed HELLO");
		return;
	}
	negotiate(c, &hello, &reply);
	reply.max_message_bytes = BRP_MAX_TARGET_MSG_BYTES;
	reply.boot_id = c->server->run_id;
	SEND(c, BRP_MAX_INITIATOR_MSG_BYTES, brp_encode_hello_reply, &reply);
	if (reply.status == BRP_ST_OK)
		greet(c, &reply);
	else
		refuse_hello(c, &hello);
}

static void on_list(struct conn *c, const void *buf, uint32_t bytes)
{
	struct brp_list_entry entries[BRP_MAX_LIST_ENTRIES];
	struct brp_list_reply reply = {.status = BRP_ST_OK};
	struct brp_list list;

	if (brp_decode_list(buf, bytes, &list)) {
		conn_protocol_error(c, "malformed LIST");
		return;
	}
	reply.first = list.first;
	reply.count = (uint16_t)volumes_list(c->server, list.first, BRP_MAX_LIST_ENTRIES, entries,
					     &reply.total);
	SEND(c, BRP_MAX_INITIATOR_MSG_BYTES, brp_encode_list_reply, &reply, entries);
}

/* ---- LOGIN ----------------------------------------------------------------------------------- */

static void send_login_reply(struct conn *c, const struct brp_login_reply *reply)
{
	SEND(c, BRP_MAX_INITIATOR_MSG_BYTES, brp_encode_login_reply, reply);
}

static void refuse(struct conn *c, enum brp_status_code st, uint64_t epoch, const char *why)
{
	struct brp_login_reply reply = {.status = (uint16_t)st, .epoch = epoch};

	snprintf(reply.reason, sizeof(reply.reason), "%s", why);
	if (c->volume)
		reply.boot_id = c->volume->info.boot_id;
	log_peer(LOG_NOTICE, "%s: login to \"%s\" refused: %s: %s", fabric_conn_peer(c->fc),
		 c->login.volume_name, brp_status_name((uint16_t)st), why);
	server_count(c->server, st == BRP_ST_STALE_EPOCH ? TARGET_COUNT_logins_stale
							 : TARGET_COUNT_logins_refused);
	send_login_reply(c, &reply);
	conn_set_state(c, BRP_CONN_CLOSING);
	fabric_close(c->fc, false);
}

/* Small blocks travel in the message; a volume with larger blocks than that pulls everything. */
static uint32_t in_capsule_bytes(const struct volume *v)
{
	return v->info.block_bytes <= BRP_DEFAULT_IN_CAPSULE_BYTES ? BRP_DEFAULT_IN_CAPSULE_BYTES
								   : 0;
}

static void set_limits(struct conn *c)
{
	const struct volume *v = c->volume;
	bool is_read_only = c->login.flags & BRP_LOGIN_READ_ONLY;
	uint32_t max_depth = MIN(c->server->opt.max_queue_depth, requests_max_depth(c));

	c->limits = (struct brp_limits){
		.epoch = (uint32_t)c->login.epoch,
		.queue_depth = MIN(c->login.queue_depth, max_depth),
		.max_requests = BRP_MAX_JUMBO_REQUESTS,
		.block_bytes = v->info.block_bytes,
		.max_transfer_bytes = BRP_DEFAULT_TRANSFER_BYTES,
		.in_capsule_bytes = in_capsule_bytes(v),
		.size_blocks = volume_blocks(v),
		.volume_flags = volume_flags(v, is_read_only),
		.has_read_data = c->limits.has_read_data,
	};
}

static void fill_login_reply(const struct conn *c, struct brp_login_reply *reply)
{
	const struct volume *v = c->volume;

	*reply = (struct brp_login_reply){
		.status = BRP_ST_OK,
		.max_requests = (uint16_t)c->limits.max_requests,
		.queue_depth = c->limits.queue_depth,
		.volume_uuid = v->info.uuid,
		.generation = v->info.generation,
		.boot_id = v->info.boot_id,
		.size_blocks = c->limits.size_blocks,
		.block_bytes = c->limits.block_bytes,
		.max_transfer_bytes = c->limits.max_transfer_bytes,
		.in_capsule_bytes = c->limits.in_capsule_bytes,
		.volume_flags = c->limits.volume_flags,
		.cache = v->info.cache,
		.epoch = c->login.epoch,
		.keepalive_ms = c->login.keepalive_ms,
		.preferred_io_bytes = v->info.preferred_io_bytes,
	};
}

/* Everything the session will need, or a refusal with the reason (design.md 5, "Memory"). */
static int reserve(struct conn *c)
{
	int err;

	set_limits(c);
	err = requests_init(c);
	if (!err)
		err = bk_queue_create(c->volume->bk, c->requests.nr_all, &c->queue);
	if (!err && c->requests.slab)
		bk_queue_use_memory(c->queue, c->requests.slab, c->requests.slab_bytes);
	if (!err && bk_queue_fd(c->queue) >= 0)
		err = pool_task_add_fd(&c->task, bk_queue_fd(c->queue));
	return err;
}

static const char *why_not_reserved(int err)
{
	switch (err) {
	case -ENOMEM:
		return "the target's I/O buffers are used up (--buffer-memory); ask for fewer "
		       "queues or a smaller queue size";
	case -ENOBUFS:
		return "the target cannot open another queue to the device (fs.aio-max-nr)";
	case -EMFILE:
	case -ENFILE:
		return "the target has no file descriptors left (ulimit -n, LimitNOFILE=)";
	default:
		return "the target cannot open another queue to the device; its log says why";
	}
}

static void admit(struct conn *c)
{
	struct brp_login_reply reply;
	int err = reserve(c);

	if (err) {
		refuse(c, BRP_ST_NO_RESOURCES, c->login.epoch, why_not_reserved(err));
		return;
	}
	c->keepalive_ms = c->login.keepalive_ms;
	conn_set_state(c, BRP_CONN_READY);
	fill_login_reply(c, &reply);
	server_count(c->server, TARGET_COUNT_logins);
	send_login_reply(c, &reply);
	log_info("%s: %s logged in to %s, queue %u of %u, depth %u, epoch %llu",
		 fabric_conn_peer(c->fc), c->login.host_name, c->volume->name, c->login.queue_index,
		 c->login.queue_count, c->limits.queue_depth, (unsigned long long)c->login.epoch);
}

static void wait_at_barrier(struct conn *c)
{
	server_count(c->server, TARGET_COUNT_logins_waited);
	conn_set_state(c, BRP_CONN_ADMITTING);
}

void conn_try_admission(struct conn *c)
{
	enum brp_status_code st;
	bool must_wait;
	uint64_t epoch;
	const char *why;

	st = session_enter(c->server, c, &c->login, &must_wait, &epoch, &why);
	if (st != BRP_ST_OK)
		refuse(c, st, epoch, why);
	else if (!must_wait)
		admit(c);
	else if (c->state != BRP_CONN_ADMITTING)
		wait_at_barrier(c);
}

/* An initiator that was away when its volume was removed must hear it, or it would wait for ever.
 */
static void refuse_volume(struct conn *c)
{
	if (volumes_was_removed(c->server, &c->login))
		refuse(c, BRP_ST_GONE, 0, "it was removed here");
	else
		refuse(c, BRP_ST_NO_VOLUME, 0, "no such volume on this target");
}

static void on_login(struct conn *c, const void *buf, uint32_t bytes)
{
	if (brp_decode_login(buf, bytes, &c->login)) {
		conn_protocol_error(c, "malformed LOGIN");
		return;
	}
	c->is_set_up = true;
	if (!volumes_get(c->server, c)) {
		refuse_volume(c);
		return;
	}
	conn_try_admission(c);
}

/* ---- beside the I/O -------------------------------------------------------------------------- */

static void on_keepalive(struct conn *c, const void *buf, uint32_t bytes)
{
	struct brp_keepalive k;

	if (brp_decode_keepalive(buf, bytes, &k)) {
		conn_protocol_error(c, "malformed KEEPALIVE");
		return;
	}
	c->owes_keepalive = true;
	c->keepalive_sequence = k.sequence;
}

static void on_goodbye(struct conn *c, const void *buf, uint32_t bytes)
{
	struct brp_goodbye g;

	if (brp_decode_goodbye(buf, bytes, &g)) {
		conn_protocol_error(c, "malformed GOODBYE");
		return;
	}
	if (g.status != BRP_ST_OK)
		log_peer(LOG_NOTICE, "%s: leaves: %s: %s", fabric_conn_peer(c->fc),
			 brp_status_name(g.status), g.text);
	conn_set_state(c, BRP_CONN_CLOSING);
	fabric_close(c->fc, false);
}

/* Answered by one message each. A peer may ask for more than it has read the answers to. */
static bool is_question(enum brp_msg_type type)
{
	return type == BRP_MSG_HELLO || type == BRP_MSG_LIST || type == BRP_MSG_LOGIN;
}

int conn_setup_message(struct conn *c, const struct brp_header *h, const void *buf, uint32_t bytes)
{
	if (is_question(h->type) && !fabric_msg_begin(c->fc, BRP_MAX_INITIATOR_MSG_BYTES))
		return -EAGAIN;
	switch (h->type) {
	case BRP_MSG_HELLO:
		on_hello(c, buf, bytes);
		break;
	case BRP_MSG_LIST:
		on_list(c, buf, bytes);
		break;
	case BRP_MSG_LOGIN:
		on_login(c, buf, bytes);
		break;
	case BRP_MSG_KEEPALIVE:
		on_keepalive(c, buf, bytes);
		break;
	case BRP_MSG_GOODBYE:
		on_goodbye(c, buf, bytes);
		break;
	default: /* KEEPALIVE_REPLY: having been heard is all there is to it */
		break;
	}
	return 0;
}
