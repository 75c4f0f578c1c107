/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tag table of a queue: requests in, completions out, each exactly once. Nothing here allocates
 * after ini_queue_open().
 *
 *	brp_submit ──▶ slot GATHERED ──merge.c──▶ SENT ──RESPONSE or notice──▶ FREE, done()
 *	                     ▲ └──────────────────┘ │
 *	                     └── connection lost ───┘
 *	               session failed: every slot ──▶ FREE, done(error)
 *
 * A login after a loss may grant fewer tags than there are requests: what has no tag is PARKED
 *until a slot gets free (regrant.c).
 *
 * done() may submit again: a slot is free and all figures are right before it is called. It is
 * called only from fabric_poll()'s callbacks, so brp_submit() never calls it and nothing recurses.
 */
#include "initiator/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>

#include "brp/status.h"

/* ---- life ------------------------------------------------------------------------------------ */

int ini_queue_create(struct brp_session *s, unsigned int index, struct brp_queue **ret_queue)
{
	struct brp_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->session = s;
	q->index = index;
	q->timer_fd = -1;
	q->data_fd = -1;
	q->rare_fd = -1;
	q->timer_ns = INI_FOREVER;
	q->closed_error = -ENOTCONN;
	list_init(&q->splitting);
	list_init(&q->free_parents);
	q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (q->epoll_fd < 0) {
		int err = -errno;

		free(q);
		return err;
	}
	*ret_queue = q;
	return 0;
}

void ini_queue_destroy(struct brp_queue *q)
{
	if (!q)
		return;
	ini_conn_destroy(q->conn);
	ini_merge_close(q);
	free(q->slots);
	free(q->parents);
	if (q->timer_fd >= 0)
		close(q->timer_fd);
	close(q->epoll_fd);
	free(q);
}

static void set_limits(struct brp_queue *q, const struct brp_login_reply *m)
{
	uint32_t flags = m->volume_flags;

	if (q->session->opt.read_only)
		flags |= BRP_VOL_READ_ONLY;
	q->limits = (struct brp_limits){
		.epoch = (uint32_t)m->epoch,
		.queue_depth = m->queue_depth,
		.max_requests = m->max_requests,
		.block_bytes = m->block_bytes,
		/* Both are multiples of the block size, which is a power of two up to 64 KiB. */
		.max_transfer_bytes = MIN(m->max_transfer_bytes, q->params.max_data_bytes),
		.in_capsule_bytes = m->in_capsule_bytes,
		.size_blocks = m->size_blocks,
		.volume_flags = flags,
		.has_read_data = q->conn->hello.features & BRP_FEATURE_READ_DATA,
	};
	q->keepalive_ns = m->keepalive_ms * NS_PER_MS;
	q->next_tick_ns = 0;
	q->silent_ticks = 0;
	q->login = *m;
	q->dirt.is_tracked |= m->cache == BRP_CACHE_WRITE_BACK;
}

int ini_queue_open(struct brp_queue *q, const struct brp_login_reply *m)
{
	set_limits(q, m);
	q->block_shift = (unsigned int)__builtin_ctz(m->block_bytes);
	q->nr_slots = m->queue_depth;
	q->nr_usable = q->nr_slots;
	q->slots = calloc(q->nr_slots, sizeof(*q->slots));
	q->parents = calloc(q->nr_slots, sizeof(*q->parents));
	if (!q->slots || !q->parents)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->nr_slots; i++) {
		q->slots[i].next_free = i + 1 < q->nr_slots ? (uint16_t)(i + 1) : INI_NONE;
		list_add_tail(&q->free_parents, &q->parents[i].link);
	}
	q->first_free = 0;
	return ini_merge_open(q, q->conn->hello.max_message_bytes);
}

unsigned int ini_queue_requeue(struct brp_queue *q)
{
	unsigned int nr_sent = q->on_wire;

	for (uint32_t i = 0; i < q->nr_slots; i++) {
		struct ini_slot *slot = &q->slots[i];

		if (slot->state == INI_SLOT_FREE)
			continue;
		/* The fabric forgot the old connection's memory; a late answer to the old tag would
		 * be one of another epoch, and of another generation as well. */
		slot->is_exposed = false;
		slot->generation += slot->state == INI_SLOT_SENT;
		slot->state = INI_SLOT_GATHERED;
	}
	q->on_wire = 0;
	q->fresh = 0;
	q->nr_parked = 0;
	ini_merge_refill(q);
	return nr_sent;
}

int ini_queue_reopen(struct brp_queue *q, const struct brp_login_reply *m)
{
	set_limits(q, m);
	q->nr_usable = MIN(m->queue_depth, q->nr_slots);
	if (ini_regrant_longest(q) > q->limits.max_transfer_bytes)
		return -EMSGSIZE;
	ini_regrant_tags(q);
	ini_merge_resize(q, q->conn->hello.max_message_bytes);
	ini_merge_refill(q);
	return 0;
}

/* ---- completion ------------------------------------------------------------------------------ */

static void slot_free(struct brp_queue *q, struct ini_slot *slot, uint16_t index)
{
	slot->state = INI_SLOT_FREE;
	slot->next_free = q->first_free;
	q->first_free = index;
}

static void count_completion(struct brp_queue *q, const struct ini_slot *slot, int result)
{
	ini_count(&q->stats.completions, 1);
	if (unlikely(result < 0))
		ini_count(&q->stats.errors, 1);
	else if (slot->op == BRP_OP_READ)
		ini_count(&q->stats.bytes_read, slot->bytes);
	else if (slot->op == BRP_OP_WRITE)
		ini_count(&q->stats.bytes_written, slot->bytes);
}

static void call_done(struct brp_queue *q, void (*done)(void *arg, int result), void *arg,
		      int result)
{
	q->in_flight--;
	q->nr_called++;
	done(arg, result);
}

static void send_parts(struct brp_queue *q);

/* A slot that was free: what waits for a tag goes before what the user submits next. */
static void unpark(struct brp_queue *q)
{
	uint16_t index = q->first_free;

	q->first_free = q->slots[index].next_free;
	ini_regrant_unpark(q, index);
	ini_merge_add(q, index, false);
}

static void parent_part_done(struct ini_parent *p, int result)
{
	p->nr_parts--;
	if (result < 0 && p->result == 0)
		p->result = result;
	if (p->result < 0) {
		p->done_bytes = p->io.bytes; /* no further parts */
		list_del(&p->link);
	}
}

static void parent_finish(struct brp_queue *q, struct ini_parent *p)
{
	const struct brp_io io = p->io;
	int result = p->result;

	assert(p->done_bytes == io.bytes);
	list_add_head(&q->free_parents, &p->link);
	call_done(q, io.done, io.arg, result);
}

static void complete(struct brp_queue *q, uint16_t index, int result)
{
	struct ini_slot *slot = &q->slots[index];
	struct ini_parent *parent = slot->is_part ? slot->parent : NULL;
	void (*done)(void *arg, int result) = slot->done; /* not of a part */
	void *arg = slot->arg;

	if (slot->state == INI_SLOT_SENT)
		q->on_wire--;
	if (slot->is_exposed) {
		slot->is_exposed = false;
		fabric_unexpose(q->conn->fabric, brp_tag(slot->generation, index));
	}
	count_completion(q, slot, result);
	slot_free(q, slot, index);
	if (unlikely(q->nr_parked > 0))
		unpark(q);
	if (unlikely(parent != NULL))
		parent_part_done(parent, result);
	/* A slot got free: I/O being split goes before what the user submits next. */
	if (unlikely(!list_empty(&q->splitting)))
		send_parts(q);
	if (likely(!parent))
		call_done(q, done, arg, result);
	else if (parent->nr_parts == 0)
		parent_finish(q, parent);
}

static struct ini_slot *find_sent(struct brp_queue *q, uint32_t tag)
{
	uint16_t index = brp_tag_index(tag);
	struct ini_slot *slot;

	if (index >= q->nr_slots)
		return NULL;
	slot = &q->slots[index];
	if (slot->state != INI_SLOT_SENT || brp_tag(slot->generation, index) != tag)
		return NULL;
	return slot;
}

/* False: the connection is no good any more. msg: the RESPONSE with the data of READs. */
static bool answered(struct brp_queue *q, const struct brp_completion *completion, const char *msg)
{
	const struct ini_slot *slot = find_sent(q, completion->tag);

	if (unlikely(!slot)) {
		ini_conn_protocol_error(q->conn, "completion of a tag not in flight");
		return false;
	}
	if (completion->data_bytes > 0) {
		if (unlikely(slot->op != BRP_OP_READ || slot->bytes != completion->data_bytes)) {
			ini_conn_protocol_error(q->conn, "data that no READ asked for");
			return false;
		}
		memcpy(slot->buf, msg + completion->data_offset, slot->bytes);
	}
	if (q->dirt.is_tracked && completion->status == BRP_ST_OK &&
	    unlikely(!ini_stable_answered(q, slot))) {
		ini_conn_close(
			q->conn,
			ini_error_set(&q->conn->why, -ECONNRESET, "the target has restarted since"),
			true);
		return false;
	}
	complete(q, brp_tag_index(completion->tag), brp_status_to_errno(completion->status));
	return true;
}

void ini_queue_response(struct brp_queue *q, const void *buf, uint32_t bytes)
{
	struct brp_completion completions[BRP_MAX_RESPONSES];
	int n = brp_decode_response(buf, bytes, &q->limits, completions);

	if (n < 0) {
		ini_conn_protocol_error(q->conn, "malformed RESPONSE");
		return;
	}
	ini_count(&q->stats.responses, 1);
	for (int i = 0; i < n; i++) {
		if (unlikely(!answered(q, &completions[i], buf)))
			return;
	}
}

void ini_queue_notice(struct brp_queue *q, uint32_t tag)
{
	const struct ini_slot *slot = find_sent(q, tag);

	if (unlikely(!slot || slot->op != BRP_OP_READ)) {
		ini_conn_protocol_error(q->conn, "notice for a tag that is no READ in flight");
		return;
	}
	ini_count(&q->stats.responses, 1);
	complete(q, brp_tag_index(tag), 0);
}

void ini_queue_fail_all(struct brp_queue *q, int err)
{
	if (!q->slots)
		return;
	ini_merge_clear(q);
	q->nr_parked = 0;
	while (!list_empty(&q->splitting)) {
		struct ini_parent *p = list_entry(list_pop(&q->splitting), struct ini_parent, link);

		p->result = p->result ? p->result : err;
		p->done_bytes = p->io.bytes;
	}
	for (uint32_t i = 0; i < q->nr_slots; i++) {
		if (q->slots[i].state == INI_SLOT_FREE)
			continue;
		q->slots[i].is_exposed = false; /* the fabric forgot it with the connection */
		complete(q, (uint16_t)i, err);
	}
	assert(q->in_flight == 0 && q->on_wire == 0);
}

/* ---- submission ------------------------------------------------------------------------------ */

static void issue(struct brp_queue *q, const struct brp_io *io, uint64_t offset, uint64_t bytes,
		  struct ini_parent *parent)
{
	uint16_t index = q->first_free;
	struct ini_slot *slot = &q->slots[index];
	bool has_data = io->op == BRP_READ || io->op == BRP_WRITE;

	q->first_free = slot->next_free;
	slot->buf = has_data ? (char *)io->buf + (offset - io->offset) : NULL;
	slot->mem = has_data ? io->mem->fabric : NULL;
	slot->is_part = parent != NULL;
	if (unlikely(parent != NULL)) {
		slot->parent = parent;
	} else {
		slot->done = io->done;
		slot->arg = io->arg;
	}
	slot->seq = q->next_seq++;
	slot->lba = offset >> q->block_shift;
	slot->blocks = (uint32_t)(bytes >> q->block_shift);
	slot->bytes = has_data ? (uint32_t)bytes : 0;
	slot->generation++;
	slot->op = (uint8_t)io->op;
	slot->flags = io->flags & BRP_FUA && q->limits.volume_flags & BRP_VOL_FUA ? BRP_REQ_FUA : 0;
	slot->state = INI_SLOT_GATHERED;
	ini_merge_add(q, index, io->flags & BRP_MORE);
}

/* Longest part of an operation: the data limit, or what 32 bits of blocks can tell
 * (protocol.md 5.1). */
static uint64_t max_part_bytes(const struct brp_queue *q, enum brp_io_op op)
{
	if (op == BRP_READ || op == BRP_WRITE)
		return q->limits.max_transfer_bytes;
	return (uint64_t)UINT32_MAX << q->block_shift;
}

/* Parts of the one request that is being split (brp_submit() takes no other meanwhile), as many as
 * there are slots. */
static void send_parts(struct brp_queue *q)
{
	struct ini_parent *p = list_entry(q->splitting.next, struct ini_parent, link);
	uint64_t max = max_part_bytes(q, p->io.op);

	while (p->done_bytes < p->io.bytes && q->first_free != INI_NONE) {
		uint64_t offset = p->io.offset + p->done_bytes;
		uint64_t bytes = MIN(max, p->io.bytes - p->done_bytes);

		p->done_bytes += bytes;
		p->nr_parts++;
		issue(q, &p->io, offset, bytes, p);
	}
	if (p->done_bytes == p->io.bytes)
		list_del(&p->link);
}

static void submit_split(struct brp_queue *q, const struct brp_io *io)
{
	/* As many parents as slots, and each has a part in flight: there is one. */
	struct ini_parent *p = list_entry(list_pop(&q->free_parents), struct ini_parent, link);

	p->io = *io;
	p->done_bytes = 0;
	p->nr_parts = 0;
	p->result = 0;
	list_add_tail(&q->splitting, &p->link);
	send_parts(q);
}

static int check_range(const struct brp_queue *q, const struct brp_io *io)
{
	uint64_t size = atomic_load_explicit(&q->session->size_blocks, memory_order_relaxed)
			<< q->block_shift;

	if (io->bytes == 0 || (io->bytes | io->offset) & (q->limits.block_bytes - 1))
		return -EINVAL;
	return io->offset > size || io->bytes > size - io->offset ? -ERANGE : 0;
}

static int check_buffer(const struct brp_io *io)
{
	if (!io->mem || io->bytes > SIZE_MAX)
		return -EINVAL;
	return fabric_mem_contains(io->mem->fabric, io->buf, io->bytes) ? 0 : -EINVAL;
}

static int check_flags(const struct brp_queue *q, const struct brp_io *io)
{
	if (io->flags & ~(BRP_FUA | BRP_MORE))
		return -EINVAL;
	if (!(io->flags & BRP_FUA))
		return 0;
	if (io->op != BRP_WRITE && io->op != BRP_WRITE_ZEROES)
		return -EINVAL;
	/* On a write-through volume every write is stable when answered; FUA asks for nothing more.
	 */
	if (!(q->limits.volume_flags & BRP_VOL_FUA) && q->login.cache == BRP_CACHE_WRITE_BACK)
		return -EOPNOTSUPP;
	return 0;
}

static int check_writable(const struct brp_queue *q, uint32_t needed_flag)
{
	if (q->limits.volume_flags & BRP_VOL_READ_ONLY)
		return -EROFS;
	return (q->limits.volume_flags & needed_flag) == needed_flag ? 0 : -EOPNOTSUPP;
}

static int check_op(const struct brp_queue *q, const struct brp_io *io)
{
	int r = 0;

	switch (io->op) {
	case BRP_FLUSH:
		return io->bytes == 0 && io->offset == 0 ? 0 : -EINVAL;
	case BRP_READ:
		break;
	case BRP_WRITE:
		r = check_writable(q, 0);
		break;
	case BRP_WRITE_ZEROES:
		r = check_writable(q, BRP_VOL_WRITE_ZEROES);
		break;
	case BRP_DISCARD:
		r = check_writable(q, BRP_VOL_DISCARD);
		break;
	default:
		return -EINVAL;
	}
	if (r == 0)
		r = check_range(q, io);
	if (r == 0 && (io->op == BRP_READ || io->op == BRP_WRITE))
		r = check_buffer(io);
	return r;
}

int brp_submit(struct brp_queue *q, const struct brp_io *io)
{
	int r;

	if (unlikely(!q->is_open))
		return q->closed_error;
	if (unlikely(!io->done))
		return -EINVAL;
	r = check_flags(q, io);
	if (r == 0)
		r = check_op(q, io);
	if (unlikely(r < 0))
		return r;
	if (q->first_free == INI_NONE || unlikely(!list_empty(&q->splitting)))
		return -EAGAIN;
	q->in_flight++;
	if (likely(io->bytes <= max_part_bytes(q, io->op)))
		issue(q, io, io->offset, io->bytes, NULL);
	else
		submit_split(q, io);
	return 0;
}

unsigned int brp_queue_in_flight(const struct brp_queue *q)
{
	return q->in_flight;
}
