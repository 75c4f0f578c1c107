/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-ops: the client of the end-to-end tests; see usage. Exit status: enum ops_exit. */
#include "ops.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: brp-ops MODE URI [--option=VALUE]...\n"
	"  mixed    random operations, compared with a shadow copy: --queues --depth --requests\n"
	"           --seconds --offset --span --max-bytes --seed --merge=adaptive|off|always "
	"--read-only\n"
	"           --no-discard --state=FILE --reconnect (a lost connection is made again)\n"
	"           --session=N (a session UUID of that number)\n"
	"           SIGTERM ends it as if the seconds were over\n"
	"  check    read everything back that a run of mixed with --state acknowledged\n"
	"  shapes   every operation with every size, one by one; --no-discard: null volume\n"
	"  refused  what the library and the target must refuse; --read-only\n"
	"  hold     idle sessions: --sessions --queues --seconds\n";

enum {
	OPT_QUEUES = 1,
	OPT_DEPTH,
	OPT_SESSIONS,
	OPT_SECONDS,
	OPT_REQUESTS,
	OPT_OFFSET,
	OPT_SPAN,
	OPT_MAX_BYTES,
	OPT_SEED,
	OPT_SESSION,
	OPT_MERGE,
	OPT_STATE,
	OPT_READ_ONLY,
	OPT_NO_DISCARD,
	OPT_RECONNECT,
};

static const struct option options[] = {
	{"queues", required_argument, NULL, OPT_QUEUES},
	{"depth", required_argument, NULL, OPT_DEPTH},
	{"sessions", required_argument, NULL, OPT_SESSIONS},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"requests", required_argument, NULL, OPT_REQUESTS},
	{"offset", required_argument, NULL, OPT_OFFSET},
	{"span", required_argument, NULL, OPT_SPAN},
	{"max-bytes", required_argument, NULL, OPT_MAX_BYTES},
	{"seed", required_argument, NULL, OPT_SEED},
	{"session", required_argument, NULL, OPT_SESSION},
	{"merge", required_argument, NULL, OPT_MERGE},
	{"state", required_argument, NULL, OPT_STATE},
	{"read-only", no_argument, NULL, OPT_READ_ONLY},
	{"no-discard", no_argument, NULL, OPT_NO_DISCARD},
	{"reconnect", no_argument, NULL, OPT_RECONNECT},
	{0},
};

static int parse_merge(const char *text, enum brp_merge *ret)
{
	static const char *const names[] = {"adaptive", "off", "always"};

	for (unsigned int i = 0; i < 3; i++) {
		if (!strcmp(text, names[i])) {
			*ret = (enum brp_merge)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_number(struct ops_options *o, int id, const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || (id <= OPT_SECONDS && n > 1000000))
		return -EINVAL;
	switch (id) {
	case OPT_QUEUES:
		o->queues = (unsigned int)n;
		break;
	case OPT_DEPTH:
		o->depth = (unsigned int)n;
		break;
	case OPT_SESSIONS:
		o->sessions = (unsigned int)n;
		break;
	case OPT_SECONDS:
		o->seconds = (unsigned int)n;
		break;
	case OPT_REQUESTS:
		o->requests = n;
		break;
	case OPT_OFFSET:
		o->offset = n;
		break;
	case OPT_SPAN:
		o->span = n;
		break;
	case OPT_MAX_BYTES:
		o->max_bytes = n;
		break;
	case OPT_SEED:
		o->seed = (unsigned int)n;
		break;
	case OPT_SESSION:
		o->session = (unsigned int)n;
		break;
	}
	return 0;
}

static int take_option(struct ops_options *o, int id)
{
	switch (id) {
	case OPT_STATE:
		o->state = optarg;
		return 0;
	case OPT_MERGE:
		return parse_merge(optarg, &o->merge);
	case OPT_READ_ONLY:
		o->is_read_only = true;
		return 0;
	case OPT_NO_DISCARD:
		o->no_discard = true;
		return 0;
	case OPT_RECONNECT:
		o->does_reconnect = true;
		return 0;
	case '?':
		return -EINVAL;
	}
	return parse_number(o, id, optarg);
}

static int parse(struct ops_options *o, int argc, char **argv)
{
	int id;

	while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (take_option(o, id))
			return -EINVAL;
	}
	if (argc - optind != 2 || !o->queues || !o->depth)
		return -EINVAL;
	o->mode = argv[optind];
	o->uri = argv[optind + 1];
	return 0;
}

static const struct {
	const char *name;
	int (*run)(const struct ops_options *o);
} modes[] = {
	{"mixed", ops_mixed},     {"check", ops_check}, {"shapes", ops_shapes},
	{"refused", ops_refused}, {"hold", ops_hold},
};

int main(int argc, char **argv)
{
	struct ops_options o = {
		.queues = 1,
		.depth = 32,
		.sessions = 1,
		.requests = 10000,
		.max_bytes = 1536 << 10,
	};

	if (!parse(&o, argc, argv)) {
		for (unsigned int i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
			if (!strcmp(o.mode, modes[i].name))
				return modes[i].run(&o);
		}
	}
	fputs(usage, stderr);
	return OPS_USAGE;
}
