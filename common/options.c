/* SPDX-License-Identifier: BSD-2-Clause */
/* getopt_long() by table; see options.h. */
#include "common/options.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#define HELP_COLUMN 30  /* where descriptions begin */
#define LONG_BASE   256 /* getopt's val of specs[i] is LONG_BASE + i; below it are short options */

void options_begin(struct options_iter *it, const char *program, int argc, char **argv,
		   const struct option_spec *specs, size_t nr_specs)
{
	char *s = it->short_options;

	assert(nr_specs <= OPTIONS_MAX);
	*it = (struct options_iter){
		.program = program,
		.argc = argc,
		.argv = argv,
		.specs = specs,
		.nr_specs = nr_specs,
	};
	*s++ = '-'; /* other arguments are returned in their place, as option 1 */
	*s++ = ':'; /* tell a missing value from an unknown option */
	for (size_t i = 0; i < nr_specs; i++) {
		it->long_options[i] = (struct option){
			.name = specs[i].name,
			.has_arg = specs[i].arg ? required_argument : no_argument,
			.val = LONG_BASE + (int)i,
		};
		if (!specs[i].short_name)
			continue;
		*s++ = specs[i].short_name;
		if (specs[i].arg)
			*s++ = ':';
	}
	opterr = 0;
	optind = 0; /* glibc: start over, whatever was parsed before */
}

static void PRINTF_LIKE(2, 0) say(const char *program, const char *fmt, va_list ap)
{
	fprintf(stderr, "%s: ", program);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\nTry '%s --help'.\n", program);
}

int options_usage_error(const char *program, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(program, fmt, ap);
	va_end(ap);
	return OPTIONS_EXIT_USAGE;
}

int options_bad_value(const struct options_iter *it, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return options_usage_error(it->program, "--%s: '%s': %s", it->spec ? it->spec->name : "?",
				   it->value ? it->value : "", why);
}

static int bad_option(const struct options_iter *it, bool is_value_missing)
{
	char short_text[3] = {'-', (char)optopt, 0};
	const char *text = short_text;

	/* optopt is a short option's character, or for long ones 0 or val: then the word itself
	 * says most. */
	if (optopt == 0 || optopt >= LONG_BASE)
		text = optind > 0 && optind <= it->argc ? it->argv[optind - 1] : "option";
	if (is_value_missing)
		options_usage_error(it->program, "%s needs a value", text);
	else if (optopt >= LONG_BASE)
		options_usage_error(it->program, "%s: this option takes no value", text);
	else
		options_usage_error(it->program, "unknown option %s", text);
	return OPTIONS_ERROR;
}

static const struct option_spec *find_spec(const struct options_iter *it, int c)
{
	if (c >= LONG_BASE)
		return &it->specs[c - LONG_BASE];
	for (size_t i = 0; i < it->nr_specs; i++) {
		if (it->specs[i].short_name == c)
			return &it->specs[i];
	}
	return NULL;
}

/* getopt_long() is not asked again: it would begin with these once more. */
static int next_of_rest(struct options_iter *it)
{
	it->is_rest = true;
	if (optind >= it->argc)
		return OPTIONS_END;
	it->value = it->argv[optind++];
	return OPTIONS_ARG;
}

int options_next(struct options_iter *it)
{
	int c;

	it->spec = NULL;
	it->value = NULL;
	if (it->is_rest)
		return next_of_rest(it);
	c = getopt_long(it->argc, it->argv, it->short_options, it->long_options, NULL);
	if (c == -1)
		return next_of_rest(it);
	if (c == '?' || c == ':')
		return bad_option(it, c == ':');
	it->value = optarg;
	if (c == 1)
		return OPTIONS_ARG;
	it->spec = find_spec(it, c);
	return it->spec ? it->spec->id : bad_option(it, false);
}

static void help_one(FILE *f, const struct option_spec *spec)
{
	char left[80];
	const char *line = spec->help;
	int n;

	if (spec->short_name)
		n = snprintf(left, sizeof(left), "  -%c, --%s", spec->short_name, spec->name);
	else
		n = snprintf(left, sizeof(left), "      --%s", spec->name);
	if (spec->arg && n < (int)sizeof(left))
		n += snprintf(left + n, sizeof(left) - (size_t)n, " %s", spec->arg);
	fputs(left, f);
	if (n >= HELP_COLUMN - 1)
		fprintf(f, "\n%*s", HELP_COLUMN, "");
	else
		fprintf(f, "%*s", HELP_COLUMN - n, "");
	for (;;) {
		size_t bytes = strcspn(line, "\n");

		fprintf(f, "%.*s\n", (int)bytes, line);
		if (!line[bytes])
			break;
		line += bytes + 1;
		fprintf(f, "%*s", HELP_COLUMN, "");
	}
}

void options_help(FILE *f, const char *usage, const struct option_spec *specs, size_t nr_specs)
{
	fprintf(f, "%s\noptions:\n", usage);
	for (size_t i = 0; i < nr_specs; i++) {
		if (specs[i].help)
			help_one(f, &specs[i]);
	}
}
