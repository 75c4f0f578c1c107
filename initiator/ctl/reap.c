/* SPDX-License-Identifier: BSD-2-Clause */
/* What is left of a device when the processes that served it were killed. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "initiator/ctl/registry.h"
#include "initiator/dev/front.h"

void registry_reap(const struct reg_entry *e)
{
	const struct front_ops *ops = e->front[0] ? front_find(e->front) : NULL;
	int err = ops ? front_cleanup(ops, e->front_id) : 0;

	if (err && err != -EOPNOTSUPP)
		log_error("%s: %s is left behind: %s", e->name, e->node, strerror(-err));
	registry_remove(e);
}
