/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzzers share. Each takes any bytes, decodes them and checks what the codec promises
 * after success; CHECK works with NDEBUG, too. Without libFuzzer replay.c runs them over a corpus.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* Encoding what was decoded gives the same bytes: nothing was lost, nothing reserved was let
 * through. */
static inline void check_same_bytes(const uint8_t *made, int made_len, const uint8_t *data,
				    size_t len)
{
	CHECK(made_len >= 0 && (size_t)made_len == len);
	CHECK(memcmp(made, data, len) == 0);
}

#endif
