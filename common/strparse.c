/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers and sizes. No strtoull(): it takes blanks, signs and "0x", and wraps negative numbers. */
#include "common/strparse.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Digits from *s on, at least one; *s then points behind them. -ERANGE still reads them all. */
static int take_number(const char **s, uint64_t *ret_v)
{
	const char *p = *s;
	uint64_t v = 0;
	int r = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			r = -ERANGE;
	}
	if (p == *s)
		return -EINVAL;
	*s = p;
	*ret_v = v;
	return r;
}

/* The power of two that a suffix stands for; *s then points behind it. */
static unsigned int take_suffix(const char **s)
{
	static const char suffixes[] = "kMGT";
	char c = **s == 'K' ? 'k' : **s;
	const char *hit = c ? strchr(suffixes, c) : NULL;

	if (hit)
		(*s)++;
	if (hit && strcmp(*s, "iB") == 0)
		*s += 2;
	else if (**s == 'B')
		(*s)++;
	return hit ? 10 * (unsigned int)(hit - suffixes + 1) : 0;
}

/* What is malformed is -EINVAL even where the number would be -ERANGE, too. */
static int check(const char *rest, int r, uint64_t v, uint64_t min, uint64_t max, uint64_t *ret_v)
{
	if (r == -EINVAL || *rest != '\0')
		return -EINVAL;
	if (r < 0 || v < min || v > max)
		return -ERANGE;
	*ret_v = v;
	return 0;
}

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret_v)
{
	uint64_t v = 0;
	int r = take_number(&s, &v);

	return check(s, r, v, min, max, ret_v);
}

int parse_u32(const char *s, uint32_t min, uint32_t max, uint32_t *ret_v)
{
	uint64_t v;
	int r = parse_u64(s, min, max, &v);

	if (r == 0)
		*ret_v = (uint32_t)v;
	return r;
}

int parse_seconds(const char *s, uint32_t max_s, uint32_t *ret_ms)
{
	uint64_t ms = 0, v = 0;
	int r = take_number(&s, &v);

	if (r == 0 && v > max_s)
		r = -ERANGE;
	if (r != -EINVAL && *s == '.' && s[1]) {
		s++;
		for (uint64_t unit = 100; unit && *s >= '0' && *s <= '9'; unit /= 10)
			ms += unit * (uint64_t)(*s++ - '0');
	}
	r = check(s, r, r ? 0 : v * 1000 + ms, 0, max_s * 1000ull, &ms);
	if (r == 0)
		*ret_ms = (uint32_t)ms;
	return r;
}

int parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *ret_bytes)
{
	uint64_t v = 0;
	int r = take_number(&s, &v);
	unsigned int shift = r == -EINVAL ? 0 : take_suffix(&s);

	if (r == 0 && v > UINT64_MAX >> shift)
		r = -ERANGE;
	return check(s, r, v << shift, min, max, ret_bytes);
}
