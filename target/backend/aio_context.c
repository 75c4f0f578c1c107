/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/backend/aio_context.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "target/backend/ops.h"

/* One for all volumes. What is left when the process ends the kernel destroys by itself, all of it
 * at the same time. */
static struct {
	pthread_mutex_t lock;
	struct list contexts;
	bool has_thread;
} retired = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.contexts = {&retired.contexts, &retired.contexts},
};

static void destroy(struct aio_context *c)
{
	io_destroy(c->ctx);
	free(c);
}

/* Of the retired ones the first for at least so many requests, or NULL. */
static struct aio_context *take_retired(unsigned int min_depth)
{
	struct aio_context *found = NULL;
	struct list *pos;

	pthread_mutex_lock(&retired.lock);
	list_for_each (pos, &retired.contexts) {
		struct aio_context *c = list_entry(pos, struct aio_context, link);

		if (c->depth >= min_depth) {
			found = c;
			list_del(&c->link);
			break;
		}
	}
	pthread_mutex_unlock(&retired.lock);
	return found;
}

/* ---- the end of a context -------------------------------------------------------------------- */

static void *destroy_retired(void *arg)
{
	struct list *node;

	(void)arg;
	pthread_mutex_lock(&retired.lock);
	while ((node = list_pop(&retired.contexts))) {
		pthread_mutex_unlock(&retired.lock);
		destroy(list_entry(node, struct aio_context, link));
		pthread_mutex_lock(&retired.lock);
	}
	retired.has_thread = false;
	pthread_mutex_unlock(&retired.lock);
	return NULL;
}

/* The lock is held. */
static int start_thread(void)
{
	pthread_t thread;
	int err = bk_start_thread(&thread, destroy_retired, NULL);

	if (!err)
		pthread_detach(thread);
	return err;
}

void aio_context_retire(struct aio_context *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&retired.lock);
	retired.has_thread = retired.has_thread || !start_thread();
	if (retired.has_thread) {
		list_add_tail(&retired.contexts, &c->link);
		c = NULL;
	}
	pthread_mutex_unlock(&retired.lock);
	if (c) /* no thread to be had: it takes its time here */
		destroy(c);
}

/* ---- and the beginning ----------------------------------------------------------------------- */

static void read_limit(char *buf, size_t bytes)
{
	FILE *f = fopen("/proc/sys/fs/aio-max-nr", "re");

	if (!f || !fgets(buf, (int)bytes, f))
		snprintf(buf, bytes, "unknown");
	buf[strcspn(buf, "\n")] = '\0';
	if (f)
		fclose(f);
}

/* What is retired but there takes the kernel's room, too, and is given up for it. */
static int set_up(unsigned int depth, io_context_t *ret_ctx)
{
	struct aio_context *spare;
	int r;

	for (;;) {
		r = io_setup((int)depth, ret_ctx);
		if (r != -EAGAIN || !(spare = take_retired(0)))
			return r;
		destroy(spare);
	}
}

static int refuse(const char *name, unsigned int depth, int err)
{
	char limit[32];

	if (err == -EAGAIN) {
		read_limit(limit, sizeof(limit));
		log_error("%s: no kernel room for a queue of %u requests (fs.aio-max-nr is %s); "
			  "raise it: sysctl -w fs.aio-max-nr=1048576",
			  name, depth, limit);
		return -ENOBUFS;
	}
	log_error("%s: cannot create a queue of %u requests: %s", name, depth, strerror(-err));
	return err;
}

int aio_context_get(const char *name, unsigned int depth, struct aio_context **ret_context)
{
	struct aio_context *c = take_retired(depth);
	int r = 0;

	if (!c) {
		c = calloc(1, sizeof(*c));
		r = c ? set_up(depth, &c->ctx) : -ENOMEM;
		if (r < 0) {
			free(c);
			return refuse(name, depth, r);
		}
		c->depth = depth;
		list_init(&c->link);
	}
	*ret_context = c;
	return 0;
}
