/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/log.h"
#include "common/util.h"

#define PAGE_BYTES 4096u

struct dev_pool {
	/* constant */
	struct dev_pool_config config;
	struct brp_mem *mem;
	char *memory; /* slots' buffers, then the units */
	size_t memory_bytes;
	char *units;
	struct dev_slot *slots;

	struct list free;
	struct list waiting; /* libbrp's queue is full; the first may be given in part */
	unsigned int nr_in_flight;
	unsigned int nr_free_units;
	uint16_t *free_units; /* a stack */
};

/* ---- life ------------------------------------------------------------------------------------ */

static size_t slot_stride(const struct dev_pool_config *c)
{
	return DEV_SMALL_BYTES + align_up(c->head_bytes, PAGE_BYTES);
}

static int map_memory(struct dev_pool *p)
{
	const struct dev_pool_config *c = &p->config;
	size_t small_bytes = slot_stride(c) * c->nr_slots;
	void *base;
	int err;

	p->memory_bytes = small_bytes + (size_t)DEV_UNIT_BYTES * c->nr_units;
	base = mmap(NULL, p->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	if (base == MAP_FAILED)
		return -errno;
	p->memory = base;
	p->units = p->memory + small_bytes;
	err = brp_mem_register(c->session, base, p->memory_bytes, &p->mem);
	if (err)
		log_error("cannot register %zu KiB for I/O: %s", p->memory_bytes / 1024,
			  brp_last_error());
	return err;
}

static void init_tables(struct dev_pool *p)
{
	const struct dev_pool_config *c = &p->config;
	size_t stride = slot_stride(c);

	for (unsigned int i = 0; i < c->nr_slots; i++) {
		struct dev_slot *slot = &p->slots[i];

		slot->pool = p;
		slot->data = p->memory + i * stride + (stride - DEV_SMALL_BYTES);
		list_add_tail(&p->free, &slot->link);
	}
	for (unsigned int i = 0; i < c->nr_units; i++)
		p->free_units[i] = (uint16_t)i;
	p->nr_free_units = c->nr_units;
}

int dev_pool_create(const struct dev_pool_config *c, struct dev_pool **ret_pool)
{
	struct dev_pool *p = calloc(1, sizeof(*p));
	int err = -ENOMEM;

	assert(c->head_bytes <= PAGE_BYTES && c->nr_units <= UINT16_MAX);
	if (!p)
		return err;
	p->config = *c;
	list_init(&p->free);
	list_init(&p->waiting);
	p->slots = calloc(c->nr_slots, sizeof(*p->slots));
	p->free_units = calloc(c->nr_units + 1, sizeof(*p->free_units));
	if (p->slots && p->free_units)
		err = map_memory(p);
	if (err) {
		dev_pool_destroy(p);
		return err;
	}
	init_tables(p);
	*ret_pool = p;
	return 0;
}

static void forget(void *arg, struct dev_slot *slot, int result)
{
	(void)arg;
	(void)slot;
	(void)result;
}

void dev_pool_destroy(struct dev_pool *p)
{
	if (!p)
		return;
	if (p->nr_in_flight > 0) {
		p->config.done = forget;
		return;
	}
	brp_mem_unregister(p->mem);
	if (p->memory)
		munmap(p->memory, p->memory_bytes);
	free(p->slots);
	free(p->free_units);
	free(p);
}

/* ---- slots and units ------------------------------------------------------------------------- */

struct dev_slot *dev_slot_get(struct dev_pool *p)
{
	struct list *link = list_pop(&p->free);

	return link ? list_entry(link, struct dev_slot, link) : NULL;
}

void dev_slot_put(struct dev_slot *slot)
{
	dev_slot_trim(slot, 0);
	/* The one used last is the one that is in the caches. */
	list_add_head(&slot->pool->free, &slot->link);
}

static unsigned int units_for(uint64_t bytes)
{
	if (bytes <= DEV_SMALL_BYTES)
		return 0;
	return (unsigned int)((bytes - DEV_SMALL_BYTES + DEV_UNIT_BYTES - 1) / DEV_UNIT_BYTES);
}

bool dev_slot_reserve(struct dev_slot *slot, uint64_t bytes)
{
	struct dev_pool *p = slot->pool;
	unsigned int wanted;

	if (bytes > DEV_SMALL_BYTES + (uint64_t)DEV_MAX_UNITS * DEV_UNIT_BYTES)
		return false;
	wanted = units_for(bytes);
	if (wanted > slot->nr_units + p->nr_free_units)
		return false;
	while (slot->nr_units < wanted)
		slot->units[slot->nr_units++] = p->free_units[--p->nr_free_units];
	return true;
}

void dev_slot_trim(struct dev_slot *slot, uint64_t bytes)
{
	struct dev_pool *p = slot->pool;
	unsigned int needed = units_for(bytes);

	while (slot->nr_units > needed)
		p->free_units[p->nr_free_units++] = slot->units[--slot->nr_units];
}

/* The piece that data byte `from` is in; *ret_bytes up to its end. */
static char *piece(const struct dev_slot *slot, uint64_t from, uint64_t *ret_bytes)
{
	uint64_t in_units, unit;

	if (from < DEV_SMALL_BYTES) {
		*ret_bytes = DEV_SMALL_BYTES - from;
		return slot->data + from;
	}
	in_units = from - DEV_SMALL_BYTES;
	unit = in_units / DEV_UNIT_BYTES;
	assert(unit < slot->nr_units);
	*ret_bytes = DEV_UNIT_BYTES - in_units % DEV_UNIT_BYTES;
	return slot->pool->units + (size_t)slot->units[unit] * DEV_UNIT_BYTES +
	       in_units % DEV_UNIT_BYTES;
}

unsigned int dev_slot_iov(const struct dev_slot *slot, uint64_t from, uint64_t bytes,
			  struct iovec *iov)
{
	unsigned int n = 0;

	while (bytes > 0) {
		uint64_t room;

		iov[n].iov_base = piece(slot, from, &room);
		iov[n].iov_len = MIN(room, bytes);
		from += iov[n].iov_len;
		bytes -= iov[n].iov_len;
		n++;
	}
	return n;
}

bool dev_pool_has_room(const struct dev_pool *p, uint64_t bytes)
{
	return !list_empty(&p->free) && units_for(bytes) <= p->nr_free_units;
}

unsigned int dev_pool_in_flight(const struct dev_pool *p)
{
	return p->nr_in_flight;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void part_done(void *arg, int result);

static void finish(struct dev_slot *slot)
{
	struct dev_pool *p = slot->pool;

	p->nr_in_flight--;
	p->config.done(p->config.arg, slot, slot->result);
}

/* One more part. -EAGAIN: not now. */
static int give_part(struct dev_slot *slot)
{
	struct dev_pool *p = slot->pool;
	struct brp_io io = {
		.op = slot->op,
		.flags = slot->flags,
		.offset = slot->op == BRP_FLUSH ? 0 : slot->offset + slot->given_bytes,
		.bytes = slot->bytes - slot->given_bytes,
		.done = part_done,
		.arg = slot,
	};
	int err;

	if (slot->op == BRP_READ || slot->op == BRP_WRITE) {
		uint64_t room;

		io.buf = piece(slot, slot->given_bytes, &room);
		io.mem = p->mem;
		io.bytes = MIN(room, io.bytes);
	}
	err = brp_submit(p->config.queue, &io);
	if (!err) {
		slot->nr_parts++;
		slot->given_bytes += io.bytes;
		slot->is_given = slot->given_bytes == slot->bytes;
	}
	return err;
}

/* False: libbrp's queue is full, go on when something has completed. */
static bool give(struct dev_slot *slot)
{
	while (!slot->is_given) {
		int err = give_part(slot);

		if (err == -EAGAIN)
			return false;
		if (err) {
			slot->result = slot->result ? slot->result : err;
			slot->is_given = true;
		}
	}
	if (slot->nr_parts == 0)
		finish(slot);
	return true;
}

static void give_waiting(struct dev_pool *p)
{
	while (!list_empty(&p->waiting)) {
		struct dev_slot *slot = list_entry(p->waiting.next, struct dev_slot, link);

		/* Off the list first: finish() hands the slot on. */
		list_del(&slot->link);
		if (!give(slot)) {
			list_add_head(&p->waiting, &slot->link);
			return;
		}
	}
}

static void part_done(void *arg, int result)
{
	struct dev_slot *slot = arg;
	struct dev_pool *p = slot->pool;

	slot->nr_parts--;
	if (result < 0 && slot->result == 0) {
		slot->result = result;
		/* What was not given yet is not worth it any more. */
		if (!slot->is_given) {
			slot->is_given = true;
			list_del(&slot->link);
		}
	}
	if (slot->is_given && slot->nr_parts == 0)
		finish(slot);
	give_waiting(p);
}

void dev_slot_submit(struct dev_slot *slot)
{
	struct dev_pool *p = slot->pool;

	slot->given_bytes = 0;
	slot->nr_parts = 0;
	slot->result = 0;
	slot->is_given = false;
	p->nr_in_flight++;
	if (!list_empty(&p->waiting) || !give(slot))
		list_add_tail(&p->waiting, &slot->link);
}
