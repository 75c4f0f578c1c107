/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/commands.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "target/report.h"

/* What a command was given. */
struct args {
	struct server *server;
	const struct control_hooks *hooks;
	const char *name; /* or NULL */
	const char *spec;
	uint64_t size_bytes;
	bool is_forced;
};

/* ---- changes: 0 or a negative errno, said in the log ----------------------------------------- */

static int lacks(const char *what)
{
	log_error("control socket: a request lacks \"%s\"", what);
	return -EINVAL;
}

static int do_add(struct args *a)
{
	struct volume_config c;
	int err;

	if (!a->spec)
		return lacks("spec");
	err = volume_config_parse(a->spec, &c);
	if (err)
		return err;
	err = volumes_add(a->server, &c, false);
	volume_config_finish(&c);
	return err;
}

static int do_remove(struct args *a)
{
	return a->name ? volumes_remove(a->server, a->name) : lacks("name");
}

static int do_resize(struct args *a)
{
	uint64_t bytes;

	if (!a->name)
		return lacks("name");
	return volumes_resize(a->server, a->name, a->size_bytes, a->is_forced, &bytes);
}

static int do_reload(struct args *a)
{
	int err = a->hooks->reload(a->hooks->arg);

	return err == -EAGAIN ? 0 : err; /* the rest follows by itself */
}

static int do_drain(struct args *a)
{
	a->hooks->drain(a->hooks->arg);
	return 0;
}

static const struct {
	const char *name;
	int (*change)(struct args *a);
	json_t *(*report)(struct server *s);
} commands[] = {
	{"add", do_add, NULL},
	{"remove", do_remove, NULL},
	{"resize", do_resize, NULL},
	{"reload", do_reload, NULL},
	{"drain", do_drain, NULL},
	{"status", NULL, report_status},
	{"volumes", NULL, report_volumes},
	{"sessions", NULL, report_sessions},
	{"stats", NULL, report_stats},
};

/* ---- answers --------------------------------------------------------------------------------- */

static json_t *refusal(int err, const char *why)
{
	return json_pack("{sb si ss}", "ok", 0, "errno", -err, "error",
			 why[0] ? why : strerror(-err));
}

/* What is logged on the way is the answer as well. */
static json_t *change(int (*fn)(struct args *a), struct args *a)
{
	struct log_capture why;
	int err;

	log_tee(&why);
	err = fn(a);
	log_tee(NULL);
	return err ? refusal(err, why.text) : json_pack("{sb}", "ok", 1);
}

static json_t *report(json_t *(*fn)(struct server *s), struct server *s)
{
	json_t *reply = fn(s);

	if (reply)
		json_object_set_new(reply, "ok", json_true());
	return reply;
}

json_t *commands_run(struct server *s, const struct control_hooks *hooks, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "command"));
	json_int_t size = json_integer_value(json_object_get(request, "size_bytes"));
	struct args a = {
		.server = s,
		.hooks = hooks,
		.name = json_string_value(json_object_get(request, "name")),
		.spec = json_string_value(json_object_get(request, "spec")),
		.size_bytes = size > 0 ? (uint64_t)size : 0,
		.is_forced = json_is_true(json_object_get(request, "force")),
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		return commands[i].report ? report(commands[i].report, s)
					  : change(commands[i].change, &a);
	}
	return refusal(-EOPNOTSUPP, "no such command");
}
