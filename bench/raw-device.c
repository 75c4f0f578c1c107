/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * raw-device: what the kernel takes for a request on a device, by interface: the part of a request
 * that no target can avoid. DEPTH requests are begun with one system call; their ends are read from
 * the ring of the interface, and only if they are not all there the thread sleeps in epoll_wait(),
 * as the target does. A device that finishes inline so costs no wake-up.
 *
 *	raw-device PATH randread|randwrite [DEPTH]...	randwrite destroys what is there
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#ifdef HAVE_URING
#include <liburing.h>
#endif

#include "common/util.h"

#define BYTES     4096
#define MAX_DEPTH 128u
#define REQUESTS  4096u

static int fd;
static bool is_write;
static char *memory; /* BYTES for each request */
static off_t nr_blocks;
static int event_fd;
static int epoll_fd;
static unsigned int nr_sleeps;

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

/* Until a signal comes that has not been seen yet. io_uring interrupts the call for work of its
 * own. */
static void sleep_on_event(void)
{
	struct epoll_event ev;

	nr_sleeps++;
	if (epoll_wait(epoll_fd, &ev, 1, -1) < 0 && errno != EINTR)
		die("epoll_wait", errno);
}

/* ---- interfaces: n requests begun; those that have ended ------------------------------------- */

static unsigned int nr_plain;

static void begin_plain(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		off_t at = somewhere();
		ssize_t done =
			is_write ? pwrite(fd, memory, BYTES, at) : pread(fd, memory, BYTES, at);

		check("pread, pwrite", done < 0 ? -errno : done);
	}
	nr_plain = n;
}

static unsigned int reap_plain(void)
{
	return nr_plain;
}

static io_context_t aio;

/* What the kernel maps at the address of the context, as in target/backend/aio.c. */
struct aio_ring {
	unsigned int id, nr, head, tail;
	unsigned int magic, compat_features, incompat_features, header_bytes;
	struct io_event events[];
};

/* As the target does it. */
static void begin_aio(unsigned int n)
{
	struct iocb cbs[MAX_DEPTH], *batch[MAX_DEPTH];

	for (unsigned int i = 0; i < n; i++) {
		char *buf = memory + (size_t)i * BYTES;

		batch[i] = &cbs[i];
		if (is_write)
			io_prep_pwrite(&cbs[i], fd, buf, BYTES, somewhere());
		else
			io_prep_pread(&cbs[i], fd, buf, BYTES, somewhere());
		io_set_eventfd(&cbs[i], event_fd);
	}
	check("io_submit", io_submit(aio, (long)n, batch) == (int)n ? BYTES : -EIO);
}

static unsigned int reap_aio(void)
{
	struct aio_ring *r = (struct aio_ring *)aio;
	unsigned int n = 0;

	for (; r->head != __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE); n++) {
		check("libaio", (long)r->events[r->head].res);
		__atomic_store_n(&r->head, (r->head + 1) % r->nr, __ATOMIC_RELEASE);
	}
	return n;
}

static void start_aio(unsigned int depth)
{
	int err = io_setup((int)depth, &aio);

	if (err < 0)
		die("io_setup", -err);
}

static void stop_aio(void)
{
	io_destroy(aio);
	aio = NULL;
}

#ifdef HAVE_URING
static struct io_uring ring;
static bool has_file;
static bool has_memory;
static bool is_deferred;

static void prepare_uring(struct io_uring_sqe *s, char *buf)
{
	int file = has_file ? 0 : fd;

	if (has_memory && is_write)
		io_uring_prep_write_fixed(s, file, buf, BYTES, (uint64_t)somewhere(), 0);
	else if (has_memory)
		io_uring_prep_read_fixed(s, file, buf, BYTES, (uint64_t)somewhere(), 0);
	else if (is_write)
		io_uring_prep_write(s, file, buf, BYTES, (uint64_t)somewhere());
	else
		io_uring_prep_read(s, file, buf, BYTES, (uint64_t)somewhere());
	if (has_file)
		s->flags |= IOSQE_FIXED_FILE;
}

static void begin_uring(unsigned int n)
{
	int done;

	for (unsigned int i = 0; i < n; i++)
		prepare_uring(io_uring_get_sqe(&ring), memory + (size_t)i * BYTES);
	done = is_deferred ? io_uring_submit_and_get_events(&ring) : io_uring_submit(&ring);
	check("io_uring_enter", done == (int)n ? BYTES : -EIO);
}

static unsigned int reap_uring(void)
{
	struct io_uring_cqe *c;
	unsigned int head;
	unsigned int n = 0;

	io_uring_for_each_cqe(&ring, head, c)
	{
		check("io_uring", c->res);
		n++;
	}
	io_uring_cq_advance(&ring, n);
	return n;
}

static void start_uring(unsigned int depth, unsigned int flags)
{
	struct iovec all = {memory, (size_t)depth * BYTES};
	int err = io_uring_queue_init(depth, &ring, flags);

	if (!err && has_memory)
		err = io_uring_register_buffers(&ring, &all, 1);
	if (!err && has_file)
		err = io_uring_register_files(&ring, &fd, 1);
	if (!err)
		err = io_uring_register_eventfd(&ring, event_fd);
	if (err)
		die("io_uring", -err);
}

static void start_bare(unsigned int depth)
{
	has_file = has_memory = is_deferred = false;
	start_uring(depth, 0);
}

static void start_file(unsigned int depth)
{
	has_file = true;
	has_memory = is_deferred = false;
	start_uring(depth, 0);
}

static void start_both(unsigned int depth)
{
	has_file = has_memory = true;
	is_deferred = false;
	start_uring(depth, 0);
}

static void start_cooperative(unsigned int depth)
{
	has_file = has_memory = true;
	is_deferred = false;
	start_uring(depth, IORING_SETUP_COOP_TASKRUN);
}

/* The most it can do, and only for a ring that is one thread's: no other may enter it. */
static void start_deferred(unsigned int depth)
{
	has_file = has_memory = is_deferred = true;
	start_uring(depth, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	io_uring_register_ring_fd(&ring);
}

static void stop_uring(void)
{
	io_uring_queue_exit(&ring);
}
#endif

static const struct interface {
	const char *name;
	void (*start)(unsigned int depth);
	void (*begin)(unsigned int n);
	unsigned int (*reap)(void);
	void (*stop)(void);
} interfaces[] = {
	{"pread, pwrite", NULL, begin_plain, reap_plain, NULL},
	{"libaio", start_aio, begin_aio, reap_aio, stop_aio},
#ifdef HAVE_URING
	{"io_uring, nothing registered", start_bare, begin_uring, reap_uring, stop_uring},
	{"io_uring, file registered", start_file, begin_uring, reap_uring, stop_uring},
	{"io_uring, file and memory registered", start_both, begin_uring, reap_uring, stop_uring},
	{"the same, COOP_TASKRUN", start_cooperative, begin_uring, reap_uring, stop_uring},
	{"the same, DEFER_TASKRUN and ring registered", start_deferred, begin_uring, reap_uring,
	 stop_uring},
#endif
};

/* ---- measuring ------------------------------------------------------------------------------- */

static void wait_for_all(const struct interface *i, unsigned int n)
{
	for (unsigned int done = i->reap(); done < n; done += i->reap()) {
		sleep_on_event();
#ifdef HAVE_URING
		if (is_deferred && i->reap == reap_uring)
			io_uring_get_events(&ring);
#endif
	}
}

static void run(const struct interface *i, unsigned int depth, unsigned int nr_batches)
{
	for (unsigned int b = 0; b < nr_batches; b++) {
		i->begin(depth);
		wait_for_all(i, depth);
	}
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void measure(const struct interface *i, unsigned int depth)
{
	unsigned int nr_batches = REQUESTS / depth;
	double nr = (double)nr_batches * depth * NS_PER_US;
	uint64_t start_ns, start_cpu_ns;

	if (i->start)
		i->start(depth);
	run(i, depth, 2);
	nr_sleeps = 0;
	start_ns = now_ns();
	start_cpu_ns = cpu_ns();
	run(i, depth, nr_batches);
	printf("| %s | %s | %u | %.2f | %.2f | %.2f |\n", i->name, is_write ? "write" : "read",
	       depth, (double)(now_ns() - start_ns) / nr, (double)(cpu_ns() - start_cpu_ns) / nr,
	       (double)nr_sleeps / nr_batches);
	if (i->stop)
		i->stop();
}

/* As in the target: with a second thread the kernel counts references to descriptors. */
static void *sleep_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void prepare(const char *path)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	pthread_t other;
	void *all;

	fd = open(path, (is_write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		die(path, errno);
	nr_blocks = lseek(fd, 0, SEEK_END) / BYTES;
	if (nr_blocks < 1 || posix_memalign(&all, BYTES, (size_t)MAX_DEPTH * BYTES))
		die(path, EINVAL);
	memory = all;
	memset(memory, 0x5a, (size_t)MAX_DEPTH * BYTES);
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (event_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &ev) < 0 ||
	    pthread_create(&other, NULL, sleep_for_ever, NULL))
		die("preparation", errno);
}

static void measure_all(unsigned int depth)
{
	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++)
		measure(&interfaces[i], depth);
}

int main(int argc, char **argv)
{
	if (argc < 3 || (strcmp(argv[2], "randread") && strcmp(argv[2], "randwrite"))) {
		fprintf(stderr, "usage: raw-device PATH randread|randwrite [DEPTH]...\n");
		return 2;
	}
	is_write = !strcmp(argv[2], "randwrite");
	prepare(argv[1]);
	if (argc == 3)
		measure_all(1);
	for (int i = 3; i < argc; i++) {
		unsigned int depth = (unsigned int)strtoul(argv[i], NULL, 10);

		if (depth < 1 || depth > MAX_DEPTH)
			die(argv[i], ERANGE);
		measure_all(depth);
	}
	return 0;
}
