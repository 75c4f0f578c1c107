/* SPDX-License-Identifier: BSD-2-Clause */
/* Stands in for libFuzzer: runs every file of the folder argv[1] through the fuzzer it is linked
 * with. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define MAX_INPUT_BYTES (1u << 20)

/* A heap block of just the file's size, so that ASan sees a byte read too many. */
static void run_file(const char *folder, const char *name)
{
	char path[4096];
	uint8_t *data = malloc(MAX_INPUT_BYTES);
	uint8_t *exact;
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	CHECK(data && f);
	len = fread(data, 1, MAX_INPUT_BYTES, f);
	fclose(f);
	exact = malloc(len ? len : 1);
	CHECK(exact);
	memcpy(exact, data, len);
	free(data);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	unsigned int nr = 0;
	struct dirent *e;

	if (!dir) {
		fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
		return 2;
	}
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		run_file(argv[1], e->d_name);
		nr++;
	}
	closedir(dir);
	printf("%u inputs\n", nr);
	return nr ? 0 : 1; /* an empty corpus tests nothing */
}
