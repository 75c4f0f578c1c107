/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of verbs, and the two that tell about the program itself. */
#include <stdio.h>
#include <string.h>

#include "brp/brp.h"
#include "initiator/ctl/ctl.h"
#include "initiator/dev/front.h"

static const struct verb *const verbs[] = {
	&verb_discover,  &verb_connect, &verb_connect_all, &verb_disconnect, &verb_disconnect_all,
	&verb_list,      &verb_stat,    &verb_doctor,      &verb_version,    &verb_help,
	&verb_supervise, &verb_serve,   &verb_udev,
};

const struct verb *ctl_verb_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
	}
	return NULL;
}

/* ---- help ------------------------------------------------------------------------------------ */

static const char main_usage[] =
	"usage: brp-initiator VERB [arguments] [options]\n"
	"\n"
	"Makes local block devices of the volumes of BRP targets.\n"
	"\n"
	"  brp-initiator discover brp+tcp://host\n"
	"  brp-initiator connect brp+tcp://host/volume\n"
	"  brp-initiator disconnect /dev/brp0\n"
	"\n"
	"brp-initiator VERB --help tells a verb's options.\n"
	"\n"
	"exit status: 0 done, 1 failed, 2 wrong command line or file, 3 no such device or volume,\n"
	"             4 the device is in use, 5 connected already, 6 the target does not answer,\n"
	"             7 not allowed\n"
	"\n"
	"verbs:\n";

static const struct option_spec help_specs[] = {
	CTL_COMMON_OPTIONS,
};

static int run_help(const struct verb *v, int argc, char **argv)
{
	const char *name = NULL;
	struct ctl_common common;
	const struct verb *about;
	int rc = ctl_parse(v, argc, argv, &common, ctl_take_one_argument, &name);

	if (rc != CTL_RUN)
		return rc;
	if (name) {
		about = ctl_verb_find(name);
		if (!about)
			return options_usage_error(CTL_PROGRAM, "'%s': no such verb", name);
		options_help(stdout, about->usage, about->specs, about->nr_specs);
		return ctl_finish_output(CTL_OK);
	}
	fputs(main_usage, stdout);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (verbs[i]->summary)
			printf("  %-15s %s\n", verbs[i]->name, verbs[i]->summary);
	}
	return ctl_finish_output(CTL_OK);
}

const struct verb verb_help = {
	.name = "help",
	.summary = "what there is, or the options of a verb",
	.usage = "usage: brp-initiator help [VERB]\n",
	.specs = help_specs,
	.nr_specs = ARRAY_SIZE(help_specs),
	.run = run_help,
};

/* ---- version --------------------------------------------------------------------------------- */

static json_t *front_names(void)
{
	json_t *names = json_array();
	const struct front_ops *ops;

	for (unsigned int i = 0; (ops = front_at(i)); i++)
		json_array_append_new(names, json_string(ops->name));
	return names;
}

static int run_version(const struct verb *v, int argc, char **argv)
{
	struct ctl_common common;
	const struct front_ops *ops;
	int rc = ctl_parse(v, argc, argv, &common, ctl_take_nothing, NULL);

	if (rc != CTL_RUN)
		return rc;
	if (common.is_json)
		return ctl_print_json(json_pack("{ss so}", "version", brp_version(), "front_ends",
						front_names()));
	printf(CTL_PROGRAM " %s (front ends:", brp_version());
	for (unsigned int i = 0; (ops = front_at(i)); i++)
		printf(" %s", ops->name);
	printf("%s)\n", front_at(0) ? "" : " none");
	return ctl_finish_output(CTL_OK);
}

const struct verb verb_version = {
	.name = "version",
	.summary = "version, and the front ends that were built in",
	.usage = "usage: brp-initiator version\n",
	.specs = help_specs,
	.nr_specs = ARRAY_SIZE(help_specs),
	.run = run_version,
};
