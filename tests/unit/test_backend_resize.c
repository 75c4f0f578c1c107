/* SPDX-License-Identifier: BSD-2-Clause */
/* Volumes that change their size while they are open. */
#include "tests/unit/backend_util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)

static char file[128];

static void setup(void)
{
	int fd;

	snprintf(file, sizeof(file), "resize-test-%d.img", (int)getpid());
	fd = open(file, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0)
		cr_skip_test("no direct I/O on this file system");
	cr_assert(ftruncate(fd, 2 * MIB) == 0);
	close(fd);
}

static void teardown(void)
{
	unlink(file);
}

static uint64_t file_bytes(void)
{
	struct stat st;

	cr_assert(stat(file, &st) == 0);
	return (uint64_t)st.st_size;
}

static void grow_and_shrink(const char *fault)
{
	struct bk_spec spec = {.path = file, .numa_node = -1, .fault = fault};
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 4);
	char *buf = aligned(4096);
	uint64_t bytes = 0;

	cr_assert(do_op(q, BRP_OP_WRITE, 2 * MIB, 4096, buf) == -ERANGE);
	cr_assert(truncate(file, 3 * MIB + 100) == 0);
	cr_assert(bk_resize(v, 0, false, &bytes) == 0 && bytes == 3 * MIB, "whole blocks");
	cr_assert(do_op(q, BRP_OP_WRITE, 2 * MIB, 4096, buf) == 0);
	cr_assert(bk_resize(v, 4 * MIB, false, &bytes) == 0 && bytes == 4 * MIB);
	cr_assert(file_bytes() == 4 * MIB);

	bytes = 7;
	cr_assert(bk_resize(v, MIB, false, &bytes) == -EPERM);
	cr_assert(file_bytes() == 4 * MIB && bytes == 7, "nothing was touched");
	cr_assert(truncate(file, MIB) == 0);
	cr_assert(bk_resize(v, 0, false, &bytes) == -EPERM);
	cr_assert(bk_resize(v, 0, true, &bytes) == 0 && bytes == MIB);
	cr_assert(do_op(q, BRP_OP_READ, MIB, 4096, buf) == -ERANGE);
	cr_assert(do_op(q, BRP_OP_READ, MIB - 4096, 4096, buf) == 0);
	bk_queue_destroy(q);
	bk_close(v);
	free(buf);
}

Test(resize, file, .init = setup, .fini = teardown)
{
	grow_and_shrink(NULL);
}

Test(resize, through_a_fault_volume, .init = setup, .fini = teardown)
{
	grow_and_shrink("delay=1us:read");
}

Test(resize, through_a_volatile_cache, .init = setup, .fini = teardown)
{
	grow_and_shrink("volatile");
}

Test(resize, memory_cannot)
{
	struct bk_spec spec = {.path = "ram:1M", .numa_node = -1};
	struct bk_volume *v = must_open(&spec);
	uint64_t bytes;

	cr_assert(bk_resize(v, 2 * MIB, true, &bytes) == -EOPNOTSUPP);
	bk_close(v);
}
