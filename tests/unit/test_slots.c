/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots of front ends: pieces, units, a full queue, errors in the middle. libbrp is played here. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "initiator/dev/slots.h"

/* ---- libbrp ---------------------------------------------------------------------------------- */

#define MAX_IO 64

static struct brp_io ios[MAX_IO];
static unsigned int nr_ios;
static unsigned int room = MAX_IO; /* requests the queue still takes */
static int refuse_with;
static unsigned int nr_registered;

int brp_submit(struct brp_queue *q, const struct brp_io *io)
{
	(void)q;
	if (refuse_with)
		return refuse_with;
	if (room == 0)
		return -EAGAIN;
	room--;
	cr_assert(nr_ios < MAX_IO);
	ios[nr_ios++] = *io;
	return 0;
}

int brp_mem_register(struct brp_session *s, void *base, size_t bytes, struct brp_mem **ret_mem)
{
	(void)s;
	(void)bytes;
	nr_registered++;
	*ret_mem = base;
	return 0;
}

void brp_mem_unregister(struct brp_mem *mem)
{
	nr_registered -= mem != NULL;
}

const char *brp_last_error(void)
{
	return "";
}

static void complete(unsigned int i, int result)
{
	room++;
	ios[i].done(ios[i].arg, result);
}

/* ---- rig ------------------------------------------------------------------------------------- */

static struct dev_pool *pool;
static unsigned int nr_done;
static int last_result;

static void on_done(void *arg, struct dev_slot *slot, int result)
{
	(void)arg;
	nr_done++;
	last_result = result;
	dev_slot_put(slot);
}

static void up(void)
{
	const struct dev_pool_config c = {
		.nr_slots = 4,
		.nr_units = 3,
		.head_bytes = 80,
		.done = on_done,
	};

	cr_assert_eq(dev_pool_create(&c, &pool), 0);
}

static void down(void)
{
	dev_pool_destroy(pool);
	cr_assert_eq(nr_registered, 0);
}

TestSuite(slots, .init = up, .fini = down);

static struct dev_slot *get(enum brp_io_op op, uint64_t offset, uint64_t bytes)
{
	struct dev_slot *slot = dev_slot_get(pool);

	cr_assert_not_null(slot);
	slot->op = op;
	slot->flags = 0;
	slot->offset = offset;
	slot->bytes = bytes;
	return slot;
}

/* Units that are free. */
static unsigned int nr_units(void)
{
	unsigned int n = 0;

	while (dev_pool_has_room(pool, DEV_SMALL_BYTES + (n + 1ull) * DEV_UNIT_BYTES))
		n++;
	return n;
}

#define LONG_BYTES (DEV_SMALL_BYTES + DEV_UNIT_BYTES + 4096ull)

/* ---- tests ----------------------------------------------------------------------------------- */

Test(slots, there_are_as_many_as_asked_for)
{
	struct dev_slot *taken[4];

	for (int i = 0; i < 4; i++)
		taken[i] = dev_slot_get(pool);
	cr_assert_null(dev_slot_get(pool));
	cr_assert_not(dev_pool_has_room(pool, 0));
	for (int i = 0; i < 4; i++) {
		cr_assert_eq((uintptr_t)taken[i]->data % 4096, 0);
		memset(taken[i]->data - 80, i, 80 + DEV_SMALL_BYTES);
	}
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(taken[i]->data[-80], i, "slots overlap");
		cr_assert_eq(taken[i]->data[DEV_SMALL_BYTES - 1], i, "slots overlap");
		dev_slot_put(taken[i]);
	}
	cr_assert(dev_pool_has_room(pool, 0));
}

Test(slots, a_small_one_is_one_request)
{
	struct dev_slot *slot = get(BRP_WRITE, 4096, 512);

	slot->flags = BRP_FUA;
	dev_slot_submit(slot);
	cr_assert_eq(nr_ios, 1);
	cr_assert_eq(ios[0].buf, slot->data);
	cr_assert_eq(ios[0].offset, 4096);
	cr_assert_eq(ios[0].bytes, 512);
	cr_assert_eq(ios[0].flags, BRP_FUA);
	cr_assert_eq(dev_pool_in_flight(pool), 1);
	complete(0, 0);
	cr_assert_eq(nr_done, 1);
	cr_assert_eq(last_result, 0);
	cr_assert_eq(dev_pool_in_flight(pool), 0);
}

Test(slots, what_has_no_data_is_one_request_however_long)
{
	dev_slot_submit(get(BRP_FLUSH, 0, 0));
	dev_slot_submit(get(BRP_DISCARD, 4096, 1ull << 40));
	cr_assert_eq(nr_ios, 2);
	cr_assert_eq(ios[0].op, BRP_FLUSH);
	cr_assert_eq(ios[0].bytes, 0);
	cr_assert_eq(ios[1].bytes, 1ull << 40);
	complete(0, 0);
	complete(1, 0);
	cr_assert_eq(nr_done, 2);
}

Test(slots, a_long_one_is_done_when_all_its_pieces_are)
{
	struct dev_slot *slot = get(BRP_READ, 1 << 20, LONG_BYTES);
	struct iovec iov[DEV_MAX_IOV];

	cr_assert(dev_slot_reserve(slot, LONG_BYTES));
	cr_assert_eq(nr_units(), 1);
	cr_assert_eq(dev_slot_iov(slot, 0, LONG_BYTES, iov), 3);
	dev_slot_submit(slot);
	cr_assert_eq(nr_ios, 3);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert_eq(ios[i].buf, iov[i].iov_base);
		cr_assert_eq(ios[i].bytes, iov[i].iov_len);
	}
	cr_assert_eq(ios[2].offset, (1 << 20) + DEV_SMALL_BYTES + DEV_UNIT_BYTES);
	cr_assert_eq(ios[2].bytes, 4096);
	complete(1, 0);
	complete(0, 0);
	cr_assert_eq(nr_done, 0);
	complete(2, 0);
	cr_assert_eq(nr_done, 1);
	cr_assert_eq(nr_units(), 3);
}

Test(slots, iov_of_a_part)
{
	struct dev_slot *slot = get(BRP_READ, 0, LONG_BYTES);
	struct iovec iov[DEV_MAX_IOV];

	cr_assert(dev_slot_reserve(slot, LONG_BYTES));
	cr_assert_eq(dev_slot_iov(slot, 100, 200, iov), 1);
	cr_assert_eq(iov[0].iov_base, slot->data + 100);
	cr_assert_eq(iov[0].iov_len, 200);
	cr_assert_eq(dev_slot_iov(slot, DEV_SMALL_BYTES - 1, 2, iov), 2);
	cr_assert_eq(iov[0].iov_len, 1);
	cr_assert_eq(iov[1].iov_len, 1);
	cr_assert_eq(dev_slot_iov(slot, 0, 0, iov), 0);
	dev_slot_put(slot);
}

Test(slots, units_run_out)
{
	struct dev_slot *a = get(BRP_READ, 0, 0), *b = get(BRP_READ, 0, 0);

	cr_assert(dev_slot_reserve(a, LONG_BYTES));
	cr_assert_not(dev_slot_reserve(b, LONG_BYTES));
	cr_assert_eq(nr_units(), 1, "a refusal changes nothing");
	cr_assert(dev_slot_reserve(b, DEV_SMALL_BYTES + 1));
	dev_slot_trim(a, DEV_SMALL_BYTES);
	cr_assert_eq(nr_units(), 2);
	cr_assert_not(dev_slot_reserve(a, UINT64_MAX));
	dev_slot_put(a);
	dev_slot_put(b);
}

/* The queue takes two more: what is behind waits in order, and goes on where it stopped. */
Test(slots, a_full_queue)
{
	struct dev_slot *a = get(BRP_WRITE, 0, LONG_BYTES), *b = get(BRP_WRITE, 8 << 20, 4096);

	cr_assert(dev_slot_reserve(a, LONG_BYTES));
	room = 2;
	dev_slot_submit(a);
	dev_slot_submit(b);
	cr_assert_eq(nr_ios, 2);
	complete(0, 0);
	cr_assert_eq(nr_ios, 3);
	cr_assert_eq(ios[2].offset, DEV_SMALL_BYTES + DEV_UNIT_BYTES);
	complete(1, 0);
	cr_assert_eq(nr_ios, 4);
	cr_assert_eq(ios[3].offset, 8 << 20);
	complete(3, 0);
	complete(2, 0);
	cr_assert_eq(nr_done, 2);
}

Test(slots, an_error_ends_what_was_not_given_yet)
{
	struct dev_slot *a = get(BRP_WRITE, 0, LONG_BYTES);

	cr_assert(dev_slot_reserve(a, LONG_BYTES));
	room = 2;
	dev_slot_submit(a);
	complete(0, -EIO);
	cr_assert_eq(nr_done, 0, "a piece is in flight");
	cr_assert_eq(nr_ios, 2);
	complete(1, -ENOSPC);
	cr_assert_eq(nr_done, 1);
	cr_assert_eq(last_result, -EIO, "the first error counts");
}

Test(slots, a_refused_request_is_done_at_once)
{
	refuse_with = -ENOTCONN;
	dev_slot_submit(get(BRP_READ, 0, 4096));
	cr_assert_eq(nr_done, 1);
	cr_assert_eq(last_result, -ENOTCONN);
	cr_assert_eq(dev_pool_in_flight(pool), 0);
}

/* A frozen session gives its requests back only when it ends: their memory must still be there. */
Test(slots, destroyed_with_requests_in_flight, .fini = NULL)
{
	dev_slot_submit(get(BRP_READ, 0, 4096));
	dev_pool_destroy(pool);
	cr_assert_eq(nr_registered, 1);
	memset(ios[0].buf, 1, 4096);
	complete(0, -ECANCELED);
	cr_assert_eq(nr_done, 0, "nobody is there to be told");
}
