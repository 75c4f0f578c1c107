/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests are read straight into the slots' registered memory: the head of the message lies
 * before the slot's data, so what a WRITE carries is where libbrp may take it from. The kernel
 * wants room for the longest message at every read, hence a unit is lent to the slot for it and
 * given back when the message was short, as most are.
 *
 * libfuse is not used: its public interface reads from one descriptor only, allocates and locks
 * for every request, and what is needed of the protocol is little (fuse_proto.c).
 */
#include "initiator/dev/fuse_queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"

#define NR_UNITS     8u /* long requests in flight: they bring bandwidth, not depth */
#define MESSAGE_ROOM ((uint64_t)DEV_SMALL_BYTES + DEV_UNIT_BYTES) /* behind the head */

_Static_assert(FUSE_HEAD_BYTES <= 4096, "the head of a message fits before the data");
_Static_assert(MESSAGE_ROOM >= FUSE_MAX_IO_BYTES, "one unit is enough");

static struct fuse_queue *queue_of(struct dev_worker *w)
{
	return container_of(w, struct fuse_queue, worker);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void send_answer(const struct fuse_queue *q, struct iovec *iov, unsigned int n)
{
	/*
	 * ENOENT: the request was interrupted or the connection aborted, and nobody waits for the
	 * answer. What else can go wrong is the connection, which receive() will notice.
	 */
	if (writev(q->worker.source_fd, iov, (int)n) < 0 && errno != ENOENT && errno != ENODEV)
		log_peer(LOG_WARNING, "answer to the kernel: %s", strerror(errno));
}

static void answer(const struct fuse_queue *q, const struct fuse_decision *d)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + (d->error ? 0 : d->out_bytes)),
		.error = d->error,
		.unique = d->unique,
	};
	struct iovec iov[] = {
		{.iov_base = &head, .iov_len = sizeof(head)},
		{.iov_base = (void *)&d->out, .iov_len = head.len - sizeof(head)},
	};

	send_answer(q, iov, 2);
}

static void io_done(void *arg, struct dev_slot *slot, int result)
{
	const struct fuse_queue *q = arg;
	struct fuse_out_header head = {.error = result, .unique = slot->cookie};
	struct fuse_write_out written = {.size = (uint32_t)slot->bytes};
	struct iovec iov[1 + DEV_MAX_IOV] = {{.iov_base = &head, .iov_len = sizeof(head)}};
	uint64_t bytes = sizeof(head);
	unsigned int n = 1;

	if (result == 0 && slot->op == BRP_READ) {
		n += dev_slot_iov(slot, 0, slot->bytes, iov + 1);
		bytes += slot->bytes;
	} else if (result == 0 && slot->op == BRP_WRITE) {
		iov[n++] = (struct iovec){.iov_base = &written, .iov_len = sizeof(written)};
		bytes += sizeof(written);
	}
	head.len = (uint32_t)bytes;
	send_answer(q, iov, n);
	dev_slot_put(slot);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void start_io(struct dev_slot *slot, const struct fuse_decision *d)
{
	bool has_data = d->op == BRP_READ || d->op == BRP_WRITE;

	slot->op = d->op;
	slot->flags = 0;
	slot->offset = d->offset;
	slot->bytes = d->bytes;
	slot->cookie = d->unique;
	/* There is a unit: the slot has it from reading the message. */
	dev_slot_trim(slot, has_data ? d->bytes : 0);
	dev_slot_submit(slot);
}

static int handle(struct fuse_queue *q, struct dev_slot *slot, size_t bytes)
{
	struct fuse_volume volume = q->shared->volume;
	struct fuse_decision d;
	int err;

	volume.size_bytes = atomic_load(&q->shared->size_bytes);
	err = fuse_decode(slot->data - FUSE_HEAD_BYTES, bytes, &volume, &d);
	if (!err && d.action == FUSE_ACT_IO) {
		start_io(slot, &d);
		return 0;
	}
	if (!err && d.action == FUSE_ACT_ANSWER)
		answer(q, &d);
	if (err)
		log_error("the kernel sent something that is no FUSE request");
	dev_slot_put(slot);
	return err;
}

/* Bytes of one message in the slot; 0: there is none now. */
static ssize_t read_message(const struct fuse_queue *q, const struct dev_slot *slot)
{
	struct iovec iov[DEV_MAX_IOV];
	unsigned int n = dev_slot_iov(slot, 0, MESSAGE_ROOM, iov);
	ssize_t got;

	iov[0].iov_base = (char *)iov[0].iov_base - FUSE_HEAD_BYTES;
	iov[0].iov_len += FUSE_HEAD_BYTES;
	do {
		got = readv(q->worker.source_fd, iov, (int)n);
	} while (got < 0 && (errno == EINTR || errno == ENOENT)); /* taken back meanwhile */
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	return got;
}

static bool can_receive(struct dev_worker *w)
{
	return dev_pool_has_room(w->pool, MESSAGE_ROOM);
}

static int receive(struct dev_worker *w)
{
	struct fuse_queue *q = queue_of(w);
	int err = 0;

	while (!err && can_receive(w)) {
		struct dev_slot *slot = dev_slot_get(q->worker.pool);
		ssize_t bytes;

		dev_slot_reserve(slot, MESSAGE_ROOM);
		bytes = read_message(q, slot);
		if (bytes <= 0) {
			dev_slot_put(slot);
			err = (int)bytes;
			break;
		}
		err = handle(q, slot, (size_t)bytes);
	}
	brp_kick(w->queue);
	return err;
}

/* Answers leave one by one: /dev/fuse takes no more in one call. */
static int flush(struct dev_worker *w)
{
	(void)w;
	return 0;
}

static const struct dev_worker_ops worker_ops = {
	.can_receive = can_receive,
	.receive = receive,
	.flush = flush,
};

static void on_gone(struct dev_worker *w, int error)
{
	struct fuse_shared *s = queue_of(w)->shared;

	if (atomic_exchange(&s->is_gone, true))
		return;
	log_error("%s: the kernel ended the FUSE connection: %s", s->volume.image,
		  strerror(-error));
	s->gone(s->arg, error);
}

/* ---- life ------------------------------------------------------------------------------------ */

int fuse_queue_init(struct fuse_queue *q, struct fuse_shared *shared, const struct front_config *c,
		    unsigned int index, int fd)
{
	const struct dev_pool_config config = {
		.session = c->session,
		.queue = brp_session_queue(c->session, index),
		.nr_slots = c->queue_depth,
		.nr_units = NR_UNITS,
		.head_bytes = FUSE_HEAD_BYTES,
		.done = io_done,
		.arg = q,
	};

	q->shared = shared;
	q->worker = (struct dev_worker){
		.ops = &worker_ops,
		.queue = config.queue,
		.source_fd = fd,
		.is_shared = c->nr_queues > 1,
		.gone = on_gone,
	};
	return dev_pool_create(&config, &q->worker.pool);
}
