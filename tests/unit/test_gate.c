/* SPDX-License-Identifier: BSD-2-Clause */
/* The gate of --io-mode serial: one at a time, in order, nobody forgotten. */
#include <criterion/criterion.h>

#include "target/gate.h"

struct waiter {
	struct gate_entry entry;
	int nr_granted;
};

static void on_granted(struct gate_entry *e)
{
	container_of(e, struct waiter, entry)->nr_granted++;
}

static void init(struct gate *g, bool is_serial, struct waiter *w, int n)
{
	gate_init(g, is_serial);
	for (int i = 0; i < n; i++) {
		w[i] = (struct waiter){.entry.granted = on_granted};
		list_init(&w[i].entry.link);
	}
}

Test(gate, parallel_is_always_open)
{
	struct gate g;
	struct waiter w[3];

	init(&g, false, w, 3);
	for (int i = 0; i < 3; i++)
		cr_assert(gate_enter(&g, &w[i].entry));
	gate_leave(&g);
	cr_assert_eq(w[0].nr_granted + w[1].nr_granted + w[2].nr_granted, 0);
	gate_finish(&g);
}

Test(gate, serial_lets_one_pass_at_a_time_in_order)
{
	struct gate g;
	struct waiter w[3];

	init(&g, true, w, 3);
	cr_assert(gate_enter(&g, &w[0].entry));
	cr_assert(!gate_enter(&g, &w[1].entry));
	cr_assert(!gate_enter(&g, &w[2].entry));
	gate_leave(&g);
	cr_assert_eq(w[1].nr_granted, 1);
	cr_assert_eq(w[2].nr_granted, 0);
	gate_leave(&g);
	cr_assert_eq(w[2].nr_granted, 1);
	gate_leave(&g);
	cr_assert(gate_enter(&g, &w[0].entry), "open again after the last one left");
	gate_finish(&g);
}

Test(gate, cancelled_entry_is_skipped)
{
	struct gate g;
	struct waiter w[3];

	init(&g, true, w, 3);
	cr_assert(gate_enter(&g, &w[0].entry));
	cr_assert(!gate_enter(&g, &w[1].entry));
	cr_assert(!gate_enter(&g, &w[2].entry));
	cr_assert(gate_cancel(&g, &w[1].entry));
	cr_assert(!gate_cancel(&g, &w[1].entry), "only once");
	gate_leave(&g);
	cr_assert_eq(w[1].nr_granted, 0);
	cr_assert_eq(w[2].nr_granted, 1);
	cr_assert(!gate_cancel(&g, &w[2].entry), "granted is not waiting");
	gate_finish(&g);
}
