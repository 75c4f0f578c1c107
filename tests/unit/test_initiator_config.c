/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "initiator/ctl/config.h"

static char top[] = "/tmp/brp-config.XXXXXX";
static struct config config;

static void init(void)
{
	char path[PATH_MAX];

	cr_assert_not_null(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/conf.d", top);
	mkdir(path, 0755);
}

static void finish(void)
{
	char command[PATH_MAX];

	config_finish(&config);
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	cr_expect_eq(system(command), 0);
}

TestSuite(initiator_config, .init = init, .fini = finish);

static void put(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

Test(initiator_config, volumes)
{
	put("b.conf", "[two]\nuri = brp://h/2\nenabled = no\n");
	put("a.conf", "; comment\n[one]\nuri = brp+tcp://h/1\nqueues = 5\nread-only = yes\n");
	put("ignored.txt", "nonsense\n");
	put(".hidden.conf", "nonsense\n");
	cr_assert_eq(config_read(&config, top), 0);
	cr_assert_eq(config.n, 2);
	cr_expect_str_eq(config.volumes[0]->label, "one");
	cr_expect_str_eq(config.volumes[0]->opt.uri, "brp+tcp://h/1");
	cr_expect_eq(config.volumes[0]->opt.queues, 5);
	cr_expect(config.volumes[0]->opt.brp.read_only);
	cr_expect_not(config.volumes[0]->is_off);
	cr_expect(config.volumes[1]->is_off);
	cr_expect_eq(config.volumes[1]->opt.queues, 0);
}

Test(initiator_config, drop_ins_replace_value_by_value)
{
	put("a.conf", "[one]\nuri = brp://h/1\nqueues = 5\nqueue-size = 9\n");
	put("conf.d/10.conf", "[one]\nqueues = 6\n");
	put("conf.d/20.conf", "[one]\nqueues = 7\nuri = brp://other/1\n[two]\nuri = brp://h/2\n");
	cr_assert_eq(config_read(&config, top), 0);
	cr_assert_eq(config.n, 2);
	cr_expect_eq(config.volumes[0]->opt.queues, 7);
	cr_expect_eq(config.volumes[0]->opt.brp.queue_depth, 9);
	cr_expect_str_eq(config.volumes[0]->opt.uri, "brp://other/1");
	cr_expect_eq(config.volumes[0]->opt.nr_args, 2);
}

Test(initiator_config, two_names_of_one_option)
{
	put("a.conf", "[one]\nuri = brp://h/1\nqueues = 5\nnr-io-queues = 6\n");
	cr_expect_eq(config_read(&config, top), -EINVAL);
	cr_expect_eq(config.nr_errors, 1);
}

Test(initiator_config, mistakes)
{
	static const struct {
		const char *text;
		unsigned int errors;
	} all[] = {
		{"", 0},
		{"[x]\n", 0}, /* inih tells nothing of a section without lines */
		{"uri = brp://h/1\n", 1},
		{"[x]\nqueues = 1\n", 1},
		{"[x]\nuri = http://h/1\n", 1},
		{"[x]\nuri = brp://h\n", 1},
		{"[x]\nuri = brp://h/1\nuri = brp://h/1\n", 1},
		{"[x]\nuri = brp://h/1\ncolour = red\nqueues = x\n", 2},
		{"[x]\nuri = brp://h/1\nenabled = maybe\n", 1},
		{"[x]\nuri = brp://h/1\njust words\n", 1},
		{"[x\n", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		put("a.conf", all[i].text);
		cr_expect_eq(config_read(&config, top), all[i].errors ? -EINVAL : 0, "%s",
			     all[i].text);
		cr_expect_eq(config.nr_errors, all[i].errors, "%s: %u", all[i].text,
			     config.nr_errors);
		config_finish(&config);
	}
}

Test(initiator_config, one_file_and_none)
{
	char path[PATH_MAX];

	put("x", "[one]\nuri = brp://h/1\n");
	snprintf(path, sizeof(path), "%s/x", top);
	cr_expect_eq(config_read(&config, path), 0);
	cr_expect_eq(config.n, 1);
	config_finish(&config);
	snprintf(path, sizeof(path), "%s/none", top);
	cr_expect_eq(config_read(&config, path), 0);
	cr_expect_eq(config.n, 0);
}
