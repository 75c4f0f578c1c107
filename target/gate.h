/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --io-mode serial: one device request of a volume at a time (the paper's BRP-1, for comparison).
 * The gate is open to one request; others queue in order and their connections are woken when it is
 * their turn. In parallel mode the gate is always open and costs one test.
 */
#ifndef TARGET_GATE_H
#define TARGET_GATE_H

#include <pthread.h>
#include <stdbool.h>

#include "common/list.h"

struct gate_entry {
	struct list link; /* in gate.waiting, or empty */
	bool is_waiting;
	/* Called under the gate's lock when the entry's turn has come: hands it to its connection
	 * and wakes that. */
	void (*granted)(struct gate_entry *e);
};

struct gate {
	bool is_serial; /* constant */
	pthread_mutex_t lock;
	bool is_taken;       /* locked */
	struct list waiting; /* locked: struct gate_entry */
};

void gate_init(struct gate *g, bool is_serial);
void gate_finish(struct gate *g);

/* True: go on now. False: granted() will be called, unless gate_cancel() comes first. */
bool gate_enter(struct gate *g, struct gate_entry *e);
/* The request that entered (or was granted) is out of the device. */
void gate_leave(struct gate *g);
/* True when e was waiting and is not any more; false when it was never waiting or was granted. */
bool gate_cancel(struct gate *g, struct gate_entry *e);

/* Takes one entry out of a connection's list of granted ones, under the gate's lock; NULL when it
 * is empty. */
struct list *gate_take(struct gate *g, struct list *granted);

#endif
