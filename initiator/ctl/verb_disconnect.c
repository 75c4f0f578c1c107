/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator disconnect, disconnect-all: devices go. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "initiator/ctl/ctl.h"
#include "initiator/ctl/disconnect.h"

enum {
	OPT_FORCE = CTL_FIRST_ID,
	OPT_IDEMPOTENT,
	OPT_DRY_RUN,
};

static const struct option_spec specs[] = {
	{"force", 'f', NULL, "although it is mounted or held: what is not written yet is lost",
	 OPT_FORCE},
	{"idempotent", 0, NULL, "not connected is no error", OPT_IDEMPOTENT},
	{"dry-run", 0, NULL, "say what would be disconnected", OPT_DRY_RUN},
	CTL_COMMON_OPTIONS,
};

struct disconnect_args {
	const char *dev;
	bool is_all;
	bool force, idempotent, is_dry_run;
};

static int take(void *ctx, const struct options_iter *it, int id)
{
	struct disconnect_args *a = ctx;

	switch (id) {
	case OPTIONS_ARG:
		if (a->is_all)
			return ctl_take_nothing(NULL, it, id);
		return ctl_take_one_argument(&a->dev, it, id);
	case OPT_FORCE:
		a->force = true;
		break;
	case OPT_IDEMPOTENT:
		a->idempotent = true;
		break;
	case OPT_DRY_RUN:
		a->is_dry_run = true;
		break;
	}
	return CTL_RUN;
}

/* The names of those that are gone now collect in done. */
static int disconnect_entry(const struct disconnect_args *a, const struct reg_entry *e,
			    json_t *done)
{
	char why[512] = "";
	int err = a->is_dry_run ? 0 : disconnect_device(e, a->force, why, sizeof(why));

	if (!err) {
		json_array_append_new(done, json_string(e->name));
		return CTL_OK;
	}
	return ctl_fail(err, "disconnect: %s (%s): %s%s", e->name, e->uri, why,
			err == -EBUSY ? ", or use --force" : "");
}

/* Takes done. */
static int print(const struct ctl_common *c, const struct disconnect_args *a, json_t *done)
{
	const char *verb = a->is_dry_run ? "would disconnect" : "disconnected";
	json_t *name;
	size_t i;

	if (c->is_json)
		return ctl_print_json(
			json_pack("{so sb}", "disconnected", done, "dry_run", a->is_dry_run));
	json_array_foreach(done, i, name)
	{
		if (a->is_all || a->is_dry_run)
			printf("%s %s\n", verb, json_string_value(name));
	}
	json_decref(done);
	return ctl_finish_output(CTL_OK);
}

static int disconnect_one(const struct ctl_common *c, const struct disconnect_args *a)
{
	json_t *done = json_array();
	struct reg_entry e;
	int err = registry_find(a->dev, &e);
	int rc = CTL_OK;

	if (!err)
		rc = disconnect_entry(a, &e, done);
	else if (err != -ENOENT)
		rc = ctl_fail(err, "disconnect: %s: %s", registry_dir(), strerror(-err));
	else if (!a->idempotent)
		rc = ctl_fail(err, "disconnect: %s: no device of ours; see 'brp-initiator list'",
			      a->dev);
	if (rc == CTL_OK)
		return print(c, a, done);
	json_decref(done);
	return rc;
}

/* One that stays does not keep the others; the first reason is the exit status. */
static int disconnect_all(const struct ctl_common *c, const struct disconnect_args *a)
{
	json_t *done = json_array();
	struct reg_entry *entries;
	int n = registry_list(&entries);
	int first = CTL_OK;
	int rc;

	for (int i = n - 1; i >= 0; i--) {
		rc = disconnect_entry(a, &entries[i], done);
		first = first ? first : rc;
	}
	free(entries);
	rc = print(c, a, done);
	if (n < 0)
		return ctl_fail(n, "disconnect-all: %s: %s", registry_dir(), strerror(-n));
	return first ? first : rc;
}

static int run_one(const struct verb *v, int argc, char **argv)
{
	struct disconnect_args a = {0};
	struct ctl_common common;
	int rc = ctl_parse(v, argc, argv, &common, take, &a);

	if (rc != CTL_RUN)
		return rc;
	if (!a.dev)
		return options_usage_error(CTL_PROGRAM, "disconnect: which device?");
	return disconnect_one(&common, &a);
}

static int run_all(const struct verb *v, int argc, char **argv)
{
	struct disconnect_args a = {.is_all = true};
	struct ctl_common common;
	int rc = ctl_parse(v, argc, argv, &common, take, &a);

	return rc == CTL_RUN ? disconnect_all(&common, &a) : rc;
}

const struct verb verb_disconnect = {
	.name = "disconnect",
	.summary = "remove a device",
	.usage = "usage: brp-initiator disconnect DEV|URI [options]\n"
		 "\n"
		 "Removes a device. DEV is /dev/brp0, the real node, or any link to it. One that "
		 "is\n"
		 "mounted or held otherwise stays, unless --force is given.\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run_one,
};

const struct verb verb_disconnect_all = {
	.name = "disconnect-all",
	.summary = "remove all devices that are not in use",
	.usage = "usage: brp-initiator disconnect-all [options]\n"
		 "\n"
		 "Removes all devices but those in use.\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run_all,
};
