/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of a volume; see volume_options.h. */
#include "initiator/ctl/volume_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brp/uri.h"
#include "common/strparse.h"
#include "common/util.h"

#define DEFAULT_MAX_QUEUES 8
#define KEEPALIVES_PER_TMO 4 /* brp.h: silence is judged after three to four of them */
#define MAX_SECONDS        1000000u

static const struct option_spec specs[] = {VOLUME_OPTIONS};

void volume_options_init(struct volume_options *o)
{
	*o = (struct volume_options){.device = "auto", .brp = BRP_OPTIONS_INIT};
}

void volume_options_finish(struct volume_options *o)
{
	for (unsigned int i = 0; i < o->nr_args; i++)
		free(o->args[i]);
	o->nr_args = 0;
}

int volume_options_set_uri(struct volume_options *o, const char *uri, const char **ret_why)
{
	struct brp_uri u;
	int err = brp_uri_parse(uri, &u, ret_why);

	if (!err && !u.has_volume) {
		*ret_why = "it names no volume; 'brp-initiator discover' lists those of a target";
		err = -EINVAL;
	}
	if (!err && strlen(uri) >= sizeof(o->uri)) {
		*ret_why = "it is too long";
		err = -EINVAL;
	}
	if (!err)
		snprintf(o->uri, sizeof(o->uri), "%s", uri);
	return err;
}

const struct option_spec *volume_option_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (!strcmp(specs[i].name, name))
			return &specs[i];
	}
	return NULL;
}

unsigned int volume_options_queues(const struct volume_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return o->queues ? o->queues : (unsigned int)MAX(1, MIN(cpus, DEFAULT_MAX_QUEUES));
}

/* ---- one value ------------------------------------------------------------------------------- */

static int set_device(struct volume_options *o, const char *value)
{
	static const char *const kinds[] = {"auto", "ublk", "nbd", "fuse"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i], value)) {
			snprintf(o->device, sizeof(o->device), "%s", value);
			return 0;
		}
	}
	return -EINVAL;
}

static int set_merge(struct brp_options *b, const char *value)
{
	static const char *const modes[] = {
		[BRP_MERGE_ADAPTIVE] = "adaptive",
		[BRP_MERGE_OFF] = "off",
		[BRP_MERGE_ALWAYS] = "always",
	};
	uint32_t us = 0;

	if (!strncmp(value, "always:", 7)) {
		if (parse_u32(value + 7, 1, 1000000, &us))
			return -EINVAL;
		value = "always";
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(modes[i], value)) {
			b->merge = (enum brp_merge)i;
			b->merge_window_us = us;
			return 0;
		}
	}
	return -EINVAL;
}

/* -1 = never. */
static int set_limit_ms(int *where, const char *value)
{
	uint32_t ms;

	if (!strcmp(value, "-1")) {
		*where = -1;
		return 0;
	}
	if (parse_seconds(value, MAX_SECONDS, &ms))
		return -EINVAL;
	*where = (int)ms;
	return 0;
}

static int set_delay(struct brp_options *b, const char *value)
{
	uint32_t ms;

	if (parse_seconds(value, 3600, &ms) || ms == 0)
		return -EINVAL;
	b->reconnect_delay_ms = ms;
	if (ms > 10000) /* the library's ceiling of the back-off */
		b->reconnect_delay_max_ms = ms;
	return 0;
}

static int set_keep_alive(struct brp_options *b, const char *value)
{
	uint32_t ms;

	if (parse_seconds(value, 3600, &ms))
		return -EINVAL;
	b->keepalive_ms = ms ? MAX(ms / KEEPALIVES_PER_TMO, 1u) : BRP_KEEPALIVE_NEVER;
	return 0;
}

static int set_connect_timeout(struct brp_options *b, const char *value)
{
	uint32_t ms;

	if (parse_seconds(value, 3600, &ms) || ms == 0)
		return -EINVAL;
	b->connect_timeout_ms = ms;
	return 0;
}

static int set_poll_us(struct brp_options *b, const char *value)
{
	uint32_t us;

	if (!strcmp(value, "-1")) {
		b->poll_us = -1;
		return 0;
	}
	if (parse_u32(value, 0, 1000000, &us))
		return -EINVAL;
	b->poll_us = (int)us;
	return 0;
}

static int set_digest(struct brp_options *b, const char *value)
{
	if (!strcmp(value, "on"))
		b->digest = 1;
	else if (!strcmp(value, "off"))
		b->digest = 0;
	else if (!strcmp(value, "auto"))
		b->digest = -1;
	else
		return -EINVAL;
	return 0;
}

static int set_flag(bool *where, const char *value)
{
	static const char *const words[] = {"no", "yes", "false", "true", "0", "1", "off", "on"};

	if (!value)
		value = "yes";
	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(words[i], value)) {
			*where = i % 2;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_log_file(struct volume_options *o, const char *value)
{
	if (value[0] != '/' || strlen(value) >= sizeof(o->log_file))
		return -EINVAL;
	snprintf(o->log_file, sizeof(o->log_file), "%s", value);
	return 0;
}

static int set(struct volume_options *o, int id, const char *value, const char **ret_why)
{
	switch (id) {
	case VOLUME_OPT_DEVICE:
		*ret_why = "not auto, ublk, nbd or fuse";
		return set_device(o, value);
	case VOLUME_OPT_MERGE:
		*ret_why = "not adaptive, always, always:US or off";
		return set_merge(&o->brp, value);
	case VOLUME_OPT_QUEUES:
		*ret_why = "not a number from 1 to 256";
		return parse_u32(value, 1, 256, &o->queues);
	case VOLUME_OPT_QUEUE_SIZE:
		*ret_why = "not a number from 1 to 4096";
		return parse_u32(value, 1, 4096, &o->brp.queue_depth);
	case VOLUME_OPT_RECONNECT_DELAY:
		*ret_why = "not a time from 0.001 to 3600 seconds";
		return set_delay(&o->brp, value);
	case VOLUME_OPT_CTRL_LOSS:
		*ret_why = "not -1 (never) and not a time up to 1000000 seconds";
		return set_limit_ms(&o->brp.ctrl_loss_tmo_ms, value);
	case VOLUME_OPT_FAST_IO_FAIL:
		*ret_why = "not -1 (never) and not a time up to 1000000 seconds";
		return set_limit_ms(&o->brp.fast_io_fail_tmo_ms, value);
	case VOLUME_OPT_KEEP_ALIVE:
		*ret_why = "not 0 (never) and not a time up to 3600 seconds";
		return set_keep_alive(&o->brp, value);
	case VOLUME_OPT_CONNECT_TIMEOUT:
		*ret_why = "not a time from 0.001 to 3600 seconds";
		return set_connect_timeout(&o->brp, value);
	case VOLUME_OPT_READ_ONLY:
		*ret_why = "not yes or no";
		return set_flag(&o->brp.read_only, value);
	case VOLUME_OPT_POLL_US:
		*ret_why = "not -1 and not 0 to 1000000 us";
		return set_poll_us(&o->brp, value);
	case VOLUME_OPT_DIGEST:
		*ret_why = "not on, off or auto";
		return set_digest(&o->brp, value);
	case VOLUME_OPT_LOG_FILE:
		*ret_why = "not an absolute path";
		return set_log_file(o, value);
	}
	*ret_why = "not an option of a volume";
	return -EINVAL;
}

/* The option once more, for the serving process. */
static int keep_arg(struct volume_options *o, const struct option_spec *spec, const char *value)
{
	char *arg;

	if (!spec->arg && !(spec->id == VOLUME_OPT_READ_ONLY && o->brp.read_only))
		return 0; /* a flag that is off */
	if (asprintf(&arg, spec->arg ? "--%s=%s" : "--%s", spec->name, value) < 0)
		return -ENOMEM;
	o->args[o->nr_args++] = arg;
	return 0;
}

int volume_options_apply(struct volume_options *o, const struct option_spec *spec,
			 const char *value, const char **ret_why)
{
	int err;

	*ret_why = "too many options";
	if (o->nr_args == VOLUME_MAX_ARGS)
		return -EINVAL;
	err = set(o, spec->id, value, ret_why);
	return err ? -EINVAL : keep_arg(o, spec, value);
}
