/* SPDX-License-Identifier: BSD-2-Clause */
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int shadow_init(struct shadow *sh, uint64_t offset, uint64_t span, uint32_t block)
{
	*sh = (struct shadow){.offset = offset, .span = span, .block = block};
	sh->data = calloc(1, span);
	sh->is_known = calloc(1, span / block);
	if (sh->data && sh->is_known)
		return 0;
	shadow_finish(sh);
	return -ENOMEM;
}

void shadow_finish(struct shadow *sh)
{
	free(sh->data);
	free(sh->is_known);
	sh->data = NULL;
	sh->is_known = NULL;
}

static void set_known(struct shadow *sh, uint64_t at, uint64_t bytes, uint8_t is_known)
{
	memset(sh->is_known + at / sh->block, is_known, bytes / sh->block);
}

void shadow_write(struct shadow *sh, uint64_t at, uint64_t bytes, const void *data)
{
	memcpy(sh->data + at, data, bytes);
	set_known(sh, at, bytes, 1);
}

void shadow_zero(struct shadow *sh, uint64_t at, uint64_t bytes)
{
	memset(sh->data + at, 0, bytes);
	set_known(sh, at, bytes, 1);
}

void shadow_forget(struct shadow *sh, uint64_t at, uint64_t bytes)
{
	set_known(sh, at, bytes, 0);
}

static void report(const struct shadow *sh, uint64_t at, const uint8_t *data)
{
	unsigned int i = 0;

	while (i < sh->block - 1 && sh->data[at + i] == data[i])
		i++;
	fprintf(stderr, "brp-ops: wrong data: volume byte %llu is %02x, must be %02x\n",
		(unsigned long long)(sh->offset + at + i), data[i], sh->data[at + i]);
}

bool shadow_matches(const struct shadow *sh, uint64_t at, uint64_t bytes, const void *data)
{
	const uint8_t *got = data;

	for (uint64_t i = 0; i < bytes; i += sh->block) {
		if (!sh->is_known[(at + i) / sh->block])
			continue;
		if (memcmp(sh->data + at + i, got + i, sh->block)) {
			report(sh, at + i, got + i);
			return false;
		}
	}
	return true;
}

/* A private file of one test run on one machine: the layout is this program's own. */
int shadow_save(const struct shadow *sh, const char *path)
{
	FILE *f = fopen(path, "wb");
	bool ok;

	if (!f)
		return -errno;
	ok = fwrite(sh, sizeof(*sh), 1, f) == 1 && fwrite(sh->data, sh->span, 1, f) == 1 &&
	     fwrite(sh->is_known, sh->span / sh->block, 1, f) == 1;
	return fclose(f) || !ok ? -EIO : 0;
}

int shadow_load(struct shadow *sh, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct shadow head;
	int err = -EIO;

	if (!f)
		return -errno;
	if (fread(&head, sizeof(head), 1, f) == 1)
		err = shadow_init(sh, head.offset, head.span, head.block);
	if (!err && (fread(sh->data, sh->span, 1, f) != 1 ||
		     fread(sh->is_known, sh->span / sh->block, 1, f) != 1)) {
		shadow_finish(sh);
		err = -EIO;
	}
	fclose(f);
	return err;
}
