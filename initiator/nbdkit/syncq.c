/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/nbdkit/syncq.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/list.h"
#include "common/util.h"

struct call {
	struct brp_io io;
	struct syncq *syncq;
	struct call *next;      /* incoming */
	struct list link;       /* waiting */
	struct call *next_done; /* finished */
	int result;
	sem_t is_done;
};

struct syncq {
	/* constant */
	struct brp_queue *queue;
	int queue_fd;
	int stop_fd;
	pthread_t thread;

	/* any thread */
	_Atomic(struct call *) incoming; /* a stack */
	atomic_bool is_stopping;

	pthread_mutex_t lock;  /* everything below, and the queue */
	struct list waiting;   /* came in and found libbrp's queue full */
	struct call *finished; /* to be woken once the lock is free */
	bool is_lost;          /* the session, for good */
};

/* ---- with the lock --------------------------------------------------------------------------- */

static void finish(struct call *c, int result)
{
	c->result = result;
	c->next_done = c->syncq->finished;
	c->syncq->finished = c;
}

static void on_done(void *arg, int result)
{
	finish(arg, result);
}

/* In the order they came. True: there were some. */
static bool take_incoming(struct syncq *s)
{
	struct call *c = atomic_exchange(&s->incoming, NULL);
	struct call *ordered = NULL;
	bool is_any = c != NULL;

	while (c) {
		struct call *next = c->next;

		c->next = ordered;
		ordered = c;
		c = next;
	}
	for (; ordered; ordered = ordered->next)
		list_add_tail(&s->waiting, &ordered->link);
	return is_any;
}

static void submit_waiting(struct syncq *s)
{
	while (!list_empty(&s->waiting)) {
		struct call *c = list_entry(s->waiting.next, struct call, link);
		int err = brp_submit(s->queue, &c->io);

		if (err == -EAGAIN)
			return;
		list_del(&c->link);
		if (err)
			finish(c, err);
	}
}

/* Until nothing is left to do now: libbrp's descriptor may be slept on. */
static void serve(struct syncq *s)
{
	bool is_new = take_incoming(s);
	int n;

	do {
		submit_waiting(s);
		n = brp_poll(s->queue);
		is_new = take_incoming(s);
	} while (n > 0 || is_new);
	if (n < 0) {
		s->is_lost = true;
		submit_waiting(s); /* they fail */
	}
}

/* ---- without it ------------------------------------------------------------------------------ */

static void wake(struct call *c)
{
	while (c) {
		struct call *next = c->next_done; /* c is gone after the post */

		sem_post(&c->is_done);
		c = next;
	}
}

/* Unlocks. */
static void leave(struct syncq *s)
{
	struct call *finished = s->finished;

	s->finished = NULL;
	pthread_mutex_unlock(&s->lock);
	wake(finished);
}

/*
 * Everything that is on the list gets served: by us, or by whoever has the lock, who looks at the
 * list again when he has left. The fences pair with each other: of "put on the list, try the lock"
 * and "unlock, look at the list" one sees the other.
 */
static void serve_incoming(struct syncq *s)
{
	atomic_thread_fence(memory_order_seq_cst);
	while (atomic_load(&s->incoming) && pthread_mutex_trylock(&s->lock) == 0) {
		serve(s);
		leave(s);
		atomic_thread_fence(memory_order_seq_cst);
	}
}

int syncq_io(struct syncq *s, const struct brp_io *io)
{
	struct call c = {.io = *io, .syncq = s};

	c.io.done = on_done;
	c.io.arg = &c;
	sem_init(&c.is_done, 0, 0);
	c.next = atomic_load(&s->incoming);
	while (!atomic_compare_exchange_weak(&s->incoming, &c.next, &c))
		;
	serve_incoming(s);
	while (sem_wait(&c.is_done) < 0) /* a signal */
		;
	sem_destroy(&c.is_done);
	return c.result;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* False: the session is lost, and its descriptor of no use. */
static bool serve_once(struct syncq *s)
{
	bool is_lost;

	pthread_mutex_lock(&s->lock);
	serve(s);
	is_lost = s->is_lost;
	leave(s);
	serve_incoming(s);
	return !is_lost;
}

static void *syncq_main(void *arg)
{
	struct syncq *s = arg;
	struct pollfd pfds[] = {
		{.fd = s->stop_fd, .events = POLLIN},
		{.fd = s->queue_fd, .events = POLLIN},
	};

	while (!atomic_load(&s->is_stopping)) {
		if (!serve_once(s))
			pfds[1].fd = -1;
		poll(pfds, ARRAY_SIZE(pfds), -1);
	}
	return NULL;
}

/* Signals are nbdkit's. */
static int start_thread(struct syncq *s)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&s->thread, NULL, syncq_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int syncq_create(struct brp_queue *q, struct syncq **ret_syncq)
{
	struct syncq *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->queue = q;
	s->queue_fd = brp_queue_fd(q);
	list_init(&s->waiting);
	pthread_mutex_init(&s->lock, NULL);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = s->stop_fd < 0 ? -errno : start_thread(s);
	if (err) {
		if (s->stop_fd >= 0)
			close(s->stop_fd);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return err;
	}
	*ret_syncq = s;
	return 0;
}

void syncq_destroy(struct syncq *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	atomic_store(&s->is_stopping, true);
	(void)!write(s->stop_fd, &one, sizeof(one)); /* an eventfd at 0 takes it */
	pthread_join(s->thread, NULL);
	close(s->stop_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
