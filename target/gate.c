/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/gate.h"

void gate_init(struct gate *g, bool is_serial)
{
	g->is_serial = is_serial;
	g->is_taken = false;
	pthread_mutex_init(&g->lock, NULL);
	list_init(&g->waiting);
}

void gate_finish(struct gate *g)
{
	pthread_mutex_destroy(&g->lock);
}

bool gate_enter(struct gate *g, struct gate_entry *e)
{
	bool is_open;

	if (!g->is_serial)
		return true;
	pthread_mutex_lock(&g->lock);
	is_open = !g->is_taken;
	if (is_open) {
		g->is_taken = true;
	} else {
		e->is_waiting = true;
		list_add_tail(&g->waiting, &e->link);
	}
	pthread_mutex_unlock(&g->lock);
	return is_open;
}

void gate_leave(struct gate *g)
{
	struct list *next;
	struct gate_entry *e;

	if (!g->is_serial)
		return;
	pthread_mutex_lock(&g->lock);
	next = list_pop(&g->waiting);
	if (next) {
		e = list_entry(next, struct gate_entry, link);
		e->is_waiting = false;
		e->granted(e); /* is_taken passes on to e */
	} else {
		g->is_taken = false;
	}
	pthread_mutex_unlock(&g->lock);
}

bool gate_cancel(struct gate *g, struct gate_entry *e)
{
	bool was_waiting;

	if (!g->is_serial)
		return false;
	pthread_mutex_lock(&g->lock);
	was_waiting = e->is_waiting;
	if (was_waiting) {
		list_del(&e->link);
		e->is_waiting = false;
	}
	pthread_mutex_unlock(&g->lock);
	return was_waiting;
}

struct list *gate_take(struct gate *g, struct list *granted)
{
	struct list *node;

	pthread_mutex_lock(&g->lock);
	node = list_pop(granted);
	pthread_mutex_unlock(&g->lock);
	return node;
}
