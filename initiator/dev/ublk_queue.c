/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One queue of a ublk device: the kernel's requests become libbrp's, on one thread.
 *
 *	         FETCH (once per tag)
 *	kernel ◀────────────────────── thread
 *	       ──── CQE: a request ───▶ brp_submit ... brp_kick ──▶ target
 *	       ◀─ COMMIT_AND_FETCH ──── done()  ◀── brp_drain() ◀──
 *
 * The thread sleeps in one place, io_uring_enter(), for both sides: the ring also holds polls of
 * the queue's descriptors. Everything that one call returned is submitted before the one
 * brp_kick(), so what the kernel gave together travels together; everything one brp_drain()
 * completed is committed by the io_uring_enter() that sleeps.
 *
 * Where answers come soon it looks for them instead of sleeping (brp_spin()), and once all are
 * there it only naps: being told of the target's next word costs system calls, and with a request
 * due any moment there will be none. One request at a time then costs one io_uring_enter() and what
 * sends it.
 *
 * Data: the kernel copies between the pages of its request and the tag's part of our region, which
 * is registered with libbrp as a whole: between there and the wire nothing is copied. A tag's part
 * is the kernel's from FETCH or COMMIT to the CQE and ours in between.
 */
#include "initiator/dev/ublk.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"

/* user_data: a tag, or of a poll this with the descriptor's change in the low half. */
#define WATCH_DATA   (UINT64_C(1) << 32)
#define WATCH_RARE   (UINT64_C(2) << 32)
#define UNWATCH_DATA (UINT64_C(3) << 32)
#define KIND_MASK    (UINT64_MAX << 32)
#define NR_POLLS     4u /* entries: two of them, a new one, the end of an old one */

#define NAP_NS NS_PER_MS

static unsigned int depth_of(const struct ublk_queue *q)
{
	return q->dev->info.queue_depth;
}

static char *data_of(const struct ublk_queue *q, unsigned int tag)
{
	return q->region + (size_t)tag * q->dev->info.max_io_buf_bytes;
}

/* ---- to the kernel --------------------------------------------------------------------------- */

/* There is always one: the ring has room for every tag and the polls, and each has one entry at
 * most on its way. */
static struct io_uring_sqe *next_sqe(struct ublk_queue *q, uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&q->ring);

	assert(sqe);
	if (!sqe)
		__builtin_unreachable(); /* with NDEBUG gcc thinks that it might be */
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = user_data;
	return sqe;
}

static void send_io_command(struct ublk_queue *q, unsigned int nr, unsigned int tag, int result)
{
	struct io_uring_sqe *sqe = next_sqe(q, tag);
	const struct ublksrv_io_cmd cmd = {
		.q_id = (uint16_t)q->index,
		.tag = (uint16_t)tag,
		.result = result,
		.addr = (uintptr_t)data_of(q, tag),
	};

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = q->dev->char_fd;
	sqe->cmd_op = q->dev->info.flags & UBLK_F_CMD_IOCTL_ENCODE
			      ? _IOWR('u', nr, struct ublksrv_io_cmd)
			      : nr;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

static void commit(struct ublk_queue *q, unsigned int tag, int result)
{
	send_io_command(q, UBLK_IO_COMMIT_AND_FETCH_REQ, tag,
			ublk_io_result(&q->descs[tag], result));
}

/* What is ready already is reported, and everything new. */
static void watch(struct ublk_queue *q, int fd, uint64_t user_data)
{
	struct io_uring_sqe *sqe = next_sqe(q, user_data);

	io_uring_prep_poll_multishot(sqe, fd, POLLIN | POLLOUT | POLLRDHUP);
	sqe->user_data = user_data;
}

static void watch_data(struct ublk_queue *q)
{
	if (q->fds.data >= 0)
		watch(q, q->fds.data, WATCH_DATA | q->fds.change);
}

/* The connection is another one, or there is none: a poll keeps the old one's descriptor alive. */
static void follow_fds(struct ublk_queue *q)
{
	unsigned int before = q->fds.change;
	int old = q->fds.data;

	brp_queue_fds(q->brp, &q->fds);
	if (likely(q->fds.change == before))
		return;
	if (old >= 0) {
		struct io_uring_sqe *sqe = next_sqe(q, 0);

		io_uring_prep_poll_remove(sqe, WATCH_DATA | before);
		sqe->user_data = UNWATCH_DATA;
	}
	watch_data(q);
}

/* ---- to libbrp ------------------------------------------------------------------------------- */

static void on_done(void *arg, int result)
{
	struct ublk_tag *t = arg;

	commit(t->queue, t->tag, result);
}

/* False: libbrp has no room for it now. */
static bool submit(struct ublk_queue *q, unsigned int tag)
{
	struct brp_io io;
	int r = ublk_io_translate(&q->descs[tag], data_of(q, tag), q->dev->info.max_io_buf_bytes,
				  &io);

	if (r == 0) {
		io.flags |= q->is_batch ? BRP_MORE : 0;
		io.mem = q->mem;
		io.done = on_done;
		io.arg = &q->tags[tag];
		r = brp_submit(q->brp, &io);
	}
	if (r == -EAGAIN)
		return false;
	if (r < 0)
		commit(q, tag, r);
	return true;
}

static void submit_waiting(struct ublk_queue *q)
{
	while (q->nr_waiting > 0 && submit(q, q->waiting[q->first_waiting])) {
		q->first_waiting = (q->first_waiting + 1) % depth_of(q);
		q->nr_waiting--;
	}
}

static void wait_for_room(struct ublk_queue *q, unsigned int tag)
{
	q->waiting[(q->first_waiting + q->nr_waiting) % depth_of(q)] = (uint16_t)tag;
	q->nr_waiting++;
}

/* Until nothing is left: only then do the descriptors tell what comes next. */
static void serve_brp(struct ublk_queue *q)
{
	int r;

	do {
		r = brp_drain(q->brp, q->is_rare_ready);
		q->is_rare_ready = false;
		submit_waiting(q);
	} while (r > 0);
	q->is_brp_ready = false;
	q->is_dry = true;
	follow_fds(q);
}

/* ---- from the kernel ------------------------------------------------------------------------- */

static void tag_gone(struct ublk_queue *q, unsigned int tag, int error)
{
	q->nr_gone++;
	/* -ENODEV is how a device that is being stopped gives its commands back. */
	if (error != -ENODEV && error != -EINTR)
		log_error("%s: the kernel refused tag %u of queue %u: %s", q->dev->front.path, tag,
			  q->index, strerror(-error));
}

static void handle_request(struct ublk_queue *q, unsigned int tag)
{
	/* Behind those that wait already, or the order of the batch would be lost. */
	if (q->nr_waiting > 0 || !submit(q, tag))
		wait_for_room(q, tag);
}

/* A poll ends when the ring had no room for what it found, or with its connection. */
static void handle_poll(struct ublk_queue *q, const struct io_uring_cqe *cqe)
{
	bool is_over = !(cqe->flags & IORING_CQE_F_MORE);

	if (cqe->user_data == UNWATCH_DATA)
		return;
	q->is_rare_ready |= cqe->user_data == WATCH_RARE;
	/* What has come after a look will be looked for before the next sleep. */
	q->is_brp_ready |= q->is_dry || q->is_rare_ready;
	if (is_over && cqe->user_data == WATCH_RARE)
		watch(q, q->fds.rare, WATCH_RARE);
	else if (is_over && cqe->user_data == (WATCH_DATA | q->fds.change))
		watch_data(q);
}

static void handle_cqe(struct ublk_queue *q, const struct io_uring_cqe *cqe)
{
	if (cqe->user_data & KIND_MASK)
		handle_poll(q, cqe);
	else if (cqe->res == UBLK_IO_RES_OK)
		handle_request(q, (unsigned int)cqe->user_data);
	else
		tag_gone(q, (unsigned int)cqe->user_data, cqe->res);
}

static void handle_ring(struct ublk_queue *q)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	q->is_batch = io_uring_cq_ready(&q->ring) > 1;
	io_uring_for_each_cqe(&q->ring, head, cqe)
	{
		handle_cqe(q, cqe);
		n++;
	}
	io_uring_cq_advance(&q->ring, n);
	q->is_batch = false;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Completions, or the kernel's promise of some at the next call. */
static bool has_requests(void *arg)
{
	struct ublk_queue *q = arg;

	return io_uring_cq_ready(&q->ring) > 0 ||
	       IO_URING_READ_ONCE(*q->ring.sq.kflags) & IORING_SQ_TASKRUN;
}

/* True: something completed while looking. */
static bool spin(struct ublk_queue *q)
{
	int n = brp_spin(q->brp, has_requests, q);

	if (n == -EAGAIN)
		return false;
	q->is_dry = false;
	submit_waiting(q);
	return n > 0;
}

/* Nothing is in flight. */
static int nap(struct ublk_queue *q)
{
	struct __kernel_timespec ts = {.tv_nsec = NAP_NS};
	struct io_uring_cqe *cqe;
	int r = io_uring_submit_and_wait_timeout(&q->ring, &cqe, 1, &ts, NULL);

	if (r != -ETIME)
		return r;
	q->is_brp_ready = true;
	return 0;
}

/* Sends the commits, and sleeps unless there is something to do. */
static int wait_for_work(struct ublk_queue *q)
{
	bool may_be_more = spin(q);

	if (!q->is_dry && brp_queue_in_flight(q->brp) == 0)
		return nap(q);
	if (may_be_more || has_requests(q))
		return io_uring_submit(&q->ring);
	if (!q->is_dry) {
		serve_brp(q);
		brp_kick(q->brp);
	}
	return io_uring_submit_and_wait(&q->ring, 1);
}

/* Until the kernel has taken back every tag. */
static void serve(struct ublk_queue *q)
{
	int r = 0;

	while (r >= 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY) {
		handle_ring(q);
		if (q->is_brp_ready)
			serve_brp(q);
		brp_kick(q->brp); /* also what had waited for room */
		if (q->nr_gone == depth_of(q))
			return;
		r = wait_for_work(q);
	}
	log_error("%s: io_uring_enter: %s", q->dev->front.path, strerror(-r));
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* The newest way the kernel has of leaving us alone until we ask: completions then cost no
 * interrupt of this thread. Linux 6.1, 6.0, 5.19. */
static int open_ring(struct ublk_queue *q)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
	};
	int r = -EINVAL;

	for (unsigned int i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++)
		r = io_uring_queue_init(depth_of(q) + NR_POLLS, &q->ring,
					flags[i] | IORING_SETUP_TASKRUN_FLAG);
	if (r < 0)
		return r;
	(void)io_uring_register_ring_fd(&q->ring); /* saves a look-up per call; 5.18 */
	return 0;
}

/* Gives all buffers to the kernel, which from then on has this thread as the queue's. Starting the
 * device would wait for ever for a buffer that it refused. */
static int fetch_all(struct ublk_queue *q)
{
	unsigned int n = depth_of(q);
	int r;

	q->is_rare_ready = true;
	serve_brp(q);
	watch(q, q->fds.rare, WATCH_RARE);
	n += 1 + (q->fds.data >= 0);
	for (unsigned int tag = 0; tag < depth_of(q); tag++)
		send_io_command(q, UBLK_IO_FETCH_REQ, tag, 0);
	do
		r = io_uring_submit(&q->ring);
	while (r == -EINTR);
	if (r < 0)
		return r;
	handle_ring(q);
	return (unsigned int)r == n && q->nr_gone == 0 ? 0 : -EIO;
}

static void *queue_main(void *arg)
{
	struct ublk_queue *q = arg;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "ublk%u-q%u", q->dev->info.dev_id & 0xfffu, q->index & 0xfffu);
	pthread_setname_np(pthread_self(), name);
	r = open_ring(q);
	if (r < 0) {
		log_error("%s: io_uring for queue %u: %s", q->dev->front.path, q->index,
			  strerror(-r));
		ublk_dev_report(q->dev, r);
		return NULL;
	}
	r = fetch_all(q);
	if (r < 0)
		log_error("%s: the kernel does not take queue %u: %s", q->dev->front.path, q->index,
			  strerror(-r));
	ublk_dev_report(q->dev, r);
	if (r == 0) {
		serve(q);
		ublk_dev_gone(q->dev, -ENODEV);
	}
	io_uring_queue_exit(&q->ring);
	return NULL;
}

static void bind_to_cpus(struct ublk_queue *q, pthread_attr_t *attr)
{
	cpu_set_t cpus;

	/* A wish: the thread works anywhere. */
	if (ublk_ctrl_affinity(&q->dev->ctrl, q->dev->info.dev_id, q->index, &cpus) == 0 &&
	    CPU_COUNT(&cpus) > 0)
		(void)pthread_attr_setaffinity_np(attr, sizeof(cpus), &cpus);
}

int ublk_queue_start(struct ublk_queue *q)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	bind_to_cpus(q, &attr);
	/* Signals are for the thread that owns the process. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&q->thread, &attr, queue_main, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	q->has_thread = r == 0;
	return -r;
}

void ublk_queue_join(struct ublk_queue *q)
{
	if (q->has_thread)
		pthread_join(q->thread, NULL);
	q->has_thread = false;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int map_descs(struct ublk_queue *q)
{
	long page = sysconf(_SC_PAGESIZE);
	size_t max = align_up(UBLK_MAX_QUEUE_DEPTH * sizeof(*q->descs), (uint64_t)page);
	off_t at = (off_t)(UBLKSRV_CMD_BUF_OFFSET + q->index * max);
	void *p;

	q->descs_bytes = align_up(depth_of(q) * sizeof(*q->descs), (uint64_t)page);
	p = mmap(NULL, q->descs_bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, q->dev->char_fd, at);
	if (p == MAP_FAILED)
		return -errno;
	q->descs = p;
	return 0;
}

static int map_region(struct ublk_queue *q)
{
	void *p;

	q->region_bytes = (size_t)depth_of(q) * q->dev->info.max_io_buf_bytes;
	p = mmap(NULL, q->region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	q->region = p;
	return brp_mem_register(q->dev->config.session, q->region, q->region_bytes, &q->mem);
}

int ublk_queue_open(struct ublk_queue *q, struct ublk_dev *dev, unsigned int index)
{
	int r;

	q->dev = dev;
	q->index = index;
	q->brp = brp_session_queue(dev->config.session, index);
	q->fds.data = -1;
	q->tags = calloc(depth_of(q), sizeof(*q->tags));
	q->waiting = calloc(depth_of(q), sizeof(*q->waiting));
	if (!q->tags || !q->waiting)
		return -ENOMEM;
	for (unsigned int i = 0; i < depth_of(q); i++)
		q->tags[i] = (struct ublk_tag){.queue = q, .tag = (uint16_t)i};
	r = map_descs(q);
	if (r < 0) {
		log_error("mapping the descriptors of %s failed: %s", dev->front.path,
			  strerror(-r));
		return r;
	}
	r = map_region(q);
	if (r < 0)
		log_error("%zu bytes of memory for %s: %s", q->region_bytes, dev->front.path,
			  q->region ? brp_last_error() : strerror(-r));
	return r;
}

void ublk_queue_close(struct ublk_queue *q)
{
	brp_mem_unregister(q->mem);
	if (q->region)
		munmap(q->region, q->region_bytes);
	if (q->descs)
		munmap((void *)q->descs, q->descs_bytes);
	free(q->waiting);
	free(q->tags);
	memset(q, 0, sizeof(*q));
}
