/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/reload.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"

static const struct volume_config *find_config(const struct server_options *o, const char *name)
{
	for (unsigned int i = 0; i < o->nr_volumes; i++) {
		if (!strcmp(o->volumes[i].name, name))
			return &o->volumes[i];
	}
	return NULL;
}

/* Two of one name would replace each other for ever. */
static int check_names(const struct server_options *o)
{
	for (unsigned int i = 0; i < o->nr_volumes; i++) {
		if (find_config(o, o->volumes[i].name) != &o->volumes[i]) {
			log_error("two volumes named %s; nothing is changed", o->volumes[i].name);
			return -EEXIST;
		}
	}
	return 0;
}

/* First, so that a file or a name is free for what comes. */
static void remove_old(struct server *s, const struct server_options *o)
{
	struct list *pos;
	struct list *tmp;

	list_for_each_safe (pos, tmp, &s->volumes) {
		struct volume *v = list_entry(pos, struct volume, link);
		const struct volume_config *c = find_config(o, v->name);

		if (c ? strcmp(c->dev, v->dev) != 0 : v->is_configured)
			volumes_remove(s, v->name);
	}
}

static int add_or_resize(struct server *s, const struct volume_config *c)
{
	struct volume *v = volumes_find(s, c->name);
	uint64_t bytes;

	if (!v && volumes_is_closing(s, c->name)) {
		log_notice("volume %s: comes back when its users have left", c->name);
		return -EAGAIN;
	}
	if (!v)
		return volumes_add(s, c, true);
	v->is_configured = true;
	if (v->info.is_volatile)
		return 0;
	return volumes_resize(s, c->name, 0, false, &bytes);
}

static bool is_same_listen(const struct server_options *a, const struct server_options *b)
{
	if (a->nr_listen != b->nr_listen)
		return false;
	for (unsigned int i = 0; i < a->nr_listen; i++) {
		const struct brp_uri *x = &a->listen[i];
		const struct brp_uri *y = &b->listen[i];

		if (x->transport != y->transport || x->port != y->port || strcmp(x->host, y->host))
			return false;
	}
	return true;
}

static void note_if(bool has_changed, const char *option)
{
	if (has_changed)
		log_warning("%s has changed: takes effect when the target is restarted", option);
}

static void note_fixed(const struct server_options *a, const struct server_options *b)
{
	note_if(!is_same_listen(a, b), "listen");
	note_if(a->threads != b->threads, "threads");
	note_if(a->poll_us != b->poll_us, "poll-us");
	note_if(a->is_serial != b->is_serial, "io-mode");
	note_if(a->engine != b->engine, "io-engine");
	note_if(a->max_connections != b->max_connections, "max-connections");
	note_if(a->max_queue_depth != b->max_queue_depth, "queue-size");
	note_if(a->buffer_bytes != b->buffer_bytes, "buffer-memory");
	note_if(a->numa_node != b->numa_node, "numa-node");
	note_if(a->nice != b->nice, "nice");
	note_if(a->digest != b->digest, "digest");
}

int reload(struct server *s, const struct target_config *c)
{
	const struct server_options *o = &c->server;
	int err = check_names(o);

	if (err)
		return err;
	note_fixed(&s->opt, o);
	remove_old(s, o);
	for (unsigned int i = 0; i < o->nr_volumes; i++) {
		int e = add_or_resize(s, &o->volumes[i]);

		if (!err || err == -EAGAIN)
			err = e ? e : err;
	}
	server_count(s, TARGET_COUNT_reloads);
	return err;
}
