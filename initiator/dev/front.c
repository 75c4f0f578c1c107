/* SPDX-License-Identifier: BSD-2-Clause */
/* Checked calls of front ends; see front.h. The table is in front_table.c. */
#include "initiator/dev/front.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/util.h"

const struct front_ops *front_find(const char *name)
{
	const struct front_ops *ops;

	for (unsigned int i = 0; (ops = front_at(i)); i++) {
		if (!strcmp(ops->name, name))
			return ops;
	}
	return NULL;
}

int front_probe(const struct front_ops *ops, char *why, size_t why_bytes)
{
	int err;

	assert(why_bytes > 0);
	why[0] = '\0';
	err = ops->probe(why, why_bytes);
	assert(err <= 0);
	return err;
}

static bool config_ok(const struct front_config *c)
{
	return c->session && c->name && c->gone && c->nr_queues >= 1 &&
	       c->nr_queues <= MIN(c->info.queues, (unsigned int)FRONT_MAX_QUEUES) &&
	       c->queue_depth >= 1 &&
	       c->queue_depth <= MIN(c->info.queue_depth, (uint32_t)FRONT_MAX_DEPTH) &&
	       c->recover_id >= FRONT_NO_ID;
}

int front_create(const struct front_ops *ops, const struct front_config *c,
		 struct front **ret_front)
{
	struct front *f = NULL;
	int err;

	assert(config_ok(c));
	(void)config_ok; /* with NDEBUG */
	err = ops->create(c, &f);
	assert(err <= 0);
	if (err)
		return err;
	assert(f && f->ops == ops && f->path[0] == '/');
	*ret_front = f;
	return 0;
}

int front_resize(struct front *f, uint64_t size_bytes)
{
	return f->ops->resize ? f->ops->resize(f, size_bytes) : -EOPNOTSUPP;
}

int front_stop(struct front *f)
{
	return f->ops->stop(f);
}

void front_destroy(struct front *f)
{
	if (f)
		f->ops->destroy(f);
}

int front_cleanup(const struct front_ops *ops, int id)
{
	if (id == FRONT_NO_ID || !ops->cleanup)
		return -EOPNOTSUPP;
	return ops->cleanup(id);
}
