/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/report.h"

#include <unistd.h>

#include "brp/status.h"
#include "target/conn.h"
#include "target/session.h"

static json_t *uuid_json(const struct brp_uuid *u)
{
	char text[37];

	brp_uuid_format(u, text);
	return json_string(text);
}

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)v);
}

/* ---- counters -------------------------------------------------------------------------------- */

static json_t *io_json(const struct io_counters *c)
{
	json_t *j = json_object();

#define X(name, text) json_object_set_new(j, #name, number(c->v[IO_COUNT_##name]));
	IO_COUNTERS(X)
#undef X
	return j;
}

static json_t *counters_json(const struct target_counters *c)
{
	json_t *j = json_object();

#define X(name, text) json_object_set_new(j, #name, number(c->v[TARGET_COUNT_##name]));
	TARGET_COUNTERS(X)
#undef X
	return j;
}

/* server.lock is held: of those who left, and of those who are there. */
static void sum_io(struct server *s, const struct volume *v, struct io_counters *sum)
{
	struct list *pos;

	io_counters_add(sum, &v->io);
	list_for_each (pos, &s->conns) {
		const struct conn *c = list_entry(pos, struct conn, server_link);

		if (c->volume == v)
			io_counters_add(sum, &c->io);
	}
}

/* ---- volumes --------------------------------------------------------------------------------- */

static json_t *volume_json(struct server *s, const struct volume *v)
{
	const struct bk_info *info = &v->info;
	struct io_counters io = {0};
	json_t *j;

	sum_io(s, v, &io);
	j = json_pack("{ss ss ss ss sI sI ss sb sb sI}", "name", v->name, "spec", v->dev, "kind",
		      bk_kind(v->bk), "state", v->is_removed ? "removing" : "on offer",
		      "size_bytes", (json_int_t)v->size_bytes, "block_bytes",
		      (json_int_t)info->block_bytes, "cache",
		      info->cache == BRP_CACHE_WRITE_BACK ? "write-back" : "write-through",
		      "read_only", !!(info->volume_flags & BRP_VOL_READ_ONLY), "configured",
		      v->is_configured, "connections", (json_int_t)v->nr_users);
	json_object_set_new(j, "uuid", uuid_json(&info->uuid));
	json_object_set_new(j, "generation",
			    json_sprintf("%016llx", (unsigned long long)info->generation));
	json_object_set_new(j, "boot_id", uuid_json(&info->boot_id));
	json_object_set_new(j, "io", io_json(&io));
	return j;
}

static void append_volumes(struct server *s, const struct list *from, json_t *array)
{
	struct list *pos;

	list_for_each (pos, from)
		json_array_append_new(array, volume_json(s, list_entry(pos, struct volume, link)));
}

static json_t *volumes_json(struct server *s)
{
	json_t *array = json_array();

	pthread_mutex_lock(&s->lock);
	append_volumes(s, &s->volumes, array);
	append_volumes(s, &s->removed, array);
	pthread_mutex_unlock(&s->lock);
	return array;
}

json_t *report_volumes(struct server *s)
{
	return json_pack("{so}", "volumes", volumes_json(s));
}

/* ---- sessions -------------------------------------------------------------------------------- */

static json_t *conn_json(const struct conn *c)
{
	return json_pack("{ss ss sI sI so}", "peer", c->peer, "transport",
			 fabric_name(c->server->fabrics[c->fabric_index]), "queue",
			 (json_int_t)c->login.queue_index, "epoch", (json_int_t)c->epoch, "io",
			 io_json(&c->io));
}

/* What its first connection says of all; connections at the barrier are there too. */
static json_t *session_json(const struct session *n)
{
	json_t *conns = json_array();
	json_t *waiting = json_array();
	const struct conn *any = NULL;
	struct list *pos;
	json_t *j;

	list_for_each (pos, &n->members) {
		any = list_entry(pos, struct conn, session_link);
		json_array_append_new(conns, conn_json(any));
	}
	list_for_each (pos, &n->waiting) {
		any = list_entry(pos, struct conn, session_link);
		json_array_append_new(waiting, conn_json(any));
	}
	j = json_pack("{ss ss sI so so}", "host", any->login.host_name, "volume",
		      any->volume ? any->volume->name : "", "epoch", (json_int_t)n->epoch,
		      "connections", conns, "waiting", waiting);
	json_object_set_new(j, "session_uuid", uuid_json(&n->uuid));
	json_object_set_new(j, "host_uuid", uuid_json(&n->host_uuid));
	return j;
}

static json_t *sessions_json(struct server *s)
{
	json_t *array = json_array();
	struct list *pos;

	pthread_mutex_lock(&s->lock);
	list_for_each (pos, &s->sessions) {
		const struct session *n = list_entry(pos, struct session, link);

		if (!list_empty(&n->members) || !list_empty(&n->waiting))
			json_array_append_new(array, session_json(n));
	}
	pthread_mutex_unlock(&s->lock);
	return array;
}

json_t *report_sessions(struct server *s)
{
	return json_pack("{so}", "sessions", sessions_json(s));
}

/* ---- the rest -------------------------------------------------------------------------------- */

json_t *report_stats(struct server *s)
{
	json_t *io = json_object();
	struct list *pos;

	pthread_mutex_lock(&s->lock);
	list_for_each (pos, &s->volumes) {
		const struct volume *v = list_entry(pos, struct volume, link);
		struct io_counters sum = {0};

		sum_io(s, v, &sum);
		json_object_set_new(io, v->name, io_json(&sum));
	}
	pthread_mutex_unlock(&s->lock);
	return json_pack("{so so}", "counters", counters_json(&s->counters), "volumes", io);
}

static json_t *listeners_json(const struct server *s)
{
	char text[LISTENER_NAME_BYTES];
	json_t *array = json_array();

	for (unsigned int i = 0; i < s->listeners.nr_tasks; i++) {
		listener_name(s, i, text);
		json_array_append_new(array, json_string(text));
	}
	return array;
}

json_t *report_status(struct server *s)
{
	size_t used = arena_bytes_used(s->buffers.arena);
	size_t reserved = arena_bytes_reserved(s->buffers.arena);
	unsigned int nr_conns;

	pthread_mutex_lock(&s->lock);
	nr_conns = s->nr_conns;
	pthread_mutex_unlock(&s->lock);
	return json_pack("{sI so sI so sI sI sI s{sI sI sI}}", "pid", (json_int_t)getpid(),
			 "run_id", uuid_json(&s->run_id), "uptime_s",
			 (json_int_t)((now_ns() - s->started_ns) / NS_PER_S), "listening",
			 listeners_json(s), "addresses_not_there",
			 (json_int_t)s->listeners.nr_pending, "volumes", (json_int_t)s->nr_volumes,
			 "connections", (json_int_t)nr_conns, "buffers", "used_bytes",
			 (json_int_t)used, "reserved_bytes", (json_int_t)reserved, "max_bytes",
			 (json_int_t)s->opt.buffer_bytes);
}
