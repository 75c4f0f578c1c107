/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Spinning (poll_us = -1): where answers come within a few microseconds, sleeping and being woken
 * would be most of a wait. So a wait spins for about twice what spinning took on average. When it
 * was in vain a few times, or takes long, spinning pauses, for longer and longer, and is then tried
 * again. What a sleep took says nothing: most of it can be the waking. Nothing on the wire: no
 * spinning.
 *
 * With one CPU the answer may need it too: the target on the same machine, the kernel's threads
 * that work for the adapter. So each look in vain gives way to them, and only what the looks
 * themselves took counts. Somebody who computes for long takes the whole of his time slice then,
 * which a thread that was woken would not wait for: that ends spinning for a while at once.
 */
#include "initiator/internal.h"

#include <errno.h>
#include <sched.h>

#define SPIN_WORTH_NS   (25 * NS_PER_US) /* go on spinning only when it mostly takes less */
#define SPIN_MAX_NS     (50 * NS_PER_US) /* longest spin of a wait */
#define SPIN_SLACK_NS   (5 * NS_PER_US)
#define SPIN_TRIES      8u /* waits before the average counts: the target may have to wake up first */
#define SPIN_MAX_MISSES 8u  /* in a row */
#define SPIN_MIN_PAUSE  64u /* waits */
#define SPIN_MAX_PAUSE  4096u

#define LOOK_NS   (1 * NS_PER_US) /* a look and giving way; the rest is others' */
#define HOGGED_NS NS_PER_MS       /* gave way to somebody who does not do the same */

static bool has_one_cpu(void)
{
	static atomic_int nr_cpus; /* 0: not asked yet */
	cpu_set_t set;
	int n = atomic_load_explicit(&nr_cpus, memory_order_relaxed);

	if (n == 0) {
		n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 2;
		atomic_store_explicit(&nr_cpus, n, memory_order_relaxed);
	}
	return n == 1;
}

bool ini_spin_is_due(const struct brp_queue *q)
{
	int poll_us = q->session->opt.poll_us;

	return poll_us >= 0 ? poll_us > 0 : q->on_wire > 0 && q->spin.pause == 0;
}

uint64_t ini_spin_budget(struct brp_queue *q)
{
	int poll_us = q->session->opt.poll_us;
	struct ini_spin *s = &q->spin;

	if (poll_us >= 0)
		return (uint64_t)poll_us * NS_PER_US;
	if (q->on_wire == 0)
		return 0;
	if (s->pause > 0) {
		s->pause--;
		return 0;
	}
	return s->ewma_ns ? MIN(2 * s->ewma_ns + SPIN_SLACK_NS, SPIN_MAX_NS) : SPIN_MAX_NS;
}

static void stop_spinning(struct ini_spin *s)
{
	s->next_pause = MIN(MAX(2 * s->next_pause, SPIN_MIN_PAUSE), SPIN_MAX_PAUSE);
	s->pause = s->next_pause;
	s->misses = 0;
	s->tries = 0;
	s->ewma_ns = 0;
}

void ini_spin_learn(struct ini_spin *s, uint64_t spun_ns, bool has_slept)
{
	if (has_slept) {
		if (++s->misses >= SPIN_MAX_MISSES)
			stop_spinning(s);
		return;
	}
	s->ewma_ns = s->ewma_ns ? (7 * s->ewma_ns + spun_ns) / 8 : spun_ns;
	s->misses = 0;
	if (s->tries < SPIN_TRIES)
		s->tries++;
	else if (s->ewma_ns > SPIN_WORTH_NS)
		stop_spinning(s);
	else if (s->next_pause > SPIN_MIN_PAUSE)
		s->next_pause--; /* it pays: believe in it again, slowly */
}

/* ---- looking --------------------------------------------------------------------------------- */

static void relax(void)
{
	if (has_one_cpu()) {
		sched_yield();
		return;
	}
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Adds to *own_ns what a look that began at since_ns took of us; returns the time. */
static uint64_t account(struct ini_spin *s, uint64_t since_ns, uint64_t *own_ns)
{
	uint64_t now = now_ns();
	uint64_t took_ns = now - since_ns;

	if (!has_one_cpu()) {
		*own_ns += took_ns;
		return now;
	}
	*own_ns += MIN(took_ns, LOOK_NS);
	if (took_ns > HOGGED_NS) {
		stop_spinning(s);
		*own_ns += SPIN_MAX_NS;
	}
	return now;
}

uint64_t ini_spin(struct brp_queue *q, uint64_t now, uint64_t budget_ns, uint64_t end_ns,
		  bool (*has_other)(void *arg), void *arg)
{
	uint64_t before = q->nr_called;
	uint64_t own_ns = 0;
	bool is_over;

	do {
		int n = ini_wait_pass(q);

		is_over = q->nr_called != before || !q->is_up || (has_other && has_other(arg));
		if (n <= 0 && !is_over)
			relax();
		now = account(&q->spin, now, &own_ns);
	} while (!is_over && own_ns < budget_ns && now < end_ns);
	return own_ns;
}

/* A look at a stream is a system call, and its descriptor wakes the loop all the same. */
static bool pays(const struct brp_queue *q)
{
	if (!q->is_up || q->on_wire == 0)
		return false;
	return q->session->opt.poll_us >= 0 || !fabric_conn_is_stream(q->conn->fabric);
}

int brp_spin(struct brp_queue *q, bool (*has_other)(void *arg), void *arg)
{
	uint64_t before = q->nr_called;
	uint64_t budget_ns, own_ns;

	if (q->is_polling)
		return -EDEADLK;
	budget_ns = pays(q) ? ini_spin_budget(q) : 0;
	if (budget_ns == 0)
		return -EAGAIN;
	own_ns = ini_spin(q, now_ns(), budget_ns, INI_FOREVER, has_other, arg);
	if (q->session->opt.poll_us < 0 && (q->nr_called != before || own_ns >= budget_ns))
		ini_spin_learn(&q->spin, own_ns, q->nr_called == before);
	return (int)(q->nr_called - before);
}
