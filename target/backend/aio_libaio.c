/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine libaio: one kernel context per queue. Requests gather in a batch, and one io_submit()
 * takes them all; the kernel signals completions on the queue's eventfd, and they are read from the
 * ring it shares with us, without a system call.
 */
#include <assert.h>
#include <errno.h>
#include <libaio.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "target/backend/aio.h"
#include "target/backend/aio_context.h"

#define REAP_EVENTS 64

struct libaio_queue {
	struct aio_queue aio;
	struct aio_context *context;
	io_context_t ctx;      /* the context's */
	unsigned int nr_batch; /* gathered for the next io_submit() */
	struct iocb *batch[];
};

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

static struct libaio_queue *to_libaio(struct aio_queue *q)
{
	return container_of(q, struct libaio_queue, aio);
}

/* ---- submitting ------------------------------------------------------------------------------ */

static void prepare_write(const struct aio_volume *v, const struct bk_req *r, struct iocb *cb)
{
	io_prep_pwrite(cb, v->fd, r->buf, r->bytes, (long long)r->offset);
	if (aio_needs_sync(v, r))
		cb->aio_rw_flags = RWF_DSYNC;
}

static void gather(struct aio_queue *queue, struct bk_req *r)
{
	struct libaio_queue *q = to_libaio(queue);
	int fd = queue->v->fd;
	struct iocb *cb = (struct iocb *)r->scratch;

	if (r->op == BRP_OP_READ)
		io_prep_pread(cb, fd, r->buf, r->bytes, (long long)r->offset);
	else if (r->op == BRP_OP_WRITE)
		prepare_write(queue->v, r, cb);
	else
		io_prep_fdsync(cb, fd);
	io_set_eventfd(cb, queue->event_fd);
	cb->data = r;
	q->batch[q->nr_batch++] = cb;
}

static void flush(struct aio_queue *queue)
{
	struct libaio_queue *q = to_libaio(queue);
	unsigned int at = 0;

	while (at < q->nr_batch) {
		int n = io_submit(q->ctx, (long)(q->nr_batch - at), q->batch + at);

		if (n > 0) {
			queue->nr_in_kernel += (unsigned int)n;
			at += (unsigned int)n;
			continue;
		}
		/* 0 is not documented for a batch that is not empty; taken as "later" it cannot
		 * loop here. */
		if (aio_refused(queue, q->batch[at]->data, n ? n : -EAGAIN) < 0) {
			queue->is_stalled = true;
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
	aio_complete(q, ev->data, (long)ev->res);
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

static void reap_syscall(struct aio_queue *q, io_context_t ctx)
{
	struct io_event ev[REAP_EVENTS];
	struct timespec now = {0};
	int n;

	do {
		n = io_getevents(ctx, 0, REAP_EVENTS, ev, &now);
		for (int i = 0; i < n; i++)
			complete(q, &ev[i]);
	} while (n == REAP_EVENTS);
}

static void reap(struct aio_queue *q)
{
	io_context_t ctx = to_libaio(q)->ctx;
	struct aio_ring *ring = (struct aio_ring *)ctx;

	if (likely(ring->magic == AIO_RING_MAGIC && !ring->incompat_features))
		reap_ring(q, ring);
	else
		reap_syscall(q, ctx);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void queue_destroy(struct aio_queue *queue)
{
	struct libaio_queue *q = to_libaio(queue);

	aio_context_retire(q->context);
	aio_queue_finish(queue);
	free(q);
}

static int queue_create(struct aio_volume *v, unsigned int depth, struct aio_queue **ret_queue)
{
	struct libaio_queue *q = calloc(1, sizeof(*q) + depth * sizeof(q->batch[0]));
	int r;

	if (!q)
		return -ENOMEM;
	r = aio_queue_init(&q->aio, v, &aio_engine_libaio);
	if (!r)
		r = aio_context_get(v->path, depth, &q->context);
	if (r < 0) {
		queue_destroy(&q->aio);
		return r;
	}
	q->ctx = q->context->ctx;
	*ret_queue = &q->aio;
	return 0;
}

/* ---- what the kernel takes ------------------------------------------------------------------- */

static int run_one(io_context_t ctx, struct iocb *cb)
{
	struct io_event ev;
	int n = io_submit(ctx, 1, &cb);

	if (n != 1)
		return n < 0 ? n : -EAGAIN;
	do {
		n = io_getevents(ctx, 1, 1, &ev, NULL);
	} while (n == -EINTR);
	return n == 1 ? (int)(long)ev.res : -EIO;
}

static bool is_known(int result)
{
	return result != -EINVAL && result != -EOPNOTSUPP;
}

/* Flags are checked before the direction is looked at, so a read tells whether writes may carry
 * RWF_DSYNC (Linux 4.13). */
static int probe(struct aio_volume *v)
{
	uint32_t block = v->volume.info.block_bytes;
	struct aio_context *c;
	struct iocb cb;
	void *buf;
	int err;

	if (posix_memalign(&buf, BRP_MAX_BLOCK_BYTES, block))
		return -ENOMEM;
	err = aio_context_get(v->path, 1, &c);
	if (!err) {
		io_prep_pread(&cb, v->fd, buf, block, 0);
		cb.aio_rw_flags = RWF_DSYNC;
		v->has_dsync = is_known(run_one(c->ctx, &cb));
		io_prep_fdsync(&cb, v->fd);
		v->has_fdsync = is_known(run_one(c->ctx, &cb));
		aio_context_retire(c);
	}
	free(buf);
	return err;
}

const struct aio_engine aio_engine_libaio = {
	.name = "libaio",
	.probe = probe,
	.queue_create = queue_create,
	.queue_destroy = queue_destroy,
	.gather = gather,
	.flush = flush,
	.reap = reap,
};
