/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of brp-perf. */
#include "bench/perf.h"

#include <stdlib.h>
#include <string.h>

#include "brp/uri.h"
#include "common/options.h"
#include "common/strparse.h"

#define PROGRAM     "brp-perf"
#define MAX_LIMIT_S 1000000u

enum {
	OPT_RW = 1,
	OPT_BS,
	OPT_IODEPTH,
	OPT_JOBS,
	OPT_TIME,
	OPT_WARMUP,
	OPT_MIX,
	OPT_SIZE,
	OPT_QUEUE_SIZE,
	OPT_MERGE,
	OPT_MERGE_MAX,
	OPT_POLL,
	OPT_DIGEST,
	OPT_RECONNECT_DELAY,
	OPT_CTRL_LOSS,
	OPT_FAST_IO_FAIL,
	OPT_KEEP_ALIVE,
	OPT_VERIFY,
	OPT_SEED,
	OPT_RIG,
	OPT_OUTPUT,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option_spec specs[] = {
	{"rw", 0, "KIND", "read, write, randread, randwrite, randrw [randread]", OPT_RW},
	{"bs", 0, "SIZE", "bytes of one request [4k]", OPT_BS},
	{"iodepth", 0, "N", "requests in flight per job [32]", OPT_IODEPTH},
	{"jobs", 'j', "N", "threads, each with a connection of its own [1]", OPT_JOBS},
	{"time", 't', "S", "seconds to measure, or milliseconds: 200ms [5]", OPT_TIME},
	{"warmup", 0, "S", "time before that, likewise [0]", OPT_WARMUP},
	{"rwmixread", 0, "PERCENT", "share of reads in randrw [70]", OPT_MIX},
	{"size", 0, "SIZE", "use only the first SIZE bytes of the volume", OPT_SIZE},
	{"queue-size", 0, "N", "queue depth to ask the target for [iodepth]", OPT_QUEUE_SIZE},
	{"merge", 0, "MODE", "adaptive, always[:US] or off [adaptive]", OPT_MERGE},
	{"merge-max", 0, "SIZE", "only requests up to SIZE are merged [4k]", OPT_MERGE_MAX},
	{"poll-us", 0, "N", "spin up to N us before sleeping; -1: adaptive [-1]", OPT_POLL},
	{"data-digest", 0, "MODE", "CRC32C on TCP: on, off, or auto: as the target wants it [auto]",
	 OPT_DIGEST},
	{"reconnect-delay", 'c', "S",
	 "seconds before the second attempt to reconnect, then doubled [0.5]", OPT_RECONNECT_DELAY},
	{"ctrl-loss-tmo", 'l', "S",
	 "give up reconnecting after S seconds; -1 never, 0 at once [-1]", OPT_CTRL_LOSS},
	{"fast-io-fail-tmo", 0, "S",
	 "requests that wait for a reconnect fail after S seconds; -1 never [-1]",
	 OPT_FAST_IO_FAIL},
	{"keep-alive-tmo", 'k', "S", "a target silent for S seconds is taken for dead; 0 never [4]",
	 OPT_KEEP_ALIVE},
	{"verify", 0, NULL,
	 "write a pattern, read it back, compare; overwrites the volume\n"
	 "(its first GiB when --size is not given)",
	 OPT_VERIFY},
	{"seed", 0, "N", "of offsets and pattern [1]", OPT_SEED},
	{"rig", 0, "TEXT", "name of this machine in the report [host and kernel]", OPT_RIG},
	{"output-format", 'o', "FORMAT", "normal or json [normal]", OPT_OUTPUT},
	{"help", 'h', NULL, "print this text", OPT_HELP},
	{"version", 'V', NULL, "print the version", OPT_VERSION},
};

static const char usage[] =
	"usage: brp-perf URI [options]\n"
	"\n"
	"Measures a BRP volume: requests per second and their latency.\n"
	"URI is brp+tcp://host[:port]/volume (TCP) or brp://host[:port]/volume (RDMA).\n"
	"\n"
	"exit status: 0 all went well, 1 I/O errors or wrong data, 2 wrong command line,\n"
	"             3 could not connect\n";

static const char *const rw_names[] = {
	[PERF_READ] = "read",           [PERF_WRITE] = "write",   [PERF_RANDREAD] = "randread",
	[PERF_RANDWRITE] = "randwrite", [PERF_RANDRW] = "randrw",
};

static const char *const merge_names[] = {
	[BRP_MERGE_ADAPTIVE] = "adaptive",
	[BRP_MERGE_OFF] = "off",
	[BRP_MERGE_ALWAYS] = "always",
};

const char *perf_rw_name(enum perf_rw rw)
{
	return rw_names[rw];
}

const char *perf_merge_name(enum brp_merge merge)
{
	return merge_names[merge];
}

static int parse_name(const char *s, const char *const *names, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (strcmp(s, names[i]) == 0)
			return (int)i;
	}
	return -1;
}

static int set_rw(const struct options_iter *it, struct perf_options *o)
{
	int rw = parse_name(it->value, rw_names, ARRAY_SIZE(rw_names));

	if (rw < 0)
		return options_bad_value(it, "not one of read, write, randread, randwrite, randrw");
	o->rw = (enum perf_rw)rw;
	return 0;
}

static int set_merge(const struct options_iter *it, struct perf_options *o)
{
	int merge = parse_name(it->value, merge_names, ARRAY_SIZE(merge_names));

	if (strncmp(it->value, "always:", 7) == 0 &&
	    parse_u32(it->value + 7, 1, 1000000, &o->merge_window_us) == 0)
		merge = BRP_MERGE_ALWAYS;
	if (merge < 0)
		return options_bad_value(it, "not adaptive, always, always:US or off");
	o->merge = (enum brp_merge)merge;
	return 0;
}

/* Seconds, or with "ms" behind it milliseconds. */
static int set_time(const struct options_iter *it, uint32_t min, uint32_t *ret_ms)
{
	char number[16];
	size_t len = strlen(it->value);
	bool is_ms = len > 2 && !strcmp(it->value + len - 2, "ms");
	uint32_t n;

	if (is_ms)
		len -= 2;
	if (len < sizeof(number)) {
		memcpy(number, it->value, len);
		number[len] = '\0';
		if (!parse_u32(number, min, 1000000, &n)) {
			*ret_ms = is_ms ? n : n * 1000;
			return 0;
		}
	}
	return options_bad_value(it, "seconds, or milliseconds such as 200ms");
}

static int set_digest(const struct options_iter *it, struct perf_options *o)
{
	if (!strcmp(it->value, "on"))
		o->digest = 1;
	else if (!strcmp(it->value, "off"))
		o->digest = 0;
	else if (!strcmp(it->value, "auto"))
		o->digest = -1;
	else
		return options_bad_value(it, "on, off or auto");
	return 0;
}

static int set_poll(const struct options_iter *it, struct perf_options *o)
{
	uint32_t us;

	o->poll_us = -1;
	if (strcmp(it->value, "-1") == 0)
		return 0;
	if (parse_u32(it->value, 0, 1000000, &us) < 0)
		return options_bad_value(it, "not -1 and not 0 to 1000000 us");
	o->poll_us = (int)us;
	return 0;
}

static int set_seconds(const struct options_iter *it, uint32_t *ret_ms)
{
	if (parse_seconds(it->value, MAX_LIMIT_S, ret_ms) < 0)
		return options_bad_value(it, "not seconds from 0 to %u", MAX_LIMIT_S);
	return 0;
}

static int set_limit(const struct options_iter *it, int *ret_ms)
{
	uint32_t ms;

	if (strcmp(it->value, "-1") == 0) {
		*ret_ms = -1;
		return 0;
	}
	if (parse_seconds(it->value, MAX_LIMIT_S, &ms) < 0)
		return options_bad_value(it, "not -1 and not seconds from 0 to %u", MAX_LIMIT_S);
	*ret_ms = (int)ms;
	return 0;
}

static int set_u32(const struct options_iter *it, uint32_t min, uint32_t max, uint32_t *ret_v)
{
	if (parse_u32(it->value, min, max, ret_v) < 0)
		return options_bad_value(it, "not a number from %u to %u", min, max);
	return 0;
}

static int set_size(const struct options_iter *it, uint64_t min, uint64_t max, uint64_t *ret_v)
{
	if (parse_size(it->value, min, max, ret_v) < 0)
		return options_bad_value(it, "not a size such as 4k or 1G, or out of range");
	return 0;
}

static int set_small_size(const struct options_iter *it, uint64_t max, uint32_t *ret_v)
{
	uint64_t v = 0;
	int r = set_size(it, 512, max, &v);

	if (r == 0)
		*ret_v = (uint32_t)v;
	return r;
}

static int set_output(const struct options_iter *it, struct perf_options *o)
{
	o->is_json = strcmp(it->value, "json") == 0;
	if (!o->is_json && strcmp(it->value, "normal") != 0)
		return options_bad_value(it, "not normal or json");
	return 0;
}

static int set_uri(const struct options_iter *it, struct perf_options *o)
{
	struct brp_uri uri;
	const char *why;

	if (o->uri)
		return options_usage_error(PROGRAM, "'%s': one URI only", it->value);
	if (brp_uri_parse(it->value, &uri, &why))
		return options_usage_error(PROGRAM, "'%s': %s", it->value, why);
	if (!uri.has_volume)
		return options_usage_error(PROGRAM, "'%s': it names no volume", it->value);
	o->uri = it->value;
	return 0;
}

static int set_seed(const struct options_iter *it, struct perf_options *o)
{
	if (parse_u64(it->value, 0, UINT64_MAX, &o->seed) < 0)
		return options_bad_value(it, "not a number");
	return 0;
}

/* 0 or OPTIONS_EXIT_USAGE. */
static int set_option(const struct options_iter *it, int id, struct perf_options *o)
{
	switch (id) {
	case OPTIONS_ARG:
		return set_uri(it, o);
	case OPT_RW:
		return set_rw(it, o);
	case OPT_BS:
		return set_small_size(it, 64u << 20, &o->bs);
	case OPT_IODEPTH:
		return set_u32(it, 1, 4096, &o->iodepth);
	case OPT_JOBS:
		return set_u32(it, 1, 256, &o->jobs);
	case OPT_TIME:
		return set_time(it, 1, &o->time_ms);
	case OPT_WARMUP:
		return set_time(it, 0, &o->warmup_ms);
	case OPT_MIX:
		return set_u32(it, 0, 100, &o->mix_read);
	case OPT_SIZE:
		return set_size(it, 512, UINT64_MAX, &o->size);
	case OPT_QUEUE_SIZE:
		return set_u32(it, 1, 4096, &o->queue_size);
	case OPT_MERGE:
		return set_merge(it, o);
	case OPT_MERGE_MAX:
		return set_small_size(it, 1u << 20, &o->merge_max_bytes);
	case OPT_POLL:
		return set_poll(it, o);
	case OPT_DIGEST:
		return set_digest(it, o);
	case OPT_RECONNECT_DELAY:
		return set_seconds(it, &o->reconnect_delay_ms);
	case OPT_CTRL_LOSS:
		return set_limit(it, &o->ctrl_loss_tmo_ms);
	case OPT_FAST_IO_FAIL:
		return set_limit(it, &o->fast_io_fail_tmo_ms);
	case OPT_KEEP_ALIVE:
		return set_seconds(it, &o->keep_alive_tmo_ms);
	case OPT_VERIFY:
		o->is_verify = true;
		return 0;
	case OPT_SEED:
		return set_seed(it, o);
	case OPT_RIG:
		o->rig = it->value;
		return 0;
	case OPT_OUTPUT:
		return set_output(it, o);
	default:
		return OPTIONS_EXIT_USAGE; /* said already */
	}
}

bool perf_options_parse(int argc, char **argv, struct perf_options *ret_opt,
			enum perf_exit *ret_exit)
{
	struct perf_options o = {
		.rw = PERF_RANDREAD,
		.bs = 4096,
		.iodepth = 32,
		.jobs = 1,
		.time_ms = 5000,
		.mix_read = 70,
		.poll_us = -1,
		.digest = -1,
		.ctrl_loss_tmo_ms = -1,
		.fast_io_fail_tmo_ms = -1,
		.keep_alive_tmo_ms = 4000,
		.seed = 1,
	};
	struct options_iter it;
	int id;

	*ret_exit = PERF_OK;
	options_begin(&it, PROGRAM, argc, argv, specs, ARRAY_SIZE(specs));
	while ((id = options_next(&it)) != OPTIONS_END) {
		if (id == OPT_HELP) {
			options_help(stdout, usage, specs, ARRAY_SIZE(specs));
			return false;
		}
		if (id == OPT_VERSION) {
			printf(PROGRAM " %s\n", brp_version());
			return false;
		}
		if (set_option(&it, id, &o) != 0) {
			*ret_exit = PERF_USAGE;
			return false;
		}
	}
	if (!o.uri) {
		*ret_exit = (enum perf_exit)options_usage_error(PROGRAM,
								"which volume? URI is missing");
		return false;
	}
	o.queue_size = o.queue_size ? o.queue_size : o.iodepth;
	*ret_opt = o;
	return true;
}
