/* SPDX-License-Identifier: BSD-2-Clause */
/* protocol.md 7, and UUID texts. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "brp/status.h"

/* The table of protocol.md 7 once more, on purpose. */
static const struct {
	uint16_t status;
	int err;
} table[] = {
	{0, 0},       {1, EIO},     {2, ERANGE},  {3, EINVAL}, {4, EOPNOTSUPP},
	{5, EROFS},   {6, ENOSPC},  {7, ENOBUFS}, {8, ENOENT}, {9, EPROTONOSUPPORT},
	{10, ESTALE}, {11, EACCES}, {12, ENODEV}, {13, EBUSY}, {14, ESHUTDOWN},
	{15, EPROTO},
};

Test(status, both_ways)
{
	cr_assert_eq(sizeof(table) / sizeof(table[0]), BRP_ST_COUNT);
	for (uint16_t i = 0; i < BRP_ST_COUNT; i++) {
		cr_expect_eq(table[i].status, i);
		cr_expect_eq(brp_status_to_errno(i), -table[i].err, "status %u", i);
		cr_expect_eq(brp_status_from_errno(-table[i].err), i, "errno %d", table[i].err);
	}
}

Test(status, unknown_is_io_error)
{
	cr_expect_eq(brp_status_to_errno(16), -EIO);
	cr_expect_eq(brp_status_to_errno(0xffff), -EIO);
	cr_expect_eq(brp_status_from_errno(-EXDEV), BRP_ST_IO_ERROR);
	cr_expect_eq(brp_status_from_errno(-4095), BRP_ST_IO_ERROR);
	cr_expect_eq(brp_status_from_errno(EROFS), BRP_ST_IO_ERROR); /* wrong sign */
}

Test(status, aliases)
{
	cr_expect_eq(brp_status_from_errno(-EPERM), BRP_ST_DENIED);
	cr_expect_eq(brp_status_from_errno(-ENOMEM), BRP_ST_NO_RESOURCES);
	cr_expect_eq(brp_status_from_errno(-EDQUOT), BRP_ST_NO_SPACE);
}

static void assert_names(const char *(*name)(uint8_t), uint8_t first, uint8_t last)
{
	for (int i = 0; i < 256; i++) {
		bool is_known = i >= first && i <= last;

		cr_assert_not_null(name((uint8_t)i), "%d", i);
		cr_assert_eq(strcmp(name((uint8_t)i), "unknown") != 0, is_known, "%d", i);
		for (int k = first; is_known && k < i; k++)
			cr_assert_str_neq(name((uint8_t)i), name((uint8_t)k));
	}
}

static const char *status_name(uint8_t status)
{
	return brp_status_name(status);
}

Test(status, names)
{
	assert_names(status_name, 0, BRP_ST_PROTOCOL);
	assert_names(brp_msg_name, BRP_MSG_HELLO, BRP_MSG_GOODBYE);
	assert_names(brp_op_name, BRP_OP_READ, BRP_OP_FLUSH);
	cr_expect_str_eq(brp_status_name(0xffff), "unknown");
	cr_expect_str_eq(brp_msg_name(BRP_MSG_JUMBO), "JUMBO");
	cr_expect_str_eq(brp_op_name(BRP_OP_DISCARD), "DISCARD");
}

Test(uuid, text)
{
	static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";
	struct brp_uuid u;
	char buf[37];

	cr_assert_eq(brp_uuid_parse(text, &u), 0);
	for (unsigned int i = 0; i < 16; i++)
		cr_expect_eq(u.b[i], 0x11 * i);
	brp_uuid_format(&u, buf);
	cr_expect_str_eq(buf, text);
	cr_assert_eq(brp_uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &u), 0);
	brp_uuid_format(&u, buf);
	cr_expect_str_eq(buf, text);
}

Test(uuid, bad_text)
{
	static const char *const bad[] = {
		"",
		"0",
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeeff0",
		"00112233-4455-6677-8899-aabbccddeeff ",
		" 00112233-4455-6677-8899-aabbccddeeff",
		"00112233445566778899aabbccddeeff",
		"0011223-34455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeefg",
		"00112233-4455-6677-8899_aabbccddeeff",
		"{0112233-4455-6677-8899-aabbccddeeff}",
	};
	struct brp_uuid u, before;

	memset(&u, 0x5a, sizeof(u));
	before = u;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(brp_uuid_parse(bad[i], &u), -EINVAL, "'%s'", bad[i]);
	cr_expect(brp_uuid_equal(&u, &before));
}

Test(uuid, comparison)
{
	struct brp_uuid a = {{0}}, b = {{0}};

	cr_expect(brp_uuid_is_zero(&a));
	cr_expect(brp_uuid_equal(&a, &b));
	for (unsigned int i = 0; i < 16; i++) {
		b.b[i] = 1;
		cr_expect(!brp_uuid_equal(&a, &b));
		cr_expect(!brp_uuid_is_zero(&b));
		b.b[i] = 0;
	}
}
