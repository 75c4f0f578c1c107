/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * brp-initiator: remote volumes as local block devices. A verb is one file and one row of the table
 * in verbs.c. `connect` starts a supervisor (supervise.c), which starts the process that serves the
 * device (serve.c); the other verbs find them through the registry (registry.h) and talk to them
 * through their control sockets (control.h).
 *
 * Results go to stdout, as text or as JSON; everything else to stderr.
 */
#ifndef INITIATOR_CTL_CTL_H
#define INITIATOR_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "common/options.h"

#define CTL_PROGRAM        "brp-initiator"
#define CTL_FORMAT_VERSION 1 /* of the JSON: grows when a field changes or goes */

/* Exit status; brp-initiator(8). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = OPTIONS_EXIT_USAGE,
	CTL_NOT_FOUND = 3,   /* no such device, volume or target name */
	CTL_IN_USE = 4,      /* the device is mounted or held */
	CTL_EXISTS = 5,      /* the volume is connected already */
	CTL_UNREACHABLE = 6, /* the target does not answer */
	CTL_NOT_ALLOWED = 7, /* needs root, or the target refuses us */
};

/* What every verb's options say. */
struct ctl_common {
	bool is_json;
	unsigned int verbosity;
};

struct verb {
	const char *name;
	const char *summary; /* one line; NULL: not for people */
	const char *usage;   /* as options_help() wants it */
	const struct option_spec *specs;
	size_t nr_specs;
	int (*run)(const struct verb *v, int argc, char **argv); /* argv[0]: the verb */
};

const struct verb *ctl_verb_find(const char *name);

/* ---- command lines --------------------------------------------------------------------------- */

/* Ids below this are of the options every verb has. */
#define CTL_FIRST_ID 16

enum ctl_option_id {
	CTL_OPT_OUTPUT = 1,
	CTL_OPT_VERBOSE,
	CTL_OPT_HELP,
};

/* clang-format off */
#define CTL_COMMON_OPTIONS \
	{"output-format", 'o', "FORMAT", "normal or json", CTL_OPT_OUTPUT}, \
	{"verbose", 'v', NULL, "say more; twice: everything", CTL_OPT_VERBOSE}, \
	{"help", 'h', NULL, "print this text", CTL_OPT_HELP}
/* clang-format on */

#define CTL_RUN -1 /* no exit status: go on */

/*
 * Parses a verb's command line. take() gets every option of the verb's own and every other argument
 * (id OPTIONS_ARG); it returns CTL_RUN or an exit status. Returns CTL_RUN, or the exit status of a
 * command line that is wrong or only asked for help.
 */
int ctl_parse(const struct verb *v, int argc, char **argv, struct ctl_common *ret_common,
	      int (*take)(void *ctx, const struct options_iter *it, int id), void *ctx);

/* take() for verbs with one argument: ctx is a const char *. */
int ctl_take_one_argument(void *ctx, const struct options_iter *it, int id);
/* take() for verbs with none. */
int ctl_take_nothing(void *ctx, const struct options_iter *it, int id);

/* ---- output ---------------------------------------------------------------------------------- */

/* "brp-initiator: TEXT" on stderr; returns the exit status of err, a negative errno. */
int ctl_fail(int err, const char *fmt, ...) PRINTF_LIKE(2, 3);
int ctl_exit_of(int err);

/* Prints root with "format_version" in front, and frees it. Returns an exit status. */
int ctl_print_json(json_t *root);
/* Everything on stdout has been written. Returns status, or CTL_FAILED with a message. */
int ctl_finish_output(int status);

/* "4.0 GiB", "512 B" */
const char *ctl_size_text(uint64_t bytes, char buf[16]);

/* ---- verbs ----------------------------------------------------------------------------------- */

extern const struct verb verb_discover, verb_connect, verb_connect_all, verb_disconnect,
	verb_disconnect_all, verb_list, verb_stat, verb_doctor, verb_version, verb_help,
	verb_supervise, verb_serve, verb_udev;

#endif
