/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread pool: one thread at a time per task, no lost event, end() once, no CPU when idle. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/pool.h"
#include "common/util.h"

#define WAIT_MS 20000

struct counter {
	struct pool_task task;
	int fd;
	struct counter *peer; /* woken after each run, so many times */
	atomic_int nr_peer_wakes;
	atomic_int nr_inside; /* threads in run(); more than one aborts */
	atomic_ullong sum;    /* of what came through fd */
	atomic_uint nr_runs;
	atomic_uint nr_ends;
	atomic_bool is_wanted; /* set before each wake, cleared by run() */
	atomic_bool may_end;
	atomic_bool has_ended;
	unsigned long plain; /* owned by the running thread: ThreadSanitizer watches it */
};

static bool counter_run(struct pool_task *t)
{
	struct counter *c = container_of(t, struct counter, task);
	uint64_t v;

	if (atomic_fetch_add(&c->nr_inside, 1) != 0)
		abort();
	c->plain++;
	atomic_fetch_add(&c->nr_runs, 1);
	atomic_store(&c->is_wanted, false);
	if (c->fd >= 0 && read(c->fd, &v, sizeof(v)) == sizeof(v))
		atomic_fetch_add(&c->sum, v);
	if (c->peer && atomic_fetch_sub(&c->nr_peer_wakes, 1) > 0) {
		atomic_store(&c->peer->is_wanted, true);
		pool_task_wake(&c->peer->task);
	}
	atomic_fetch_sub(&c->nr_inside, 1);
	if (!atomic_load(&c->may_end))
		return true;
	if (c->fd >= 0)
		pool_task_del_fd(t, c->fd);
	return false;
}

static void counter_end(struct pool_task *t)
{
	struct counter *c = container_of(t, struct counter, task);

	if (c->fd >= 0)
		close(c->fd);
	atomic_fetch_add(&c->nr_ends, 1);
	atomic_store(&c->has_ended, true);
}

static void counter_init(struct pool *p, struct counter *c, bool has_fd)
{
	*c = (struct counter){.fd = has_fd ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1};
	pool_task_init(p, &c->task, counter_run, counter_end);
	if (has_fd)
		cr_assert(pool_task_add_fd(&c->task, c->fd) == 0);
}

static struct pool *new_pool(unsigned int threads, int poll_us)
{
	struct pool_options opt = {.threads = threads, .poll_us = poll_us};
	struct pool *p;

	cr_assert(pool_create(&opt, &p) == 0);
	return p;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	cr_assert(write(fd, &one, sizeof(one)) == sizeof(one));
}

#define wait_for(cond)                                             \
	do {                                                       \
		for (int ms_ = 0; !(cond) && ms_ < WAIT_MS; ms_++) \
			usleep(1000);                              \
		cr_assert(cond);                                   \
	} while (0)

static void events_are_not_lost(unsigned int threads, int poll_us)
{
	enum { TASKS = 32, EVENTS = 20000 };
	static struct counter c[TASKS];
	uint64_t sent[TASKS] = {0};
	struct pool *p = new_pool(threads, poll_us);
	unsigned int seed = 1;

	for (int i = 0; i < TASKS; i++)
		counter_init(p, &c[i], true);
	cr_assert(pool_start(p) == 0);
	for (int i = 0; i < EVENTS; i++) {
		int at = rand_r(&seed) % TASKS;

		signal_fd(c[at].fd);
		sent[at]++;
	}
	for (int i = 0; i < TASKS; i++)
		wait_for(atomic_load(&c[i].sum) == sent[i]);
	pool_destroy(p);
	for (int i = 0; i < TASKS; i++)
		cr_assert(c[i].nr_ends == 1);
}

Test(pool, events_one_thread)
{
	events_are_not_lost(1, 0);
}

Test(pool, events_two_threads)
{
	events_are_not_lost(2, -1);
}

Test(pool, events_eight_threads)
{
	events_are_not_lost(8, -1);
}

Test(pool, events_polling)
{
	events_are_not_lost(3, 100);
}

/* ---- wakes ----------------------------------------------------------------------------------- */

#define STORM_TASKS 16
static struct counter storm[STORM_TASKS];

static void *storm_thread(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	for (int i = 0; i < 20000; i++) {
		struct counter *c = &storm[rand_r(&seed) % STORM_TASKS];

		atomic_store(&c->is_wanted, true);
		pool_task_wake(&c->task);
	}
	return NULL;
}

static void wake_storm(unsigned int threads)
{
	struct pool *p = new_pool(threads, -1);
	pthread_t t[4];

	for (int i = 0; i < STORM_TASKS; i++)
		counter_init(p, &storm[i], false);
	for (int i = 0; i < STORM_TASKS; i++) {
		storm[i].peer = &storm[(i + 1) % STORM_TASKS];
		storm[i].nr_peer_wakes = 5000;
	}
	cr_assert(pool_start(p) == 0);
	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, storm_thread, (void *)(i + 1));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	/* Every wake was followed by a run that began after it: nothing is left to be wanted. */
	for (int i = 0; i < STORM_TASKS; i++)
		wait_for(!atomic_load(&storm[i].is_wanted));
	pool_destroy(p);
}

Test(pool, wake_storm_one_thread)
{
	wake_storm(1);
}

Test(pool, wake_storm_four_threads)
{
	wake_storm(4);
}

/* Each single wake from outside arrives although everybody sleeps. */
Test(pool, lone_wakes)
{
	struct pool *p = new_pool(3, 0);
	struct counter c;

	counter_init(p, &c, false);
	cr_assert(pool_start(p) == 0);
	for (unsigned int i = 1; i <= 300; i++) {
		pool_task_wake(&c.task);
		wait_for(atomic_load(&c.nr_runs) >= i);
		if (i % 50 == 0)
			usleep(2000);
	}
	pool_destroy(p);
	cr_assert(c.nr_ends == 1);
}

Test(pool, wake_before_start)
{
	struct pool *p = new_pool(2, -1);
	struct counter c[3];

	for (int i = 0; i < 3; i++) {
		counter_init(p, &c[i], false);
		pool_task_wake(&c[i].task);
	}
	cr_assert(pool_start(p) == 0);
	for (int i = 0; i < 3; i++)
		wait_for(atomic_load(&c[i].nr_runs) == 1);
	pool_destroy(p);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Tasks end under fire; their memory is poisoned by free() under ASan. */
struct mortal {
	struct pool_task task;
	int fd;
	int peer_fd;
	int lives;
};
static atomic_uint nr_buried;

static bool mortal_run(struct pool_task *t)
{
	struct mortal *m = container_of(t, struct mortal, task);
	uint64_t v;

	if (read(m->fd, &v, sizeof(v)) < 0)
		return true;
	if (--m->lives > 0) {
		v = 1;
		return write(m->fd, &v, sizeof(v)) == sizeof(v); /* an event while it runs */
	}
	v = 1;
	(void)!write(m->fd, &v, sizeof(v)); /* one that may be fetched and never run */
	pool_task_del_fd(t, m->fd);
	close(m->fd);
	return false;
}

static void mortal_end(struct pool_task *t)
{
	atomic_fetch_add(&nr_buried, 1);
	free(container_of(t, struct mortal, task));
}

Test(pool, ends_once_and_soon)
{
	enum { TASKS = 2000 };
	struct pool *p = new_pool(4, -1);

	cr_assert(pool_start(p) == 0);
	for (int i = 0; i < TASKS; i++) {
		struct mortal *m = calloc(1, sizeof(*m));
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		m->fd = fd;
		m->lives = 1 + i % 5;
		pool_task_init(p, &m->task, mortal_run, mortal_end);
		cr_assert(pool_task_add_fd(&m->task, fd) == 0);
		pool_task_wake(&m->task);
		signal_fd(fd); /* m may be gone from here on; fd is ours until then only */
		wait_for(atomic_load(&nr_buried) + 64 > (unsigned int)i);
	}
	/* without any further event: the leader is woken for burials */
	wait_for(atomic_load(&nr_buried) == TASKS);
	pool_destroy(p);
	cr_assert(nr_buried == TASKS);
}

Test(pool, ended_task_is_buried_while_leader_sleeps)
{
	struct pool *p = new_pool(2, 0);
	struct counter c;

	counter_init(p, &c, true);
	cr_assert(pool_start(p) == 0);
	atomic_store(&c.may_end, true);
	pool_task_wake(&c.task);
	wait_for(atomic_load(&c.has_ended));
	pool_destroy(p);
	cr_assert(c.nr_ends == 1);
}

static bool busy_run(struct pool_task *t)
{
	pool_task_wake(t);
	return true;
}

static atomic_uint nr_busy_ends;
static void busy_end(struct pool_task *t)
{
	(void)t;
	atomic_fetch_add(&nr_busy_ends, 1);
}

Test(pool, stop_while_busy)
{
	for (int round = 0; round < 20; round++) {
		struct pool *p = new_pool(4, -1);
		struct pool_task t[8];

		nr_busy_ends = 0;
		for (int i = 0; i < 8; i++) {
			pool_task_init(p, &t[i], busy_run, busy_end);
			pool_task_wake(&t[i]);
		}
		cr_assert(pool_start(p) == 0);
		usleep(5000);
		pool_destroy(p);
		cr_assert(nr_busy_ends == 8);
	}
}

Test(pool, never_started)
{
	struct pool *p = new_pool(2, -1);
	struct counter c;

	counter_init(p, &c, true);
	pool_destroy(p);
	cr_assert(c.nr_ends == 1);
	pool_destroy(NULL);
}

Test(pool, muted_source_is_silent_until_heard)
{
	struct pool *p = new_pool(2, 0);
	struct counter muted;
	struct counter other;

	counter_init(p, &muted, true);
	counter_init(p, &other, true);
	cr_assert(pool_start(p) == 0);
	signal_fd(muted.fd);
	wait_for(atomic_load(&muted.sum) == 1);
	usleep(20000); /* having been read it became writable: an event, too */

	pool_task_mute_fd(&muted.task, muted.fd, true);
	signal_fd(muted.fd);
	signal_fd(other.fd); /* comes later and is seen */
	wait_for(atomic_load(&other.sum) == 1);
	usleep(20000);
	cr_assert(muted.sum == 1);

	pool_task_mute_fd(&muted.task, muted.fd, false);
	wait_for(atomic_load(&muted.sum) == 2);
	signal_fd(muted.fd);
	wait_for(atomic_load(&muted.sum) == 3);
	pool_destroy(p);
}

/* ---- fairness -------------------------------------------------------------------------------- */

/* Tasks that wake themselves do not starve the events of others, not even on one thread. */
Test(pool, busy_tasks_do_not_starve_events)
{
	struct pool *p = new_pool(1, -1);
	struct pool_task t[3];
	struct counter c;

	counter_init(p, &c, true);
	for (int i = 0; i < 3; i++) {
		pool_task_init(p, &t[i], busy_run, busy_end);
		pool_task_wake(&t[i]);
	}
	cr_assert(pool_start(p) == 0);
	for (unsigned int i = 1; i <= 100; i++) {
		signal_fd(c.fd);
		wait_for(atomic_load(&c.sum) == i);
	}
	pool_destroy(p);
}

static atomic_bool is_in_long_run;
static atomic_bool may_leave;
static bool long_run(struct pool_task *t)
{
	pool_promote(t->pool);
	atomic_store(&is_in_long_run, true);
	while (!atomic_load(&may_leave))
		usleep(100);
	return true;
}

Test(pool, promote_lets_others_work)
{
	struct pool *p = new_pool(2, 0);
	struct pool_task slow;
	struct counter c;

	counter_init(p, &c, true);
	pool_task_init(p, &slow, long_run, busy_end);
	cr_assert(pool_start(p) == 0);
	pool_task_wake(&slow);
	wait_for(atomic_load(&is_in_long_run));
	for (unsigned int i = 1; i <= 10; i++) {
		signal_fd(c.fd);
		wait_for(atomic_load(&c.sum) == i);
	}
	atomic_store(&may_leave, true);
	pool_destroy(p);
}

/* ---- cost ------------------------------------------------------------------------------------ */

static uint64_t cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void idle_costs_nothing(int poll_us)
{
	struct pool *p = new_pool(4, poll_us);
	struct counter c;
	uint64_t before;

	counter_init(p, &c, true);
	cr_assert(pool_start(p) == 0);
	for (int i = 0; i < 2000; i++) /* short gaps, so that adaptive polling is on */
		signal_fd(c.fd);
	usleep(20000);
	before = cpu_us();
	sleep(1);
	before = cpu_us() - before;
	cr_assert(before < 10000, "%llu us of CPU in an idle second", (unsigned long long)before);
	pool_destroy(p);
}

Test(pool, idle_adaptive)
{
	idle_costs_nothing(-1);
}

Test(pool, idle_polling)
{
	idle_costs_nothing(50);
}

/* A round trip: signal, run, answer. Prints; asserts only that lone events wake nobody else. */
static int answer_fd;
static bool answer_run(struct pool_task *t)
{
	struct counter *c = container_of(t, struct counter, task);
	uint64_t v = 1;

	if (read(c->fd, &v, sizeof(v)) == sizeof(v))
		(void)!write(answer_fd, &v, sizeof(v));
	return true;
}

static void round_trip(int poll_us)
{
	enum { ROUNDS = 20000 };
	struct pool *p = new_pool(4, poll_us);
	struct pool_stats st;
	struct counter c;
	uint64_t start;
	uint64_t v;

	answer_fd = eventfd(0, EFD_CLOEXEC);
	counter_init(p, &c, true);
	c.task.run = answer_run;
	cr_assert(pool_start(p) == 0);
	start = now_ns();
	for (int i = 0; i < ROUNDS; i++) {
		signal_fd(c.fd);
		cr_assert(read(answer_fd, &v, sizeof(v)) == sizeof(v));
	}
	start = now_ns() - start;
	pool_get_stats(p, &st);
	fprintf(stderr,
		"# pool round trip, poll %d: %.2f us; waits %llu polls %llu runs %llu promotions "
		"%llu\n",
		poll_us, (double)start / 1000 / ROUNDS, (unsigned long long)st.waits,
		(unsigned long long)st.polls, (unsigned long long)st.runs,
		(unsigned long long)st.promotions);
	cr_assert(st.promotions == 0);
	pool_destroy(p);
	close(answer_fd);
}

Test(pool, round_trip_sleeping)
{
	round_trip(0);
}

Test(pool, round_trip_adaptive)
{
	round_trip(-1);
}
