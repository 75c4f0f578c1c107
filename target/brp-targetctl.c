/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-targetctl: asks a running brp-target, by its control socket. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/json_line.h"
#include "common/options.h"
#include "common/strparse.h"
#include "target/stale.h"

#define PROGRAM         "brp-targetctl"
#define MAX_REPLY_BYTES (256u << 20)
#define MAX_WORDS       3

#define EXIT_REFUSED     1
#define EXIT_UNREACHABLE 3

enum {
	OPT_CONTROL = 1,
	OPT_OUTPUT,
	OPT_FORCE,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option_spec specs[] = {
	{"control", 'c', "PATH",
	 "the target's socket; default: /run/brp/target.sock for root,\n"
	 "$XDG_RUNTIME_DIR/brp/target.sock for others",
	 OPT_CONTROL},
	{"output-format", 'o', "FORMAT", "text (default), or json", OPT_OUTPUT},
	{"force", 'f', NULL, "resize: also to a smaller size", OPT_FORCE},
	{"help", 'h', NULL, "print this text", OPT_HELP},
	{"version", 'V', NULL, "print the version", OPT_VERSION},
};

static const char usage[] =
	"usage: brp-targetctl [options] COMMAND\n"
	"\n"
	"Asks a running brp-target. COMMAND is one of\n"
	"\n"
	"  status               process, addresses, connections, buffers\n"
	"  volumes              what is on offer, and what is being removed\n"
	"  sessions             who is logged in\n"
	"  stats                counters of the target and of each volume\n"
	"  add SPEC             export another volume; SPEC as for brp-target --dev\n"
	"  remove NAME          its initiators are told and finish what is in flight\n"
	"  resize NAME [SIZE]   look at the size of a device or file again, or make the\n"
	"                       file so large first\n"
	"  reload               read the configuration again, as SIGHUP\n"
	"  drain                end, as SIGTERM\n"
	"\n"
	"Exit status: 0 done, 1 the target refused, 2 wrong usage, 3 no target answers.\n";

struct request {
	const char *control;
	bool is_json;
	bool is_forced;
	const char *words[MAX_WORDS]; /* command and arguments */
	int nr_words;
	uint64_t size_bytes;
};

static int fail(int status, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int fail(int status, const char *fmt, ...)
{
	va_list args;

	fputs(PROGRAM ": ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

/* ---- text ------------------------------------------------------------------------------------ */

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static int64_t number_of(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static void print_value(const json_t *v)
{
	size_t i;
	json_t *one;

	if (json_is_string(v))
		printf("%s", json_string_value(v));
	else if (json_is_integer(v))
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_boolean(v))
		printf("%s", json_is_true(v) ? "yes" : "no");
	json_array_foreach(v, i, one)
	{
		printf("%s", i ? " " : "");
		print_value(one);
	}
}

/* One line a member; objects within are indented. */
static void print_members(const json_t *j, int indent)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)j, key, value)
	{
		if (!strcmp(key, "ok"))
			continue;
		printf("%*s%-*s  ", indent, "", 24 - indent, key);
		print_value(value);
		putchar('\n');
		if (json_is_object(value))
			print_members(value, indent + 2);
	}
}

static void print_status(const json_t *reply)
{
	print_members(reply, 0);
}

static void print_volumes(const json_t *reply)
{
	size_t i;
	json_t *v;

	printf("%-20s %15s %6s %-13s %5s %-9s %s\n", "NAME", "BYTES", "BLOCK", "CACHE", "USERS",
	       "STATE", "SPEC");
	json_array_foreach(json_object_get(reply, "volumes"), i, v) printf(
		"%-20s %15" PRId64 " %6" PRId64 " %-13s %5" PRId64 " %-9s %s\n", text_of(v, "name"),
		number_of(v, "size_bytes"), number_of(v, "block_bytes"), text_of(v, "cache"),
		number_of(v, "connections"), text_of(v, "state"), text_of(v, "spec"));
}

static void print_sessions(const json_t *reply)
{
	size_t i;
	json_t *s;

	printf("%-20s %-20s %5s %5s %8s %s\n", "HOST", "VOLUME", "CONNS", "WAIT", "EPOCH",
	       "SESSION");
	json_array_foreach(json_object_get(reply, "sessions"), i, s)
		printf("%-20s %-20s %5zu %5zu %8" PRId64 " %s\n", text_of(s, "host"),
		       text_of(s, "volume"), json_array_size(json_object_get(s, "connections")),
		       json_array_size(json_object_get(s, "waiting")), number_of(s, "epoch"),
		       text_of(s, "session_uuid"));
}

/* ---- commands -------------------------------------------------------------------------------- */

static const struct command {
	const char *name;
	const char *args[MAX_WORDS - 1]; /* members of the request; NULL: none */
	int min_args;
	void (*print)(const json_t *reply); /* NULL: nothing to say */
} commands[] = {
	{"status", {NULL}, 0, print_status},
	{"volumes", {NULL}, 0, print_volumes},
	{"sessions", {NULL}, 0, print_sessions},
	{"stats", {NULL}, 0, print_status},
	{"add", {"spec", NULL}, 1, NULL},
	{"remove", {"name", NULL}, 1, NULL},
	{"resize", {"name", "size_bytes"}, 1, NULL},
	{"reload", {NULL}, 0, NULL},
	{"drain", {NULL}, 0, NULL},
};

static int count_args(const struct command *c)
{
	int n = 0;

	while (n < MAX_WORDS - 1 && c->args[n])
		n++;
	return n;
}

static const struct command *find_command(const struct request *r)
{
	for (size_t i = 0; r->nr_words && i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, r->words[0]))
			return &commands[i];
	}
	return NULL;
}

static json_t *build(const struct command *c, const struct request *r)
{
	json_t *j = json_pack("{ss}", "command", c->name);

	for (int i = 0; i < r->nr_words - 1; i++) {
		if (!strcmp(c->args[i], "size_bytes"))
			json_object_set_new(j, c->args[i], json_integer((json_int_t)r->size_bytes));
		else
			json_object_set_new(j, c->args[i], json_string(r->words[i + 1]));
	}
	if (r->is_forced)
		json_object_set_new(j, "force", json_true());
	return j;
}

/* ---- talking --------------------------------------------------------------------------------- */

/* There also goes what killed targets have left. */
static int set_default_path(struct sockaddr_un *addr)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char dir[sizeof(addr->sun_path)];
	int n;

	if (geteuid() == 0)
		n = snprintf(dir, sizeof(dir), "/run/brp");
	else
		n = snprintf(dir, sizeof(dir), "%s/brp", runtime ? runtime : "");
	if (n >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	(void)stale_sweep(dir);
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/target.sock", dir);
	return n < (int)sizeof(addr->sun_path) ? 0 : -ENAMETOOLONG;
}

static int connect_to(const char *path, struct sockaddr_un *addr)
{
	int err = 0;
	int fd;

	if (!path)
		err = set_default_path(addr);
	else if (strlen(path) >= sizeof(addr->sun_path))
		err = -ENAMETOOLONG;
	else
		memcpy(addr->sun_path, path, strlen(path) + 1);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)addr, sizeof(*addr)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static const char *hint(int err)
{
	if (err == -EACCES)
		return " (the socket is root's, or its target's user's)";
	return " (is brp-target running? --control names its socket if it is not the default one)";
}

/* The target's answer, or NULL: said. */
static json_t *ask(const struct request *r, json_t *request)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	json_t *reply = NULL;
	int fd = connect_to(r->control, &addr);
	int err = fd;

	if (fd < 0) {
		json_decref(request);
	} else {
		err = json_line_write(fd, request);
		if (!err)
			reply = json_line_read(fd, -1, MAX_REPLY_BYTES, &err);
		close(fd);
	}
	if (!reply)
		fail(EXIT_UNREACHABLE, "no answer at %s: %s%s",
		     r->control ? r->control : addr.sun_path, strerror(-err), hint(err));
	return reply;
}

static int print_reply(const struct command *c, const struct request *r, const json_t *reply)
{
	if (!json_is_true(json_object_get(reply, "ok")))
		return fail(EXIT_REFUSED, "%s: %s", c->name, text_of(reply, "error"));
	if (r->is_json) {
		json_dumpf(reply, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (c->print) {
		c->print(reply);
	}
	if (fflush(stdout) || ferror(stdout))
		return fail(EXIT_REFUSED, "standard output cannot be written: %s", strerror(errno));
	return EXIT_SUCCESS;
}

static int run(struct request *r)
{
	const struct command *c = find_command(r);
	json_t *reply;
	int rc;

	if (!c)
		return options_usage_error(PROGRAM,
					   r->nr_words ? "no such command: %s" : "which command?%s",
					   r->nr_words ? r->words[0] : "");
	if (r->nr_words - 1 < c->min_args || r->nr_words - 1 > count_args(c))
		return options_usage_error(PROGRAM, "%s takes %s%s%s", c->name,
					   c->min_args ? c->args[0] : "no argument",
					   count_args(c) > 1 ? " and perhaps " : "",
					   count_args(c) > 1 ? "a size" : "");
	if (r->nr_words == 3 && parse_size(r->words[2], 1, INT64_MAX, &r->size_bytes))
		return options_usage_error(PROGRAM, "'%s' is not a size: 512M, 4G, 1T",
					   r->words[2]);
	reply = ask(r, build(c, r));
	if (!reply)
		return EXIT_UNREACHABLE;
	rc = print_reply(c, r, reply);
	json_decref(reply);
	return rc;
}

/* ---- the command line ------------------------------------------------------------------------ */

#define GO_ON -1

static int on_option(struct request *r, struct options_iter *it, int id)
{
	switch (id) {
	case OPTIONS_ERROR:
		return OPTIONS_EXIT_USAGE;
	case OPTIONS_ARG:
		if (r->nr_words == MAX_WORDS)
			return options_usage_error(PROGRAM, "too many arguments: %s", it->value);
		r->words[r->nr_words++] = it->value;
		return GO_ON;
	case OPT_CONTROL:
		r->control = it->value;
		return GO_ON;
	case OPT_OUTPUT:
		r->is_json = !strcmp(it->value, "json");
		return r->is_json || !strcmp(it->value, "text")
			       ? GO_ON
			       : options_bad_value(it, "text or json");
	case OPT_FORCE:
		r->is_forced = true;
		return GO_ON;
	case OPT_HELP:
		options_help(stdout, usage, specs, ARRAY_SIZE(specs));
		return EXIT_SUCCESS;
	}
	puts(PROGRAM " " BRP_PROGRAM_VERSION);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct request r = {0};
	struct options_iter it;
	int id;

	options_begin(&it, PROGRAM, argc, argv, specs, ARRAY_SIZE(specs));
	while ((id = options_next(&it)) != OPTIONS_END) {
		int rc = on_option(&r, &it, id);

		if (rc != GO_ON)
			return rc;
	}
	return run(&r);
}
