/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/ctl/device_status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "initiator/ctl/control.h"
#include "initiator/ctl/links.h"

#define ANSWER_MS 5000

json_t *device_status(const struct reg_entry *e)
{
	json_t *root = registry_entry_json(e);
	json_t *reply = NULL;
	char path[PATH_MAX], why[256] = "its processes are gone";
	int err = -ESRCH;

	links_path(path, e->name);
	json_object_set_new(root, "device", json_string(path));
	if (!e->is_dead)
		err = control_ask(e->name, json_pack("{ss}", "command", "status"), ANSWER_MS,
				  &reply, why, sizeof(why));
	if (!err) {
		json_object_del(reply, "ok");
		json_object_update(root, reply);
		json_decref(reply);
		return root;
	}
	/* Between two serving processes, or not allowed to ask. */
	json_object_set_new(root, "state",
			    json_string(e->is_dead       ? "dead"
					: err == -EACCES ? "unknown"
							 : "restarting"));
	json_object_set_new(root, "text", json_string(err == -EACCES ? "only root may ask" : why));
	return root;
}

static void limit_text(const json_t *status, const char *key, char *text, size_t bytes)
{
	json_int_t ms = json_integer_value(json_object_get(status, key));

	if (ms < 0)
		snprintf(text, bytes, "never");
	else if (ms == 0)
		snprintf(text, bytes, "now");
	else
		snprintf(text, bytes, "in %.1f s", (double)ms / 1000);
}

void device_state_text(const json_t *status, char *text, size_t bytes)
{
	const char *state = json_string_value(json_object_get(status, "state"));
	const char *words = json_string_value(json_object_get(status, "text"));
	char gives_up[32], fails_io[32];

	if (!state || !strcmp(state, "live")) {
		snprintf(text, bytes, "%s", state ? state : "unknown");
		return;
	}
	if (strcmp(state, "reconnecting") != 0) {
		snprintf(text, bytes, "%s%s%s", state, words && *words ? ": " : "",
			 words ? words : "");
		return;
	}
	limit_text(status, "gives_up_ms", gives_up, sizeof(gives_up));
	limit_text(status, "fails_io_ms", fails_io, sizeof(fails_io));
	snprintf(text, bytes,
		 "reconnecting, attempt %lld, down for %.1f s, next try in %.1f s, waiting I/O "
		 "fails %s, "
		 "gives up %s",
		 (long long)json_integer_value(json_object_get(status, "attempt")),
		 (double)json_integer_value(json_object_get(status, "down_ms")) / 1000,
		 (double)json_integer_value(json_object_get(status, "next_attempt_ms")) / 1000,
		 fails_io, gives_up);
}
