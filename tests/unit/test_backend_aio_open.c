/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and files: which are refused, and how they are known again. */
#include "tests/unit/aio_rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static void refusal(const char *path, uint32_t block, int err)
{
	struct bk_spec spec = spec_of(path);

	spec.block_bytes = block;
	cr_assert(open_result(&spec) == err, "%s", path);
}

Test(aio, refusals, .init = setup, .fini = teardown)
{
	char small[128];

	snprintf(small, sizeof(small), "%s/small", dir);
	make_file(small, 511);
	refusal("/nonexistent/disk", 0, -ENOENT);
	refusal("", 0, -ENOENT);
	refusal(dir, 0, -EISDIR);
	refusal("/dev/null", 0, -ENOTBLK);
	refusal(small, 0, -EINVAL);
	refusal(file, 1000, -EINVAL);
	make_file(small, 8191);
	refusal(small, 8192, -EINVAL);
	refusal(small, 4096, 0);
}

Test(aio, permission, .init = setup)
{
	struct bk_spec spec = spec_of(file);

	if (geteuid() != 0) {
		teardown();
		cr_skip_test("not root");
	}
	chmod(dir, 0755);
	chmod(file, 0444);
	cr_assert(seteuid(65534) == 0);
	cr_assert(open_result(&spec) == -EACCES);
	cr_assert(seteuid(0) == 0);
	spec.is_read_only = true;
	cr_assert(open_result(&spec) == 0);
	teardown();
}

Test(aio, read_only, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_volume *w;
	struct bk_queue *q;
	char *buf = aligned(4096);

	spec.is_read_only = true;
	v = must_open(&spec);
	w = must_open(&spec); /* readers share */
	q = must_queue(v, 4);
	cr_assert(info_of(v).volume_flags & BRP_VOL_READ_ONLY);
	cr_assert(!(info_of(v).volume_flags & (BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES)));
	cr_assert(do_op(q, BRP_OP_READ, 0, 4096, buf) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == -EROFS);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	spec.is_read_only = false;
	cr_assert(open_result(&spec) == -EBUSY);
	close_both(q, v);
	bk_close(w);
	free(buf);
}

Test(aio, second_writer, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);

	cr_assert(open_result(&spec) == -EBUSY);
	spec.is_forced = true;
	cr_assert(open_result(&spec) == 0);
	bk_close(v);
	spec.is_forced = false;
	cr_assert(open_result(&spec) == 0);
}

static void *close_soon(void *v)
{
	usleep(60000);
	bk_close(v);
	return NULL;
}

/* A predecessor that was killed may hold it until its last request has ended. */
static void busy_for_a_moment(const char *path)
{
	struct bk_spec spec = spec_of(path);
	struct bk_volume *v = must_open(&spec);
	pthread_t t;

	cr_assert(pthread_create(&t, NULL, close_soon, v) == 0);
	cr_assert(open_result(&spec) == 0);
	pthread_join(t, NULL);
}

Test(aio, file_busy_for_a_moment, .init = setup, .fini = teardown)
{
	busy_for_a_moment(file);
}

Test(aio, device_busy_for_a_moment, .init = setup, .fini = teardown)
{
	attach_loop("");
	busy_for_a_moment(loop_dev);
}

Test(aio, busy_devices, .init = setup, .fini = teardown)
{
	struct bk_spec on_file = spec_of(file);
	struct bk_spec on_loop;
	struct bk_volume *v;

	attach_loop("");
	on_loop = spec_of(loop_dev);
	cr_assert(open_result(&on_file) == -EBUSY); /* attached */
	on_file.is_forced = true;
	cr_assert(open_result(&on_file) == 0);
	v = must_open(&on_loop);
	cr_assert(open_result(&on_loop) == -EBUSY); /* held by another */
	bk_close(v);
	if (shell("mkfs.ext4 -q %s && mkdir -p %s/mnt", loop_dev, dir) ||
	    shell("mount %s %s/mnt", loop_dev, dir))
		cr_skip_test("cannot mount");
	cr_assert(open_result(&on_loop) == -EBUSY); /* mounted */
	on_loop.is_forced = true;
	on_loop.is_read_only = true;
	cr_assert(open_result(&on_loop) == 0);
}

Test(aio, large_sectors, .init = setup, .fini = teardown)
{
	struct bk_spec spec;
	struct bk_volume *v;

	attach_loop("--sector-size 4096");
	spec = spec_of(loop_dev);
	spec.block_bytes = 512;
	cr_assert(open_result(&spec) == -EINVAL);
	spec.block_bytes = 0;
	v = must_open(&spec);
	cr_assert(info_of(v).block_bytes == 4096);
	bk_close(v);
}

Test(aio, odd_size, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;

	cr_assert(truncate(file, MIB + 700) == 0);
	v = must_open(&spec);
	cr_assert(info_of(v).size_bytes == MIB + 512 && info_of(v).block_bytes == 512);
	bk_close(v);
	spec.block_bytes = 4096;
	v = must_open(&spec);
	cr_assert(info_of(v).size_bytes == MIB && info_of(v).block_bytes == 4096);
	bk_close(v);
}

/* ---- identity -------------------------------------------------------------------------------- */

static struct brp_uuid uuid_of(const char *path)
{
	struct bk_spec spec = spec_of(path);
	struct bk_volume *v = must_open(&spec);
	struct brp_uuid u = info_of(v).uuid;

	bk_close(v);
	return u;
}

static bool is_same(struct brp_uuid a, struct brp_uuid b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

Test(aio, identity, .init = setup, .fini = teardown)
{
	struct brp_uuid u = uuid_of(file);
	char other[128];

	snprintf(other, sizeof(other), "%s/other", dir);
	cr_assert(is_same(u, uuid_of(file)));
	cr_assert(shell("cp %s %s", file, other) == 0);
	cr_assert(!is_same(u, uuid_of(other)));
	cr_assert(rename(file, other) == 0);
	if (getxattr(other, "user.brp.uuid", NULL, 0) > 0) {
		cr_assert(is_same(u, uuid_of(other)));
		cr_assert(setxattr(other, "user.brp.uuid", "rubbish", 7, 0) == 0);
		u = uuid_of(other);
		cr_assert(is_same(u, uuid_of(other)));
	}
}

Test(aio, device_identity, .init = setup, .fini = teardown)
{
	struct brp_uuid u;

	attach_loop("");
	u = uuid_of(loop_dev);
	cr_assert(is_same(u, uuid_of(loop_dev)));
}
