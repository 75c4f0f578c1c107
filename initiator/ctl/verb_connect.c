/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator connect: a block device of a volume. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "initiator/ctl/connect.h"
#include "initiator/ctl/ctl.h"
#include "initiator/ctl/links.h"

enum {
	OPT_IDEMPOTENT = CTL_FIRST_ID,
	OPT_DRY_RUN,
};

static const struct option_spec specs[] = {
	VOLUME_OPTIONS,
	{"idempotent", 0, NULL, "connected already is no error", OPT_IDEMPOTENT},
	{"dry-run", 0, NULL, "check everything here, connect nothing", OPT_DRY_RUN},
	CTL_COMMON_OPTIONS,
};

struct connect_args {
	struct volume_options opt;
	struct connect_how how;
	bool is_dry_run;
};

static int take_uri(struct volume_options *o, const char *uri)
{
	const char *why;

	if (o->uri[0])
		return options_usage_error(CTL_PROGRAM, "connect: '%s': one URI only", uri);
	if (volume_options_set_uri(o, uri, &why))
		return options_usage_error(CTL_PROGRAM, "connect: '%s': %s", uri, why);
	return CTL_RUN;
}

static int take(void *ctx, const struct options_iter *it, int id)
{
	struct connect_args *a = ctx;
	const char *why;

	switch (id) {
	case OPTIONS_ARG:
		return take_uri(&a->opt, it->value);
	case OPT_IDEMPOTENT:
		a->how.idempotent = true;
		return CTL_RUN;
	case OPT_DRY_RUN:
		a->is_dry_run = true;
		return CTL_RUN;
	}
	return volume_options_apply(&a->opt, it->spec, it->value, &why)
		       ? options_bad_value(it, "%s", why)
		       : CTL_RUN;
}

static int print_entry(const struct ctl_common *c, const struct reg_entry *e, bool is_dry_run)
{
	char path[PATH_MAX];
	json_t *j;

	links_path(path, e->name);
	if (c->is_json) {
		j = registry_entry_json(e);
		json_object_set_new(j, "device", json_string(path));
		if (is_dry_run)
			json_object_set_new(j, "dry_run", json_true());
		return ctl_print_json(j);
	}
	if (is_dry_run)
		printf("would connect %s\n", e->uri);
	else
		puts(path);
	return ctl_finish_output(CTL_OK);
}

static int dry_run(const struct ctl_common *c, const struct connect_args *a)
{
	struct reg_entry e = {.front_id = -1};
	int err = registry_find(a->opt.uri, &e);

	if (!err && !a->how.idempotent)
		return ctl_fail(-EEXIST, "connect: %s: connected already, as %s", a->opt.uri,
				e.name);
	if (err == -ENOENT)
		snprintf(e.uri, sizeof(e.uri), "%s", a->opt.uri);
	else if (err)
		return ctl_fail(err, "connect: %s: %s", registry_dir(), strerror(-err));
	return print_entry(c, &e, true);
}

static int connect_one(const struct ctl_common *c, struct connect_args *a)
{
	struct reg_entry e;
	char why[1024] = "";
	int err;

	a->how.verbosity = c->verbosity;
	err = connect_volume(&a->opt, &a->how, &e, why, sizeof(why));
	if (!err)
		return print_entry(c, &e, false);
	/* The serving process begins with the URI itself. */
	if (!strncmp(why, a->opt.uri, strlen(a->opt.uri)))
		return ctl_fail(err, "connect: %s", why);
	return ctl_fail(err, "connect: %s: %s", a->opt.uri, why);
}

static int run(const struct verb *v, int argc, char **argv)
{
	struct connect_args a = {0};
	struct ctl_common common;
	int rc;

	volume_options_init(&a.opt);
	rc = ctl_parse(v, argc, argv, &common, take, &a);
	if (rc == CTL_RUN && !a.opt.uri[0])
		rc = options_usage_error(CTL_PROGRAM, "connect: which volume? URI is missing");
	if (rc == CTL_RUN)
		rc = a.is_dry_run ? dry_run(&common, &a) : connect_one(&common, &a);
	volume_options_finish(&a.opt);
	return rc;
}

const struct verb verb_connect = {
	.name = "connect",
	.summary = "make a block device of a volume",
	.usage = "usage: brp-initiator connect URI [options]\n"
		 "\n"
		 "Makes a local block device of the volume and prints its path. URI is\n"
		 "brp+tcp://host[:port]/volume or brp://host[:port]/volume (RDMA).\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
