/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A back end around another that fails and delays on purpose. The same request goes down to the
 * other one: while it waits here it is in a list of this queue, sorted by the time when it is due,
 * and a timer wakes the owner for the first. One descriptor stands for the timer, the lower queue
 * and the volatile cache: an epoll set.
 */
#include "target/backend/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"
#include "target/backend/fault_cache.h"
#include "target/backend/ops.h"

#define POLL_BATCH 32u

struct fault_volume {
	struct bk_volume volume;
	struct bk_volume *lower;
	struct fault_cache *cache; /* NULL: none */
	bool is_sync;              /* write-through: every change is a FUA one */
	bool is_unsafe_no_flush;
	struct fault_plan plan;
};

struct fault_queue {
	struct bk_queue queue;
	struct fault_volume *v;
	struct bk_queue *lower;
	int epoll_fd;
	int timer_fd;
	struct fault_cache_port port;
	uint64_t armed_ns; /* 0 = not armed */
	struct list waiting;
};

/* In the request's scratch while it waits. */
struct fault_wait {
	uint64_t due_ns;
	int64_t err; /* how it ends; 0 = by the lower back end */
};
static_assert(sizeof(struct fault_wait) <= sizeof(((struct bk_req *)0)->scratch),
	      "a request carries its wait");

static struct fault_queue *to_fault(const struct bk_queue *q)
{
	return container_of(q, struct fault_queue, queue);
}

static struct fault_wait *wait_of(struct bk_req *r)
{
	void *scratch = r->scratch;

	return scratch;
}

static struct bk_req *to_req(struct list *node)
{
	return list_entry(node, struct bk_req, link);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* For the first that is due; what is stalled does not count. */
static void arm_timer(struct fault_queue *q)
{
	struct itimerspec at = {0};
	uint64_t due_ns = 0;

	if (!list_empty(&q->waiting))
		due_ns = wait_of(to_req(q->waiting.next))->due_ns;
	if (due_ns == q->armed_ns || due_ns == FAULT_FOR_EVER)
		return;
	at.it_value.tv_sec = (time_t)(due_ns / NS_PER_S);
	at.it_value.tv_nsec = (long)(due_ns % NS_PER_S);
	timerfd_settime(q->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
	q->armed_ns = due_ns;
}

/* From the end: with one delay for all that is the place. */
static void hold(struct fault_queue *q, struct bk_req *r, uint64_t delay_ns, int err)
{
	struct list *after = q->waiting.prev;
	struct fault_wait *w = wait_of(r);

	w->due_ns = delay_ns == FAULT_FOR_EVER ? FAULT_FOR_EVER : now_ns() + delay_ns;
	w->err = err;
	while (after != &q->waiting && wait_of(to_req(after))->due_ns > w->due_ns)
		after = after->prev;
	list_add_head(after, &r->link);
	arm_timer(q);
}

static void to_cache(struct fault_queue *q, struct bk_req *r)
{
	switch (fault_cache_submit(q->v->cache, &q->port, r, r->is_fua)) {
	case FAULT_CACHE_DONE:
		bk_finish(&q->queue, r, 0);
		break;
	case FAULT_CACHE_LOWER:
		bk_submit(q->lower, r);
		break;
	case FAULT_CACHE_TAKEN:
		break;
	}
}

static void pass_on(struct fault_queue *q, struct bk_req *r, int err)
{
	const struct fault_volume *v = q->v;

	if (err < 0 || (v->is_unsafe_no_flush && r->op == BRP_OP_FLUSH))
		bk_finish(&q->queue, r, err);
	else if (v->cache)
		to_cache(q, r);
	else
		bk_submit(q->lower, r);
}

static void release_due(struct fault_queue *q)
{
	uint64_t t = now_ns();
	bool has_passed = false;

	while (!list_empty(&q->waiting)) {
		struct bk_req *r = to_req(q->waiting.next);

		if (wait_of(r)->due_ns > t)
			break;
		list_del(&r->link);
		pass_on(q, r, (int)wait_of(r)->err);
		has_passed = true;
	}
	if (!has_passed)
		return;
	bk_flush(q->lower);
	arm_timer(q);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void fault_submit(struct bk_queue *queue, struct bk_req *r)
{
	struct fault_queue *q = to_fault(queue);
	uint64_t delay_ns;
	int err = fault_plan_apply(&q->v->plan, r, &delay_ns);

	r->is_fua = (r->is_fua || q->v->is_sync) && !q->v->is_unsafe_no_flush;
	if (delay_ns)
		hold(q, r, delay_ns, err);
	else
		pass_on(q, r, err);
}

static void fault_flush(struct bk_queue *queue)
{
	bk_flush(to_fault(queue)->lower);
}

static void fault_reap(struct bk_queue *queue)
{
	struct fault_queue *q = to_fault(queue);
	struct bk_req *done[POLL_BATCH];
	struct epoll_event ev[3];
	struct bk_req *r;
	unsigned int n;

	epoll_wait(q->epoll_fd, ev, 3, 0); /* its events are edges: this takes them off */
	release_due(q);
	do {
		n = bk_poll(q->lower, done, POLL_BATCH);
		for (unsigned int i = 0; i < n; i++)
			bk_finish(queue, done[i], done[i]->result);
	} while (n == POLL_BATCH);
	if (bk_queue_fd(q->lower) < 0 && bk_in_flight(q->lower))
		eventfd_write(q->port.event_fd, 1); /* to be polled again */
	while (q->v->cache && (r = fault_cache_reap(&q->port)))
		bk_finish(queue, r, r->result);
}

static int fault_queue_fd(const struct bk_queue *q)
{
	return to_fault(q)->epoll_fd;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void fault_use_memory(struct bk_queue *q, void *base, size_t bytes)
{
	bk_queue_use_memory(to_fault(q)->lower, base, bytes);
}

static void fault_queue_destroy(struct bk_queue *queue)
{
	struct fault_queue *q = to_fault(queue);

	bk_queue_destroy(q->lower);
	fault_cache_port_finish(&q->port);
	if (q->timer_fd >= 0)
		close(q->timer_fd);
	if (q->epoll_fd >= 0)
		close(q->epoll_fd);
	free(q);
}

static int watch(struct fault_queue *q, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};

	return epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int fault_queue_init(struct fault_queue *q, unsigned int depth)
{
	int r = fault_cache_port_init(&q->port);

	if (!r)
		r = bk_queue_create(q->v->lower, depth, &q->lower);
	if (r < 0)
		return r;
	q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (q->epoll_fd < 0)
		return -errno;
	q->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (q->timer_fd < 0)
		return -errno;
	r = watch(q, q->timer_fd);
	if (!r)
		r = watch(q, q->port.event_fd);
	if (!r && bk_queue_fd(q->lower) >= 0)
		r = watch(q, bk_queue_fd(q->lower));
	return r;
}

static int fault_queue_create(struct bk_volume *v, unsigned int depth, struct bk_queue **ret_queue)
{
	struct fault_queue *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	q->v = container_of(v, struct fault_volume, volume);
	q->epoll_fd = -1;
	q->timer_fd = -1;
	q->port.event_fd = -1;
	list_init(&q->waiting);
	r = fault_queue_init(q, depth);
	if (r < 0) {
		fault_queue_destroy(&q->queue);
		return r;
	}
	*ret_queue = &q->queue;
	return 0;
}

static void fault_close(struct bk_volume *volume)
{
	struct fault_volume *v = container_of(volume, struct fault_volume, volume);

	fault_cache_destroy(v->cache);
	bk_close(v->lower);
	free(v);
}

static int fault_resize(struct bk_volume *volume, uint64_t set_bytes, uint64_t *ret_bytes)
{
	struct fault_volume *v = container_of(volume, struct fault_volume, volume);

	return bk_resize(v->lower, set_bytes, true, ret_bytes);
}

static const struct bk_ops fault_ops = {
	.close = fault_close,
	.resize = fault_resize,
	.queue_create = fault_queue_create,
	.queue_destroy = fault_queue_destroy,
	.queue_fd = fault_queue_fd,
	.use_memory = fault_use_memory,
	.submit = fault_submit,
	.flush = fault_flush,
	.reap = fault_reap,
};

/* A cache of ours: lost with the process, so another boot id each time it is opened. */
static int add_cache(struct fault_volume *v)
{
	struct bk_info *info = &v->volume.info;

	if (!v->plan.cache_bytes)
		return 0;
	bk_uuid_random(&info->boot_id);
	info->cache = BRP_CACHE_WRITE_BACK;
	return fault_cache_create(v->lower, v->plan.cache_bytes, &v->cache);
}

static int fault_init(struct fault_volume *v, const struct bk_spec *spec)
{
	int r = 0;

	v->is_unsafe_no_flush = spec->is_unsafe_no_flush;
	v->is_sync = spec->is_write_through;
	if (spec->fault)
		r = fault_plan_parse(spec->path, spec->fault, &v->plan);
	if (!r)
		r = add_cache(v);
	if (r < 0)
		return r;
	if (v->is_sync)
		v->volume.info.cache = BRP_CACHE_WRITE_THROUGH;
	if (spec->fault)
		log_notice("%s: fails and delays on purpose: %s", spec->path, spec->fault);
	if (v->is_unsafe_no_flush)
		log_warning("%s: FLUSH and FUA do nothing on purpose: this volume loses data",
			    spec->path);
	return 0;
}

int fault_open(const struct bk_spec *spec, struct bk_volume *lower, struct bk_volume **ret_volume)
{
	struct fault_volume *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		bk_close(lower);
		return -ENOMEM;
	}
	v->volume.ops = &fault_ops;
	v->volume.kind = "fault";
	v->lower = lower;
	/* No mapping of memory volumes: what moves without a request cannot be made to fail. */
	bk_get_info(lower, &v->volume.info);
	v->volume.info.is_inline = false;
	r = fault_init(v, spec);
	if (r < 0) {
		fault_close(&v->volume);
		return r;
	}
	*ret_volume = &v->volume;
	return 0;
}
