/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator list: all devices, a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "initiator/ctl/ctl.h"
#include "initiator/ctl/device_status.h"

static const struct option_spec specs[] = {
	CTL_COMMON_OPTIONS,
};

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s && *s ? s : "-";
}

static void print_device(const json_t *d)
{
	uint64_t bytes = (uint64_t)json_integer_value(json_object_get(d, "size_bytes"));
	char state[512], size[16];

	device_state_text(d, state, sizeof(state));
	printf("%-12s %-14s %-5s %10s  %s  %s\n", text_of(d, "device"), text_of(d, "node"),
	       text_of(d, "front_end"), ctl_size_text(bytes, size), text_of(d, "uri"), state);
}

/* Takes devices. */
static int print(const struct ctl_common *c, json_t *devices)
{
	json_t *d;
	size_t i;

	if (c->is_json)
		return ctl_print_json(json_pack("{so}", "devices", devices));
	if (json_array_size(devices))
		printf("%-12s %-14s %-5s %10s  %s  %s\n", "DEVICE", "NODE", "FRONT", "SIZE", "URI",
		       "STATE");
	json_array_foreach(devices, i, d) print_device(d);
	json_decref(devices);
	return ctl_finish_output(CTL_OK);
}

static int run(const struct verb *v, int argc, char **argv)
{
	struct ctl_common common;
	int rc = ctl_parse(v, argc, argv, &common, ctl_take_nothing, NULL);
	struct reg_entry *entries;
	json_t *devices;
	int n;

	if (rc != CTL_RUN)
		return rc;
	n = registry_list(&entries);
	if (n < 0)
		return ctl_fail(n, "list: %s: %s", registry_dir(), strerror(-n));
	devices = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(devices, device_status(&entries[i]));
	free(entries);
	return print(&common, devices);
}

const struct verb verb_list = {
	.name = "list",
	.summary = "the devices, and how they are",
	.usage = "usage: brp-initiator list [options]\n"
		 "\n"
		 "Lists the connected devices with their state.\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
