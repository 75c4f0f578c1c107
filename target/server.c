/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "brp/status.h"
#include "common/log.h"
#include "target/conn.h"
#include "target/listener.h"
#include "target/session.h"
#include "target/ticker.h"

/* Regions of the buffer arena: large enough to be few, small enough that a small target pins
 * little. */
#define REGION_BYTES (16u << 20)

/* ---- fabrics --------------------------------------------------------------------------------- */

static bool wants(const struct server *s, enum brp_transport transport)
{
	for (unsigned int i = 0; i < s->opt.nr_listen; i++) {
		if (s->opt.listen[i].transport == transport)
			return true;
	}
	return false;
}

static int add_fabric(struct server *s, const char *name)
{
	int err = fabric_create(name, &s->fabrics[s->nr_fabrics]);

	if (!err)
		s->nr_fabrics++;
	return err;
}

/* Nobody asked for it: its absence is worth a notice, not an error. */
static void add_rdma_if_there(struct server *s)
{
	struct log_capture why;
	int err;

	log_capture(&why);
	err = add_fabric(s, "verbs");
	log_capture(NULL);
	if (err)
		log_notice("serving TCP only: %s", why.text);
}

/*
 * Asked for by --listen: must be there. Not asked for at all: TCP always, RDMA if the machine has a
 * device, and it is said when it has none.
 */
static int open_fabrics(struct server *s)
{
	bool is_default = !s->opt.nr_listen;
	int err = 0;

	if (is_default || wants(s, BRP_TRANSPORT_TCP))
		err = add_fabric(s, "tcp");
	if (err)
		return err;
	if (wants(s, BRP_TRANSPORT_RDMA))
		return add_fabric(s, "verbs");
	if (is_default)
		add_rdma_if_there(s);
	return 0;
}

/* ---- volumes --------------------------------------------------------------------------------- */

static bool is_name_taken(const struct server *s, const char *name)
{
	for (unsigned int i = 0; i < s->nr_volumes; i++) {
		if (!strcmp(s->volumes[i]->name, name))
			return true;
	}
	return false;
}

static int register_volume(struct server *s, struct volume *v)
{
	int err = 0;

	for (unsigned int i = 0; i < s->nr_fabrics && !err; i++)
		err = volume_register(v, s->fabrics[i], i);
	return err;
}

static void announce(const struct volume *v)
{
	char uuid[37];

	brp_uuid_format(&v->info.uuid, uuid);
	log_notice("volume %s: %s, %llu MiB, blocks of %u, %s%s, uuid %s", v->name, bk_kind(v->bk),
		   (unsigned long long)(v->info.size_bytes >> 20), v->info.block_bytes,
		   v->info.cache == BRP_CACHE_WRITE_BACK ? "write-back" : "write-through",
		   v->info.volume_flags & BRP_VOL_READ_ONLY ? ", read-only" : "", uuid);
}

static int open_volumes(struct server *s)
{
	for (unsigned int i = 0; i < s->opt.nr_volumes; i++) {
		struct volume_config *cfg = &s->opt.volumes[i];
		struct volume *v;
		int err;

		if (is_name_taken(s, cfg->name)) {
			log_error("two volumes named %s; give one another name with name=",
				  cfg->name);
			return -EEXIST;
		}
		cfg->spec.is_unsafe_no_flush = s->opt.is_unsafe_no_flush;
		err = volume_open(cfg, s->opt.is_serial, &v);
		if (err)
			return err;
		s->volumes[s->nr_volumes++] = v;
		err = register_volume(s, v);
		if (err)
			return err;
		announce(v);
	}
	return 0;
}

struct volume *server_find_volume(struct server *s, const struct brp_login *login)
{
	for (unsigned int i = 0; i < s->nr_volumes; i++) {
		struct volume *v = s->volumes[i];

		if (login->flags & BRP_LOGIN_BY_UUID
			    ? brp_uuid_equal(&v->info.uuid, &login->volume_uuid)
			    : !strcmp(v->name, login->volume_name))
			return v;
	}
	return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static int listen_all(struct server *s)
{
	int err = 0;

	if (!s->opt.nr_listen)
		return listener_add_default(s);
	for (unsigned int i = 0; i < s->opt.nr_listen && !err; i++)
		err = listener_add(s, &s->opt.listen[i]);
	return err;
}

static void make_run_id(struct server *s)
{
	while (getrandom(&s->run_id, sizeof(s->run_id), 0) != sizeof(s->run_id))
		;
}

static int start(struct server *s)
{
	const struct pool_options pool = {.threads = s->opt.threads, .poll_us = s->opt.poll_us};
	int err = open_fabrics(s);

	if (!err)
		err = open_volumes(s);
	if (!err)
		err = buffers_init(&s->buffers, s->fabrics, s->nr_fabrics, REGION_BYTES,
				   s->opt.buffer_bytes, s->opt.numa_node);
	if (!err)
		err = pool_create(&pool, &s->pool);
	if (!err)
		err = ticker_create(s, &s->ticker);
	if (!err)
		err = listen_all(s);
	if (!err)
		err = pool_start(s->pool);
	return err;
}

static void free_everything(struct server *s)
{
	pool_destroy(s->pool);
	ticker_destroy(s->ticker);
	sessions_finish(s);
	if (s->buffers.arena)
		buffers_finish(&s->buffers);
	for (unsigned int i = 0; i < s->nr_volumes; i++) {
		for (unsigned int f = 0; f < s->nr_fabrics; f++)
			volume_unregister(s->volumes[i], f);
		volume_close(s->volumes[i]);
	}
	for (unsigned int f = 0; f < s->nr_fabrics; f++)
		fabric_destroy(s->fabrics[f]);
	pthread_cond_destroy(&s->conn_left);
	pthread_mutex_destroy(&s->lock);
}

int server_start(struct server *s, const struct server_options *opt)
{
	pthread_condattr_t attr;
	int err;

	memset(s, 0, sizeof(*s));
	s->opt = *opt;
	list_init(&s->conns);
	list_init(&s->sessions);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->conn_left, &attr);
	pthread_condattr_destroy(&attr);
	make_run_id(s);
	if (opt->is_unsafe_no_fence)
		log_warning("--unsafe-no-fence: late writes of old sessions are let through on "
			    "purpose: this target damages data");
	err = start(s);
	if (err)
		free_everything(s);
	return err;
}

static void order_all(struct server *s, unsigned int order)
{
	struct list *pos;

	list_for_each (pos, &s->conns)
		conn_order(list_entry(pos, struct conn, server_link), order);
}

/* server.lock is held. True when all connections have left before the deadline. */
static bool wait_for_conns(struct server *s, unsigned int ms)
{
	struct timespec until;
	uint64_t at = now_ns() + ms * NS_PER_MS;

	until.tv_sec = (time_t)(at / NS_PER_S);
	until.tv_nsec = (long)(at % NS_PER_S);
	while (s->nr_conns) {
		if (pthread_cond_timedwait(&s->conn_left, &s->lock, &until) == ETIMEDOUT)
			break;
	}
	return !s->nr_conns;
}

void server_stop(struct server *s, unsigned int grace_ms)
{
	listeners_stop(s);
	pthread_mutex_lock(&s->lock);
	s->is_stopping = true;
	order_all(s, CONN_ORDER_DRAIN);
	if (!wait_for_conns(s, grace_ms)) {
		log_warning("cutting off %u connections that did not end within %u ms", s->nr_conns,
			    grace_ms);
		order_all(s, CONN_ORDER_ABORT);
		/* What is left waits for its device only; that cannot be given up without breaking
		 * the fence. */
		while (s->nr_conns)
			pthread_cond_wait(&s->conn_left, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	free_everything(s);
}
