/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocking calls of many threads on one queue: each request is done once, with its own result;
 * nobody hangs; the queue is used by one thread at a time; requests that meet are submitted
 * together. libbrp is played here: its "target" is a thread that completes what was submitted. A
 * plain program, as Criterion does not run under ThreadSanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "brp/brp.h"
#include "common/util.h"
#include "initiator/nbdkit/syncq.h"

#define NR_THREADS 16u
#define NR_CALLS   2000u
#define DEPTH      8u /* fewer than threads: some find the queue full */

/* ---- libbrp ---------------------------------------------------------------------------------- */

struct entry {
	struct brp_io io;
	struct entry *next;
};

static struct {
	atomic_flag is_used; /* by a thread that is in one of the calls */
	int fd;
	bool is_lost;
	atomic_uint nr_wrong;
	unsigned int in_flight;

	pthread_mutex_t lock; /* between "libbrp" and the "target" */
	pthread_cond_t work;
	struct entry *submitted;
	struct entry *completed;
	bool is_ending;
} fake = {.is_used = ATOMIC_FLAG_INIT,
	  .lock = PTHREAD_MUTEX_INITIALIZER,
	  .work = PTHREAD_COND_INITIALIZER};

static void enter(void)
{
	if (atomic_flag_test_and_set(&fake.is_used))
		atomic_fetch_add(&fake.nr_wrong, 1);
}

static void leave(void)
{
	atomic_flag_clear(&fake.is_used);
}

int brp_queue_fd(struct brp_queue *q)
{
	(void)q;
	return fake.fd;
}

int brp_submit(struct brp_queue *q, const struct brp_io *io)
{
	struct entry *e;
	int r = 0;

	(void)q;
	enter();
	if (fake.is_lost) {
		r = -ENOTCONN;
	} else if (fake.in_flight == DEPTH) {
		r = -EAGAIN;
	} else {
		fake.in_flight++;
		e = malloc(sizeof(*e));
		e->io = *io;
		pthread_mutex_lock(&fake.lock);
		e->next = fake.submitted;
		fake.submitted = e;
		pthread_cond_signal(&fake.work);
		pthread_mutex_unlock(&fake.lock);
	}
	leave();
	return r;
}

/* The result tells whose request it was. */
static int result_of(const struct brp_io *io)
{
	return -(int)(io->offset % 1000);
}

int brp_poll(struct brp_queue *q)
{
	struct entry *e;
	uint64_t count;
	int n = 0;

	(void)q;
	enter();
	pthread_mutex_lock(&fake.lock);
	e = fake.completed;
	fake.completed = NULL;
	(void)!read(fake.fd, &count, sizeof(count));
	pthread_mutex_unlock(&fake.lock);
	while (e) {
		struct entry *next = e->next;

		fake.in_flight--;
		e->io.done(e->io.arg, result_of(&e->io));
		free(e);
		e = next;
		n++;
	}
	leave();
	return n == 0 && fake.is_lost ? -ENOTCONN : n;
}

static void *target_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&fake.lock);
	while (!fake.is_ending) {
		uint64_t one = 1;
		struct entry *e = fake.submitted;

		if (!e) {
			pthread_cond_wait(&fake.work, &fake.lock);
			continue;
		}
		fake.submitted = e->next;
		e->next = fake.completed;
		fake.completed = e;
		(void)!write(fake.fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&fake.lock);
	return NULL;
}

/* ---- callers --------------------------------------------------------------------------------- */

static struct syncq *syncq;

static void *caller_main(void *arg)
{
	unsigned int nr = (unsigned int)(uintptr_t)arg;

	for (unsigned int i = 0; i < NR_CALLS; i++) {
		struct brp_io io = {.op = BRP_READ, .offset = nr * 31 + i, .bytes = 1};

		if (syncq_io(syncq, &io) != result_of(&io))
			atomic_fetch_add(&fake.nr_wrong, 1);
	}
	return NULL;
}

static void run_callers(unsigned int nr)
{
	pthread_t threads[NR_THREADS];

	for (unsigned int i = 0; i < nr; i++)
		if (pthread_create(&threads[i], NULL, caller_main, (void *)(uintptr_t)i))
			abort();
	for (unsigned int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

static unsigned int nr_tests;

static void say(const char *what, bool is_good)
{
	printf("%s %u - %s\n", is_good ? "ok" : "not ok", ++nr_tests, what);
}

int main(void)
{
	const struct brp_io io = {.op = BRP_FLUSH};
	pthread_t target;

	fake.fd = eventfd(0, EFD_NONBLOCK);
	if (fake.fd < 0 || pthread_create(&target, NULL, target_main, NULL) ||
	    syncq_create((struct brp_queue *)&fake, &syncq))
		abort();
	printf("1..3\n");
	run_callers(1);
	say("one caller", atomic_load(&fake.nr_wrong) == 0);
	run_callers(NR_THREADS);
	say("many callers", atomic_load(&fake.nr_wrong) == 0 && fake.in_flight == 0);
	syncq_destroy(syncq);

	/* The thread of a queue that is lost from the start must not need to be woken. */
	fake.is_lost = true;
	if (syncq_create((struct brp_queue *)&fake, &syncq))
		abort();
	say("a lost session fails calls at once", syncq_io(syncq, &io) == -ENOTCONN);
	syncq_destroy(syncq);

	pthread_mutex_lock(&fake.lock);
	fake.is_ending = true;
	pthread_cond_signal(&fake.work);
	pthread_mutex_unlock(&fake.lock);
	pthread_join(target, NULL);
	close(fake.fd);
	return 0;
}
