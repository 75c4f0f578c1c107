/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices and files, asynchronous and direct. Requests are gathered for the engine, libaio or
 * io_uring, which hands them to the kernel together, or go to the slow thread. Completions are
 * signalled on an eventfd, which is never read: it is watched edge-triggered, and each signal is an
 * edge.
 */
#include "target/backend/aio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"

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

static void aio_submit(struct bk_queue *queue, struct bk_req *r)
{
	struct aio_queue *q = to_aio_queue(queue);
	struct aio_volume *v = q->v;

	switch (r->op) {
	case BRP_OP_READ:
		q->engine->gather(q, r);
		break;
	case BRP_OP_WRITE:
		if (aio_needs_sync(v, r) && !v->has_dsync)
			aio_slow_submit(q, r);
		else
			q->engine->gather(q, r);
		break;
	case BRP_OP_FLUSH:
		if (!v->has_cache || v->volume.info.volume_flags & BRP_VOL_READ_ONLY)
			bk_finish(queue, r, 0);
		else if (v->has_fdsync)
			q->engine->gather(q, r);
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

int aio_refused(struct aio_queue *q, struct bk_req *r, int err)
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

	q->is_stalled = false;
	q->engine->flush(q);
}

/* ---- completions ----------------------------------------------------------------------------- */

void aio_complete(struct aio_queue *q, struct bk_req *r, long res)
{
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

static void aio_reap(struct bk_queue *queue)
{
	struct aio_queue *q = to_aio_queue(queue);

	if (q->nr_in_kernel)
		q->engine->reap(q);
	if (q->nr_slow)
		aio_slow_reap(q);
	if (unlikely(q->is_stalled))
		aio_flush(queue);
}

/* ---- life ------------------------------------------------------------------------------------ */

int aio_queue_init(struct aio_queue *q, struct aio_volume *v, const struct aio_engine *engine)
{
	int err = 0;

	q->v = v;
	q->engine = engine;
	pthread_mutex_init(&q->slow_lock, NULL);
	list_init(&q->slow_done);
	q->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->event_fd < 0) {
		err = -errno;
		log_error("%s: cannot create a queue: %s", v->path, strerror(-err));
	}
	return err;
}

void aio_queue_finish(struct aio_queue *q)
{
	if (q->event_fd >= 0)
		close(q->event_fd);
	pthread_mutex_destroy(&q->slow_lock);
}

static void aio_queue_destroy(struct bk_queue *queue)
{
	struct aio_queue *q = to_aio_queue(queue);

	q->engine->queue_destroy(q);
}

static int aio_queue_create(struct bk_volume *volume, unsigned int depth,
			    struct bk_queue **ret_queue)
{
	struct aio_volume *v = to_aio_volume(volume);
	struct aio_queue *q;
	int err = v->engine->queue_create(v, depth, &q);

	/* No memory for another ring, or it was forbidden since. */
	if (err < 0 && v->engine != &aio_engine_libaio && !v->is_engine_given)
		err = aio_engine_libaio.queue_create(v, depth, &q);
	if (!err)
		*ret_queue = &q->queue;
	return err;
}

static void aio_use_memory(struct bk_queue *queue, void *base, size_t bytes)
{
	struct aio_queue *q = to_aio_queue(queue);

	if (q->engine->use_memory)
		q->engine->use_memory(q, base, bytes);
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
	.use_memory = aio_use_memory,
	.submit = aio_submit,
	.flush = aio_flush,
	.reap = aio_reap,
};
