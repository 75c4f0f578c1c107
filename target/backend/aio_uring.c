/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine io_uring: one ring per queue. Requests gather in its submission queue, and one
 * io_uring_enter() takes them all; what has ended the kernel writes to the completion queue and
 * signals on the queue's eventfd.
 *
 * Memory that most requests use is registered (aio_engine.use_memory), which is most of what
 * io_uring saves (docs/results/path.md). The file is not: it saves little, and the kernel would
 * keep the device open for a while after the process has ended. Nor is a ring one thread's own
 * (SINGLE_ISSUER, DEFER_TASKRUN): whoever runs a connection submits. A request ends in the thread
 * that began it, which the kernel interrupts for that, also in a system call: EINTR.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "target/backend/aio.h"

/* Since Linux 5.12. Before, requests that had to wait ran in kernel threads that belonged to
 * nobody. */
#define NEEDED_FEATURES (IORING_FEAT_NODROP | IORING_FEAT_NATIVE_WORKERS)

/* One that is in the submission queue and was not yet taken by the kernel. */
struct gathered {
	struct io_uring_sqe *sqe;
	struct bk_req *r; /* NULL: it was refused, and what is in the queue does nothing */
};

/*
 * No more are in the kernel than the submission queue has places, and the completion queue has
 * twice as many: it cannot overflow. Only those that were refused and do nothing come on top, and
 * they are bounded by the submission queue, too.
 */
struct uring_queue {
	struct aio_queue aio;
	struct io_uring ring;
	bool has_ring;
	/* Registered as buffer 0. */
	uintptr_t memory;
	size_t memory_bytes;
	unsigned int nr_batch;
	struct gathered batch[]; /* in the order of the submission queue, and as large */
};

static struct uring_queue *to_uring(struct aio_queue *q)
{
	return container_of(q, struct uring_queue, aio);
}

/* ---- submitting ------------------------------------------------------------------------------ */

static bool is_registered(const struct uring_queue *q, const struct bk_req *r)
{
	uintptr_t at = (uintptr_t)r->buf - q->memory;

	return at < q->memory_bytes && r->bytes <= q->memory_bytes - at;
}

/* The length of one operation. */
static bool is_too_long(const struct bk_req *r)
{
	return r->op != BRP_OP_FLUSH && r->bytes > UINT32_MAX;
}

static void prepare(const struct uring_queue *q, const struct bk_req *r, struct io_uring_sqe *sqe)
{
	unsigned int bytes = (unsigned int)r->bytes;
	int fd = q->aio.v->fd;
	bool is_fixed = is_registered(q, r);

	if (r->op == BRP_OP_FLUSH)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else if (r->op == BRP_OP_READ && is_fixed)
		io_uring_prep_read_fixed(sqe, fd, r->buf, bytes, r->offset, 0);
	else if (r->op == BRP_OP_READ)
		io_uring_prep_read(sqe, fd, r->buf, bytes, r->offset);
	else if (is_fixed)
		io_uring_prep_write_fixed(sqe, fd, r->buf, bytes, r->offset, 0);
	else
		io_uring_prep_write(sqe, fd, r->buf, bytes, r->offset);
	if (r->op == BRP_OP_WRITE && aio_needs_sync(q->aio.v, r))
		sqe->rw_flags = RWF_DSYNC;
}

static void gather(struct aio_queue *queue, struct bk_req *r)
{
	struct uring_queue *q = to_uring(queue);
	/* NULL: places are taken by refused ones, which the kernel will not have either. */
	struct io_uring_sqe *sqe = is_too_long(r) ? NULL : io_uring_get_sqe(&q->ring);

	if (unlikely(!sqe)) {
		aio_slow_submit(queue, r);
		return;
	}
	prepare(q, r, sqe);
	io_uring_sqe_set_data(sqe, r);
	q->batch[q->nr_batch++] = (struct gathered){sqe, r};
}

/* The kernel takes none of the batch now. 0: the first of those that are still wanted is taken care
 * of, try the rest. */
static int refused(struct uring_queue *q, unsigned int at, int err)
{
	while (at < q->nr_batch && !q->batch[at].r)
		at++;
	if (at == q->nr_batch || aio_refused(&q->aio, q->batch[at].r, err) < 0)
		return -EAGAIN;
	io_uring_prep_nop(q->batch[at].sqe);
	io_uring_sqe_set_data(q->batch[at].sqe, NULL);
	q->batch[at].r = NULL;
	return 0;
}

static bool has_wanted(const struct uring_queue *q)
{
	for (unsigned int i = 0; i < q->nr_batch; i++) {
		if (q->batch[i].r)
			return true;
	}
	return false;
}

static void flush(struct aio_queue *queue)
{
	struct uring_queue *q = to_uring(queue);
	unsigned int at = 0;

	while (at < q->nr_batch) {
		int n = io_uring_submit(&q->ring);

		if (n > 0) {
			queue->nr_in_kernel += (unsigned int)n;
			at += (unsigned int)n;
		} else if (n != -EINTR) {
			/* EBUSY: completions have found no place, which is "later", too. */
			if (n == 0 || n == -EBUSY)
				n = -EAGAIN;
			if (refused(q, at, n) < 0)
				break;
		}
	}
	q->nr_batch -= at;
	if (unlikely(q->nr_batch)) {
		memmove(q->batch, q->batch + at, q->nr_batch * sizeof(q->batch[0]));
		queue->is_stalled = has_wanted(q);
	}
}

/* ---- completions ----------------------------------------------------------------------------- */

/*
 * What the kernel has not done, or not wholly, although nothing need be wrong: no resources at the
 * moment (EAGAIN), the thread that began it has ended (ECANCELED, EINTR), a part only. The slow
 * thread does it once more, which does no harm, and finds out.
 */
static bool is_half_done(const struct bk_req *r, int res)
{
	if (res < 0)
		return res == -EAGAIN || res == -ECANCELED || res == -EINTR;
	return r->op != BRP_OP_FLUSH && (uint64_t)res != r->bytes;
}

static void complete(struct aio_queue *q, const struct io_uring_cqe *cqe)
{
	struct bk_req *r = io_uring_cqe_get_data(cqe);

	if (unlikely(!r)) {
		q->nr_in_kernel--;
	} else if (unlikely(is_half_done(r, cqe->res))) {
		q->nr_in_kernel--;
		aio_slow_submit(q, r);
	} else {
		aio_complete(q, r, cqe->res);
	}
}

static void reap(struct aio_queue *queue)
{
	struct uring_queue *q = to_uring(queue);
	struct io_uring_cqe *cqe;
	unsigned int head;
	unsigned int n = 0;

	io_uring_for_each_cqe(&q->ring, head, cqe)
	{
		complete(queue, cqe);
		n++;
	}
	io_uring_cq_advance(&q->ring, n);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The kernel does its part of the end by itself, later: this does not wait for it. */
static void queue_destroy(struct aio_queue *queue)
{
	struct uring_queue *q = to_uring(queue);

	if (q->has_ring)
		io_uring_queue_exit(&q->ring);
	aio_queue_finish(queue);
	free(q);
}

/* As io_uring_setup() does. */
static unsigned int places_for(unsigned int depth)
{
	unsigned int n = 1;

	while (n < depth)
		n *= 2;
	return n;
}

static int make_ring(struct uring_queue *q, unsigned int places)
{
	int err = io_uring_queue_init(places, &q->ring, 0);

	q->has_ring = !err;
	if (!err)
		err = io_uring_register_eventfd(&q->ring, q->aio.event_fd);
	if (err < 0)
		log_peer(LOG_WARNING, "%s: cannot create an io_uring of %u requests: %s",
			 q->aio.v->path, places, strerror(-err));
	return err;
}

static int queue_create(struct aio_volume *v, unsigned int depth, struct aio_queue **ret_queue)
{
	unsigned int places = places_for(depth);
	struct uring_queue *q = calloc(1, sizeof(*q) + places * sizeof(q->batch[0]));
	int r;

	if (!q)
		return -ENOMEM;
	r = aio_queue_init(&q->aio, v, &aio_engine_uring);
	if (!r)
		r = make_ring(q, places);
	if (r < 0) {
		queue_destroy(&q->aio);
		return r;
	}
	*ret_queue = &q->aio;
	return 0;
}

/* Without, all works, a little slower. */
static void use_memory(struct aio_queue *queue, void *base, size_t bytes)
{
	struct uring_queue *q = to_uring(queue);
	const struct iovec memory = {base, bytes};
	int err = io_uring_register_buffers(&q->ring, &memory, 1);

	if (err < 0) {
		log_peer(LOG_WARNING,
			 "%s: cannot register %zu KiB with io_uring, which costs some speed: %s%s",
			 queue->v->path, bytes >> 10, strerror(-err),
			 err == -ENOMEM ? "; raise the limit of locked memory (ulimit -l)" : "");
		return;
	}
	q->memory = (uintptr_t)base;
	q->memory_bytes = bytes;
}

/* ---- what the kernel takes ------------------------------------------------------------------- */

/* Whoever has the features that are asked for has these as well. */
static int probe(struct aio_volume *v)
{
	v->has_dsync = true;
	v->has_fdsync = true;
	return 0;
}

int aio_uring_probe(const char **ret_why)
{
	struct io_uring_params params = {0};
	struct io_uring ring;
	int err = io_uring_queue_init_params(2, &ring, &params);

	if (err < 0) {
		*ret_why = err == -EPERM ? "not allowed (sysctl kernel.io_uring_disabled, or a "
					   "filter of system calls)"
					 : strerror(-err);
		return err;
	}
	io_uring_queue_exit(&ring);
	if ((params.features & NEEDED_FEATURES) == NEEDED_FEATURES)
		return 0;
	*ret_why = "the kernel is older than 5.12";
	return -EOPNOTSUPP;
}

const struct aio_engine aio_engine_uring = {
	.name = "io_uring",
	.probe = probe,
	.queue_create = queue_create,
	.queue_destroy = queue_destroy,
	.use_memory = use_memory,
	.gather = gather,
	.flush = flush,
	.reap = reap,
};
