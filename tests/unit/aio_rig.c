/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/aio_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_URING
#include <liburing.h>
#endif

/* ---- wrapped calls --------------------------------------------------------------------------- */

atomic_int nr_calls;
int fail_at;
static bool should_fail(void)
{
	return fail_at && atomic_fetch_add(&nr_calls, 1) + 1 == fail_at;
}

atomic_int nr_dsync_writes;
atomic_int nr_plain_writes;
atomic_int nr_fdsyncs;
atomic_int nr_fdatasyncs;
atomic_int nr_submits;
atomic_int nr_setups;
atomic_int nr_destroys;
bool refuse_flags;
int submit_at_most;
int submit_eagain;
int submit_error;
int refuse_fallocate;
bool refuse_setup;
int max_contexts;
atomic_int destroy_ms;

int __real_io_setup(int n, io_context_t *ctx);
int __wrap_io_setup(int n, io_context_t *ctx);
int __wrap_io_setup(int n, io_context_t *ctx)
{
	int r;

	if (refuse_setup || should_fail() ||
	    (max_contexts && nr_setups - nr_destroys >= max_contexts))
		return -EAGAIN;
	r = __real_io_setup(n, ctx);
	if (!r)
		atomic_fetch_add(&nr_setups, 1);
	return r;
}

int __real_io_destroy(io_context_t ctx);
int __wrap_io_destroy(io_context_t ctx);
int __wrap_io_destroy(io_context_t ctx)
{
	usleep((useconds_t)destroy_ms * 1000);
	atomic_fetch_add(&nr_destroys, 1);
	return __real_io_destroy(ctx);
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

#ifdef HAVE_URING
int register_error;
int false_result;
int probe_error;
bool refuse_rings;
atomic_int nr_fixed;

static void count_sqe(const struct io_uring_sqe *sqe)
{
	bool is_write = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITE_FIXED;

	if (sqe->opcode == IORING_OP_FSYNC && sqe->fsync_flags == IORING_FSYNC_DATASYNC)
		atomic_fetch_add(&nr_fdsyncs, 1);
	if (is_write)
		atomic_fetch_add(sqe->rw_flags & RWF_DSYNC ? &nr_dsync_writes : &nr_plain_writes,
				 1);
	if (sqe->opcode == IORING_OP_READ_FIXED || sqe->opcode == IORING_OP_WRITE_FIXED)
		atomic_fetch_add(&nr_fixed, 1);
}

static void falsify(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;

	cr_assert(io_uring_wait_cqe(ring, &cqe) == 0);
	cqe->res = false_result;
	false_result = 0;
}

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
	int nr = atomic_fetch_add(&nr_submits, 1);
	unsigned int at = *ring->sq.khead;
	int r;

	if (submit_eagain && nr % submit_eagain == 0)
		return -EAGAIN;
	if (submit_error) {
		r = submit_error;
		submit_error = 0;
		return r;
	}
	r = __real_io_uring_submit(ring);
	for (int i = 0; i < r; i++)
		count_sqe(&ring->sq.sqes[(at + (unsigned int)i) & *ring->sq.kring_mask]);
	if (false_result)
		falsify(ring);
	return r;
}

int __real_io_uring_queue_init(unsigned int n, struct io_uring *ring, unsigned int flags);
int __wrap_io_uring_queue_init(unsigned int n, struct io_uring *ring, unsigned int flags);
int __wrap_io_uring_queue_init(unsigned int n, struct io_uring *ring, unsigned int flags)
{
	if (refuse_setup || refuse_rings || should_fail())
		return -ENOMEM;
	return __real_io_uring_queue_init(n, ring, flags);
}

int __real_io_uring_queue_init_params(unsigned int n, struct io_uring *ring,
				      struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned int n, struct io_uring *ring,
				      struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned int n, struct io_uring *ring,
				      struct io_uring_params *p)
{
	if (probe_error || should_fail())
		return probe_error ? probe_error : -ENOMEM;
	return __real_io_uring_queue_init_params(n, ring, p);
}

int __real_io_uring_register_eventfd(struct io_uring *ring, int fd);
int __wrap_io_uring_register_eventfd(struct io_uring *ring, int fd);
int __wrap_io_uring_register_eventfd(struct io_uring *ring, int fd)
{
	return should_fail() ? -ENOMEM : __real_io_uring_register_eventfd(ring, fd);
}

int __real_io_uring_register_buffers(struct io_uring *ring, const struct iovec *v, unsigned int n);
int __wrap_io_uring_register_buffers(struct io_uring *ring, const struct iovec *v, unsigned int n);
int __wrap_io_uring_register_buffers(struct io_uring *ring, const struct iovec *v, unsigned int n)
{
	if (register_error)
		return register_error;
	return should_fail() ? -ENOMEM : __real_io_uring_register_buffers(ring, v, n);
}
#endif

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

char dir[64];
char file[96];
char loop_dev[64];

int shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	return system(cmd);
}

void make_file(const char *path, off_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0);
	close(fd);
}

enum bk_engine engine_under_test(void)
{
	const char *name = getenv("BRP_TEST_IO_ENGINE");

	return name && !strcmp(name, "uring") ? BK_ENGINE_URING : BK_ENGINE_AIO;
}

void only_for(enum bk_engine engine)
{
	if (engine_under_test() == engine)
		return;
	teardown();
	cr_skip_test("not for this engine");
}

static void need_engine(void)
{
#ifdef HAVE_URING
	struct io_uring ring;

	if (!is_uring())
		return;
	if (__real_io_uring_queue_init(1, &ring, 0) < 0)
		cr_skip_test("the kernel lets us have no io_uring");
	io_uring_queue_exit(&ring);
#else
	if (is_uring())
		cr_skip_test("built without liburing");
#endif
}

void setup(void)
{
	int fd;

	need_engine();
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

void teardown(void)
{
	if (loop_dev[0])
		shell("umount %s 2>/dev/null; losetup -d %s", loop_dev, loop_dev);
	shell("rm -rf %s", dir);
}

void attach_loop(const char *options)
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
