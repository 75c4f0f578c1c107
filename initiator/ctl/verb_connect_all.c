/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator connect-all: the volumes of the configuration, as at boot. */
#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/strparse.h"
#include "common/util.h"
#include "initiator/ctl/config.h"
#include "initiator/ctl/connect.h"
#include "initiator/ctl/ctl.h"
#include "initiator/ctl/links.h"

#define MAX_LABELS    64 /* on the command line */
#define RETRY_REST_MS 2000

enum {
	OPT_CONFIG = CTL_FIRST_ID,
	OPT_RETRY,
	OPT_IDEMPOTENT,
	OPT_DRY_RUN,
};

static const struct option_spec specs[] = {
	{"config", 'C', "PATH", "the folder, or one file [/etc/brp]", OPT_CONFIG},
	{"retry", 0, "S", "for so many seconds try again what did not connect [0]", OPT_RETRY},
	{"idempotent", 0, NULL, "connected already is no error", OPT_IDEMPOTENT},
	{"dry-run", 0, NULL, "check the files, connect nothing", OPT_DRY_RUN},
	CTL_COMMON_OPTIONS,
};

struct all_args {
	const char *path;
	const char *labels[MAX_LABELS]; /* patterns; none: all */
	unsigned int nr_labels;
	uint32_t retry_ms;
	struct connect_how how;
	bool is_dry_run;
};

enum outcome { PENDING, DONE, FAILED };

struct all {
	const struct all_args *args;
	struct config config;
	enum outcome outcomes[CONFIG_MAX];
	bool is_told[CONFIG_MAX]; /* why it did not connect at first */
	json_t *devices;          /* of those that are connected */
	int status;               /* the first failure's */
};

static int take_label(struct all_args *a, const char *label)
{
	if (a->nr_labels == MAX_LABELS)
		return options_usage_error(CTL_PROGRAM, "connect-all: '%s': at most %d labels",
					   label, MAX_LABELS);
	a->labels[a->nr_labels++] = label;
	return CTL_RUN;
}

static int take(void *ctx, const struct options_iter *it, int id)
{
	struct all_args *a = ctx;

	switch (id) {
	case OPTIONS_ARG:
		return take_label(a, it->value);
	case OPT_CONFIG:
		a->path = it->value;
		break;
	case OPT_RETRY:
		if (parse_seconds(it->value, 1000000, &a->retry_ms))
			return options_bad_value(it, "not a time up to 1000000 seconds");
		break;
	case OPT_IDEMPOTENT:
		a->how.idempotent = true;
		break;
	case OPT_DRY_RUN:
		a->is_dry_run = true;
		break;
	}
	return CTL_RUN;
}

/* A volume that is switched off is connected only when its label is given. */
static bool is_chosen(const struct all_args *a, const struct config_volume *v)
{
	for (unsigned int i = 0; i < a->nr_labels; i++) {
		if (fnmatch(a->labels[i], v->label, 0) == 0)
			return true;
	}
	return !a->nr_labels && !v->is_off;
}

static bool is_known(const struct config *c, const char *label)
{
	for (unsigned int i = 0; i < c->n; i++) {
		if (fnmatch(label, c->volumes[i]->label, 0) == 0)
			return true;
	}
	return false;
}

static void add_device(struct all *all, const struct config_volume *v, const struct reg_entry *e)
{
	char path[PATH_MAX];

	links_path(path, e->name);
	json_array_append_new(all->devices, json_pack("{ss ss ss}", "label", v->label, "uri",
						      v->opt.uri, "device", path));
}

/* What a later attempt may mend. */
static bool is_passing(int err)
{
	int code = ctl_exit_of(err);

	return code == CTL_UNREACHABLE || code == CTL_NOT_FOUND;
}

/* Once for each volume: a boot that waits must not leave its operator guessing. */
static void tell_retry(struct all *all, unsigned int index, const char *why)
{
	const struct config_volume *v = all->config.volumes[index];

	if (!all->is_told[index])
		log_warning("connect-all: %s: [%s]: %s; tried again for %u s", v->place, v->label,
			    why, (all->args->retry_ms + 999) / 1000);
	all->is_told[index] = true;
}

static enum outcome try_one(struct all *all, unsigned int index, bool is_last)
{
	const struct config_volume *v = all->config.volumes[index];
	struct reg_entry e;
	char why[1024] = "";
	int err;
	int code;

	err = connect_volume(&v->opt, &all->args->how, &e, why, sizeof(why));
	if (!err) {
		add_device(all, v, &e);
		return DONE;
	}
	if (!is_last && is_passing(err)) {
		tell_retry(all, index, why);
		return PENDING;
	}
	code = ctl_fail(err, "connect-all: %s: [%s]: %s", v->place, v->label, why);
	all->status = all->status ? all->status : code;
	return FAILED;
}

/* Whether some are left. */
static bool pass(struct all *all, bool is_last)
{
	bool is_left = false;

	for (unsigned int i = 0; i < all->config.n; i++) {
		if (all->outcomes[i] == PENDING)
			all->outcomes[i] = try_one(all, i, is_last);
		is_left |= all->outcomes[i] == PENDING;
	}
	return is_left;
}

static int print(struct all *all, const struct ctl_common *c)
{
	json_t *devices = all->devices;
	json_t *d;
	size_t i;
	int rc;

	if (c->is_json)
		return ctl_print_json(json_pack("{so}", "devices", devices));
	json_array_foreach(devices, i, d)
	{
		printf("%s %s %s\n", json_string_value(json_object_get(d, "device")),
		       json_string_value(json_object_get(d, "label")),
		       json_string_value(json_object_get(d, "uri")));
	}
	rc = ctl_finish_output(CTL_OK);
	json_decref(devices);
	return rc;
}

static int connect_all(struct all *all, const struct ctl_common *c)
{
	uint64_t end = now_ns() + all->args->retry_ms * NS_PER_MS;
	int rc;

	for (unsigned int i = 0; i < all->config.n; i++) {
		if (!is_chosen(all->args, all->config.volumes[i]))
			all->outcomes[i] = DONE;
	}
	while (pass(all, now_ns() >= end))
		poll(NULL, 0, RETRY_REST_MS);
	rc = print(all, c);
	return all->status ? all->status : rc;
}

static int dry_run(struct all *all, const struct ctl_common *c)
{
	struct reg_entry none = {.name = "brp?"};

	for (unsigned int i = 0; i < all->config.n; i++) {
		if (is_chosen(all->args, all->config.volumes[i]))
			add_device(all, all->config.volumes[i], &none);
	}
	return print(all, c);
}

static int run_all(struct all *all, const struct ctl_common *c)
{
	const struct all_args *a = all->args;

	/* Without /etc/brp there is nothing to connect; another path was meant to be there. */
	if (strcmp(a->path, CONFIG_DIR) != 0 && access(a->path, R_OK) < 0) {
		ctl_fail(-errno, "connect-all: %s: %s", a->path, strerror(errno));
		return CTL_USAGE;
	}
	if (config_read(&all->config, a->path)) {
		ctl_fail(-EINVAL, "connect-all: %s: nothing is connected (mistakes: %u)", a->path,
			 all->config.nr_errors);
		return CTL_USAGE;
	}
	for (unsigned int i = 0; i < a->nr_labels; i++) {
		if (!is_known(&all->config, a->labels[i]))
			return ctl_fail(-ENOENT, "connect-all: %s: no [%s]", a->path, a->labels[i]);
	}
	all->devices = json_array();
	return a->is_dry_run ? dry_run(all, c) : connect_all(all, c);
}

static int run(const struct verb *v, int argc, char **argv)
{
	struct all_args a = {.path = CONFIG_DIR};
	struct all *all;
	struct ctl_common common;
	int rc = ctl_parse(v, argc, argv, &common, take, &a);

	if (rc != CTL_RUN)
		return rc;
	all = calloc(1, sizeof(*all));
	if (!all)
		return ctl_fail(-ENOMEM, "connect-all: out of memory");
	a.how.verbosity = common.verbosity;
	all->args = &a;
	rc = run_all(all, &common);
	config_finish(&all->config);
	free(all);
	return rc;
}

const struct verb verb_connect_all = {
	.name = "connect-all",
	.summary = "connect what the configuration names",
	.usage = "usage: brp-initiator connect-all [LABEL]... [options]\n"
		 "\n"
		 "Connects the volumes of /etc/brp/*.conf and /etc/brp/conf.d/*.conf, or those "
		 "LABELs\n"
		 "(patterns) of them; see brp-initiator.conf(5).\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
