/* SPDX-License-Identifier: BSD-2-Clause */
/* Setting a connection up: HELLO, LOGIN and what the target says to them. protocol.md 4. */
#include "initiator/internal.h"

#include <errno.h>
#include <string.h>

#include "brp/status.h"

#define HELLO_BYTES 64
#define LOGIN_BYTES 288

static void no_slot(struct ini_conn *c)
{
	/* Nothing else was sent: the fabric broke its promise of send_count slots. */
	ini_conn_close(c, ini_error_set(&c->why, -ENOBUFS, "no send slot for a login"), true);
}

/* Offered and insisted on. Where the transport has digests of its own, asking for them is answered
 * by that. */
static uint64_t features_wanted(const struct ini_conn *c, bool is_required)
{
	int digest = c->session->opt.digest;
	uint64_t features = 0;

	if (fabric_conn_has_digest(c->fabric) && (digest == 1 || (digest == -1 && !is_required)))
		features |= BRP_FEATURE_DIGEST;
	if (!fabric_conn_is_stream(c->fabric) && !is_required)
		features |= BRP_FEATURE_READ_DATA;
	return features;
}

void ini_setup_hello(struct ini_conn *c)
{
	const struct brp_hello m = {.version_min = BRP_VERSION,
				    .version_max = BRP_VERSION,
				    .features_offered = features_wanted(c, false),
				    .features_required = features_wanted(c, true)};
	void *buf = ini_conn_begin(c, HELLO_BYTES);

	if (!buf) {
		no_slot(c);
		return;
	}
	ini_conn_commit(c, brp_encode_hello(buf, HELLO_BYTES, &m));
	ini_conn_flush(c);
}

static void send_login(struct ini_conn *c)
{
	struct brp_session *s = c->session;
	struct brp_login m = {
		.host_uuid = s->host_uuid,
		.session_uuid = s->session_uuid,
		.epoch = atomic_load(&s->epoch),
		.queue_index = (uint16_t)c->queue->index,
		.queue_count = (uint16_t)s->opt.queues,
		.queue_depth = s->opt.queue_depth,
		.keepalive_ms = s->opt.keepalive_ms,
		.flags = s->opt.read_only ? BRP_LOGIN_READ_ONLY : 0,
	};
	void *buf = ini_conn_begin(c, LOGIN_BYTES);

	if (!buf) {
		no_slot(c);
		return;
	}
	if (s->uri.by_uuid) {
		m.flags |= BRP_LOGIN_BY_UUID;
		m.volume_uuid = s->uri.volume_uuid;
	} else {
		memcpy(m.volume_name, s->uri.volume_name, sizeof(m.volume_name));
	}
	memcpy(m.host_name, s->host_name, sizeof(m.host_name));
	c->login_epoch = m.epoch;
	ini_conn_commit(c, brp_encode_login(buf, LOGIN_BYTES, &m));
	ini_conn_flush(c);
}

static void refused_hello(struct ini_conn *c, const struct brp_hello_reply *m)
{
	struct ini_error *e = &c->why;
	const char *peer = fabric_conn_peer(c->fabric);
	bool is_ours = features_wanted(c, false) & BRP_FEATURE_DIGEST;
	int err = brp_status_to_errno(m->status);

	if (m->status == BRP_ST_BAD_VERSION && m->version == BRP_VERSION)
		ini_error_set(e, err, "%s %s digests (brp-target --digest), and this side %s", peer,
			      is_ours ? "does not do" : "requires",
			      is_ours ? "insists on them" : "was told to do without");
	else if (m->status == BRP_ST_BAD_VERSION)
		ini_error_set(e, err, "%s speaks BRP version %u, this program version %u", peer,
			      m->version, BRP_VERSION);
	else
		ini_error_set(e, err, "%s refused the connection: %s", peer,
			      brp_status_name(m->status));
	c->is_final = m->status == BRP_ST_BAD_VERSION;
	ini_conn_close(c, err, false);
}

/* Nothing is begun while a HELLO is under way, so it cannot fail on a connection that is up. */
static void enable_digest(struct ini_conn *c)
{
	int r = fabric_enable_digest(c->fabric);

	if (r < 0)
		ini_conn_close(c, r, true);
}

void ini_setup_hello_reply(struct ini_conn *c, const void *buf, uint32_t bytes)
{
	struct brp_hello_reply m;

	if (brp_decode_hello_reply(buf, bytes, &m) < 0) {
		ini_conn_protocol_error(c, "malformed HELLO_REPLY");
		return;
	}
	c->has_answer = true;
	if (m.status != BRP_ST_OK) {
		refused_hello(c, &m);
		return;
	}
	if (m.version != BRP_VERSION || (m.features & ~features_wanted(c, false)) ||
	    (features_wanted(c, true) & ~m.features)) {
		ini_conn_protocol_error(c, "HELLO_REPLY with another version or other features");
		return;
	}
	/* Room for a login and one request with its data, or there is no talking to it. */
	if (m.max_message_bytes < LOGIN_BYTES) {
		ini_conn_protocol_error(c, "HELLO_REPLY with an impossible message size");
		return;
	}
	if (m.features & BRP_FEATURE_DIGEST)
		enable_digest(c);
	c->hello = m;
	ini_conn_set_state(c, BRP_CONN_GREETED);
	if (c->session->listing)
		ini_list_request(c);
	else
		send_login(c);
}

static const char *volume_text(const struct brp_uri *uri, char uuid_text[37])
{
	if (!uri->by_uuid)
		return uri->volume_name;
	brp_uuid_format(&uri->volume_uuid, uuid_text);
	return uuid_text;
}

static void refused_login(struct ini_conn *c, const struct brp_login_reply *m)
{
	char uuid_text[37];
	int err = brp_status_to_errno(m->status);

	ini_error_set(&c->why, err, "%s refused volume %s: %s%s%s", fabric_conn_peer(c->fabric),
		      volume_text(&c->session->uri, uuid_text), brp_status_name(m->status),
		      m->reason[0] ? ": " : "", m->reason);
	c->refusal = m->status;
	c->refusal_epoch = m->epoch;
	c->is_final = m->status == BRP_ST_DENIED || m->status == BRP_ST_GONE;
	ini_conn_close(c, err, false);
}

/* What the codec cannot know: it must fit what we asked for. NULL or what is wrong. */
static const char *check_grant(const struct ini_conn *c, const struct brp_login_reply *m)
{
	const struct brp_session *s = c->session;

	if (m->queue_depth > s->opt.queue_depth)
		return "LOGIN_REPLY grants more than was asked for";
	if (m->epoch != c->login_epoch)
		return "LOGIN_REPLY admits another epoch";
	if (m->size_blocks > UINT64_MAX / m->block_bytes)
		return "LOGIN_REPLY with an impossible size";
	if (s->uri.by_uuid && !brp_uuid_equal(&s->uri.volume_uuid, &m->volume_uuid))
		return "LOGIN_REPLY for another volume";
	if (c->queue->link.state == INI_LINK_FIRST && c->queue->index > 0 &&
	    ini_identity_differs(&s->login, m))
		return "LOGIN_REPLY differs from that of the session's first connection";
	return NULL;
}

void ini_setup_ready(struct ini_conn *c, uint64_t epoch)
{
	c->epoch = (uint32_t)epoch;
	c->is_admitted = true;
	atomic_store(&c->session->features, c->hello.features);
	ini_conn_set_state(c, BRP_CONN_READY);
	c->queue->is_up = true;
	c->queue->is_open = true;
}

static void admitted_first(struct brp_queue *q, const struct brp_login_reply *m)
{
	int r = ini_queue_open(q, m);

	if (r < 0) {
		ini_error_set(&q->conn->why, r, "no memory for a queue of %u requests",
			      m->queue_depth);
		ini_conn_close(q->conn, r, true);
		return;
	}
	if (q->index == 0)
		ini_identity_init(q->session, m);
	ini_setup_ready(q->conn, m->epoch);
}

void ini_setup_login_reply(struct ini_conn *c, const void *buf, uint32_t bytes)
{
	struct brp_queue *q = c->queue;
	struct brp_login_reply m;
	const char *what;

	if (c->session->listing || brp_decode_login_reply(buf, bytes, &m) < 0) {
		ini_conn_protocol_error(c, "malformed or unasked LOGIN_REPLY");
		return;
	}
	if (m.status != BRP_ST_OK) {
		refused_login(c, &m);
		return;
	}
	what = check_grant(c, &m);
	if (what) {
		ini_conn_protocol_error(c, what);
		return;
	}
	if (q->link.state == INI_LINK_FIRST)
		admitted_first(q, &m);
	else
		ini_recover_admitted(q, &m);
}
