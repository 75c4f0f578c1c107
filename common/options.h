/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command lines of BRP's programs: one table describes the options, getopt_long() parses by it and
 * --help prints it, so the two cannot disagree. Not reentrant (getopt is not); programs parse once,
 * in main().
 *
 *	static const struct option_spec specs[] = {
 *		{ "dev", 'd', "SPEC", "export this device; may be repeated", OPT_DEV },
 *		{ "help", 'h', NULL, "print this text", OPT_HELP },
 *	};
 *	struct options_iter it;
 *	int id;
 *
 *	options_begin(&it, "brp-target", argc, argv, specs, ARRAY_SIZE(specs));
 *	while ((id = options_next(&it)) != OPTIONS_END) {
 *		switch (id) {
 *		case OPT_DEV:	    use(it.value); break;
 *		case OPTIONS_ARG:   positional(it.value); break;
 *		case OPTIONS_ERROR: return OPTIONS_EXIT_USAGE;
 *		}
 *	}
 */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/util.h"

struct option_spec {
	const char *name; /* without the dashes */
	char short_name;  /* 0 = none */
	const char *arg;  /* what --help calls the value; NULL = the option takes none */
	const char *help; /* one or more lines separated by \n; NULL = not listed */
	int id;           /* > 0, what options_next() returns */
};

#define OPTIONS_END   0  /* nothing left */
#define OPTIONS_ARG   -1 /* an argument that is no option: it.value */
#define OPTIONS_ERROR -2 /* unknown option, missing or superfluous value; said so on stderr */

/* Exit status of every BRP program for a wrong command line. */
#define OPTIONS_EXIT_USAGE 2

#define OPTIONS_MAX 64 /* specs of one program */

struct options_iter {
	const char *value;              /* of the option or argument just returned; else NULL */
	const struct option_spec *spec; /* the option just returned; else NULL */

	/* private */
	const char *program;
	bool is_rest; /* behind "--": getopt is done */
	int argc;
	char **argv;
	const struct option_spec *specs;
	size_t nr_specs;
	struct option long_options[OPTIONS_MAX + 1];
	char short_options[2 * OPTIONS_MAX + 3];
};

/* specs and argv outlive the iterator. argv[0] is skipped. Options and other arguments may be
 * mixed; "--" ends the options. */
void options_begin(struct options_iter *it, const char *program, int argc, char **argv,
		   const struct option_spec *specs, size_t nr_specs);
int options_next(struct options_iter *it);

/* For a value that the program does not accept: "program: --name: 'value': why" and the hint at
 * --help, on stderr. Returns OPTIONS_EXIT_USAGE. */
int options_bad_value(const struct options_iter *it, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* For anything else wrong with the command line: "program: text" and the hint at --help. Returns
 * OPTIONS_EXIT_USAGE. */
int options_usage_error(const char *program, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* usage: everything above the list, mostly "usage: brp-x [options] URI\n\nwhat it does\n"; printed
 * as it is. */
void options_help(FILE *f, const char *usage, const struct option_spec *specs, size_t nr_specs);

#endif
