/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "initiator/ctl/inuse.h"

Test(inuse, mountinfo)
{
	static const struct {
		const char *line;
		int found;
		const char *where;
	} all[] = {
		{"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n", 1, "/mnt2"},
		{"36 35 98:0 / /with\\040space rw - ext3 /dev/x rw\n", 1, "/with\\040space"},
		{"36 35 98:1 / /mnt rw - ext3 /dev/x rw\n", 0, ""},
		{"36 35 9:80 / /mnt rw - ext3 /dev/x rw\n", 0, ""},
		{"36 35 198:0 / /mnt rw - ext3 /dev/x rw\n", 0, ""},
		{"36 35 98:0\n", 0, ""},
		{"", 0, ""},
		{"garbage 98:0", 0, ""},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char where[64] = "";

		cr_expect_eq(inuse_mountinfo_line(all[i].line, 98, 0, where, sizeof(where)),
			     all[i].found, "%s", all[i].line);
		cr_expect_str_eq(where, all[i].where);
	}
}

Test(inuse, mountinfo_cuts_long_paths)
{
	char where[5];

	cr_expect(inuse_mountinfo_line("1 2 98:0 / /abcdefgh rw - x y z\n", 98, 0, where,
				       sizeof(where)));
	cr_expect_str_eq(where, "/abc");
}

Test(inuse, swaps)
{
	cr_expect(inuse_swaps_line("/dev/sda2   partition 1 0 -2\n", "/dev/sda2"));
	cr_expect(inuse_swaps_line("/dev/sda2\tpartition 1 0 -2\n", "/dev/sda2"));
	cr_expect_not(inuse_swaps_line("/dev/sda22  partition 1 0 -2\n", "/dev/sda2"));
	cr_expect_not(inuse_swaps_line("/dev/sda2   partition 1 0 -2\n", "/dev/sda22"));
	cr_expect_not(inuse_swaps_line("Filename Type Size Used Priority\n", "/dev/sda2"));
}

/* Any block device; false: there is none. */
static bool find_block_device(char *node, size_t bytes)
{
	DIR *dev = opendir("/dev");
	struct dirent *de;
	bool found = false;

	while (!found && dev && (de = readdir(dev))) {
		struct stat st;

		snprintf(node, bytes, "/dev/%s", de->d_name);
		found = stat(node, &st) == 0 && S_ISBLK(st.st_mode);
	}
	if (dev)
		closedir(dev);
	return found;
}

/* A program that has no descriptors left sees no mounts: that is no reason to take them for none.
 */
Test(inuse, not_told_is_in_use)
{
	struct rlimit none = {0};
	struct rlimit before;
	char node[300];
	char why[128] = "";
	int r;

	if (!find_block_device(node, sizeof(node)))
		cr_skip("no block device");
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none.rlim_max = before.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = inuse_check(node, why, sizeof(why));
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	cr_assert_eq(r, -EBUSY, "%s: %d", node, r);
	cr_assert(strstr(why, "cannot be told"), "%s", why);
}

/* A file that is mounted nowhere, and something that is not there. */
Test(inuse, no_block_device)
{
	char why[64];

	cr_expect_eq(inuse_check("/dev/null", why, sizeof(why)), 0);
	cr_expect_eq(inuse_check("/nowhere/x", why, sizeof(why)), 0);
	cr_expect_str_eq(why, "");
}
