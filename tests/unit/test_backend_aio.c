/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices and files. Some library calls go through wrappers (linker option --wrap) that count them
 * or make them fail. Works in a folder of its own under the current one, which must be on a file
 * system with direct I/O; else the tests are skipped.
 */
#include "tests/unit/backend_util.h"

#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MIB (1u << 20)

/* ---- wrapped calls --------------------------------------------------------------------------- */

/* Fails call number fail_at, counting every wrapped call that can fail for want of something; 0 =
 * none. */
static atomic_int nr_calls;
static int fail_at;
static bool should_fail(void)
{
	return fail_at && atomic_fetch_add(&nr_calls, 1) + 1 == fail_at;
}

static atomic_int nr_dsync_writes;
static atomic_int nr_plain_writes;
static atomic_int nr_fdsyncs;
static atomic_int nr_fdatasyncs;
static atomic_int nr_submits;
static bool refuse_flags;    /* an old kernel: no RWF_DSYNC, no FDSYNC */
static int submit_at_most;   /* per call; 0 = all */
static int submit_eagain;    /* every so many-th call; 1 = always */
static int submit_error;     /* negative errno for the first of a batch, once */
static int refuse_fallocate; /* modes */
static bool refuse_setup;

int __real_io_setup(int n, io_context_t *ctx);
int __wrap_io_setup(int n, io_context_t *ctx);
int __wrap_io_setup(int n, io_context_t *ctx)
{
	return refuse_setup || should_fail() ? -EAGAIN : __real_io_setup(n, ctx);
}

static void count_iocb(const struct iocb *cb)
{
	if (cb->aio_lio_opcode == IO_CMD_FDSYNC)
		atomic_fetch_add(&nr_fdsyncs, 1);
	if (cb->aio_lio_opcode == IO_CMD_PWRITE)
		atomic_fetch_add(cb->aio_rw_flags & RWF_DSYNC ? &nr_dsync_writes : &nr_plain_writes,
				 1);
}

int __real_io_submit(io_context_t ctx, long n, struct iocb **cbs);
int __wrap_io_submit(io_context_t ctx, long n, struct iocb **cbs);
int __wrap_io_submit(io_context_t ctx, long n, struct iocb **cbs)
{
	int nr = atomic_fetch_add(&nr_submits, 1);
	int r;

	if (submit_eagain && nr % submit_eagain == 0)
		return -EAGAIN;
	if (submit_error) {
		r = submit_error;
		submit_error = 0;
		return r;
	}
	for (long i = 0; refuse_flags && i < n; i++) {
		if (cbs[i]->aio_rw_flags || cbs[i]->aio_lio_opcode == IO_CMD_FDSYNC)
			return -EINVAL;
	}
	r = __real_io_submit(ctx, submit_at_most ? MIN(n, (long)submit_at_most) : n, cbs);
	for (int i = 0; i < r; i++)
		count_iocb(cbs[i]);
	return r;
}

int __real_eventfd(unsigned int n, int flags);
int __wrap_eventfd(unsigned int n, int flags);
int __wrap_eventfd(unsigned int n, int flags)
{
	if (!should_fail())
		return __real_eventfd(n, flags);
	errno = EMFILE;
	return -1;
}

void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes)
{
	return should_fail() ? NULL : __real_calloc(n, bytes);
}

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s)
{
	return should_fail() ? NULL : __real_strdup(s);
}

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	return should_fail() ? EAGAIN : __real_pthread_create(t, a, fn, arg);
}

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
	if (!should_fail())
		return __real_epoll_create1(flags);
	errno = EMFILE;
	return -1;
}

int __real_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags)
{
	if (!should_fail())
		return __real_timerfd_create(clock, flags);
	errno = EMFILE;
	return -1;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	atomic_fetch_add(&nr_fdatasyncs, 1);
	return __real_fdatasync(fd);
}

/* The name depends on _FILE_OFFSET_BITS, which meson sets. */
int __real_fallocate64(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t bytes)
{
	if (!(mode & refuse_fallocate))
		return __real_fallocate64(fd, mode, offset, bytes);
	errno = EOPNOTSUPP;
	return -1;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static char dir[64];
static char file[96];
static char loop_dev[64];

static int shell(const char *fmt, ...) PRINTF_LIKE(1, 2);
static int shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

static void make_file(const char *path, off_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0);
	close(fd);
}

static void setup(void)
{
	int fd;

	snprintf(dir, sizeof(dir), "backend-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/disk.img", dir);
	make_file(file, 16 * MIB);
	fd = open(file, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		shell("rm -rf %s", dir);
		cr_skip_test("no direct I/O on this file system");
	}
	close(fd);
}

static void teardown(void)
{
	if (loop_dev[0])
		shell("umount %s 2>/dev/null; losetup -d %s", loop_dev, loop_dev);
	shell("rm -rf %s", dir);
}

/* Attaches the file to a loop device, or skips. */
static void attach_loop(const char *options)
{
	char cmd[256];
	FILE *p;

	snprintf(cmd, sizeof(cmd), "losetup --find --show %s %s 2>/dev/null", options, file);
	p = popen(cmd, "re");
	if (p && fgets(loop_dev, sizeof(loop_dev), p))
		loop_dev[strcspn(loop_dev, "\n")] = '\0';
	if (p)
		pclose(p);
	if (!loop_dev[0]) {
		teardown();
		cr_skip_test("cannot make a loop device (not root?)");
	}
}

static struct bk_spec spec_of(const char *path)
{
	return (struct bk_spec){.path = path, .numa_node = -1};
}

static struct bk_info info_of(const struct bk_volume *v)
{
	struct bk_info info;

	bk_get_info(v, &info);
	return info;
}

static int open_result(const struct bk_spec *spec)
{
	struct bk_volume *v = NULL;
	int r = bk_open(spec, &v);

	if (!r)
		bk_close(v);
	return r;
}

static void close_both(struct bk_queue *q, struct bk_volume *v)
{
	bk_queue_destroy(q);
	bk_close(v);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void every_op(const char *path, const char *kind)
{
	struct bk_spec spec = spec_of(path);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	unsigned char *buf = aligned(65536);
	struct bk_info info = info_of(v);

	cr_assert(strcmp(bk_kind(v), kind) == 0);
	cr_assert(info.size_bytes == 16 * MIB && !info.is_volatile && !info.is_inline);
	cr_assert(bk_queue_fd(q) >= 0 && !bk_map(v, 0, 4096));
	memset(buf, 0x77, 65536);
	cr_assert(do_op(q, BRP_OP_WRITE, MIB, 65536, buf) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE, 16 * MIB - 65536, 65536, buf) == 0);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, MIB + 4096, 8192, NULL) == 0);
	memset(buf, 0, 65536);
	cr_assert(do_op(q, BRP_OP_READ, MIB, 65536, buf) == 0);
	cr_assert(all_are(buf, 4096, 0x77) && all_are(buf + 4096, 8192, 0) &&
		  all_are(buf + 12288, 65536 - 12288, 0x77));
	if (info.volume_flags & BRP_VOL_DISCARD)
		cr_assert(do_op(q, BRP_OP_DISCARD, MIB, 65536, NULL) == 0);
	else
		cr_assert(do_op(q, BRP_OP_DISCARD, MIB, 65536, NULL) == -EOPNOTSUPP);
	cr_assert(do_op(q, BRP_OP_READ, 16 * MIB - 65536, 65536, buf) == 0 &&
		  all_are(buf, 65536, 0x77));
	close_both(q, v);
	free(buf);
}

Test(aio, file_ops, .init = setup, .fini = teardown)
{
	every_op(file, "file");
}

Test(aio, device_ops, .init = setup, .fini = teardown)
{
	attach_loop("");
	every_op(loop_dev, "device");
}

static void random_on(const char *path, int total)
{
	struct bk_spec spec = spec_of(path);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 64);

	random_verify(q, 16 * MIB / RV_BLOCK, 64, total);
	close_both(q, v);
}

Test(aio, random_file, .init = setup, .fini = teardown)
{
	random_on(file, 10000);
}

Test(aio, random_device, .init = setup, .fini = teardown)
{
	attach_loop("");
	random_on(loop_dev, 10000);
}

Test(aio, random_partial_submits, .init = setup, .fini = teardown)
{
	submit_at_most = 3;
	submit_eagain = 7;
	random_on(file, 5000);
}

/* Without kernel room for even one request everything goes the slow way, and nothing is lost. */
Test(aio, random_no_kernel_memory, .init = setup, .fini = teardown)
{
	submit_eagain = 1;
	random_on(file, 1000);
}

Test(aio, random_old_kernel, .init = setup, .fini = teardown)
{
	refuse_flags = true;
	random_on(file, 2000);
	cr_assert(nr_dsync_writes == 0 && nr_fdatasyncs > 0);
}

/* The descriptor's edges alone tell when to poll. */
Test(aio, edges, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	char *buf = aligned(4096);

	cr_assert(epoll_ctl(ep, EPOLL_CTL_ADD, bk_queue_fd(q), &ev) == 0);
	for (int i = 0; i < 2000; i++) {
		struct bk_req r[3] = {
			{.op = i % 16 ? BRP_OP_READ : BRP_OP_WRITE_ZEROES,
			 .bytes = 4096,
			 .buf = buf},
			{.op = BRP_OP_READ, .offset = 4096, .bytes = 4096, .buf = buf},
			{.op = BRP_OP_READ, .offset = 8192, .bytes = 4096, .buf = buf},
		};
		struct bk_req *done[8];
		unsigned int n = 0;

		for (int k = 0; k < 3; k++)
			bk_submit(q, &r[k]);
		bk_flush(q);
		while (n < 3) {
			unsigned int m = bk_poll(q, done, 8);

			n += m;
			if (!m)
				cr_assert(epoll_wait(ep, &ev, 1, 10000) == 1);
		}
	}
	close_both(q, v);
	close(ep);
	free(buf);
}

/* ---- stability ------------------------------------------------------------------------------- */

static int fua_write(struct bk_queue *q, void *buf)
{
	struct bk_req r = {.op = BRP_OP_WRITE, .is_fua = true, .bytes = 4096, .buf = buf};

	return do_req(q, &r);
}

Test(aio, fua_and_flush_reach_the_device, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(4096);

	cr_assert(info_of(v).cache == BRP_CACHE_WRITE_BACK &&
		  info_of(v).volume_flags & BRP_VOL_FUA);
	nr_fdsyncs = 0; /* the probe's */
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == 0);
	cr_assert(nr_plain_writes == 1 && nr_dsync_writes == 0);
	cr_assert(fua_write(q, buf) == 0 && nr_dsync_writes == 1 && nr_plain_writes == 1);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0 && nr_fdsyncs == 1);
	cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, 0, 4096, NULL) == 0 && nr_fdatasyncs == 0);
	close_both(q, v);
	free(buf);
}

Test(aio, write_through, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_queue *q;
	char *buf = aligned(4096);

	spec.is_write_through = true;
	v = must_open(&spec);
	q = must_queue(v, 8);
	cr_assert(info_of(v).cache == BRP_CACHE_WRITE_THROUGH);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4096, buf) == 0);
	cr_assert(nr_plain_writes == 0 && nr_dsync_writes == 1);
	cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, 0, 4096, NULL) == 0 && nr_fdatasyncs == 1);
	close_both(q, v);
	free(buf);
}

Test(aio, fua_without_kernel_support, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_queue *q;
	char *buf = aligned(4096);

	refuse_flags = true;
	v = must_open(&spec);
	q = must_queue(v, 8);
	memset(buf, 9, 4096);
	cr_assert(fua_write(q, buf) == 0 && nr_fdatasyncs == 1);
	cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0 && nr_fdatasyncs == 2);
	memset(buf, 0, 4096);
	cr_assert(do_op(q, BRP_OP_READ, 0, 4096, buf) == 0 && all_are(buf, 4096, 9));
	close_both(q, v);
	free(buf);
}

/* ---- zeroes ---------------------------------------------------------------------------------- */

static void zeroes_without(int modes)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v;
	struct bk_queue *q;
	unsigned char *buf = aligned(4 * MIB);

	refuse_fallocate = modes;
	v = must_open(&spec);
	q = must_queue(v, 8);
	cr_assert(!(info_of(v).volume_flags & BRP_VOL_DISCARD) == !!(modes & FALLOC_FL_PUNCH_HOLE));
	memset(buf, 0x11, 4 * MIB);
	cr_assert(do_op(q, BRP_OP_WRITE, 0, 4 * MIB, buf) == 0);
	for (int i = 0; i < 2; i++) /* the second time it knows already */
		cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, 4096, 3 * MIB, NULL) == 0);
	cr_assert(do_op(q, BRP_OP_READ, 0, 4 * MIB, buf) == 0);
	cr_assert(all_are(buf, 4096, 0x11) && all_are(buf + 4096, 3 * MIB, 0) &&
		  all_are(buf + 4096 + 3 * MIB, MIB - 4096, 0x11));
	close_both(q, v);
	free(buf);
}

Test(aio, zeroes, .init = setup, .fini = teardown)
{
	zeroes_without(0);
}

Test(aio, zeroes_by_hole, .init = setup, .fini = teardown)
{
	zeroes_without(FALLOC_FL_ZERO_RANGE);
}

Test(aio, zeroes_by_writing, .init = setup, .fini = teardown)
{
	zeroes_without(FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE);
}

/* ---- failures -------------------------------------------------------------------------------- */

Test(aio, submit_error_is_the_first_ones, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(4096);
	struct bk_req r[2] = {{.op = BRP_OP_READ, .bytes = 4096, .buf = buf},
			      {.op = BRP_OP_READ, .bytes = 4096, .buf = buf}};
	struct bk_req *done[2];
	unsigned int n = 0;

	submit_error = -ENXIO;
	bk_submit(q, &r[0]);
	bk_submit(q, &r[1]);
	bk_flush(q);
	while (n < 2)
		n += reap(q, done, 2);
	cr_assert(r[0].result == -ENXIO && r[1].result == 0);
	close_both(q, v);
	free(buf);
}

Test(aio, short_read_and_write, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, 8);
	char *buf = aligned(8192);

	cr_assert(truncate(file, MIB) == 0);
	cr_assert(do_op(q, BRP_OP_READ, MIB - 4096, 8192, buf) == -EIO);
	cr_assert(do_op(q, BRP_OP_READ, 2 * MIB, 8192, buf) == -EIO);
	close_both(q, v);
	free(buf);
}

Test(aio, no_queue, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q;

	refuse_setup = true;
	cr_assert(bk_queue_create(v, 32, &q) == -ENOBUFS);
	bk_close(v);
}

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

/* ---- threads --------------------------------------------------------------------------------- */

struct worker {
	struct bk_volume *v;
	unsigned int at;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct bk_queue *q = must_queue(w->v, 8);
	unsigned char *buf = aligned(4096);
	uint64_t offset = w->at * MIB;

	for (unsigned int i = 0; i < 300; i++, offset += 4096) {
		memset(buf, (int)i, 4096);
		cr_assert(do_op(q, BRP_OP_WRITE, offset, 4096, buf) == 0);
		if (i % 4 == 0)
			cr_assert(do_op(q, BRP_OP_WRITE_ZEROES, offset, 4096, NULL) == 0);
		if (i % 8 == 1)
			cr_assert(do_op(q, BRP_OP_FLUSH, 0, 0, NULL) == 0);
		cr_assert(do_op(q, BRP_OP_READ, offset, 4096, buf) == 0);
		cr_assert(all_are(buf, 4096, i % 4 ? (unsigned char)i : 0));
	}
	bk_queue_destroy(q);
	free(buf);
	return NULL;
}

Test(aio, threads, .init = setup, .fini = teardown)
{
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct worker w[4];
	pthread_t t[4];

	for (unsigned int i = 0; i < 4; i++) {
		w[i] = (struct worker){.v = v, .at = 4 * i};
		pthread_create(&t[i], NULL, work, &w[i]);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	bk_close(v);
}

/* ---- the Nth call fails ---------------------------------------------------------------------- */

/* 0: everything went well, no call is left to fail. */
static int try_all(const struct bk_spec *spec, char *buf)
{
	struct bk_volume *v = NULL;
	struct bk_queue *q = NULL;
	int r = bk_open(spec, &v);

	if (!r)
		r = bk_queue_create(v, 8, &q);
	if (!r)
		r = do_op(q, BRP_OP_WRITE, 0, 4096, buf);
	if (!r)
		r = do_op(q, BRP_OP_WRITE_ZEROES, 0, 4096, NULL);
	close_both(q, v);
	return r;
}

static int nr_open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void sweep(const char *fault)
{
	struct bk_spec spec = spec_of(file);
	char *buf = aligned(4096);
	int fds = nr_open_fds();
	int failed = 0;
	int r;

	spec.fault = fault;
	for (fail_at = 1; fail_at < 50; fail_at++) {
		nr_calls = 0;
		r = try_all(&spec, buf);
		cr_assert(r <= 0 && nr_open_fds() == fds, "call %d: %d", fail_at, r);
		failed += r < 0;
		if (nr_calls < fail_at)
			break;
	}
	cr_assert(failed > 3 && fail_at < 50);
	fail_at = 0;
	cr_assert(try_all(&spec, buf) == 0);
	free(buf);
}

Test(aio, sweep, .init = setup, .fini = teardown)
{
	sweep(NULL);
}

Test(aio, sweep_fault, .init = setup, .fini = teardown)
{
	sweep("delay=1us");
}

/* ---- a number -------------------------------------------------------------------------------- */

Test(aio, speed, .init = setup, .fini = teardown)
{
	enum { DEPTH = 32, TOTAL = 20000 };
	struct bk_spec spec = spec_of(file);
	struct bk_volume *v = must_open(&spec);
	struct bk_queue *q = must_queue(v, DEPTH);
	struct bk_req r[DEPTH];
	struct bk_req *done[DEPTH];
	unsigned int seed = 3;
	char *buf = aligned(4 * MIB);
	int finished = 0;
	uint64_t start;

	for (int i = 0; i < 4; i++)
		cr_assert(do_op(q, BRP_OP_WRITE, (uint64_t)i * 4 * MIB, 4 * MIB, buf) == 0);
	nr_submits = 0;
	start = now_ns();
	for (int i = 0; i < DEPTH; i++) {
		r[i] = (struct bk_req){.op = BRP_OP_READ,
				       .bytes = 4096,
				       .buf = buf + i * 4096,
				       .offset = (uint64_t)(rand_r(&seed) % 4096) * 4096};
		bk_submit(q, &r[i]);
	}
	bk_flush(q);
	while (finished < TOTAL) {
		unsigned int n = bk_poll(q, done, DEPTH);

		finished += (int)n;
		for (unsigned int i = 0; i < n; i++) {
			done[i]->offset = (uint64_t)(rand_r(&seed) % 4096) * 4096;
			bk_submit(q, done[i]);
		}
		bk_flush(q);
	}
	start = now_ns() - start;
	fprintf(stderr,
		"# aio file, 4 KiB random reads, depth %d: %.0f IOPS, %.1f requests per "
		"io_submit\n",
		DEPTH, (double)finished * 1e9 / (double)start, (double)finished / nr_submits);
	while (bk_in_flight(q))
		reap(q, done, DEPTH);
	close_both(q, v);
	free(buf);
}
