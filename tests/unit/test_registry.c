/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "initiator/ctl/links.h"
#include "initiator/ctl/registry.h"

static char top[] = "/tmp/brp-registry.XXXXXX";
static char run[PATH_MAX], dev[PATH_MAX];

static void init(void)
{
	cr_assert_not_null(mkdtemp(top));
	snprintf(run, sizeof(run), "%s/run", top);
	snprintf(dev, sizeof(dev), "%s/dev", top);
	mkdir(dev, 0755);
	setenv("BRP_RUN_DIR", run, 1);
	setenv("BRP_DEV_DIR", dev, 1);
}

static void finish(void)
{
	char command[PATH_MAX + 16];

	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	cr_expect_eq(system(command), 0);
}

TestSuite(registry, .init = init, .fini = finish);

/* Returns the device's lock. */
static int reserve(const char *uri, struct reg_entry *ret_entry)
{
	struct reg_entry e = {.front_id = -1};
	int lock = registry_lock();
	int fd = -1;

	cr_assert(lock >= 0);
	snprintf(e.uri, sizeof(e.uri), "%s", uri);
	cr_assert_eq(registry_reserve(&e, &fd), 0);
	close(lock);
	*ret_entry = e;
	return fd;
}

static void make_node(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	cr_assert(fd >= 0);
	close(fd);
}

static bool is_there(const char *folder, const char *name)
{
	char path[2 * PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return lstat(path, &st) == 0;
}

Test(registry, nothing_yet)
{
	struct reg_entry *all;
	struct reg_entry e;

	cr_expect_eq(registry_list(&all), 0);
	free(all);
	cr_expect_eq(registry_find("brp0", &e), -ENOENT);
}

Test(registry, lowest_free_name)
{
	struct reg_entry a, b, c;
	int fa = reserve("brp+tcp://h/a", &a);
	int fb = reserve("brp+tcp://h/b", &b);
	int lock;

	cr_expect_str_eq(a.name, "brp0");
	cr_expect_str_eq(b.name, "brp1");
	lock = registry_lock();
	registry_remove(&a);
	close(lock);
	close(fa);
	fa = reserve("brp+tcp://h/c", &c);
	cr_expect_str_eq(c.name, "brp0");
	close(fa);
	close(fb);
}

Test(registry, name_of_somebody_else)
{
	char path[2 * PATH_MAX];
	struct reg_entry e;
	int fd;

	snprintf(path, sizeof(path), "%s/brp0", dev);
	make_node(path);
	fd = reserve("brp+tcp://h/a", &e);
	cr_expect_str_eq(e.name, "brp1");
	close(fd);
}

Test(registry, entry_survives_writing_and_reading)
{
	struct reg_entry e, back;
	int fd = reserve("brp+tcp://h/a", &e);

	snprintf(e.host, sizeof(e.host), "h");
	snprintf(e.volume, sizeof(e.volume), "a");
	snprintf(e.volume_uuid, sizeof(e.volume_uuid), "00000000-0000-4000-8000-000000000001");
	snprintf(e.node, sizeof(e.node), "/dev/ublkb7");
	snprintf(e.front, sizeof(e.front), "ublk");
	e.front_id = 7;
	e.supervisor = 11;
	e.server = 12;
	e.since_s = 1234567890123;
	cr_assert_eq(registry_write(&e), 0);
	cr_assert_eq(registry_read(e.name, &back), 0);
	cr_expect_str_eq(back.name, e.name);
	cr_expect_str_eq(back.uri, e.uri);
	cr_expect_str_eq(back.host, e.host);
	cr_expect_str_eq(back.volume, e.volume);
	cr_expect_str_eq(back.volume_uuid, e.volume_uuid);
	cr_expect_str_eq(back.node, e.node);
	cr_expect_str_eq(back.front, e.front);
	cr_expect_eq(back.front_id, 7);
	cr_expect_eq(back.supervisor, 11);
	cr_expect_eq(back.server, 12);
	cr_expect_eq(back.since_s, 1234567890123);
	cr_expect_eq(registry_find_node("/dev/ublkb7", &back), 0);
	cr_expect_eq(registry_find_node("/dev/ublkb8", &back), -ENOENT);
	close(fd);
}

Test(registry, found_by_any_name)
{
	char node[64], path[2 * PATH_MAX], link[2 * PATH_MAX];
	struct reg_entry e, found;
	int fd = reserve("brp+tcp://Host/a", &e);
	const char *names[] = {"brp0", path, node, link, "brp+tcp://host:10277/a"};

	snprintf(node, sizeof(node), "%s/dev/node", top);
	make_node(node);
	snprintf(e.node, sizeof(e.node), "%s", node);
	cr_assert_eq(registry_write(&e), 0);
	cr_assert_eq(links_make(&e), 0);
	snprintf(path, sizeof(path), "%s/brp0", dev);
	snprintf(link, sizeof(link), "%s/elsewhere", top);
	cr_assert_eq(symlink(path, link), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		cr_expect_eq(registry_find(names[i], &found), 0, "%s", names[i]);
	cr_expect_eq(registry_find("brp1", &found), -ENOENT);
	cr_expect_eq(registry_find("brp://host/a", &found), -ENOENT);
	cr_expect_eq(registry_find("/dev/null", &found), -ENOENT);
	close(fd);
}

/* Nobody holds the lock: whoever looks removes what is left. */
Test(registry, stale_entries_are_cleaned_up)
{
	struct reg_entry a, b;
	struct reg_entry *all;
	int fa = reserve("brp+tcp://h/a", &a);
	int fb = reserve("brp+tcp://h/b", &b);

	if (geteuid() != 0)
		cr_skip_test("only root cleans up");
	snprintf(a.node, sizeof(a.node), "%s/dev/node", top);
	registry_write(&a);
	cr_assert_eq(links_make(&a), 0);
	cr_expect(is_there(dev, "brp0"));
	close(fa);
	cr_assert_eq(registry_list(&all), 1);
	cr_expect_str_eq(all[0].name, "brp1");
	free(all);
	cr_expect_not(is_there(run, "brp0.json"));
	cr_expect_not(is_there(run, "brp0.lock"));
	cr_expect_not(is_there(dev, "brp0"));
	close(fb);
}

Test(registry, damaged_entry)
{
	struct reg_entry e;
	char path[2 * PATH_MAX];
	int fd = reserve("brp+tcp://h/a", &e);
	FILE *f;

	snprintf(path, sizeof(path), "%s/brp0.json", run);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs("{\"uri\": 5, \"front_end_id\": \"x\"}", f);
	fclose(f);
	cr_expect_eq(registry_read("brp0", &e), 0);
	cr_expect_str_eq(e.uri, "");
	cr_expect_eq(e.front_id, -1);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs("{", f);
	fclose(f);
	cr_expect_eq(registry_read("brp0", &e), -EINVAL);
	close(fd);
}

Test(registry, same_uri)
{
	cr_expect(registry_same_uri("brp+tcp://h/v", "brp+tcp://H:10277/v"));
	cr_expect_not(registry_same_uri("brp+tcp://h/v", "brp://h/v"));
	cr_expect_not(registry_same_uri("brp+tcp://h/v", "brp+tcp://h/V"));
	cr_expect_not(registry_same_uri("brp+tcp://h/v", "brp+tcp://h:1/v"));
	cr_expect(registry_same_uri("?", "?"));
}

/* ---- links ----------------------------------------------------------------------------------- */

static void read_link(const char *name, char text[PATH_MAX])
{
	char path[2 * PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dev, name);
	n = readlink(path, text, PATH_MAX - 1);
	text[n < 0 ? 0 : n] = '\0';
}

Test(registry, links)
{
	struct reg_entry e = {.name = "brp3",
			      .host = "fe80::1%eth0",
			      .volume = "v",
			      .volume_uuid = "00000000-0000-4000-8000-000000000001"};
	char text[PATH_MAX];

	snprintf(e.node, sizeof(e.node), "%s/dev/node", top);
	make_node(e.node);
	cr_assert_eq(links_make(&e), 0);
	read_link("brp3", text);
	cr_expect_str_eq(text, "node");
	read_link("brp/by-name/fe80::1_eth0-v", text);
	cr_expect_str_eq(text, "../../node");
	read_link("brp/by-id/00000000-0000-4000-8000-000000000001", text);
	cr_expect_str_eq(text, "../../node");
	cr_expect_eq(links_make(&e), 0, "again");
	links_remove(&e);
	cr_expect_not(is_there(dev, "brp3"));
	cr_expect_not(is_there(dev, "brp/by-id/00000000-0000-4000-8000-000000000001"));
}

Test(registry, links_of_another_device_stay)
{
	struct reg_entry a = {.name = "brp0", .host = "h", .volume = "v", .volume_uuid = "u"};
	struct reg_entry b = {.name = "brp1", .host = "h", .volume = "v", .volume_uuid = "u"};
	char text[PATH_MAX];

	snprintf(a.node, sizeof(a.node), "%s/dev/a", top);
	snprintf(b.node, sizeof(b.node), "%s/dev/b", top);
	make_node(a.node);
	make_node(b.node);
	cr_assert_eq(links_make(&a), 0);
	cr_assert_eq(links_make(&b), 0);
	read_link("brp/by-id/u", text);
	cr_expect_str_eq(text, "../../a");
	links_remove(&b);
	read_link("brp/by-id/u", text);
	cr_expect_str_eq(text, "../../a");
	/* The first one's node is gone: its names are free. */
	unlink(a.node);
	cr_assert_eq(links_make(&b), 0);
	read_link("brp/by-id/u", text);
	cr_expect_str_eq(text, "../../b");
}
