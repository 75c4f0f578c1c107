/* SPDX-License-Identifier: BSD-2-Clause */
/* struct brp_options: older callers' shorter structs, defaults, limits. */
#include "initiator/internal.h"

#include <errno.h>
#include <string.h>

/* What the caller's struct has beyond ours, or ours beyond the caller's, does not count. */
static int copy_options(const struct brp_options *opt, struct brp_options *ret_opt)
{
	*ret_opt = (struct brp_options)BRP_OPTIONS_INIT;
	if (!opt)
		return 0;
	if (opt->size < offsetof(struct brp_options, queues) + sizeof(opt->queues))
		return ini_last_error_set(-EINVAL, "brp_options.size is not set");
	memcpy(ret_opt, opt, MIN(opt->size, sizeof(*ret_opt)));
	ret_opt->size = sizeof(*ret_opt);
	return 0;
}

static void set_defaults(struct brp_options *o)
{
	o->queues = o->queues ? o->queues : 1;
	o->queue_depth = o->queue_depth ? o->queue_depth : INI_DEFAULT_DEPTH;
	o->merge_window_us = o->merge_window_us ? o->merge_window_us : INI_DEFAULT_WINDOW_US;
	o->merge_max_bytes = o->merge_max_bytes ? o->merge_max_bytes : INI_DEFAULT_MERGE_BYTES;
	o->merge_max_requests =
		o->merge_max_requests ? o->merge_max_requests : BRP_MAX_JUMBO_REQUESTS;
	o->connect_timeout_ms =
		o->connect_timeout_ms ? o->connect_timeout_ms : INI_DEFAULT_CONNECT_MS;
	if (o->keepalive_ms == 0)
		o->keepalive_ms = INI_DEFAULT_KEEPALIVE_MS;
	else if (o->keepalive_ms == BRP_KEEPALIVE_NEVER)
		o->keepalive_ms = 0; /* as the wire has it */
	if (o->reconnect_delay_ms == 0)
		o->reconnect_delay_ms = INI_DEFAULT_DELAY_MS;
	if (o->reconnect_delay_max_ms == 0)
		o->reconnect_delay_max_ms = MAX(INI_DEFAULT_DELAY_MAX_MS, o->reconnect_delay_ms);
}

int ini_options_resolve(const struct brp_options *opt, struct brp_options *ret_opt)
{
	int r = copy_options(opt, ret_opt);

	if (r < 0)
		return r;
	set_defaults(ret_opt);
	if (ret_opt->queues > BRP_MAX_QUEUES)
		return ini_last_error_set(-EINVAL, "%u queues: at most %u are possible",
					  ret_opt->queues, BRP_MAX_QUEUES);
	if (ret_opt->queue_depth > BRP_MAX_QUEUE_DEPTH)
		return ini_last_error_set(-EINVAL, "queue depth %u: at most %u is possible",
					  ret_opt->queue_depth, BRP_MAX_QUEUE_DEPTH);
	if ((unsigned int)ret_opt->merge > BRP_MERGE_ALWAYS)
		return ini_last_error_set(-EINVAL, "unknown merge mode %d", (int)ret_opt->merge);
	if (ret_opt->digest < -1 || ret_opt->digest > 1)
		return ini_last_error_set(-EINVAL, "digest %d: 1, 0 or -1", ret_opt->digest);
	if (ret_opt->merge_max_requests > BRP_MAX_JUMBO_REQUESTS)
		return ini_last_error_set(-EINVAL, "%u requests in a message: at most %u",
					  ret_opt->merge_max_requests, BRP_MAX_JUMBO_REQUESTS);
	if (ret_opt->reconnect_delay_max_ms < ret_opt->reconnect_delay_ms)
		return ini_last_error_set(
			-EINVAL, "a reconnect delay of %u ms is beyond its limit of %u ms",
			ret_opt->reconnect_delay_ms, ret_opt->reconnect_delay_max_ms);
	if (ret_opt->ctrl_loss_tmo_ms < -1 || ret_opt->fast_io_fail_tmo_ms < -1)
		return ini_last_error_set(-EINVAL, "a time limit below -1 (never)");
	return 0;
}
