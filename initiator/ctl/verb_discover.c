/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator discover: the volumes a target offers. */
#include <errno.h>
#include <stdlib.h>

#include "brp/brp.h"
#include "initiator/ctl/ctl.h"
#include "initiator/ctl/registry.h"

#define FIRST_MAX 64 /* volumes; a second call makes room for more */

static const struct option_spec specs[] = {
	CTL_COMMON_OPTIONS,
};

/* *ret_items: free(). A number of volumes or a negative errno. */
static int list_all(const char *uri, struct brp_list_item **ret_items)
{
	unsigned int max = FIRST_MAX;
	int n;

	for (;;) {
		struct brp_list_item *items = calloc(max, sizeof(*items));

		if (!items)
			return -ENOMEM;
		n = brp_list(uri, NULL, items, max);
		if (n >= 0 && (unsigned int)n <= max) {
			*ret_items = items;
			return n;
		}
		free(items);
		if (n < 0)
			return n;
		max = (unsigned int)n;
	}
}

static json_t *item_json(const struct brp_list_item *it)
{
	char uuid[REG_UUID_BYTES];

	return json_pack("{ss ss sI si sb sb sI}", "name", it->name, "uuid",
			 registry_uuid_text(it->uuid, uuid), "size_bytes",
			 (json_int_t)it->size_bytes, "block_bytes", (int)it->block_bytes,
			 "read_only", it->read_only, "write_back", it->is_write_back, "generation",
			 (json_int_t)it->generation);
}

static int print_json(const char *uri, const struct brp_list_item *items, int n)
{
	json_t *volumes = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(volumes, item_json(&items[i]));
	return ctl_print_json(json_pack("{ss so}", "uri", uri, "volumes", volumes));
}

static int print_text(const struct brp_list_item *items, int n)
{
	char uuid[REG_UUID_BYTES];
	char size[16];

	printf("%-24s %10s %6s %-4s %-13s %s\n", "VOLUME", "SIZE", "BLOCK", "MODE", "CACHE",
	       "UUID");
	for (int i = 0; i < n; i++) {
		printf("%-24s %10s %6u %-4s %-13s %s\n", items[i].name,
		       ctl_size_text(items[i].size_bytes, size), items[i].block_bytes,
		       items[i].read_only ? "ro" : "rw",
		       items[i].is_write_back ? "write-back" : "write-through",
		       registry_uuid_text(items[i].uuid, uuid));
	}
	return ctl_finish_output(CTL_OK);
}

static int run(const struct verb *v, int argc, char **argv)
{
	struct brp_list_item *items;
	const char *uri = NULL;
	struct ctl_common common;
	int rc = ctl_parse(v, argc, argv, &common, ctl_take_one_argument, &uri);
	int n;

	if (rc != CTL_RUN)
		return rc;
	if (!uri)
		return options_usage_error(CTL_PROGRAM, "discover: which target? URI is missing");
	n = list_all(uri, &items);
	if (n == -EINVAL)
		return options_usage_error(CTL_PROGRAM, "discover: %s: %s", uri, brp_last_error());
	if (n < 0)
		return ctl_fail(n, "discover: %s: %s", uri, brp_last_error());
	rc = common.is_json ? print_json(uri, items, n) : print_text(items, n);
	free(items);
	return rc;
}

const struct verb verb_discover = {
	.name = "discover",
	.summary = "the volumes a target offers",
	.usage = "usage: brp-initiator discover URI\n"
		 "\n"
		 "Lists the volumes of a target. URI is brp+tcp://host[:port] or brp://host[:port] "
		 "(RDMA).\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
