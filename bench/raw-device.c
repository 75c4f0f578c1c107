/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * raw-device: what the kernel takes for one request on a device at a time, by interface: the part
 * of a request that no target can avoid. One request is begun and waited for by looking at the ring
 * of its interface, so a device that finishes inline costs no wake-up.
 *
 *	raw-device PATH randread|randwrite		randwrite destroys what is there
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#ifdef HAVE_URING
#include <liburing.h>
#endif

#include "common/util.h"

#define BYTES    4096
#define REQUESTS 5000

static int fd;
static bool is_write;
static char *buf;
static off_t nr_blocks;

static _Noreturn void die(const char *what, int err)
{
	fprintf(stderr, "raw-device: %s: %s\n", what, strerror(err));
	exit(1);
}

static off_t somewhere(void)
{
	return (off_t)(random() % nr_blocks) * BYTES;
}

static void check(const char *what, long bytes)
{
	if (bytes != BYTES)
		die(what, bytes < 0 ? (int)-bytes : EIO);
}

/* ---- interfaces: one request, begun and ended ------------------------------------------------ */

static void one_plain(void)
{
	off_t at = somewhere();
	ssize_t n = is_write ? pwrite(fd, buf, BYTES, at) : pread(fd, buf, BYTES, at);

	check("pread, pwrite", n < 0 ? -errno : n);
}

static io_context_t aio;
static int event_fd;

/* What the kernel maps at the address of the context, as in target/backend/aio.c. */
struct aio_ring {
	unsigned int id, nr, head, tail;
	unsigned int magic, compat_features, incompat_features, header_bytes;
	struct io_event events[];
};

/* As the target does it. */
static void one_aio(void)
{
	struct aio_ring *r = (struct aio_ring *)aio;
	struct iocb cb, *cbs = &cb;

	if (is_write)
		io_prep_pwrite(&cb, fd, buf, BYTES, somewhere());
	else
		io_prep_pread(&cb, fd, buf, BYTES, somewhere());
	io_set_eventfd(&cb, event_fd);
	check("io_submit", io_submit(aio, 1, &cbs) == 1 ? BYTES : -EIO);
	while (__atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) == r->head)
		;
	check("libaio", (long)r->events[r->head].res);
	__atomic_store_n(&r->head, (r->head + 1) % r->nr, __ATOMIC_RELEASE);
}

static void start_aio(void)
{
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (event_fd < 0 || io_setup(1, &aio) < 0)
		die("io_setup", errno);
}

#ifdef HAVE_URING
static struct io_uring ring;

/* The most it can do: memory and file registered once, completions without task work. */
static void one_uring(void)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&ring);
	struct io_uring_cqe *c;

	if (is_write)
		io_uring_prep_write_fixed(s, 0, buf, BYTES, (uint64_t)somewhere(), 0);
	else
		io_uring_prep_read_fixed(s, 0, buf, BYTES, (uint64_t)somewhere(), 0);
	s->flags |= IOSQE_FIXED_FILE;
	io_uring_submit_and_get_events(&ring);
	if (io_uring_peek_cqe(&ring, &c) && io_uring_wait_cqe(&ring, &c))
		die("io_uring", errno);
	check("io_uring", c->res);
	io_uring_cqe_seen(&ring, c);
}

static void start_uring(void)
{
	struct iovec memory = {buf, BYTES};
	int err = io_uring_queue_init(8, &ring,
				      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);

	if (!err)
		err = io_uring_register_buffers(&ring, &memory, 1);
	if (!err)
		err = io_uring_register_files(&ring, &fd, 1);
	if (err)
		die("io_uring", -err);
	io_uring_register_ring_fd(&ring);
}
#endif

/* ---- measuring ------------------------------------------------------------------------------- */

static void measure(const char *name, void (*start)(void), void (*one)(void))
{
	uint64_t start_ns;

	if (start)
		start();
	one();
	start_ns = now_ns();
	for (int i = 0; i < REQUESTS; i++)
		one();
	printf("| %s | %s | %.2f |\n", name, is_write ? "write" : "read",
	       (double)(now_ns() - start_ns) / REQUESTS / NS_PER_US);
}

int main(int argc, char **argv)
{
	void *memory;

	if (argc != 3 || (strcmp(argv[2], "randread") && strcmp(argv[2], "randwrite"))) {
		fprintf(stderr, "usage: raw-device PATH randread|randwrite\n");
		return 2;
	}
	is_write = !strcmp(argv[2], "randwrite");
	fd = open(argv[1], (is_write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		die(argv[1], errno);
	nr_blocks = lseek(fd, 0, SEEK_END) / BYTES;
	if (nr_blocks < 1 || posix_memalign(&memory, BYTES, BYTES))
		die(argv[1], EINVAL);
	buf = memory;
	memset(buf, 0x5a, BYTES);
	measure("pread, pwrite", NULL, one_plain);
	measure("libaio with an eventfd", start_aio, one_aio);
#ifdef HAVE_URING
	measure("io_uring, all registered", start_uring, one_uring);
#endif
	return 0;
}
