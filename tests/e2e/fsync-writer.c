/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files that were fsynced, and whether they are still there.
 *
 *	fsync-writer write DIR RECORD    writes files, fsyncs each and its directory, and then notes
 *it in RECORD, which lies elsewhere; until an error, or SIGTERM fsync-writer verify DIR RECORD
 *every file that was noted is there, with what was noted or something newer
 *
 * Files are new, or replace an older one by rename. A line of the record is "try" (before) or
 *"done" (after everything was fsynced), the number of the file, and the seed and length that its
 *content follows from.
 *
 * Exit status: 0, 1 a file is damaged or none was noted, 2 wrong usage or no record.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define NR_FILES  200u
#define MAX_BYTES (48u * 1024)

struct version {
	uint64_t seed;
	uint32_t bytes;
};

/* What a file may be: what was last noted as done, and what was tried since. */
struct file {
	struct version *versions;
	unsigned int nr_versions;
};

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static void fill(uint8_t *data, const struct version *v)
{
	uint64_t state = v->seed | 1;

	for (uint32_t i = 0; i < v->bytes; i += 8) {
		uint64_t word = random_next(&state);

		memcpy(data + i, &word, 8); /* there is room for a whole word at the end */
	}
}

/* ---- write ----------------------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0)
			return -errno;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int write_new(int dir, const char *name, const struct version *v)
{
	static uint8_t data[MAX_BYTES + 8];
	int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	int err;

	if (fd < 0)
		return -errno;
	fill(data, v);
	err = write_all(fd, data, v->bytes);
	if (!err && fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int note(int record, const char *word, unsigned int file, const struct version *v)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %u %" PRIx64 " %u\n", word, file, v->seed,
			 v->bytes);

	return write_all(record, (uint8_t *)line, (size_t)n);
}

static int replace(int dir, int record, unsigned int number)
{
	uint64_t words[3];
	struct version v;
	char name[16];
	char fresh[32];
	unsigned int file;
	int err;

	if (getrandom(words, sizeof(words), 0) != sizeof(words))
		return -EIO;
	v = (struct version){.seed = words[0], .bytes = 1 + (uint32_t)(words[1] % MAX_BYTES)};
	file = (unsigned int)(words[2] % NR_FILES);
	snprintf(name, sizeof(name), "f%03u", file);
	snprintf(fresh, sizeof(fresh), "%s.%u", name, number);
	err = note(record, "try", file, &v);
	if (!err)
		err = write_new(dir, fresh, &v);
	if (!err && (renameat(dir, fresh, dir, name) < 0 || fsync(dir) < 0))
		err = -errno;
	return err ? err : note(record, "done", file, &v);
}

/* No number is used again: an earlier run may have left its last file. */
static unsigned int count_lines(int record)
{
	unsigned int nr = 0;
	char text[4096];
	ssize_t n;

	while ((n = read(record, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			nr += text[i] == '\n';
	}
	return nr;
}

static int run_write(int dir, const char *path)
{
	int record = open(path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0644);
	unsigned int number;
	int err = 0;

	if (record < 0) {
		perror(path);
		return 2;
	}
	for (number = count_lines(record); !err; number++)
		err = replace(dir, record, number);
	printf("ended by: %s\n", strerror(-err));
	close(record);
	return 0;
}

/* ---- verify ---------------------------------------------------------------------------------- */

static int add_version(struct file *f, bool is_done, const struct version *v)
{
	struct version *more;

	if (is_done)
		f->nr_versions = 0;
	else if (f->nr_versions == 0)
		return 0; /* it need not be there yet */
	more = reallocarray(f->versions, f->nr_versions + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	f->versions = more;
	f->versions[f->nr_versions++] = *v;
	return 0;
}

static int read_record(FILE *record, struct file *files)
{
	char word[8];
	struct version v;
	unsigned int file;
	int n;

	while ((n = fscanf(record, "%7s %u %" SCNx64 " %u\n", word, &file, &v.seed, &v.bytes)) ==
	       4) {
		if (file >= NR_FILES || v.bytes > MAX_BYTES)
			return -EINVAL;
		if (add_version(&files[file], !strcmp(word, "done"), &v) < 0)
			return -ENOMEM;
	}
	return n == EOF ? 0 : -EINVAL;
}

/* Bytes of the file, one more than a file may have if it is longer; or a negative errno. */
static ssize_t read_file(int dir, const char *name, uint8_t *data, size_t max)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t sum = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0 && sum < max) {
		n = read(fd, data + sum, max - sum);
		sum += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : (ssize_t)sum;
}

static bool is_one_of(const struct file *f, const uint8_t *data, ssize_t bytes)
{
	static uint8_t want[MAX_BYTES + 8];

	for (unsigned int i = 0; i < f->nr_versions; i++) {
		if ((ssize_t)f->versions[i].bytes != bytes)
			continue;
		fill(want, &f->versions[i]);
		if (!memcmp(want, data, (size_t)bytes))
			return true;
	}
	return false;
}

static bool is_intact(int dir, unsigned int number, const struct file *f)
{
	static uint8_t data[MAX_BYTES + 1];
	char name[16];
	ssize_t n;

	snprintf(name, sizeof(name), "f%03u", number);
	n = read_file(dir, name, data, sizeof(data));
	if (n >= 0 && is_one_of(f, data, n))
		return true;
	printf("%s: fsynced with %u bytes, ", name, f->versions[0].bytes);
	if (n < 0)
		printf("now: %s\n", strerror((int)-n));
	else
		printf("now %zd others\n", n);
	return false;
}

static int run_verify(int dir, const char *path)
{
	static struct file files[NR_FILES];
	FILE *record = fopen(path, "re");
	unsigned int nr = 0;
	unsigned int nr_wrong = 0;

	if (!record || read_record(record, files) < 0) {
		fprintf(stderr, "fsync-writer: %s cannot be read\n", path);
		return 2;
	}
	fclose(record);
	for (unsigned int i = 0; i < NR_FILES; i++) {
		if (files[i].nr_versions == 0)
			continue;
		nr++;
		nr_wrong += !is_intact(dir, i, &files[i]);
		free(files[i].versions);
	}
	printf("%u fsynced files, %u wrong\n", nr, nr_wrong);
	return nr_wrong || !nr;
}

int main(int argc, char **argv)
{
	bool is_write = argc == 4 && !strcmp(argv[1], "write");
	int dir;

	if (argc != 4 || (!is_write && strcmp(argv[1], "verify") != 0)) {
		fprintf(stderr, "usage: fsync-writer write|verify DIR RECORD\n");
		return 2;
	}
	dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		perror(argv[2]);
		return 2;
	}
	return is_write ? run_write(dir, argv[3]) : run_verify(dir, argv[3]);
}
