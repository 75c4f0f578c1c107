/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator udev: what udev's rule asks about a block device. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "initiator/ctl/ctl.h"
#include "initiator/ctl/links.h"

static const struct option_spec specs[] = {
	CTL_COMMON_OPTIONS,
};

/* One property a name: udev takes what is in one as one word. */
static void print(const struct reg_entry *e)
{
	char leaf[LINKS_NAME_BYTES];

	links_leaf(e, leaf);
	printf("BRP_DEVICE=%s\nBRP_UUID=%s\nBRP_NAME=%s\n", e->name, e->volume_uuid, leaf);
}

/* It reads files only: udev must not wait for us, nor we for the registry's lock. */
static int run(const struct verb *v, int argc, char **argv)
{
	const char *node = NULL;
	struct ctl_common common;
	int rc = ctl_parse(v, argc, argv, &common, ctl_take_one_argument, &node);
	struct reg_entry e;

	if (rc != CTL_RUN)
		return rc;
	if (!node)
		return options_usage_error(CTL_PROGRAM, "udev: which device?");
	if (registry_find_node(node, &e))
		return CTL_NOT_FOUND; /* not ours; nothing to say */
	print(&e);
	return ctl_finish_output(CTL_OK);
}

const struct verb verb_udev = {
	.name = "udev",
	.usage = "usage: brp-initiator udev NODE is what the udev rule runs\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
