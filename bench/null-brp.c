/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instead of libbrp, for bench/front-null: a session with nothing behind it. Every request is done
 * as soon as its batch ends, in the same thread and without a system call. What a front end's
 * device then takes is the kernel's part and the front end's own: the floor of bench/front-latency.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "brp/brp.h"

#define QUEUE_DEPTH 128u
#define SIZE_BYTES  (256ull << 20)

struct brp_queue {
	int fd; /* an eventfd that nobody writes to */
	unsigned int nr;
	struct {
		void (*done)(void *arg, int result);
		void *arg;
	} requests[QUEUE_DEPTH];
	struct brp_stats stats;
};

struct brp_session {
	struct brp_queue queue;
};

/* ---- session --------------------------------------------------------------------------------- */

int brp_connect(const char *uri, const struct brp_options *opt, struct brp_session **ret_session)
{
	struct brp_session *s = calloc(1, sizeof(*s));

	(void)uri;
	(void)opt;
	if (!s)
		return -ENOMEM;
	s->queue.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->queue.fd < 0) {
		free(s);
		return -EMFILE;
	}
	*ret_session = s;
	return 0;
}

void brp_disconnect(struct brp_session *s)
{
	if (!s)
		return;
	close(s->queue.fd);
	free(s);
}

const char *brp_last_error(void)
{
	return "out of memory or descriptors";
}

int brp_session_info(const struct brp_session *s, struct brp_info *ret_info)
{
	(void)s;
	*ret_info = (struct brp_info){
		.size = sizeof(*ret_info),
		.size_bytes = SIZE_BYTES,
		.block_bytes = 512,
		.preferred_io_bytes = 4096,
		.max_transfer_bytes = 1u << 20,
		.queue_depth = QUEUE_DEPTH,
		.queues = 1,
		.volume_name = "null",
		.transport = "null",
	};
	return 0;
}

int brp_mem_register(struct brp_session *s, void *base, size_t bytes, struct brp_mem **ret_mem)
{
	(void)s;
	(void)bytes;
	*ret_mem = base; /* not NULL is all it must be */
	return 0;
}

void brp_mem_unregister(struct brp_mem *mem)
{
	(void)mem;
}

/* ---- queue ----------------------------------------------------------------------------------- */

struct brp_queue *brp_session_queue(struct brp_session *s, unsigned int index)
{
	return index == 0 ? &s->queue : NULL;
}

int brp_submit(struct brp_queue *q, const struct brp_io *io)
{
	if (q->nr == QUEUE_DEPTH)
		return -EAGAIN;
	q->requests[q->nr].done = io->done;
	q->requests[q->nr].arg = io->arg;
	q->nr++;
	q->stats.requests++;
	return 0;
}

/* Those that the callbacks submit, too. */
void brp_kick(struct brp_queue *q)
{
	while (q->nr > 0) {
		unsigned int n = q->nr;

		for (unsigned int i = 0; i < n; i++)
			q->requests[i].done(q->requests[i].arg, 0);
		q->nr -= n;
		memmove(q->requests, q->requests + n, q->nr * sizeof(q->requests[0]));
	}
}

int brp_drain(struct brp_queue *q, bool is_rare)
{
	(void)is_rare;
	brp_kick(q);
	return 0;
}

int brp_spin(struct brp_queue *q, bool (*has_other)(void *arg), void *arg)
{
	(void)q;
	(void)has_other;
	(void)arg;
	return -EAGAIN;
}

void brp_queue_fds(struct brp_queue *q, struct brp_queue_fds *ret_fds)
{
	*ret_fds = (struct brp_queue_fds){.rare = q->fd, .data = -1};
}

unsigned int brp_queue_in_flight(const struct brp_queue *q)
{
	return q->nr;
}

int brp_queue_stats(const struct brp_queue *q, struct brp_stats *ret_stats)
{
	*ret_stats = q->stats;
	ret_stats->size = sizeof(*ret_stats);
	return 0;
}
