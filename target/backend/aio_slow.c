/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What has no asynchronous interface: zeroing and discarding, on old kernels fdatasync() and synced
 * writes, and what the kernel would not do asynchronously this time. One thread per volume does
 * them with plain system calls, in order of arrival. A finished request goes onto its queue's list,
 * and the queue's eventfd is signalled as the kernel does for the others.
 */
#include "target/backend/aio.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/log.h"

#define ZERO_CHUNK_BYTES (1u << 20)

/* In the request's scratch while the slow thread has it. */
struct slow_work {
	struct aio_queue *queue;
};
static_assert(sizeof(struct slow_work) <= sizeof(((struct bk_req *)0)->scratch),
	      "a request carries its work");

static struct slow_work *work_of(struct bk_req *r)
{
	void *scratch = r->scratch;

	return scratch;
}

/* ---- the work: 0 or negative errno; they may block ------------------------------------------- */

static int transfer(struct aio_volume *v, const struct bk_req *r)
{
	bool is_read = r->op == BRP_OP_READ;
	ssize_t n;

	do {
		n = is_read ? pread(v->fd, r->buf, r->bytes, (off_t)r->offset)
			    : pwrite(v->fd, r->buf, r->bytes, (off_t)r->offset);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (uint64_t)n == r->bytes ? 0 : -EIO;
}

/* An unsupported mode comes back as EOPNOTSUPP, from some file systems as EINVAL or ENOSYS. */
static bool is_unsupported(int err)
{
	return err == -EOPNOTSUPP || err == -EINVAL || err == -ENOSYS || err == -ENOTTY;
}

static int try_fallocate(struct aio_volume *v, int mode, const struct bk_req *r)
{
	int n;

	do {
		n = fallocate(v->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)r->offset, (off_t)r->bytes);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int range_ioctl(struct aio_volume *v, unsigned long request, const struct bk_req *r)
{
	uint64_t range[2] = {r->offset, r->bytes};

	return ioctl(v->fd, request, range) < 0 ? -errno : 0;
}

static int write_zero_chunks(struct aio_volume *v, const struct bk_req *r)
{
	struct bk_req part = *r;
	void *zeroes;
	int err;

	err = arena_map_pages(ZERO_CHUNK_BYTES, -1, &zeroes);
	if (err < 0)
		return err;
	part.op = BRP_OP_WRITE;
	part.buf = zeroes;
	for (uint64_t done = 0; done < r->bytes && !err; done += part.bytes) {
		part.offset = r->offset + done;
		part.bytes = MIN(r->bytes - done, (uint64_t)ZERO_CHUNK_BYTES);
		err = transfer(v, &part);
	}
	arena_unmap_pages(zeroes, ZERO_CHUNK_BYTES);
	return err;
}

/*
 * Files: an allocated range of zeroes if the file system has that (ext4, xfs), else a hole (tmpfs,
 * btrfs), which reads as zeroes too, else plain writes. Devices: the kernel's own, which writes
 * where the device has no command for it.
 */
static int write_zeroes(struct aio_volume *v, const struct bk_req *r)
{
	int err = -EOPNOTSUPP;

	if (v->is_device) {
		err = range_ioctl(v, BLKZEROOUT, r);
	} else {
		if (!v->slow.no_zero_range) {
			err = try_fallocate(v, FALLOC_FL_ZERO_RANGE, r);
			v->slow.no_zero_range = is_unsupported(err);
		}
		if (is_unsupported(err) && !v->slow.no_punch_hole) {
			err = try_fallocate(v, FALLOC_FL_PUNCH_HOLE, r);
			v->slow.no_punch_hole = is_unsupported(err);
		}
	}
	return is_unsupported(err) ? write_zero_chunks(v, r) : err;
}

static int discard(struct aio_volume *v, const struct bk_req *r)
{
	if (v->is_device)
		return range_ioctl(v, BLKDISCARD, r);
	return try_fallocate(v, FALLOC_FL_PUNCH_HOLE, r);
}

static int sync_data(struct aio_volume *v)
{
	return fdatasync(v->fd) < 0 ? -errno : 0;
}

static int work(struct aio_volume *v, const struct bk_req *r)
{
	int err;

	switch (r->op) {
	case BRP_OP_READ:
		return transfer(v, r);
	case BRP_OP_FLUSH:
		return sync_data(v);
	case BRP_OP_WRITE:
		err = transfer(v, r);
		break;
	case BRP_OP_WRITE_ZEROES:
		err = write_zeroes(v, r);
		break;
	default:
		err = discard(v, r);
	}
	if (!err && aio_needs_sync(v, r))
		err = sync_data(v);
	return err;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* The owner may destroy the queue as soon as it has the request back: nothing of it is touched
 * after the unlock. */
static void give_back(struct aio_queue *q, struct bk_req *r)
{
	uint64_t one = 1;
	ssize_t n;

	pthread_mutex_lock(&q->slow_lock);
	list_add_tail(&q->slow_done, &r->link);
	n = write(q->event_fd, &one, sizeof(one));
	(void)n; /* EAGAIN: the counter is full, then it is signalled anyway */
	pthread_mutex_unlock(&q->slow_lock);
}

static void *slow_thread(void *arg)
{
	struct aio_volume *v = arg;
	struct aio_slow *s = &v->slow;
	struct list *node;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		node = list_pop(&s->todo);
		if (node) {
			struct bk_req *r = list_entry(node, struct bk_req, link);
			struct aio_queue *q = work_of(r)->queue;

			pthread_mutex_unlock(&s->lock);
			r->result = work(v, r);
			if (r->result < 0)
				aio_log_failure(v, r, r->result);
			give_back(q, r);
			pthread_mutex_lock(&s->lock);
		} else if (s->is_stopping) {
			break;
		} else {
			pthread_cond_wait(&s->wake, &s->lock);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* The lock is held. */
static int start_thread(struct aio_volume *v)
{
	int err = bk_start_thread(&v->slow.thread, slow_thread, v);

	if (err)
		log_peer(LOG_ERROR, "%s: cannot start a thread for slow operations: %s", v->path,
			 strerror(-err));
	v->slow.is_started = !err;
	return err ? -ENOMEM : 0;
}

void aio_slow_submit(struct aio_queue *q, struct bk_req *r)
{
	struct aio_slow *s = &q->v->slow;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->is_started)
		err = start_thread(q->v);
	if (!err) {
		work_of(r)->queue = q;
		list_add_tail(&s->todo, &r->link);
		q->nr_slow++;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	if (err < 0)
		bk_finish(&q->queue, r, err);
}

void aio_slow_reap(struct aio_queue *q)
{
	struct list *node;

	pthread_mutex_lock(&q->slow_lock);
	while ((node = list_pop(&q->slow_done))) {
		struct bk_req *r = list_entry(node, struct bk_req, link);

		q->nr_slow--;
		bk_finish(&q->queue, r, r->result);
	}
	pthread_mutex_unlock(&q->slow_lock);
}

void aio_slow_init(struct aio_slow *s)
{
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	list_init(&s->todo);
}

void aio_slow_finish(struct aio_slow *s)
{
	pthread_mutex_lock(&s->lock);
	assert(list_empty(&s->todo));
	s->is_stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	if (s->is_started)
		pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
}
