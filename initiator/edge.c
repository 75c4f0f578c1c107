/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * brp_queue_fds() and brp_drain(): the queue in an event loop that is told of every event.
 *
 * The connection's data descriptor is the loop's own: it costs a wake-up less than one through the
 * queue's epoll, where only what is rare stays. No wake-up is lost: brp_drain() returns 0 only
 * after fabric_arm() has said that whatever comes from then on is a new event, and a descriptor
 * that the loop begins to watch reports what it has already.
 */
#include "initiator/internal.h"

#include <errno.h>

#define MAX_PASSES 64u /* of a drain: a peer that only chatters must not hold us for ever */

void brp_queue_fds(struct brp_queue *q, struct brp_queue_fds *ret_fds)
{
	ini_wait_set_edge(q, true);
	ret_fds->rare = q->epoll_fd;
	ret_fds->data = q->data_fd;
	ret_fds->change = q->nr_attached;
}

/* True: the loop may sleep. */
static bool look(struct brp_queue *q)
{
	bool was_up;

	ini_wait_pass(q);
	was_up = q->is_up;
	if (ini_wait_is_gone(q))
		return true;
	if (!ini_wait_arm(q))
		return false;
	ini_wait_update_timer(q);
	return q->is_up == was_up; /* or else time has ended the connection */
}

int brp_drain(struct brp_queue *q, bool is_rare)
{
	bool is_dry = false;

	if (q->is_polling)
		return -EDEADLK;
	if (is_rare)
		ini_wait_take_events(q);
	for (unsigned int i = 0; i < MAX_PASSES && !is_dry && !ini_wait_is_gone(q); i++)
		is_dry = look(q);
	if (ini_wait_is_gone(q))
		return ini_wait_gone_error(q);
	if (!is_dry)
		ini_wait_update_timer(q);
	return !is_dry;
}
