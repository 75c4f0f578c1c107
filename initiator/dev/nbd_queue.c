/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One recvmsg() takes what the socket has: the rest of a WRITE's data, straight into its slot, and
 * behind it the requests that follow, as many as there are. One sendmsg() carries the answers of a
 * pass, each before the data of its READ.
 *
 * Answers are sent blocking: the kernel's receiver is a thread of its own which waits for nothing
 * but us.
 */
#include "initiator/dev/nbd_queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "initiator/dev/nbd_netlink.h"

#define NR_UNITS DEV_MAX_UNITS /* the longest request fits */
#define SEND_IOV 256u

_Static_assert(DEV_SMALL_BYTES + (uint64_t)NR_UNITS * DEV_UNIT_BYTES >= NBD_MAX_IO_BYTES,
	       "the longest request fits");
_Static_assert(SEND_IOV > DEV_MAX_IOV, "so does its answer");

static struct nbd_queue *queue_of(struct dev_worker *w)
{
	return container_of(w, struct nbd_queue, worker);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The slot's until the pass ends. Its head is before its data. */
static void io_done(void *arg, struct dev_slot *slot, int result)
{
	struct nbd_queue *q = arg;

	slot->result = result;
	nbd_encode_answer(slot->data - NBD_ANSWER_BYTES, slot->cookie, result);
	list_add_tail(&q->answers, &slot->link);
}

static unsigned int answer_iov(const struct dev_slot *slot, struct iovec *iov)
{
	unsigned int n = 1;

	iov[0].iov_base = slot->data;
	iov[0].iov_len = 0;
	if (slot->op == BRP_READ && slot->result == 0)
		n = dev_slot_iov(slot, 0, slot->bytes, iov);
	iov[0].iov_base = (char *)iov[0].iov_base - NBD_ANSWER_BYTES;
	iov[0].iov_len += NBD_ANSWER_BYTES;
	return n;
}

static int send_all(const struct nbd_queue *q, struct iovec *iov, unsigned int n)
{
	while (n > 0) {
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
		ssize_t sent = sendmsg(q->worker.source_fd, &msg, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		for (; n > 0 && (size_t)sent >= iov->iov_len; iov++, n--)
			sent -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + sent;
			iov->iov_len -= (size_t)sent;
		}
	}
	return 0;
}

/* As many answers as one call takes. */
static int send_some(struct nbd_queue *q)
{
	struct iovec iov[SEND_IOV];
	struct list sent;
	struct list *link;
	unsigned int n = 0;
	int err;

	list_init(&sent);
	while (n <= SEND_IOV - DEV_MAX_IOV && (link = list_pop(&q->answers))) {
		n += answer_iov(list_entry(link, struct dev_slot, link), iov + n);
		list_add_tail(&sent, link);
	}
	err = send_all(q, iov, n);
	while ((link = list_pop(&sent)))
		dev_slot_put(list_entry(link, struct dev_slot, link));
	return err;
}

static int flush(struct dev_worker *w)
{
	struct nbd_queue *q = queue_of(w);
	int err = 0;

	while (!err && !list_empty(&q->answers))
		err = send_some(q);
	return err;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Bytes of a slot's memory that it needs. */
static uint64_t room_for(const struct nbd_ask *a)
{
	return !a->error && (a->op == BRP_READ || a->op == BRP_WRITE) ? a->bytes : 0;
}

/* A slot with room for it, or NULL: try again when something has been answered. */
static struct dev_slot *slot_for(struct nbd_queue *q, const struct nbd_ask *a)
{
	struct dev_slot *slot = dev_slot_get(q->worker.pool);

	if (!slot)
		return NULL;
	if (!dev_slot_reserve(slot, room_for(a))) {
		dev_slot_put(slot);
		return NULL;
	}
	slot->op = a->op;
	slot->flags = a->flags;
	slot->offset = a->offset;
	slot->bytes = a->bytes;
	slot->cookie = a->cookie;
	return slot;
}

/* False: no slot. */
static bool begin(struct nbd_queue *q)
{
	struct dev_slot *slot = slot_for(q, &q->ask);

	q->is_blocked = !slot;
	if (!slot)
		return false;
	if (q->ask.error) {
		io_done(q, slot, q->ask.error);
	} else if (slot->op == BRP_WRITE) {
		q->writing = slot;
		q->received_bytes = 0;
	} else {
		dev_slot_submit(slot);
	}
	return true;
}

/* Data of a WRITE that came along with its head. True: it is complete. */
static bool continue_write(struct nbd_queue *q)
{
	struct dev_slot *slot = q->writing;
	struct iovec iov[DEV_MAX_IOV];
	unsigned int n =
		dev_slot_iov(slot, q->received_bytes, slot->bytes - q->received_bytes, iov);

	for (unsigned int i = 0; i < n; i++) {
		size_t taken = nbd_stream_take(&q->stream, iov[i].iov_base, iov[i].iov_len);

		q->received_bytes += taken;
		if (taken < iov[i].iov_len)
			return false;
	}
	q->writing = NULL;
	dev_slot_submit(slot);
	return true;
}

/* Everything that is in the stream's buffer, or until there is no slot. */
static int handle_buffered(struct nbd_queue *q)
{
	for (;;) {
		int n;

		if (q->is_blocked && !begin(q))
			return 0;
		if (q->writing && !continue_write(q))
			return 0;
		n = nbd_stream_next(&q->stream, &q->ask);
		if (n <= 0) {
			if (n < 0)
				log_error("%s: the kernel sent something that is no NBD request",
					  q->shared->name);
			return n;
		}
		if (q->ask.is_goodbye)
			return -ESHUTDOWN;
		if (!begin(q))
			return 0;
	}
}

/* Bytes received; 0: there are none now. *ret_is_dry: there were fewer than would have fitted. */
static ssize_t read_more(struct nbd_queue *q, bool *ret_is_dry)
{
	struct iovec iov[DEV_MAX_IOV + 1];
	struct msghdr msg = {.msg_iov = iov};
	uint64_t data_bytes = 0;
	ssize_t got;

	if (q->writing) {
		data_bytes = q->writing->bytes - q->received_bytes;
		msg.msg_iovlen = dev_slot_iov(q->writing, q->received_bytes, data_bytes, iov);
	}
	iov[msg.msg_iovlen++] = nbd_stream_room(&q->stream);
	*ret_is_dry = true;
	got = recvmsg(q->worker.source_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		return -ESHUTDOWN;
	*ret_is_dry = (uint64_t)got < data_bytes + iov[msg.msg_iovlen - 1].iov_len;
	if ((uint64_t)got > data_bytes)
		nbd_stream_add(&q->stream, (size_t)got - data_bytes);
	q->received_bytes += MIN((uint64_t)got, data_bytes);
	return got;
}

static bool can_receive(struct dev_worker *w)
{
	const struct nbd_queue *q = queue_of(w);

	return !q->is_blocked || dev_pool_has_room(q->worker.pool, room_for(&q->ask));
}

static int receive(struct dev_worker *w)
{
	struct nbd_queue *q = queue_of(w);
	bool is_dry = false;
	int err = handle_buffered(q); /* what was blocked */

	while (!err && !q->is_blocked && !is_dry) {
		ssize_t got = read_more(q, &is_dry);

		err = got < 0 ? (int)got : handle_buffered(q);
	}
	brp_kick(w->queue);
	return err;
}

static const struct dev_worker_ops worker_ops = {
	.can_receive = can_receive,
	.receive = receive,
	.flush = flush,
};

static void on_gone(struct dev_worker *w, int error)
{
	struct nbd_shared *s = queue_of(w)->shared;

	if (atomic_exchange(&s->is_ending, true))
		return;
	log_error("%s: the kernel ended the nbd connection: %s", s->name, strerror(-error));
	/* What it had sent to us would wait for ever. */
	if (atomic_load(&s->number) >= 0)
		nbd_netlink_disconnect(atomic_load(&s->number));
	s->gone(s->arg, error);
}

/* ---- life ------------------------------------------------------------------------------------ */

int nbd_queue_init(struct nbd_queue *q, struct nbd_shared *shared, const struct front_config *c,
		   unsigned int index, int fd)
{
	const struct dev_pool_config config = {
		.session = c->session,
		.queue = brp_session_queue(c->session, index),
		.nr_slots = c->queue_depth,
		.nr_units = NR_UNITS,
		.head_bytes = NBD_ANSWER_BYTES,
		.done = io_done,
		.arg = q,
	};

	q->shared = shared;
	list_init(&q->answers);
	q->worker = (struct dev_worker){
		.ops = &worker_ops,
		.queue = config.queue,
		.source_fd = fd,
		.gone = on_gone,
	};
	return dev_pool_create(&config, &q->worker.pool);
}
