/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Leader-follower pool. Three ideas carry it:
 *
 *  - Only the leader fetches events, and it turns them into task states before it gives leadership
 * up. So at the moment before epoll_wait() nobody holds an event that was fetched and not yet
 * delivered, and a task that has ended by then (its descriptors are out of the epoll set) can be
 * freed: that is what the graveyard waits for.
 *  - A task that becomes QUEUED is put on the ready list by the one who made it so; nobody else
 * does. Every thread looks at the ready list, under the lock, before it becomes leader or goes to
 * sleep: no wake-up can be lost.
 *  - At low load one thread does everything: the leader fetches one event, leaves the leadership
 * vacant, runs the task, and leads again. Others are woken only when there is a second task, or
 * when run() says that it will take long.
 *
 * One lock guards the lists; it is held for a few instructions, never during run(), end() or a
 * sleep.
 */
#include "common/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"

#define MAX_EVENTS 64u

/* Tasks that keep each other ready must not keep the events of others waiting: look for events
 * after so many runs. */
#define MAX_RUNS_BETWEEN_FETCHES 32u

/* Adaptive polling: worth it when the next event is expected sooner than a sleep and a wake-up
 * take. */
#define POLL_EXPECT_NS   (25 * NS_PER_US)
#define POLL_MAX_NS      (50 * NS_PER_US)
#define POLL_MAX_MISSES  4u
#define GAP_CEILING_NS   NS_PER_MS /* one long pause must not outweigh many short gaps for ever */
#define GAP_WEIGHT_SHIFT 3         /* a new gap counts 1/8 */

enum task_state {
	TASK_IDLE,
	TASK_QUEUED, /* on the ready list, or about to be put there by the one who queued it */
	TASK_RUNNING,
	TASK_AGAIN, /* running, and to be run once more */
	TASK_ENDED,
};

struct pool {
	/* constant after create */
	int epoll_fd;
	int kick_fd; /* makes epoll_wait() return; edge-triggered, so it is never read */
	unsigned int max_threads;
	int poll_us;
	pthread_t *threads;

	/* whoever calls pool_create, pool_start, pool_destroy */
	unsigned int nr_threads;

	pthread_mutex_t lock;
	pthread_cond_t follow; /* followers sleep here */
	struct list ready;
	unsigned int nr_ready;
	struct list graveyard;
	struct list tasks; /* all that were not ended */
	bool has_leader;
	bool is_waiting; /* the leader is in epoll_wait(), or so close that it will not look at the
			    ready list */
	bool is_kicked;
	bool is_stopping;
	unsigned int nr_idle;   /* followers asleep ... */
	unsigned int nr_waking; /* ... of these, signalled and not yet awake */
	unsigned int nr_runs_since_fetch;
	struct pool_stats stats;

	/* the leader's, handed on with the leadership */
	uint64_t gap_ns; /* moving average of the time without events */
	unsigned int nr_misses;
};

/* The pool whose thread this is: such a thread looks at the ready list by itself before it sleeps.
 */
static _Thread_local struct pool *own_pool;

/* ---- lists; the lock is held ----------------------------------------------------------------- */

static void push_ready(struct pool *p, struct pool_task *t)
{
	list_add_tail(&p->ready, &t->link);
	p->nr_ready++;
}

static struct pool_task *pop_ready(struct pool *p)
{
	struct list *node = list_pop(&p->ready);

	if (!node)
		return NULL;
	p->nr_ready--;
	return list_entry(node, struct pool_task, link);
}

static bool wake_follower(struct pool *p)
{
	if (p->nr_idle <= p->nr_waking)
		return false;
	p->nr_waking++;
	p->stats.promotions++;
	pthread_cond_signal(&p->follow);
	return true;
}

/* Under the lock, so that nobody can destroy the pool between the decision and the write. */
static void kick_leader(struct pool *p)
{
	uint64_t one = 1;
	ssize_t n;

	if (!p->is_waiting || p->is_kicked)
		return;
	p->is_kicked = true;
	n = write(p->kick_fd, &one, sizeof(one));
	(void)n; /* EAGAIN: the counter is full, after 2^64 kicks */
}

/* There is a ready task that no thread is sure to take soon. */
static void find_thread(struct pool *p)
{
	if (p->is_waiting)
		kick_leader(p);
	else
		wake_follower(p);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

/*
 * Notes that t has something to do; true: it became QUEUED and the caller must put it on the ready
 * list. Always a read-modify-write, even where the state stays: it orders the caller's writes
 * before the run() that follows, because the running thread's own exchange comes either before it
 * (and then sees AGAIN at the end) or after it.
 */
static bool mark(struct pool_task *t)
{
	unsigned int old = atomic_load_explicit(&t->state, memory_order_relaxed);
	unsigned int new;

	do {
		if (old == TASK_IDLE)
			new = TASK_QUEUED;
		else if (old == TASK_RUNNING)
			new = TASK_AGAIN;
		else
			new = old;
	} while (!atomic_compare_exchange_weak_explicit(&t->state, &old, new, memory_order_acq_rel,
							memory_order_relaxed));
	return old == TASK_IDLE;
}

void pool_task_init(struct pool *p, struct pool_task *t, bool (*run)(struct pool_task *t),
		    void (*end)(struct pool_task *t))
{
	t->run = run;
	t->end = end;
	t->pool = p;
	atomic_init(&t->state, TASK_IDLE);
	atomic_init(&t->has_rare, false);
	list_init(&t->link);
	pthread_mutex_lock(&p->lock);
	list_add_tail(&p->tasks, &t->all);
	pthread_mutex_unlock(&p->lock);
}

/* Events carry the task, and in the lowest bit of its address whether they are rare ones. */
#define RARE_BIT ((uintptr_t)1)

#define ALL_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static int add_fd(struct pool_task *t, int fd, uintptr_t bit)
{
	struct epoll_event ev = {.events = ALL_EVENTS, .data.u64 = (uintptr_t)t | bit};

	if (epoll_ctl(t->pool->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	return 0;
}

int pool_task_add_fd(struct pool_task *t, int fd)
{
	return add_fd(t, fd, 0);
}

int pool_task_add_rare_fd(struct pool_task *t, int fd)
{
	return add_fd(t, fd, RARE_BIT);
}

bool pool_task_take_rare(struct pool_task *t)
{
	/* Set before the task was marked, which orders it (mark()); the look alone is cheap. */
	return unlikely(atomic_load_explicit(&t->has_rare, memory_order_relaxed)) &&
	       atomic_exchange_explicit(&t->has_rare, false, memory_order_relaxed);
}

void pool_task_del_fd(struct pool_task *t, int fd)
{
	epoll_ctl(t->pool->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* What remains, errors and hang-ups, an eventfd does not have. The change back looks at the source
 * at once. Neither can fail for one that is there. */
void pool_task_mute_fd(struct pool_task *t, int fd, bool is_muted)
{
	struct epoll_event ev = {.events = is_muted ? EPOLLET : ALL_EVENTS,
				 .data.u64 = (uintptr_t)t};

	epoll_ctl(t->pool->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
}

void pool_task_wake(struct pool_task *t)
{
	struct pool *p = t->pool; /* once t is on the ready list it may run, end and be gone */

	if (!mark(t))
		return;
	pthread_mutex_lock(&p->lock);
	push_ready(p, t);
	if (own_pool != p || p->nr_ready > 1)
		find_thread(p);
	pthread_mutex_unlock(&p->lock);
}

/* Runs t, which the caller took from the ready list. Called and returns with the lock held. */
static void run_task(struct pool *p, struct pool_task *t)
{
	unsigned int expected = TASK_RUNNING;
	bool is_alive;

	p->stats.runs++;
	p->nr_runs_since_fetch++;
	pthread_mutex_unlock(&p->lock);

	atomic_exchange_explicit(&t->state, TASK_RUNNING, memory_order_acq_rel);
	is_alive = t->run(t);
	if (!is_alive) {
		atomic_exchange_explicit(&t->state, TASK_ENDED, memory_order_acq_rel);
		pthread_mutex_lock(&p->lock);
		list_del(&t->all);
		list_add_tail(&p->graveyard, &t->link);
		kick_leader(p); /* only the leader buries, and it may sleep for long */
		return;
	}
	if (atomic_compare_exchange_strong_explicit(&t->state, &expected, TASK_IDLE,
						    memory_order_acq_rel, memory_order_relaxed)) {
		pthread_mutex_lock(&p->lock);
		return;
	}
	atomic_exchange_explicit(&t->state, TASK_QUEUED, memory_order_acq_rel);
	pthread_mutex_lock(&p->lock);
	push_ready(p, t);
}

/* Only when no fetched event is undelivered; see the top. The lock is held, and released while
 * end() runs. */
static void bury_dead(struct pool *p)
{
	struct list *node;

	while ((node = list_pop(&p->graveyard))) {
		struct pool_task *t = list_entry(node, struct pool_task, link);

		pthread_mutex_unlock(&p->lock);
		t->end(t);
		pthread_mutex_lock(&p->lock);
	}
}

/* ---- leading --------------------------------------------------------------------------------- */

/* How long to poll before sleeping. */
static uint64_t poll_budget_ns(const struct pool *p)
{
	if (p->poll_us >= 0)
		return (uint64_t)p->poll_us * NS_PER_US;
	if (p->gap_ns > POLL_EXPECT_NS || p->nr_misses >= POLL_MAX_MISSES)
		return 0;
	return MIN(2 * p->gap_ns + NS_PER_US, POLL_MAX_NS);
}

/*
 * Learns from a gap of so long without events. Misses are forgotten only when a short gap was seen:
 * with nothing to do polling ends after a few failures, and starts again when events come in quick
 * succession.
 */
static void learn_gap(struct pool *p, uint64_t gap_ns, bool was_polled_in_vain)
{
	int64_t delta = (int64_t)MIN(gap_ns, GAP_CEILING_NS) - (int64_t)p->gap_ns;

	p->gap_ns = (uint64_t)((int64_t)p->gap_ns + delta / (1 << GAP_WEIGHT_SHIFT));
	if (gap_ns <= POLL_EXPECT_NS)
		p->nr_misses = 0;
	else if (was_polled_in_vain && p->nr_misses < POLL_MAX_MISSES)
		p->nr_misses++;
}

/* Waits for events: polls for its budget, then sleeps. *ret_slept: it did not come without
 * sleeping. */
static int wait_events(struct pool *p, struct epoll_event *ev, bool *ret_slept)
{
	uint64_t budget_ns = poll_budget_ns(p);
	uint64_t start_ns = p->poll_us ? now_ns() : 0;
	uint64_t gap_ns = 0;
	int n = 0;

	*ret_slept = false;
	while (gap_ns < budget_ns) {
		n = epoll_wait(p->epoll_fd, ev, MAX_EVENTS, 0);
		gap_ns = now_ns() - start_ns;
		if (n)
			break;
	}
	if (!n) {
		*ret_slept = true;
		do { /* io_uring interrupts the thread that began a request when it has ended */
			n = epoll_wait(p->epoll_fd, ev, MAX_EVENTS, -1);
		} while (n < 0 && errno == EINTR);
	}
	if (p->poll_us < 0) {
		if (*ret_slept)
			gap_ns = now_ns() - start_ns;
		learn_gap(p, gap_ns, *ret_slept && budget_ns);
	}
	return n;
}

/* Turns events into task states. The lock is held. */
static void deliver(struct pool *p, const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		uintptr_t bits = (uintptr_t)ev[i].data.u64;
		struct pool_task *t = (struct pool_task *)(bits & ~RARE_BIT);

		if (bits == (uintptr_t)p)
			continue; /* a kick */
		if (bits & RARE_BIT)
			atomic_store_explicit(&t->has_rare, true, memory_order_relaxed);
		if (mark(t)) /* else it is queued or running already */
			push_ready(p, t);
	}
}

/* One turn as leader, with the lock held on entry and return. Leaves the leadership vacant. */
static void lead(struct pool *p)
{
	struct epoll_event ev[MAX_EVENTS];
	bool slept = false;
	bool may_wait;
	int n;

	p->has_leader = true;
	bury_dead(p);
	p->nr_runs_since_fetch = 0;
	may_wait = !p->nr_ready && !p->is_stopping; /* end() may have woken a task */
	p->is_waiting = may_wait;
	pthread_mutex_unlock(&p->lock);

	if (may_wait)
		n = wait_events(p, ev, &slept);
	else
		n = epoll_wait(p->epoll_fd, ev, MAX_EVENTS, 0);

	pthread_mutex_lock(&p->lock);
	deliver(p, ev, n);
	p->is_waiting = false;
	p->is_kicked = false;
	p->has_leader = false;
	if (slept)
		p->stats.waits++;
	else
		p->stats.polls++;
	/* One task is this thread's own. Those still to come were promised when they were
	 * signalled. */
	for (unsigned int woken = p->nr_waking; woken + 1 < p->nr_ready; woken++) {
		if (!wake_follower(p))
			break;
	}
}

static void follow(struct pool *p)
{
	p->nr_idle++;
	pthread_cond_wait(&p->follow, &p->lock);
	p->nr_idle--;
	if (p->nr_waking) /* a spurious wake-up may take another's place; then that one finds
			     nothing to do, no harm */
		p->nr_waking--;
}

static void *pool_thread(void *arg)
{
	struct pool *p = arg;

	own_pool = p;
	pthread_mutex_lock(&p->lock);
	while (!p->is_stopping) {
		bool is_fetch_due =
			!p->has_leader && p->nr_runs_since_fetch >= MAX_RUNS_BETWEEN_FETCHES;
		struct pool_task *t = is_fetch_due ? NULL : pop_ready(p);

		if (t)
			run_task(p, t);
		else if (!p->has_leader)
			lead(p);
		else
			follow(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

void pool_promote(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	if (!p->has_leader && !p->nr_waking)
		wake_follower(p);
	pthread_mutex_unlock(&p->lock);
}

void pool_get_stats(struct pool *p, struct pool_stats *ret_stats)
{
	pthread_mutex_lock(&p->lock);
	*ret_stats = p->stats;
	pthread_mutex_unlock(&p->lock);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int pool_init_fds(struct pool *p)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = (uintptr_t)p};

	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll_fd < 0)
		return -errno;
	p->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->kick_fd < 0)
		return -errno;
	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->kick_fd, &ev) < 0)
		return -errno;
	return 0;
}

int pool_create(const struct pool_options *opt, struct pool **ret_pool)
{
	struct pool *p;
	int r;

	assert(opt->threads >= 1);
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->epoll_fd = -1;
	p->kick_fd = -1;
	p->max_threads = opt->threads;
	p->poll_us = opt->poll_us;
	p->gap_ns = GAP_CEILING_NS;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->follow, NULL);
	list_init(&p->ready);
	list_init(&p->graveyard);
	list_init(&p->tasks);

	p->threads = calloc(opt->threads, sizeof(*p->threads));
	r = p->threads ? pool_init_fds(p) : -ENOMEM;
	if (r < 0) {
		log_error("cannot create the thread pool: %s", strerror(-r));
		pool_destroy(p);
		return r;
	}
	/* With one processor whoever makes the next event cannot do so while we poll for it. */
	if (p->poll_us < 0 && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		p->poll_us = 0;
	*ret_pool = p;
	return 0;
}

/* Signals are for the program's main thread: pool threads inherit a full mask. */
int pool_start(struct pool *p)
{
	sigset_t all;
	sigset_t old;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (p->nr_threads < p->max_threads) {
		r = pthread_create(&p->threads[p->nr_threads], NULL, pool_thread, p);
		if (r)
			break;
		p->nr_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		log_error("cannot start thread %u of %u: %s; check the limits on processes (ulimit "
			  "-u, TasksMax=)",
			  p->nr_threads + 1, p->max_threads, strerror(r));
	return -r;
}

static void pool_stop(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	kick_leader(p);
	pthread_cond_broadcast(&p->follow);
	pthread_mutex_unlock(&p->lock);
	for (unsigned int i = 0; i < p->nr_threads; i++)
		pthread_join(p->threads[i], NULL);
	p->nr_threads = 0;
}

static void end_all_tasks(struct pool *p)
{
	struct list *node;

	pthread_mutex_lock(&p->lock);
	bury_dead(p);
	while ((node = list_pop(&p->tasks))) {
		struct pool_task *t = list_entry(node, struct pool_task, all);

		if (!list_empty(&t->link)) {
			list_del(&t->link);
			p->nr_ready--;
		}
		atomic_store(&t->state, TASK_ENDED);
		pthread_mutex_unlock(&p->lock);
		t->end(t);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
}

void pool_destroy(struct pool *p)
{
	if (!p)
		return;
	assert(own_pool != p);
	pool_stop(p);
	end_all_tasks(p);
	if (p->kick_fd >= 0)
		close(p->kick_fd);
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	pthread_cond_destroy(&p->follow);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}
