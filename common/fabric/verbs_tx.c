/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the owner asks to be sent, until it is on the send queue (verbs_sq.c), and after it is done.
 *
 *   begun -> tx -> send queue -> free_slots		messages
 *            tx -> send queue -> push_done()		pushes, in one order with the messages
 *   late -> pulls -> send queue -> pull_done()		pulls; they wait for a buffer, then for read
 * depth over -> pull_done()				nothing to transfer
 *
 * Messages are gathered into registered slots, in-capsule data included: the caller's memory is
 * never in flight and need not be registered. All queues are intrusive, so queueing cannot fail.
 */
#include "common/fabric/verbs.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"

void *verbs_msg_begin(struct fabric_conn *base, uint32_t head_bytes)
{
	struct verbs_conn *c = to_conn(base);
	struct list *node;

	if (c->state != VERBS_OPEN || head_bytes > c->params.send_bytes)
		return NULL;
	if (c->begun)
		return c->begun->x.local;
	node = list_pop(&c->free_slots);
	if (!node) {
		c->wants_slot = true;
		return NULL;
	}
	c->begun = container_of(list_entry(node, struct fabric_xfer, link), struct verbs_slot, x);
	return c->begun->x.local;
}

int verbs_msg_commit(struct fabric_conn *base, uint32_t head_bytes, const struct iovec *data,
		     unsigned int nr_data)
{
	struct verbs_conn *c = to_conn(base);
	struct verbs_slot *slot = c->begun;
	size_t at = head_bytes;

	if (c->state != VERBS_OPEN || !slot)
		return -ENOTCONN;
	for (unsigned int i = 0; i < nr_data; i++) {
		if (data[i].iov_len > c->params.send_bytes - at)
			return -EMSGSIZE;
		memcpy((char *)slot->x.local + at, data[i].iov_base, data[i].iov_len);
		at += data[i].iov_len;
	}
	c->begun = NULL;
	slot->x.bytes = (uint32_t)at;
	list_add_tail(&c->tx, &slot->x.link);
	c->base.stats.messages_sent++;
	c->base.stats.bytes_sent += at;
	return 0;
}

int verbs_push(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct verbs_conn *c = to_conn(base);

	if (c->state != VERBS_OPEN)
		return -ENOTCONN;
	x->done_bytes = VERBS_PUSH;
	list_add_tail(&c->tx, &x->link);
	c->base.stats.bytes_sent += x->bytes;
	c->base.stats.notices_sent += x->is_notice;
	return 0;
}

int verbs_pull(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct verbs_conn *c = to_conn(base);

	if (c->state != VERBS_OPEN)
		return -ENOTCONN;
	x->done_bytes = VERBS_PULL;
	if (x->is_discard) {
		x->status = 0;
		list_add_tail(&c->over, &x->link);
	} else {
		list_add_tail(x->local ? &c->pulls : &c->late, &x->link);
	}
	return 0;
}

void verbs_pull_ready(struct fabric_conn *base, struct fabric_xfer *x)
{
	struct verbs_conn *c = to_conn(base);

	if (c->state != VERBS_OPEN) /* it is cancelled with the others */
		return;
	list_del(&x->link);
	list_add_tail(&c->pulls, &x->link);
}

static uint32_t count(const struct list *head)
{
	const struct list *node;
	uint32_t n = 0;

	list_for_each (node, head)
		n++;
	return n;
}

/* What is queued now is due; it goes out as the send queue and the read depth allow, from
 * verbs_poll() if not at once. */
void verbs_flush(struct fabric_conn *base)
{
	struct verbs_conn *c = to_conn(base);

	if (c->state != VERBS_OPEN || (list_empty(&c->tx) && list_empty(&c->pulls)))
		return;
	c->tx_due = count(&c->tx);
	c->pulls_due = count(&c->pulls);
	verbs_sq_pump(c);
}

/* An xfer or message is done. */
void verbs_tx_finish(struct verbs_conn *c, struct fabric_xfer *x, int status)
{
	switch ((enum verbs_kind)x->done_bytes) {
	case VERBS_SEND:
		list_add_head(&c->free_slots, &x->link); /* the warmest first */
		break;
	case VERBS_PUSH:
		x->status = status;
		c->base.handler->push_done(&c->base, x, status);
		break;
	case VERBS_PULL:
		x->status = status;
		if (status && c->was_left && !c->error)
			c->error = -ECONNRESET; /* it left before its own request was served */
		if (!status && !x->is_discard)
			c->base.stats.bytes_received += x->bytes;
		c->base.handler->pull_done(&c->base, x, status);
		break;
	}
}

/* Those that were over before they reached the adapter. */
int verbs_tx_finish_over(struct verbs_conn *c)
{
	struct list *node;
	int n = 0;

	while ((node = list_pop(&c->over))) {
		struct fabric_xfer *x = list_entry(node, struct fabric_xfer, link);

		verbs_tx_finish(c, x, x->status);
		n++;
	}
	return n;
}

static void cancel_list(struct verbs_conn *c, struct list *head)
{
	struct list *node;

	while ((node = list_pop(head)))
		verbs_tx_finish(c, list_entry(node, struct fabric_xfer, link), -ECANCELED);
}

/* The queue pair is gone. Callbacks cannot queue anything new. */
void verbs_tx_cancel_all(struct verbs_conn *c)
{
	verbs_tx_finish_over(c);
	cancel_list(c, &c->tx);
	cancel_list(c, &c->pulls);
	cancel_list(c, &c->late);
	c->tx_due = 0;
	c->pulls_due = 0;
}

int verbs_tx_tell_sendable(struct verbs_conn *c)
{
	if (!c->wants_slot || c->state != VERBS_OPEN || list_empty(&c->free_slots))
		return 0;
	c->wants_slot = false;
	c->base.handler->sendable(&c->base);
	return 1;
}

/* The key of a region is good for all of it and as long as it is registered; nothing is opened or
 * shut per request. */
int verbs_expose(struct fabric_conn *base, uint32_t tag, void *mem_base, uint32_t bytes,
		 struct fabric_mem *mem, unsigned int access, uint32_t *ret_key, uint64_t *ret_addr)
{
	struct verbs_conn *c = to_conn(base);

	(void)tag;
	(void)bytes;
	if (c->state != VERBS_OPEN)
		return -ENOTCONN;
	if (access & ~mem->access)
		return -EACCES;
	*ret_key = verbs_mr(c, mem)->rkey;
	*ret_addr = (uintptr_t)mem_base;
	return 0;
}

void verbs_unexpose(struct fabric_conn *base, uint32_t tag)
{
	(void)base;
	(void)tag;
}
