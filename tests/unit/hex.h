/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the files of tests/golden/; their form is in tests/golden/README. */
#ifndef TESTS_UNIT_HEX_H
#define TESTS_UNIT_HEX_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One word, "xx" or "xx*n"; returns the new length. */
static inline size_t hex_word(const char *word, uint8_t *buf, size_t len, size_t cap)
{
	unsigned int byte, repeat = 1;
	int end = 0;

	cr_assert_eq(sscanf(word, "%2x%n", &byte, &end), 1, "bad hex '%s'", word);
	cr_assert_eq(end, 2, "bad hex '%s'", word);
	if (word[2])
		cr_assert_eq(sscanf(word + 2, "*%u", &repeat), 1, "bad hex '%s'", word);
	cr_assert(repeat <= cap - len, "too long");
	memset(buf + len, (int)byte, repeat);
	return len + repeat;
}

/* Bytes of tests/golden/<name>.hex. */
static inline size_t hex_load(const char *name, uint8_t *buf, size_t cap)
{
	char path[512], line[512];
	size_t len = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.hex", BRP_GOLDEN_DIR, name);
	f = fopen(path, "r");
	cr_assert_not_null(f, "cannot open %s", path);
	while (fgets(line, sizeof(line), f)) {
		char *save = NULL;

		line[strcspn(line, "#\n")] = '\0';
		for (char *w = strtok_r(line, " \t", &save); w; w = strtok_r(NULL, " \t", &save))
			len = hex_word(w, buf, len, cap);
	}
	fclose(f);
	return len;
}

#endif
