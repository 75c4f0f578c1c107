/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of brp-history. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/options.h"
#include "common/strparse.h"
#include "tests/history/driver.h"

#define PROGRAM "brp-history"

enum {
	OPT_MINUTES = 1,
	OPT_SECONDS,
	OPT_CYCLES,
	OPT_SEED,
	OPT_CLIENTS,
	OPT_DEPTH,
	OPT_QUEUES,
	OPT_RATE,
	OPT_BLOCKS,
	OPT_TRANSPORT,
	OPT_ADDRESS,
	OPT_VOLUME,
	OPT_NEMESIS,
	OPT_KEEPALIVE,
	OPT_WIRE,
	OPT_VOLATILE,
	OPT_TEAR,
	OPT_LOG,
	OPT_VERBOSE,
	OPT_HELP,
};

static const struct option_spec specs[] = {
	{"seconds", 0, "N", "length of a round [10]", OPT_SECONDS},
	{"minutes", 0, "N", "as many rounds as fit [one round]", OPT_MINUTES},
	{"cycles", 0, "N", "a round ends after N things that went wrong [by time]", OPT_CYCLES},
	{"seed", 0, "N", "of the first round; the next ones count on [random, printed]", OPT_SEED},
	{"clients", 0, "N", "processes, each with a session [4]", OPT_CLIENTS},
	{"depth", 0, "N", "requests in flight of each [8]", OPT_DEPTH},
	{"queues", 0, "N", "connections of each [2]", OPT_QUEUES},
	{"rate", 0, "N", "requests per second of each [1000]", OPT_RATE},
	{"blocks", 0, "N", "that all of them use [64]", OPT_BLOCKS},
	{"transport", 0, "NAME", "tcp or rdma [tcp]", OPT_TRANSPORT},
	{"address", 0, "IP", "where the target listens [127.0.0.1]", OPT_ADDRESS},
	{"volume", 0, "NAME", "of the target's volumes [disk]", OPT_VOLUME},
	{"nemesis", 0, "LIST",
	 "what goes wrong: kill, term, stop (the target); client, freeze (a client);\n"
	 "cut, close, half, stall, stall-up, stall-down, refuse, delay (TCP); wire, wire-up,\n"
	 "wire-down, lag, lossy (with --wire); all (that can be done), none [all]",
	 OPT_NEMESIS},
	{"keepalive", 0, "MS", "of the clients [100]", OPT_KEEPALIVE},
	{"wire", 0, "COMMAND",
	 "for the shell; told in one more word what to do to the network: cut, cut-up (nothing\n"
	 "arrives at the target), cut-down, lag, lossy, and then mend",
	 OPT_WIRE},
	{"volatile", 0, NULL, "the target's death costs what was not flushed", OPT_VOLATILE},
	{"may-tear", 0, NULL, "a read beside a write may see a mixture (memory volumes)", OPT_TEAR},
	{"log", 0, "FILE", "for what the target says [none]", OPT_LOG},
	{"verbose", 'v', NULL, "say what happens", OPT_VERBOSE},
	{"help", 'h', NULL, "print this text", OPT_HELP},
};

static const char usage[] =
	"usage: brp-history [options] -- brp-target --dev SPEC,name=disk [target options]\n"
	"\n"
	"Runs the target, clients that write and read the same blocks, and a nemesis that\n"
	"kills, stops and disconnects them; then judges whether a correct volume could have\n"
	"given all the answers they had. A listener is added to the target's command.\n"
	"\n"
	"exit status: 0 it could, 1 it could not, 2 wrong command line, 3 the run failed,\n"
	"             4 requests were never answered\n";

static int set_name(const char **where, const char *value)
{
	*where = value;
	return 0;
}

static int apply(struct driver_options *o, int id, const char *value, const char **ret_nemesis,
		 const char **ret_why)
{
	*ret_why = "a number in the range that makes sense for it";
	switch (id) {
	case OPT_SECONDS:
		return parse_u32(value, 1, 3600, &o->seconds);
	case OPT_MINUTES:
		return parse_u32(value, 1, 100000, &o->minutes);
	case OPT_CYCLES:
		return parse_u32(value, 1, 100000, &o->cycles);
	case OPT_SEED:
		return parse_u64(value, 0, UINT64_MAX, &o->seed);
	case OPT_CLIENTS:
		return parse_u32(value, 1, MAX_CLIENTS - 2, &o->clients);
	case OPT_DEPTH:
		return parse_u32(value, 1, 256, &o->depth);
	case OPT_QUEUES:
		return parse_u32(value, 1, 8, &o->queues);
	case OPT_RATE:
		return parse_u32(value, 1, 1000000, &o->rate);
	case OPT_BLOCKS:
		return parse_u32(value, 8, 1000000, &o->blocks);
	case OPT_KEEPALIVE:
		return parse_u32(value, 10, 100000, &o->keepalive_ms);
	case OPT_TRANSPORT:
		*ret_why = "tcp or rdma";
		return set_name(&o->transport, value) ||
		       (strcmp(value, "tcp") && strcmp(value, "rdma"));
	case OPT_ADDRESS:
		return set_name(&o->address, value);
	case OPT_VOLUME:
		return set_name(&o->volume, value);
	case OPT_LOG:
		return set_name(&o->log, value);
	case OPT_WIRE:
		return set_name(&o->wire, value);
	case OPT_NEMESIS:
		return set_name(ret_nemesis, value);
	}
	return -1;
}

static int on_option(struct driver_options *o, struct options_iter *it, int id,
		     const char **ret_nemesis)
{
	const char *why;

	switch (id) {
	case OPTIONS_ERROR:
		return DRIVER_USAGE;
	case OPT_VOLATILE:
		o->is_volatile = true;
		return -1;
	case OPT_TEAR:
		o->may_tear = true;
		return -1;
	case OPT_VERBOSE:
		o->is_verbose = true;
		return -1;
	case OPT_HELP:
		options_help(stdout, usage, specs, ARRAY_SIZE(specs));
		return DRIVER_OK;
	}
	return apply(o, id, it->value, ret_nemesis, &why) ? options_bad_value(it, "%s", why) : -1;
}

static void set_defaults(struct driver_options *o)
{
	*o = (struct driver_options){
		.transport = "tcp",
		.address = "127.0.0.1",
		.volume = "disk",
		.seed = (now_ns() / 1000 ^ (uint64_t)getpid() << 16) % 1000000000,
		.seconds = 10,
		.clients = 4,
		.depth = 8,
		.queues = 2,
		.rate = 1000,
		.blocks = 64,
		.keepalive_ms = 100,
	};
}

/* Everything behind "--" is the target's command. */
static int split(int argc, char **argv, char ***ret_target)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--")) {
			*ret_target = argv + i + 1;
			argv[i] = NULL;
			return i;
		}
	}
	*ret_target = argv + argc;
	return argc;
}

static int check(struct driver_options *o, const char *nemesis)
{
	if (!*o->target_argv)
		return options_usage_error(PROGRAM, "no target: end with -- brp-target --dev SPEC");
	if (nemesis_parse(nemesis, o, &o->actions) < 0)
		return options_usage_error(
			PROGRAM, "--nemesis: '%s' is not a list of things that can be done",
			nemesis);
	return -1;
}

bool driver_options_parse(int argc, char **argv, struct driver_options *ret_opt, int *ret_exit)
{
	const char *nemesis = "all";
	struct options_iter it;
	int rc = -1;
	int id;

	set_defaults(ret_opt);
	argc = split(argc, argv, &ret_opt->target_argv);
	options_begin(&it, PROGRAM, argc, argv, specs, ARRAY_SIZE(specs));
	while (rc < 0 && (id = options_next(&it)) != OPTIONS_END)
		rc = id == OPTIONS_ARG
			     ? options_usage_error(PROGRAM, "unexpected argument '%s'", it.value)
			     : on_option(ret_opt, &it, id, &nemesis);
	if (rc < 0)
		rc = check(ret_opt, nemesis);
	*ret_exit = rc;
	return rc < 0;
}
