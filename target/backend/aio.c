/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asynchronous direct I/O: one kernel context per queue. Requests gather in a batch, and one
 * io_submit() takes them all; the kernel signals completions on an eventfd, and they are read from
 * the ring it shares with us, without a system call. The eventfd is never read: it is watched
 * edge-triggered, and each signal is an edge.
 */
#include "target/backend/aio.h"

#include <assert.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"

#define REAP_EVENTS 64

static_assert(sizeof(struct iocb) <= sizeof(((struct bk_req *)0)->scratch),
	      "a request carries its iocb");
static_assert(_Alignof(struct iocb) <= _Alignof(uint64_t), "scratch is aligned for an iocb");

/* The ring that the kernel maps at the address of the context (fs/aio.c, struct aio_ring). */
struct aio_ring {
	unsigned int id;
	unsigned int nr; /* of events */
	unsigned int head;
	_Atomic unsigned int tail;
	unsigned int magic;
	unsigned int compat_features;
	unsigned int incompat_features;
	unsigned int header_bytes;
	struct io_event events[];
};
#define AIO_RING_MAGIC 0xa10a10a1u

static struct aio_queue *to_aio_queue(const struct bk_queue *q)
{
	return container_of(q, struct aio_queue, queue);
}

static const char *op_name(enum brp_op op)
{
	static const char *const names[] = {
		[BRP_OP_READ] = "read",
		[BRP_OP_WRITE] = "write",
		[BRP_OP_WRITE_ZEROES] = "write zeroes",
		[BRP_OP_DISCARD] = "discard",
		[BRP_OP_FLUSH] = "flush",
	};

	return (size_t)op < ARRAY_SIZE(names) && names[op] ? names[op] : "unknown operation";
}

void aio_log_failure(const struct aio_volume *v, const struct bk_req *r, int err)
{
	log_peer(LOG_ERROR, "%s: %s of %llu bytes at %llu failed: %s", v->path, op_name(r->op),
		 (unsigned long long)r->bytes, (unsigned long long)r->offset, strerror(-err));
}

/* ---- submitting ------------------------------------------------------------------------------ */

static void prepare_write(struct aio_queue *q, struct bk_req *r, struct iocb *cb)
{
	io_prep_pwrite(cb, q->v->fd, r->buf, r->bytes, (long long)r->offset);
	if (aio_needs_sync(q->v, r))
		cb->aio_rw_flags = RWF_DSYNC;
}

static void gather(struct aio_queue *q, struct bk_req *r)
{
	struct iocb *cb = (struct iocb *)r->scratch;

	if (r->op == BRP_OP_READ)
		io_prep_pread(cb, q->v->fd, r->buf, r->bytes, (long long)r->offset);
	else if (r->op == BRP_OP_WRITE)
		prepare_write(q, r, cb);
	else
		io_prep_fdsync(cb, q->v->fd);
	io_set_eventfd(cb, q->event_fd);
	cb->data = r;
	q->batch[q->nr_batch++] = cb;
}

static void aio_submit(struct bk_queue *queue, struct bk_req *r)
{
	struct aio_queue *q = to_aio_queue(queue);
	struct aio_volume *v = q->v;

	switch (r->op) {
	case BRP_OP_READ:
		gather(q, r);
		break;
	case BRP_OP_WRITE:
		if (aio_needs_sync(v, r) && !v->has_dsync)
			aio_slow_submit(q, r);
		else
			gather(q, r);
		break;
	case BRP_OP_FLUSH:
		if (!v->has_cache || v->volume.info.volume_flags & BRP_VOL_READ_ONLY)
			bk_finish(queue, r, 0);
		else if (v->has_fdsync)
			gather(q, r);
		else
			aio_slow_submit(q, r);
		break;
	case BRP_OP_WRITE_ZEROES:
	case BRP_OP_DISCARD:
		aio_slow_submit(q, r);
		break;
	default:
		bk_finish(queue, r, -EOPNOTSUPP);
	}
}

/* The kernel refused the first of the batch; 0: go on with the rest. */
static int handle_refusal(struct aio_queue *q, struct bk_req *r, int err)
{
	if (err != -EAGAIN) {
		aio_log_failure(q->v, r, err);
		bk_finish(&q->queue, r, err);
		return 0;
	}
	if (q->nr_in_kernel || q->nr_slow)
		return -EAGAIN; /* their completion makes the owner poll, and that tries again */
	/* No event would come: without kernel memory the slow thread's plain system calls get it
	 * done. */
	aio_slow_submit(q, r);
	return 0;
}

static void aio_flush(struct bk_queue *queue)
{
	struct aio_queue *q = to_aio_queue(queue);
	unsigned int at = 0;

	q->is_stalled = false;
	while (at < q->nr_batch) {
		int n = io_submit(q->ctx, (long)(q->nr_batch - at), q->batch + at);

		if (n > 0) {
			q->nr_in_kernel += (unsigned int)n;
			at += (unsigned int)n;
			continue;
		}
		/* 0 is not documented for a batch that is not empty; taken as "later" it cannot
		 * loop here. */
		if (handle_refusal(q, q->batch[at]->data, n ? n : -EAGAIN) < 0) {
			q->is_stalled = true;
			break;
		}
		at++;
	}
	q->nr_batch -= at;
	if (at && q->nr_batch)
		memmove(q->batch, q->batch + at, q->nr_batch * sizeof(q->batch[0]));
}

/* ---- completions ----------------------------------------------------------------------------- */

static void complete(struct aio_queue *q, const struct io_event *ev)
{
	struct bk_req *r = ev->data;
	long res = (long)ev->res;
	int result = 0;

	if (res < 0)
		result = (int)res;
	else if (r->op != BRP_OP_FLUSH && (uint64_t)res != r->bytes)
		result = -EIO; /* short: the file was truncated, or the device shrank */
	if (unlikely(result < 0))
		aio_log_failure(q->v, r, result);
	q->nr_in_kernel--;
	bk_finish(&q->queue, r, result);
}

/*
 * head is ours to move, tail is the kernel's: it is stored after the events, and head after we have
 * read them. head is read atomically for ThreadSanitizer only: the kernel may have put the ring
 * where the one of a queue was that another thread has destroyed, and TSan does not see it do so.
 */
static void reap_ring(struct aio_queue *q, struct aio_ring *ring)
{
	unsigned int head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
	unsigned int tail = atomic_load_explicit(&ring->tail, memory_order_acquire);

	while (head != tail) {
		complete(q, &ring->events[head]);
		head = head + 1 == ring->nr ? 0 : head + 1;
	}
	__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
}

static void reap_syscall(struct aio_queue *q)
{
	struct io_event ev[REAP_EVENTS];
	struct timespec now = {0};
	int n;

	do {
		n = io_getevents(q->ctx, 0, REAP_EVENTS, ev, &now);
		for (int i = 0; i < n; i++)
			complete(q, &ev[i]);
	} while (n == REAP_EVENTS);
}

static void aio_reap(struct bk_queue *queue)
{
	struct aio_queue *q = to_aio_queue(queue);
	struct aio_ring *ring = (struct aio_ring *)q->ctx;

	if (q->nr_in_kernel) {
		if (likely(ring->magic == AIO_RING_MAGIC && !ring->incompat_features))
			reap_ring(q, ring);
		else
			reap_syscall(q);
	}
	if (q->nr_slow)
		aio_slow_reap(q);
	if (unlikely(q->is_stalled))
		aio_flush(queue);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void aio_queue_destroy(struct bk_queue *queue)
{
	struct aio_queue *q = to_aio_queue(queue);

	aio_context_retire(q->context);
	if (q->event_fd >= 0)
		close(q->event_fd);
	pthread_mutex_destroy(&q->slow_lock);
	free(q);
}

static int aio_queue_create(struct bk_volume *v, unsigned int depth, struct bk_queue **ret_queue)
{
	struct aio_queue *q = calloc(1, sizeof(*q) + depth * sizeof(q->batch[0]));
	int r;

	if (!q)
		return -ENOMEM;
	q->v = to_aio_volume(v);
	pthread_mutex_init(&q->slow_lock, NULL);
	list_init(&q->slow_done);
	q->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r = q->event_fd < 0 ? -errno : 0;
	if (r < 0)
		log_error("%s: cannot create a queue: %s", q->v->path, strerror(-r));
	else
		r = aio_context_get(q->v->path, depth, &q->context);
	if (r < 0) {
		aio_queue_destroy(&q->queue);
		return r;
	}
	q->ctx = q->context->ctx;
	*ret_queue = &q->queue;
	return 0;
}

static int aio_queue_fd(const struct bk_queue *q)
{
	return to_aio_queue(q)->event_fd;
}

static void aio_close(struct bk_volume *volume)
{
	struct aio_volume *v = to_aio_volume(volume);

	aio_slow_finish(&v->slow);
	if (v->fd >= 0)
		close(v->fd);
	free(v->path);
	free(v);
}

static int aio_resize(struct bk_volume *volume, uint64_t set_bytes, uint64_t *ret_bytes)
{
	const struct aio_volume *v = to_aio_volume(volume);

	if (set_bytes && v->is_device) {
		log_error(
			"%s: a device has the size it has; resize it with its own tools, then say "
			"resize without a size",
			v->path);
		return -EOPNOTSUPP;
	}
	if (set_bytes && ftruncate(v->fd, (off_t)set_bytes) < 0) {
		int err = -errno;

		log_error("%s: cannot make it %llu bytes large: %s", v->path,
			  (unsigned long long)set_bytes, strerror(-err));
		return err;
	}
	return aio_probe_size(v, ret_bytes);
}

const struct bk_ops aio_ops = {
	.close = aio_close,
	.resize = aio_resize,
	.queue_create = aio_queue_create,
	.queue_destroy = aio_queue_destroy,
	.queue_fd = aio_queue_fd,
	.submit = aio_submit,
	.flush = aio_flush,
	.reap = aio_reap,
};
