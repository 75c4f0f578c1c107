/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/volumes.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "brp/status.h"
#include "common/log.h"
#include "target/conn.h"
#include "target/server.h"

static struct volume *to_volume(struct list *node)
{
	return list_entry(node, struct volume, link);
}

/* ---- looking things up ----------------------------------------------------------------------- */

struct volume *volumes_find(struct server *s, const char *name)
{
	struct list *pos;

	list_for_each (pos, &s->volumes) {
		if (!strcmp(to_volume(pos)->name, name))
			return to_volume(pos);
	}
	return NULL;
}

/* Only the control thread changes either list. */
bool volumes_is_closing(struct server *s, const char *name)
{
	struct list *pos;

	list_for_each (pos, &s->removed) {
		if (!strcmp(to_volume(pos)->name, name))
			return true;
	}
	return false;
}

static bool is_meant(const struct volume *v, const struct brp_login *login)
{
	return login->flags & BRP_LOGIN_BY_UUID ? brp_uuid_equal(&v->info.uuid, &login->volume_uuid)
						: !strcmp(v->name, login->volume_name);
}

bool volumes_get(struct server *s, struct conn *c)
{
	struct list *pos;

	pthread_mutex_lock(&s->lock);
	list_for_each (pos, &s->volumes) {
		if (is_meant(to_volume(pos), &c->login)) {
			c->volume = to_volume(pos);
			c->volume->nr_users++;
			break;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return c->volume;
}

void volumes_put(struct server *s, struct conn *c)
{
	struct volume *v = c->volume;

	if (!v)
		return;
	c->volume = NULL;
	io_counters_add(&v->io, &c->io);
	if (!--v->nr_users && v->is_removed)
		eventfd_write(s->control_fd, 1);
}

/* ---- what was removed ------------------------------------------------------------------------ */

/* server.lock is held, as for the next two. */
static void remember_gone(struct server *s, const struct volume *v)
{
	struct gone_volume *g = &s->gone[s->next_gone++ % TARGET_MAX_GONE];

	g->uuid = v->info.uuid;
	memcpy(g->name, v->name, sizeof(g->name));
}

/* Something of this name, or itself, is there again. */
static void forget_gone(struct server *s, const struct volume *v)
{
	for (unsigned int i = 0; i < TARGET_MAX_GONE; i++) {
		struct gone_volume *g = &s->gone[i];

		if (!strcmp(g->name, v->name) || brp_uuid_equal(&g->uuid, &v->info.uuid))
			*g = (struct gone_volume){0};
	}
}

static bool is_gone(const struct server *s, const struct brp_login *login)
{
	for (unsigned int i = 0; i < TARGET_MAX_GONE; i++) {
		const struct gone_volume *g = &s->gone[i];

		if (g->name[0] && (login->flags & BRP_LOGIN_BY_UUID
					   ? brp_uuid_equal(&g->uuid, &login->volume_uuid)
					   : !strcmp(g->name, login->volume_name)))
			return true;
	}
	return false;
}

bool volumes_was_removed(struct server *s, const struct brp_login *login)
{
	bool result;

	pthread_mutex_lock(&s->lock);
	result = is_gone(s, login);
	pthread_mutex_unlock(&s->lock);
	return result;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void fill_entry(const struct volume *v, struct brp_list_entry *e)
{
	memset(e, 0, sizeof(*e));
	e->uuid = v->info.uuid;
	e->size_blocks = volume_blocks(v);
	e->block_bytes = v->info.block_bytes;
	e->volume_flags = volume_flags(v, false);
	e->generation = v->info.generation;
	e->cache = v->info.cache;
	memcpy(e->name, v->name, sizeof(e->name));
}

unsigned int volumes_list(struct server *s, uint32_t first, unsigned int max,
			  struct brp_list_entry *ret_entries, uint32_t *ret_total)
{
	unsigned int n = 0;
	uint32_t at = 0;
	struct list *pos;

	pthread_mutex_lock(&s->lock);
	list_for_each (pos, &s->volumes) {
		if (at++ >= first && n < max)
			fill_entry(to_volume(pos), &ret_entries[n++]);
	}
	*ret_total = s->nr_volumes;
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static void announce(const struct volume *v)
{
	char uuid[37];

	brp_uuid_format(&v->info.uuid, uuid);
	log_notice("volume %s: %s, %llu MiB, blocks of %u, %s%s, uuid %s", v->name, bk_kind(v->bk),
		   (unsigned long long)(v->info.size_bytes >> 20), v->info.block_bytes,
		   v->info.cache == BRP_CACHE_WRITE_BACK ? "write-back" : "write-through",
		   v->info.volume_flags & BRP_VOL_READ_ONLY ? ", read-only" : "", uuid);
}

static int register_all(struct server *s, struct volume *v)
{
	int err = 0;

	for (unsigned int i = 0; i < s->nr_fabrics && !err; i++)
		err = volume_register(v, s->fabrics[i], i);
	return err;
}

static void close_volume(struct server *s, struct volume *v)
{
	for (unsigned int i = 0; i < s->nr_fabrics; i++)
		volume_unregister(v, i);
	volume_close(v);
}

int volumes_add(struct server *s, const struct volume_config *c, bool is_configured)
{
	struct volume_config cfg = *c;
	struct volume *v;
	int err;

	if (volumes_find(s, c->name)) {
		log_error("two volumes named %s; give one another name with name=", c->name);
		return -EEXIST;
	}
	if (s->nr_volumes == TARGET_MAX_VOLUMES) {
		log_error("more than %d volumes", TARGET_MAX_VOLUMES);
		return -E2BIG;
	}
	cfg.spec.is_unsafe_no_flush = s->opt.is_unsafe_no_flush;
	cfg.spec.engine = s->opt.engine;
	if (cfg.spec.numa_node < 0)
		cfg.spec.numa_node = s->numa_node;
	err = volume_open(&cfg, s->opt.is_serial, &v);
	if (err)
		return err;
	v->is_configured = is_configured;
	err = register_all(s, v);
	if (err) {
		close_volume(s, v);
		return err;
	}
	announce(v);
	pthread_mutex_lock(&s->lock);
	list_add_tail(&s->volumes, &v->link);
	s->nr_volumes++;
	forget_gone(s, v);
	pthread_mutex_unlock(&s->lock);
	server_count(s, TARGET_COUNT_volumes_added);
	return 0;
}

/* ---- removing -------------------------------------------------------------------------------- */

/* server.lock is held. */
static void order_users(struct server *s, const struct volume *v, unsigned int order)
{
	struct list *pos;

	list_for_each (pos, &s->conns) {
		struct conn *c = list_entry(pos, struct conn, server_link);

		if (c->volume == v)
			conn_order(c, order);
	}
}

int volumes_remove(struct server *s, const char *name)
{
	struct volume *v = volumes_find(s, name);
	unsigned int nr_users;

	if (!v) {
		log_error("no volume named %s", name);
		return -ENOENT;
	}
	pthread_mutex_lock(&s->lock);
	list_del(&v->link);
	list_add_tail(&s->removed, &v->link);
	s->nr_volumes--;
	v->is_removed = true;
	remember_gone(s, v);
	nr_users = v->nr_users;
	order_users(s, v, CONN_ORDER_REMOVED);
	pthread_mutex_unlock(&s->lock);
	server_count(s, TARGET_COUNT_volumes_removed);
	log_notice("volume %s: removed%s", v->name,
		   nr_users ? "; its initiators are told and finish what is in flight" : "");
	volumes_close_removed(s);
	return 0;
}

void volumes_close_removed(struct server *s)
{
	struct list *pos;
	struct list *tmp;
	struct list closing;

	list_init(&closing);
	pthread_mutex_lock(&s->lock);
	list_for_each_safe (pos, tmp, &s->removed) {
		if (!to_volume(pos)->nr_users) {
			list_del(pos);
			list_add_tail(&closing, pos);
		}
	}
	pthread_mutex_unlock(&s->lock);
	while ((pos = list_pop(&closing))) {
		log_info("volume %s: closed", to_volume(pos)->name);
		close_volume(s, to_volume(pos));
	}
}

void volumes_close_all(struct server *s)
{
	struct list *pos;
	struct list *tmp;

	pthread_mutex_lock(&s->lock);
	list_for_each_safe (pos, tmp, &s->volumes) {
		struct volume *v = to_volume(pos);

		list_del(pos);
		list_add_tail(&s->removed, pos);
		s->nr_volumes--;
		v->is_removed = true;
	}
	pthread_mutex_unlock(&s->lock);
	volumes_close_removed(s);
	pthread_mutex_lock(&s->lock);
	list_for_each (pos, &s->removed)
		log_error("volume %s: %u connections still have requests in the device",
			  to_volume(pos)->name, to_volume(pos)->nr_users);
	pthread_mutex_unlock(&s->lock);
}

/* ---- resizing -------------------------------------------------------------------------------- */

int volumes_resize(struct server *s, const char *name, uint64_t set_bytes, bool may_shrink,
		   uint64_t *ret_bytes)
{
	struct volume *v = volumes_find(s, name);
	uint64_t old;
	int err;

	if (!v) {
		log_error("no volume named %s", name);
		return -ENOENT;
	}
	old = v->size_bytes;
	err = bk_resize(v->bk, set_bytes, may_shrink, ret_bytes);
	if (err || *ret_bytes == old)
		return err;
	v->size_bytes = *ret_bytes;
	pthread_mutex_lock(&s->lock);
	order_users(s, v, CONN_ORDER_RESIZED);
	pthread_mutex_unlock(&s->lock);
	server_count(s, TARGET_COUNT_volumes_resized);
	log_notice("volume %s: %llu MiB now, %llu before", v->name,
		   (unsigned long long)(*ret_bytes >> 20), (unsigned long long)(old >> 20));
	return 0;
}
