/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tag table after a login that granted other limits than the one before: slots beyond the
 * queue depth have no tag any more. Their requests move to free slots below it; what finds none is
 * PARKED where it is and moves when a slot below gets free. New requests get only slots with a tag.
 */
#include "initiator/internal.h"

#include <assert.h>

/* The data of the longest request that waits, in bytes. */
uint32_t ini_regrant_longest(const struct brp_queue *q)
{
	uint32_t longest = 0;

	for (uint32_t i = 0; i < q->nr_slots; i++) {
		if (q->slots[i].state != INI_SLOT_FREE)
			longest = MAX(longest, q->slots[i].bytes);
	}
	return longest;
}

static void rebuild_free_list(struct brp_queue *q)
{
	q->first_free = INI_NONE;
	for (uint32_t i = q->nr_usable; i-- > 0;) {
		if (q->slots[i].state != INI_SLOT_FREE)
			continue;
		q->slots[i].next_free = q->first_free;
		q->first_free = (uint16_t)i;
	}
}

/* The slot itself keeps its generation. */
static void move(struct brp_queue *q, uint16_t from, uint16_t to)
{
	uint16_t generation = q->slots[to].generation;

	assert(q->slots[to].state == INI_SLOT_FREE);
	q->slots[to] = q->slots[from];
	q->slots[to].generation = (uint16_t)(generation + 1);
	q->slots[to].state = INI_SLOT_GATHERED;
	q->slots[from].state = INI_SLOT_FREE;
}

void ini_regrant_tags(struct brp_queue *q)
{
	rebuild_free_list(q);
	for (uint32_t i = q->nr_usable; i < q->nr_slots; i++) {
		uint16_t to = q->first_free;

		if (q->slots[i].state == INI_SLOT_FREE)
			continue;
		if (to == INI_NONE) {
			q->slots[i].state = INI_SLOT_PARKED;
			q->nr_parked++;
			continue;
		}
		q->first_free = q->slots[to].next_free;
		move(q, (uint16_t)i, to);
	}
}

void ini_regrant_unpark(struct brp_queue *q, uint16_t to)
{
	uint32_t oldest = q->nr_slots;

	for (uint32_t i = q->nr_usable; i < q->nr_slots; i++) {
		if (q->slots[i].state == INI_SLOT_PARKED &&
		    (oldest == q->nr_slots || q->slots[i].seq < q->slots[oldest].seq))
			oldest = i;
	}
	assert(oldest < q->nr_slots);
	move(q, (uint16_t)oldest, to);
	q->nr_parked--;
}
