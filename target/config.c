/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/config.h"

#include <errno.h>
#include <glob.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brp/uri.h"
#include "common/options.h"
#include "common/strparse.h"

#define MAX_THREADS     256
#define DEFAULT_THREADS 16 /* at most, by default: one per processor */

enum {
	OPT_DEV = 1,
	OPT_LISTEN,
	OPT_THREADS,
	OPT_IO_MODE,
	OPT_IO_ENGINE,
	OPT_POLL_US,
	OPT_QUEUE_SIZE,
	OPT_MAX_CONNECTIONS,
	OPT_BUFFER_MEMORY,
	OPT_NUMA_NODE,
	OPT_NICE,
	OPT_GRACE,
	OPT_CONTROL,
	OPT_UNSAFE_NO_FENCE,
	OPT_UNSAFE_NO_FLUSH,
	OPT_DIGEST,
	OPT_CONFIG,
	OPT_VERBOSE,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option_spec specs[] = {
	{"dev", 'd', "SPEC",
	 "export a volume; repeatable. SPEC is PATH, ram:SIZE or null:SIZE, then\n"
	 "options: ,name=NAME ,ro ,block=BYTES ,cache=writethrough|writeback\n"
	 ",node=N (NUMA node of ram) ,force (although mounted or in use)\n"
	 ",fault=PLAN (delays and errors for tests, to the end of SPEC)",
	 OPT_DEV},
	{"listen", 'l', "ADDR",
	 "tcp://HOST[:PORT] or rdma://HOST[:PORT]; repeatable. Default: RDMA if there\n"
	 "is a device, and TCP, on all addresses, port 10277",
	 OPT_LISTEN},
	{"threads", 't', "N", "threads of the pool; default one per processor, at most 16",
	 OPT_THREADS},
	{"io-mode", 0, "MODE", "parallel (default), or serial: one device request at a time",
	 OPT_IO_MODE},
	{"io-engine", 0, "NAME",
	 "what drives devices and files: uring, aio, or auto (default): io_uring if the\n"
	 "kernel allows it, else libaio",
	 OPT_IO_ENGINE},
	{"poll-us", 0, "N",
	 "busy-poll for up to N microseconds before sleeping; 0 never; default: a\n"
	 "short adaptive budget",
	 OPT_POLL_US},
	{"queue-size", 0, "N", "largest queue depth granted to a connection; default 256",
	 OPT_QUEUE_SIZE},
	{"max-connections", 0, "N", "connections at once; default 1024", OPT_MAX_CONNECTIONS},
	{"buffer-memory", 0, "SIZE", "memory for I/O buffers at most; default 1G",
	 OPT_BUFFER_MEMORY},
	{"numa-node", 0, "N", "NUMA node, or any; default: where the devices are", OPT_NUMA_NODE},
	{"nice", 0, "N",
	 "priority of the pool's threads, -20 to 19; default: -5, where allowed and not\n"
	 "started with another",
	 OPT_NICE},
	{"digest", 0, "MODE",
	 "CRC32C digests on TCP: off, allow (to those who insist on them; default),\n"
	 "on (to all who can do them), require",
	 OPT_DIGEST},
	{"grace", 0, "SECONDS", "time for connections to finish at SIGTERM; default 5", OPT_GRACE},
	{"control", 0, "PATH",
	 "socket for brp-targetctl, or none; default: /run/brp/target.sock for root,\n"
	 "$XDG_RUNTIME_DIR/brp/target.sock for others",
	 OPT_CONTROL},
	{"config", 'c', "FILE",
	 "read options from FILE and FILE.d/*.conf ([target] section, NAME = VALUE);\n"
	 "SIGHUP reads them again: volumes are added, removed and resized",
	 OPT_CONFIG},
	/* For the checks of the checks (docs/testing.md); not for users, so not in --help. */
	{"unsafe-no-fence", 0, NULL, NULL, OPT_UNSAFE_NO_FENCE},
	{"unsafe-no-flush", 0, NULL, NULL, OPT_UNSAFE_NO_FLUSH},
	{"verbose", 'v', NULL, "say more; twice: everything", OPT_VERBOSE},
	{"help", 'h', NULL, "print this text", OPT_HELP},
	{"version", 'V', NULL, "print the version", OPT_VERSION},
};

static const char usage[] =
	"usage: brp-target --dev SPEC [options]\n"
	"\n"
	"Exports block storage over RDMA and TCP. Connect with brp+tcp://HOST/NAME or "
	"brp://HOST/NAME.\n"
	"\n"
	"  brp-target --dev /dev/nvme0n1\n"
	"  brp-target --dev ram:4G,name=fast0 --listen tcp://127.0.0.1\n"
	"\n"
	"Exit status: 0 clean end after SIGTERM or SIGINT, 1 could not start, 2 wrong usage,\n"
	"3 ended by a signal although a device did not answer.\n";

/* ---- one option ------------------------------------------------------------------------------ */

static int add_dev(struct target_config *c, const char *value, const char **ret_why)
{
	struct server_options *s = &c->server;
	int err;

	if (s->nr_volumes == TARGET_MAX_VOLUMES) {
		*ret_why = "too many volumes";
		return -EINVAL;
	}
	err = volume_config_parse(value, &s->volumes[s->nr_volumes]);
	if (!err)
		s->nr_volumes++;
	*ret_why = err ? "not a usable volume, see above" : NULL;
	return err;
}

static int add_listen(struct target_config *c, const char *value, const char **ret_why)
{
	struct server_options *s = &c->server;
	int err;

	if (s->nr_listen == TARGET_MAX_LISTEN) {
		*ret_why = "too many addresses";
		return -EINVAL;
	}
	err = brp_listen_parse(value, &s->listen[s->nr_listen], ret_why);
	if (!err)
		s->nr_listen++;
	return err;
}

static int set_io_mode(struct target_config *c, const char *value)
{
	c->server.is_serial = !strcmp(value, "serial");
	return c->server.is_serial || !strcmp(value, "parallel") ? 0 : -EINVAL;
}

static int set_io_engine(struct target_config *c, const char *value)
{
	static const char *const names[] = {
		[BK_ENGINE_AUTO] = "auto",
		[BK_ENGINE_AIO] = "aio",
		[BK_ENGINE_URING] = "uring",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			c->server.engine = (enum bk_engine)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_digest(struct target_config *c, const char *value)
{
	static const char *const names[] = {
		[SERVER_DIGEST_OFF] = "off",
		[SERVER_DIGEST_ALLOW] = "allow",
		[SERVER_DIGEST_ON] = "on",
		[SERVER_DIGEST_REQUIRE] = "require",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			c->server.digest = (enum server_digest)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_int(int *where, const char *value, uint32_t max)
{
	uint32_t n;
	int err = parse_u32(value, 0, max, &n);

	if (!err)
		*where = (int)n;
	return err;
}

static int set_nice(int *where, const char *value)
{
	bool is_negative = value[0] == '-';
	uint32_t n;
	int err = parse_u32(value + is_negative, 0, is_negative ? 20 : 19, &n);

	if (!err)
		*where = is_negative ? -(int)n : (int)n;
	return err;
}

static int set_grace(struct target_config *c, const char *value)
{
	uint32_t seconds;
	int err = parse_u32(value, 0, 3600, &seconds);

	if (!err)
		c->grace_ms = seconds * 1000;
	return err;
}

static int set_control(struct target_config *c, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(c->control);
	c->control = copy;
	return value[0] == '/' || !strcmp(value, "none") ? 0 : -EINVAL;
}

/* Buffers come in regions of 16 MiB; anything smaller cannot hold a session. */
static int set_buffer_memory(struct target_config *c, const char *value)
{
	uint64_t bytes;
	int err = parse_size(value, 16u << 20, 1ull << 40, &bytes);

	if (!err)
		c->server.buffer_bytes = align_up(bytes, 16u << 20);
	return err;
}

/* Command line and file alike. On error *ret_why says what is expected. */
static int apply(struct target_config *c, int id, const char *value, const char **ret_why)
{
	struct server_options *s = &c->server;

	switch (id) {
	case OPT_DEV:
		return add_dev(c, value, ret_why);
	case OPT_LISTEN:
		return add_listen(c, value, ret_why);
	case OPT_THREADS:
		*ret_why = "a number from 1 to 256";
		return parse_u32(value, 1, MAX_THREADS, &s->threads);
	case OPT_IO_MODE:
		*ret_why = "parallel or serial";
		return set_io_mode(c, value);
	case OPT_IO_ENGINE:
		*ret_why = "auto, aio or uring";
		return set_io_engine(c, value);
	case OPT_POLL_US:
		*ret_why = "microseconds, at most 1000000";
		return set_int(&s->poll_us, value, 1000000);
	case OPT_QUEUE_SIZE:
		*ret_why = "a number from 1 to 4096";
		return parse_u32(value, 1, BRP_MAX_QUEUE_DEPTH, &s->max_queue_depth);
	case OPT_MAX_CONNECTIONS:
		*ret_why = "a number from 1 to 65536";
		return parse_u32(value, 1, 65536, &s->max_connections);
	case OPT_BUFFER_MEMORY:
		*ret_why = "a size of at least 16M";
		return set_buffer_memory(c, value);
	case OPT_NUMA_NODE:
		*ret_why = "the number of a NUMA node, or any";
		if (strcmp(value, "any"))
			return set_int(&s->numa_node, value, 1023);
		s->numa_node = SERVER_NODE_ANY;
		return 0;
	case OPT_NICE:
		*ret_why = "a number from -20 to 19";
		return set_nice(&s->nice, value);
	case OPT_DIGEST:
		*ret_why = "off, allow, on or require";
		return set_digest(c, value);
	case OPT_GRACE:
		*ret_why = "seconds, at most 3600";
		return set_grace(c, value);
	case OPT_CONTROL:
		*ret_why = "an absolute path, or none";
		return set_control(c, value);
	}
	*ret_why = "not an option for a file";
	return -EINVAL;
}

/* ---- file ------------------------------------------------------------------------------------ */

struct file_reader {
	struct target_config *config;
	const char *path;
	bool has_failed;
};

static const struct option_spec *find_spec(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (!strcmp(specs[i].name, name))
			return &specs[i];
	}
	return NULL;
}

/* inih's handler: 0 = error. The first one is said with its cause; inih's line number comes with
 * its return value. */
static int on_line(void *ctx, const char *section, const char *name, const char *value)
{
	struct file_reader *r = ctx;
	const struct option_spec *spec = find_spec(name);
	const char *why = "no such option";

	if (r->has_failed)
		return 0;
	if (strcmp(section, "target"))
		why = "only the section [target] is known";
	else if (spec && !apply(r->config, spec->id, value, &why))
		return 1;
	log_error("%s: [%s] %s = %s: %s", r->path, section, name, value, why);
	r->has_failed = true;
	return 0;
}

static int read_one(struct target_config *c, const char *path)
{
	struct file_reader r = {.config = c, .path = path};
	FILE *f = fopen(path, "re");
	int rc = f ? ini_parse_file(f, on_line, &r) : -1;
	bool is_read = f && !ferror(f); /* inih takes an error for the end of the file */

	if (!is_read)
		log_error("%s: cannot be read: %s", path, strerror(errno));
	else if (rc > 0)
		log_error("%s: line %d cannot be used", path, rc);
	if (f)
		fclose(f);
	return is_read && rc == 0 && !r.has_failed ? 0 : -EINVAL;
}

/* FILE, then what others dropped beside it, in the order of the names. */
static int read_file(struct target_config *c, const char *path)
{
	char pattern[4096];
	glob_t found;
	int err = read_one(c, path);

	c->has_file = true;
	if (err ||
	    snprintf(pattern, sizeof(pattern), "%s.d/*.conf", path) >= (int)sizeof(pattern) ||
	    glob(pattern, 0, NULL, &found))
		return err;
	for (size_t i = 0; i < found.gl_pathc && !err; i++)
		err = read_one(c, found.gl_pathv[i]);
	globfree(&found);
	return err;
}

/* ---- everything ------------------------------------------------------------------------------ */

static void set_defaults(struct target_config *c)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	memset(c, 0, sizeof(*c));
	c->log_level = LOG_NOTICE;
	c->grace_ms = 5000;
	c->server.threads = (unsigned int)MAX(1, MIN(cpus, DEFAULT_THREADS));
	c->server.poll_us = -1;
	c->server.max_queue_depth = 256;
	c->server.max_connections = 1024;
	c->server.buffer_bytes = 1u << 30;
	c->server.numa_node = SERVER_NODE_AUTO;
	c->server.nice = SERVER_NICE_AUTO;
	c->server.digest = SERVER_DIGEST_ALLOW;
}

static int on_option(struct target_config *c, struct options_iter *it, int id)
{
	const char *why;

	switch (id) {
	case OPTIONS_ERROR:
		return OPTIONS_EXIT_USAGE;
	case OPTIONS_ARG:
		return options_usage_error("brp-target",
					   "unexpected argument '%s'; volumes are given with --dev",
					   it->value);
	case OPT_HELP:
		options_help(stdout, usage, specs, ARRAY_SIZE(specs));
		return 0;
	case OPT_VERSION:
		puts("brp-target " BRP_PROGRAM_VERSION);
		return 0;
	case OPT_VERBOSE:
		c->log_level = c->log_level == LOG_NOTICE ? LOG_INFO : LOG_DEBUG;
		log_init("brp-target", c->log_level);
		return CONFIG_RUN;
	case OPT_UNSAFE_NO_FENCE:
		c->server.is_unsafe_no_fence = true;
		return CONFIG_RUN;
	case OPT_UNSAFE_NO_FLUSH:
		c->server.is_unsafe_no_flush = true;
		return CONFIG_RUN;
	case OPT_CONFIG:
		return read_file(c, it->value) ? OPTIONS_EXIT_USAGE : CONFIG_RUN;
	}
	return apply(c, id, it->value, &why) ? options_bad_value(it, "%s", why) : CONFIG_RUN;
}

int config_parse(struct target_config *c, int argc, char **argv)
{
	struct options_iter it;
	int id;

	set_defaults(c);
	options_begin(&it, "brp-target", argc, argv, specs, ARRAY_SIZE(specs));
	while ((id = options_next(&it)) != OPTIONS_END) {
		int rc = on_option(c, &it, id);

		if (rc != CONFIG_RUN)
			return rc;
	}
	if (!c->server.nr_volumes && !c->has_file)
		return options_usage_error("brp-target",
					   "nothing to export: give at least one --dev");
	return CONFIG_RUN;
}

void config_finish(struct target_config *c)
{
	for (unsigned int i = 0; i < c->server.nr_volumes; i++)
		volume_config_finish(&c->server.volumes[i]);
	free(c->control);
}
