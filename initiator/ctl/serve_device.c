/* SPDX-License-Identifier: BSD-2-Clause */
/* The front end of a serving process: which one, its start, another size, its end. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "brp/uri.h"
#include "common/log.h"
#include "initiator/ctl/inuse.h"
#include "initiator/ctl/links.h"
#include "initiator/ctl/serve.h"

/* Any thread of the front end. */
static void on_gone(void *arg, int error)
{
	struct server *s = arg;

	atomic_store(&s->gone_error, error ? error : -EIO);
	eventfd_write(s->event_fd, 1);
}

static void fill_config(struct server *s, struct front_config *c)
{
	*c = (struct front_config){
		.session = s->session,
		.info = s->info,
		.nr_queues = MIN(s->info.queues, (unsigned int)FRONT_MAX_QUEUES),
		.queue_depth = MIN(s->info.queue_depth, (uint32_t)FRONT_MAX_DEPTH),
		.name = s->entry.name,
		.recover_id = s->recover_id,
		.gone = on_gone,
		.arg = s,
	};
}

static int create(struct server *s, const struct front_ops *ops)
{
	struct front_config c;
	int err;

	fill_config(s, &c);
	err = front_create(ops, &c, &s->front);
	if (!err)
		s->ops = ops;
	return err;
}

/* The one that was asked for, or that a killed predecessor had. */
static int create_named(struct server *s, const char *name)
{
	const struct front_ops *ops = front_find(name);
	char why[256];
	int err;

	if (!ops)
		return serve_fail(s, -EOPNOTSUPP,
				  "%s: this brp-initiator was built without the front end %s",
				  s->opt.uri, name);
	err = front_probe(ops, why, sizeof(why));
	if (err)
		return serve_fail(s, err, "%s: %s cannot be used here: %s", s->opt.uri, name, why);
	err = create(s, ops);
	if (err == -EOPNOTSUPP && s->recover_id != FRONT_NO_ID)
		return serve_fail(s, err,
				  "%s: %s cannot take up again what a killed process left: the "
				  "device is removed",
				  s->opt.uri, name);
	return err ? serve_fail(s, err, "%s: %s: the device cannot be made: %s", s->opt.uri, name,
				strerror(-err))
		   : 0;
}

/* The first of the table that can be used; if none can, all the reasons. */
static int create_any(struct server *s)
{
	const struct front_ops *ops;
	char all[384] = "";
	size_t used = 0;

	for (unsigned int i = 0; (ops = front_at(i)); i++) {
		char why[256];
		int err = front_probe(ops, why, sizeof(why));

		if (!err) {
			err = create(s, ops);
			if (!err)
				return 0;
			snprintf(why, sizeof(why), "%s", strerror(-err));
		}
		log_info("%s: not used: %s", ops->name, why);
		used += (size_t)snprintf(all + used, sizeof(all) - used, "; %s: %s", ops->name,
					 why);
		used = MIN(used, sizeof(all) - 1);
	}
	return serve_fail(s, -EOPNOTSUPP,
			  "%s: no front end can be used here%s; see 'brp-initiator doctor'",
			  s->opt.uri, all);
}

static void fill_entry(struct server *s)
{
	struct reg_entry *e = &s->entry;
	struct brp_uri uri;
	const char *why;

	if (brp_uri_parse(s->opt.uri, &uri, &why) == 0)
		snprintf(e->host, sizeof(e->host), "%s", uri.host);
	snprintf(e->volume, sizeof(e->volume), "%s", s->info.volume_name);
	registry_uuid_text(s->info.volume_uuid, e->volume_uuid);
	snprintf(e->node, sizeof(e->node), "%s", s->front->path);
	snprintf(e->front, sizeof(e->front), "%s", s->ops->name);
	e->front_id = s->front->id;
}

int serve_create(struct server *s)
{
	int err;

	if (s->recover_id != FRONT_NO_ID)
		err = create_named(s, s->recover_front);
	else if (strcmp(s->opt.device, "auto") != 0)
		err = create_named(s, s->opt.device);
	else
		err = create_any(s);
	if (err)
		return err;
	fill_entry(s);
	err = registry_write(&s->entry);
	if (!err)
		err = links_make(&s->entry);
	if (err)
		serve_fail(s, err, "%s: the device cannot be named: %s", s->opt.uri,
			   strerror(-err));
	else
		links_tell_udev(&s->entry);
	return err;
}

void serve_resize(struct server *s, uint64_t size_bytes)
{
	int err;

	s->info.size_bytes = size_bytes;
	if (!s->front)
		return; /* it will be made with this size */
	err = front_resize(s->front, size_bytes);
	if (!err)
		log_notice("%s: %llu bytes now", s->entry.name, (unsigned long long)size_bytes);
	else if (err == -EOPNOTSUPP)
		log_warning("%s: %s cannot change the size of a device in use here: disconnect and "
			    "connect to see the new one",
			    s->entry.name, s->ops->name);
	/* Other errors were logged by the front end. */
}

int serve_in_use(const struct server *s, char *why, size_t why_bytes)
{
	return inuse_check(s->front->path, why, why_bytes);
}

/* ---- the end --------------------------------------------------------------------------------- */

/*
 * Removing waits for the I/O in flight, which without a connection waits for ever. Nobody needs it
 * any more: this thread ends the session when it has no connection, or loses it meanwhile.
 */
struct hurry {
	struct server *server;
	int done_fd; /* readable: the device is gone */
	pthread_t thread;
};

static void *hurry(void *arg)
{
	struct hurry *h = arg;
	struct server *s = h->server;
	struct brp_status st = {.size = sizeof(st)};
	struct pollfd p[] = {
		{.fd = h->done_fd, .events = POLLIN},
		{.fd = s->event_fd, .events = POLLIN}, /* something happened to the session */
	};

	while (brp_session_status(s->session, &st) == 0 && st.state == BRP_STATE_LIVE) {
		eventfd_t v;

		poll(p, ARRAY_SIZE(p), -1);
		if (p[0].revents)
			return NULL;
		eventfd_read(s->event_fd, &v);
	}
	brp_session_abort(s->session, "disconnected while the target was away");
	return NULL;
}

static bool start_hurry(struct hurry *h, struct server *s)
{
	*h = (struct hurry){.server = s, .done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (h->done_fd < 0)
		return false;
	if (pthread_create(&h->thread, NULL, hurry, h) == 0)
		return true;
	close(h->done_fd);
	return false;
}

static void end_hurry(struct hurry *h)
{
	eventfd_write(h->done_fd, 1);
	pthread_join(h->thread, NULL);
	close(h->done_fd);
}

static void stop(struct server *s)
{
	struct hurry h;
	bool has_hurry = start_hurry(&h, s);
	int err = front_stop(s->front);

	if (has_hurry)
		end_hurry(&h);
	if (err)
		log_error("%s: %s: the device does not go: %s", s->entry.name, s->front->path,
			  strerror(-err));
}

void serve_remove(struct server *s)
{
	if (!s->front)
		return;
	links_remove(&s->entry);
	stop(s);
	front_destroy(s->front);
	s->front = NULL;
	/* The number may be another's from now on: nobody must clean up behind us. */
	s->entry.front[0] = '\0';
	registry_write(&s->entry);
}
