/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/answer.h"

#include <string.h>

#include "target/request_state.h"

/* Data that is copied into the message rather than pushed: a copy of it takes less than a work
 * request here and a receive there, and a message holds several. Measured: docs/results/path.md. */
#define MAX_COPY_BYTES 1024u

/* Of those in the list: a READ that succeeded. Its data is to go into the message. */
static bool has_data(const struct request *r)
{
	return r->wire.op == BRP_OP_READ && r->status == BRP_ST_OK;
}

/* Both at once, no completion needed. */
static void push(struct request *r)
{
	r->xfer.bytes = r->data_bytes;
	r->xfer.key = r->wire.key;
	r->xfer.addr = r->wire.addr;
	r->xfer.is_notice = true;
	r->xfer.notice = r->wire.tag;
	r->xfer.is_discard = false;
	request_set_state(r, REQUEST_PUSH);
	request_untag(r);
	if (fabric_push(r->conn->fc, &r->xfer)) /* closed meanwhile: nobody waits for the answer */
		request_release(r);
}

static void queue(struct request *r)
{
	request_set_state(r, REQUEST_ANSWER);
	list_add_tail(&r->conn->requests.answers, &r->link);
}

void answer_status(struct request *r, enum brp_status_code status)
{
	if (r->large) /* the answer may have to wait for a peer that does not read */
		request_put_large(r);
	r->status = status;
	queue(r);
}

void answer_data(struct request *r, void *data, struct fabric_mem *mem)
{
	r->xfer.local = data;
	r->xfer.mem = mem;
	if (r->conn->limits.has_read_data && r->data_bytes <= MAX_COPY_BYTES)
		queue(r);
	else
		push(r);
}

/* ---- RESPONSEs ------------------------------------------------------------------------------- */

struct batch {
	unsigned int count;  /* answers, from the head of the list */
	uint32_t data_bytes; /* of the READs among them */
};

static uint32_t batch_bytes(const struct batch *b)
{
	return BRP_HEADER_BYTES + b->count * BRP_COMPLETION_BYTES + b->data_bytes;
}

/* As many as one message holds. */
static struct batch next_batch(struct request_table *t)
{
	struct batch b = {0};
	struct list *pos;

	list_for_each (pos, &t->answers) {
		struct request *r = list_entry(pos, struct request, link);
		uint32_t more = BRP_COMPLETION_BYTES + (has_data(r) ? r->data_bytes : 0);

		if (b.count == BRP_MAX_RESPONSES ||
		    more > BRP_MAX_INITIATOR_MSG_BYTES - batch_bytes(&b))
			break;
		b.count++;
		b.data_bytes += more - BRP_COMPLETION_BYTES;
	}
	return b;
}

/* Answer i of the message. The data of a READ goes to *offset, which moves on. */
static void tell(struct request *r, char *msg, unsigned int i, uint32_t *offset)
{
	struct brp_completion done = {.tag = r->wire.tag, .status = r->status};

	if (has_data(r)) {
		done.data_bytes = r->data_bytes;
		done.data_offset = *offset;
		memcpy(msg + *offset, r->xfer.local, r->data_bytes);
		*offset += r->data_bytes;
	}
	brp_encode_completion(msg + BRP_HEADER_BYTES + i * BRP_COMPLETION_BYTES, &done);
	request_untag(r);
	request_release(r);
}

static void send_batch(struct conn *c, const struct batch *b, char *msg)
{
	uint32_t offset = BRP_HEADER_BYTES + b->count * BRP_COMPLETION_BYTES;

	for (unsigned int i = 0; i < b->count; i++) {
		struct list *node = list_pop(&c->requests.answers);

		tell(list_entry(node, struct request, link), msg, i, &offset);
	}
	brp_encode_response_header(msg, c->limits.epoch, (uint16_t)b->count, b->data_bytes);
	fabric_msg_commit(c->fc, batch_bytes(b), NULL, 0);
}

/* Without a send slot; a notice needs none. What has no data waits for the next pass. */
static void push_all(struct request_table *t)
{
	struct list *pos = t->answers.next;

	while (pos != &t->answers) {
		struct request *r = list_entry(pos, struct request, link);

		pos = pos->next;
		if (!has_data(r))
			continue;
		list_del(&r->link);
		push(r);
	}
}

/* A READ that is alone is pushed: no copy, no message. */
static bool push_single(struct request_table *t, const struct batch *b)
{
	struct request *r = list_entry(t->answers.next, struct request, link);

	if (b->count > 1 || !has_data(r))
		return false;
	list_del(&r->link);
	push(r);
	return true;
}

void answers_send(struct conn *c)
{
	struct request_table *t = &c->requests;

	while (!list_empty(&t->answers)) {
		struct batch b = next_batch(t);
		char *msg;

		if (push_single(t, &b))
			continue;
		msg = fabric_msg_begin(c->fc, batch_bytes(&b));
		if (!msg) {
			push_all(t);
			return;
		}
		send_batch(c, &b, msg);
	}
}
