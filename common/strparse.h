/* SPDX-License-Identifier: BSD-2-Clause */
/* Strict parsing of what users type. The whole string must match; 0, or -EINVAL / -ERANGE and
 * *ret_v untouched. */
#ifndef COMMON_STRPARSE_H
#define COMMON_STRPARSE_H

#include <stdint.h>

/* Decimal number within [min, max]. */
int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret_v);
int parse_u32(const char *s, uint32_t min, uint32_t max, uint32_t *ret_v);

/* A time in seconds, at most max_s, with up to three decimals: "5", "0.5". */
int parse_seconds(const char *s, uint32_t max_s, uint32_t *ret_ms);

/* A size in bytes: decimal number with an optional suffix k K M G T (powers of 1024), optionally
 * followed by "iB" or "B". */
int parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *ret_bytes);

#endif
