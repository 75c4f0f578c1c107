/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include <errno.h>

#include "common/strparse.h"

#define KEPT 0x5a5a5a5a

Test(strparse, u64)
{
	static const struct {
		const char *s;
		uint64_t min, max;
		int r;
		uint64_t v;
	} all[] = {
		{"0", 0, UINT64_MAX, 0, 0},
		{"7", 7, 7, 0, 7},
		{"007", 0, 9, 0, 7},
		{"18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX},
		{"18446744073709551616", 0, UINT64_MAX, -ERANGE, KEPT},
		{"99999999999999999999999999999999", 0, UINT64_MAX, -ERANGE, KEPT},
		{"6", 7, 9, -ERANGE, KEPT},
		{"10", 7, 9, -ERANGE, KEPT},
		{"", 0, 9, -EINVAL, KEPT},
		{" 1", 0, 9, -EINVAL, KEPT},
		{"1 ", 0, 9, -EINVAL, KEPT},
		{"+1", 0, 9, -EINVAL, KEPT},
		{"-1", 0, UINT64_MAX, -EINVAL, KEPT},
		{"0x1", 0, 9, -EINVAL, KEPT},
		{"1e3", 0, UINT64_MAX, -EINVAL, KEPT},
		{"1.0", 0, 9, -EINVAL, KEPT},
		{"99999999999999999999x", 0, UINT64_MAX, -EINVAL, KEPT},
		{"1k", 0, UINT64_MAX, -EINVAL, KEPT},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		uint64_t v = KEPT;

		cr_expect_eq(parse_u64(all[i].s, all[i].min, all[i].max, &v), all[i].r, "'%s'",
			     all[i].s);
		cr_expect_eq(v, all[i].v, "'%s'", all[i].s);
	}
}

Test(strparse, u32)
{
	uint32_t v = KEPT;

	cr_expect_eq(parse_u32("4294967296", 0, UINT32_MAX, &v), -ERANGE);
	cr_expect_eq(parse_u32("x", 0, UINT32_MAX, &v), -EINVAL);
	cr_expect_eq(parse_u32("1", 2, 3, &v), -ERANGE);
	cr_expect_eq(v, KEPT);
	cr_expect_eq(parse_u32("4294967295", 0, UINT32_MAX, &v), 0);
	cr_expect_eq(v, UINT32_MAX);
}

Test(strparse, size)
{
	static const struct {
		const char *s;
		int r;
		uint64_t v;
	} all[] = {
		{"0", 0, 0},
		{"512", 0, 512},
		{"512B", 0, 512},
		{"4k", 0, 4096},
		{"4K", 0, 4096},
		{"4kB", 0, 4096},
		{"4KiB", 0, 4096},
		{"1M", 0, 1u << 20},
		{"1MiB", 0, 1u << 20},
		{"3G", 0, 3ull << 30},
		{"2T", 0, 2ull << 40},
		{"2TB", 0, 2ull << 40},
		{"16777215T", 0, 16777215ull << 40},
		{"16777216T", -ERANGE, KEPT},
		{"18014398509481983k", 0, 18014398509481983ull << 10},
		{"18014398509481984k", -ERANGE, KEPT},
		{"18446744073709551616", -ERANGE, KEPT},
		{"", -EINVAL, KEPT},
		{"k", -EINVAL, KEPT},
		{"B", -EINVAL, KEPT},
		{"4iB", -EINVAL, KEPT},
		{"4ki", -EINVAL, KEPT},
		{"4kb", -EINVAL, KEPT},
		{"4m", -EINVAL, KEPT},
		{"4g", -EINVAL, KEPT},
		{"4P", -EINVAL, KEPT},
		{"4kk", -EINVAL, KEPT},
		{"4 k", -EINVAL, KEPT},
		{"4kBx", -EINVAL, KEPT},
		{"4BB", -EINVAL, KEPT},
		{"4kiBB", -EINVAL, KEPT},
		{"-4k", -EINVAL, KEPT},
		{"1.5M", -EINVAL, KEPT},
	};
	uint64_t v = KEPT;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		v = KEPT;
		cr_expect_eq(parse_size(all[i].s, 0, UINT64_MAX, &v), all[i].r, "'%s'", all[i].s);
		cr_expect_eq(v, all[i].v, "'%s'", all[i].s);
	}
	cr_expect_eq(parse_size("4k", 4097, 9999, &v), -ERANGE);
	cr_expect_eq(parse_size("4k", 0, 4095, &v), -ERANGE);
	cr_expect_eq(parse_size("4k", 4096, 4096, &v), 0);
}

Test(strparse, seconds)
{
	static const struct {
		const char *s;
		int r;
		uint32_t ms;
	} all[] = {
		{"0", 0, 0},
		{"5", 0, 5000},
		{"0.5", 0, 500},
		{"1.25", 0, 1250},
		{"0.001", 0, 1},
		{"10", 0, 10000},
		{"10.0", 0, 10000},
		{"10.001", -ERANGE, KEPT},
		{"11", -ERANGE, KEPT},
		{"99999999999999999999", -ERANGE, KEPT},
		{"1.2345", -EINVAL, KEPT},
		{"1.", -EINVAL, KEPT},
		{".5", -EINVAL, KEPT},
		{"-1", -EINVAL, KEPT},
		{"1s", -EINVAL, KEPT},
		{"1.x", -EINVAL, KEPT},
		{"", -EINVAL, KEPT},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		uint32_t ms = KEPT;

		cr_expect_eq(parse_seconds(all[i].s, 10, &ms), all[i].r, "%s", all[i].s);
		cr_expect_eq(ms, all[i].ms, "%s", all[i].s);
	}
}
