/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <stdio.h>
#include <string.h>

#include "common/options.h"

enum { OPT_DEV = 1, OPT_QUIET, OPT_LONG };

static const struct option_spec specs[] = {
	{"dev", 'd', "SPEC", "export this device", OPT_DEV},
	{"quiet", 'q', NULL, "say less\nmuch less", OPT_QUIET},
	{"a-very-long-option-name-indeed", 0, "VALUE", "long", OPT_LONG},
};

static struct options_iter it;

static void begin(const char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	/* getopt_long() wants char ** and only reorders. */
	options_begin(&it, "prog", argc, (char **)(uintptr_t)argv, specs, ARRAY_SIZE(specs));
}

Test(options, all_forms)
{
	begin((const char *[]){"prog", "-d", "a", "--dev=b", "pos", "-qdc", "--dev", "-x", "--",
			       "-q", NULL});
	cr_assert_eq(options_next(&it), OPT_DEV);
	cr_assert_str_eq(it.value, "a");
	cr_assert_str_eq(it.spec->name, "dev");
	cr_assert_eq(options_next(&it), OPT_DEV);
	cr_assert_str_eq(it.value, "b");
	cr_assert_eq(options_next(&it), OPTIONS_ARG);
	cr_assert_str_eq(it.value, "pos");
	cr_assert_eq(options_next(&it), OPT_QUIET);
	cr_assert_null(it.value);
	cr_assert_eq(options_next(&it), OPT_DEV);
	cr_assert_str_eq(it.value, "c");
	cr_assert_eq(options_next(&it), OPT_DEV);
	cr_assert_str_eq(it.value, "-x");
	cr_assert_eq(options_next(&it), OPTIONS_ARG);
	cr_assert_str_eq(it.value, "-q");
	cr_assert_eq(options_next(&it), OPTIONS_END);
}

static void expect_error(const char **argv, const char *text)
{
	begin(argv);
	cr_assert_eq(options_next(&it), OPTIONS_ERROR);
	fflush(stderr);
	cr_assert_stderr_eq_str(text);
}

Test(options, unknown_long, .init = cr_redirect_stderr)
{
	expect_error((const char *[]){"prog", "--nonsense", NULL},
		     "prog: unknown option --nonsense\nTry 'prog --help'.\n");
}

Test(options, unknown_short, .init = cr_redirect_stderr)
{
	expect_error((const char *[]){"prog", "-x", NULL},
		     "prog: unknown option -x\nTry 'prog --help'.\n");
}

Test(options, value_missing, .init = cr_redirect_stderr)
{
	expect_error((const char *[]){"prog", "--dev", NULL},
		     "prog: --dev needs a value\nTry 'prog --help'.\n");
}

Test(options, value_missing_short, .init = cr_redirect_stderr)
{
	expect_error((const char *[]){"prog", "-d", NULL},
		     "prog: -d needs a value\nTry 'prog --help'.\n");
}

Test(options, value_too_many, .init = cr_redirect_stderr)
{
	expect_error((const char *[]){"prog", "--quiet=very", NULL},
		     "prog: --quiet=very: this option takes no value\nTry 'prog --help'.\n");
}

Test(options, bad_value, .init = cr_redirect_stderr)
{
	begin((const char *[]){"prog", "--dev", "xyz", NULL});
	cr_assert_eq(options_next(&it), OPT_DEV);
	cr_assert_eq(options_bad_value(&it, "not a %s", "device"), OPTIONS_EXIT_USAGE);
	fflush(stderr);
	cr_assert_stderr_eq_str("prog: --dev: 'xyz': not a device\nTry 'prog --help'.\n");
}

Test(options, help_lists_every_option)
{
	char text[2048];
	FILE *f = fmemopen(text, sizeof(text), "w");

	options_help(f, "usage: prog [options]\n", specs, ARRAY_SIZE(specs));
	fclose(f);
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		cr_assert(strstr(text, specs[i].name), "%s", specs[i].name);
	cr_assert(strstr(text, "-d, --dev SPEC"));
	cr_assert(strstr(text, "\n                              much less\n"));
}
