/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a restarted target says of a volume: UUID and generation, the same volume or another;
 * boot id, whether what was acknowledged and not flushed may be lost.
 */
#include "tests/unit/backend_util.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

static char file[128];
static char copy[160];

static void make(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0)
		cr_skip_test("no direct I/O on this file system");
	cr_assert(ftruncate(fd, 1 << 20) == 0);
	close(fd);
}

static void setup(void)
{
	snprintf(file, sizeof(file), "identity-test-%d.img", (int)getpid());
	snprintf(copy, sizeof(copy), "%s.copy", file);
	make(file);
}

static void teardown(void)
{
	unlink(file);
	unlink(copy);
}

static struct bk_info opened(const char *path, const char *fault)
{
	struct bk_spec spec = {.path = path, .numa_node = -1, .fault = fault};
	struct bk_volume *v = must_open(&spec);
	struct bk_info info;

	bk_get_info(v, &info);
	bk_close(v);
	return info;
}

static bool same(const struct brp_uuid *a, const struct brp_uuid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

Test(identity, a_file_is_the_same_after_a_restart, .init = setup, .fini = teardown)
{
	struct bk_info a = opened(file, NULL);
	struct bk_info b;

	cr_assert(rename(file, copy) == 0); /* also under another name */
	b = opened(copy, NULL);
	if (getxattr(copy, "user.brp.uuid", NULL, 0) > 0)
		cr_assert(same(&a.uuid, &b.uuid));
	cr_assert(a.generation == b.generation);
	cr_assert(same(&a.boot_id, &b.boot_id));
}

/* A copy that brought the attributes along, put in its place. */
Test(identity, a_replaced_file_is_another, .init = setup, .fini = teardown)
{
	struct bk_info a = opened(file, NULL);
	struct bk_info b;
	char uuid[36];
	ssize_t n = getxattr(file, "user.brp.uuid", uuid, sizeof(uuid));

	make(copy);
	if (n > 0)
		cr_assert(setxattr(copy, "user.brp.uuid", uuid, (size_t)n, 0) == 0);
	cr_assert(rename(copy, file) == 0);
	b = opened(file, NULL);
	cr_assert(same(&a.uuid, &b.uuid));
	cr_assert(a.generation != b.generation);
}

Test(identity, boot_id_tells_where_the_cache_lives, .init = setup, .fini = teardown)
{
	struct bk_info plain = opened(file, NULL);
	struct bk_info delayed = opened(file, "delay=1us:read");
	struct bk_info lost = opened(file, "volatile");
	struct bk_info lost_again = opened(file, "volatile");

	cr_assert(same(&plain.boot_id, &delayed.boot_id));
	cr_assert(!same(&plain.boot_id, &lost.boot_id));
	cr_assert(!same(&lost.boot_id, &lost_again.boot_id));
	cr_assert(same(&plain.uuid, &lost.uuid) && plain.generation == lost.generation);
	cr_assert(lost.cache == BRP_CACHE_WRITE_BACK);
}

Test(identity, memory_comes_back_as_another)
{
	struct bk_info a = opened("ram:1M", NULL);
	struct bk_info b = opened("ram:1M", NULL);

	cr_assert(!same(&a.uuid, &b.uuid));
	cr_assert(a.generation != b.generation);
	cr_assert(!same(&a.boot_id, &b.boot_id));
}
