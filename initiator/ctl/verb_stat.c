/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator stat: everything about one device. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "initiator/ctl/ctl.h"
#include "initiator/ctl/device_status.h"

static const struct option_spec specs[] = {
	CTL_COMMON_OPTIONS,
};

static json_int_t sum(const json_t *queues, const char *key)
{
	json_int_t total = 0;
	json_t *q;
	size_t i;

	json_array_foreach(queues, i, q) total += json_integer_value(json_object_get(q, key));
	return total;
}

static void print_text(const json_t *d, const char *label, const char *key)
{
	const char *s = json_string_value(json_object_get(d, key));

	if (s && *s)
		printf("%-14s %s\n", label, s);
}

static void print_flags(const json_t *d)
{
	static const char *const flags[] = {"read_only", "write_back", "fua",
					    "discard",   "digest",     "write_zeroes"};

	printf("%-14s", "features");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (json_is_true(json_object_get(d, flags[i])))
			printf(" %s", flags[i]);
	}
	putchar('\n');
}

static long long number(const json_t *d, const char *key)
{
	return (long long)json_integer_value(json_object_get(d, key));
}

static void print_figures(const json_t *d)
{
	const json_t *queues = json_object_get(d, "queue_stats");
	json_int_t messages = sum(queues, "messages");
	char size[16], in[16], out[16];

	printf("%-14s %s, blocks of %lld\n", "size",
	       ctl_size_text((uint64_t)number(d, "size_bytes"), size), number(d, "block_bytes"));
	printf("%-14s %lld of %lld, over %s\n", "queues", number(d, "queues"),
	       number(d, "queue_size"), json_string_value(json_object_get(d, "transport")));
	print_flags(d);
	printf("%-14s %lld in %lld messages (%.1f each), %lld errors\n", "requests",
	       (long long)sum(queues, "requests"), (long long)messages,
	       messages ? (double)sum(queues, "requests") / (double)messages : 0.0,
	       (long long)sum(queues, "errors"));
	printf("%-14s %s read, %s written\n", "data",
	       ctl_size_text((uint64_t)sum(queues, "bytes_read"), in),
	       ctl_size_text((uint64_t)sum(queues, "bytes_written"), out));
}

static void print_status(const json_t *d)
{
	char state[512];

	device_state_text(d, state, sizeof(state));
	print_text(d, "device", "device");
	print_text(d, "node", "node");
	print_text(d, "front end", "front_end");
	print_text(d, "URI", "uri");
	print_text(d, "volume UUID", "volume_uuid");
	printf("%-14s %s\n", "state", state);
	printf("%-14s supervisor %lld, serving %lld\n", "processes", number(d, "supervisor_pid"),
	       number(d, "server_pid"));
	if (json_object_get(d, "reconnects"))
		printf("%-14s %lld, %lld requests sent again, %lld digest errors\n", "reconnects",
		       number(d, "reconnects"), number(d, "retried_requests"),
		       number(d, "digest_errors"));
	if (json_object_get(d, "queue_stats"))
		print_figures(d);
}

static int run(const struct verb *v, int argc, char **argv)
{
	const char *dev = NULL;
	struct ctl_common common;
	int rc = ctl_parse(v, argc, argv, &common, ctl_take_one_argument, &dev);
	struct reg_entry e;
	json_t *status;
	int err;

	if (rc != CTL_RUN)
		return rc;
	if (!dev)
		return options_usage_error(CTL_PROGRAM, "stat: which device?");
	err = registry_find(dev, &e);
	if (err == -ENOENT)
		return ctl_fail(err, "stat: %s: no device of ours; see 'brp-initiator list'", dev);
	if (err)
		return ctl_fail(err, "stat: %s: %s", registry_dir(), strerror(-err));
	status = device_status(&e);
	if (common.is_json)
		return ctl_print_json(status);
	print_status(status);
	json_decref(status);
	return ctl_finish_output(CTL_OK);
}

const struct verb verb_stat = {
	.name = "stat",
	.summary = "everything about one device",
	.usage = "usage: brp-initiator stat DEV|URI [options]\n"
		 "\n"
		 "Tells the state and the counters of a device.\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
