/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

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

/* A file that is mounted nowhere, and something that is not there. */
Test(inuse, no_block_device)
{
	char why[64];

	cr_expect_eq(inuse_check("/dev/null", why, sizeof(why)), 0);
	cr_expect_eq(inuse_check("/nowhere/x", why, sizeof(why)), 0);
	cr_expect_str_eq(why, "");
}
