/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "initiator/dev/slots.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

enum wake { WAKE_SOURCE = 1, WAKE_DATA = 2, WAKE_RARE = 4, WAKE_STOP = 8 };

#define WAKE_QUEUE  (WAKE_DATA | WAKE_RARE)
#define MAX_WAKES   4
#define EDGE_EVENTS (EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Memory of this thread must not be reclaimed by writing to the very device it serves. */
static void become_io_flusher(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_debug("PR_SET_IO_FLUSHER: %s", strerror(errno));
}

/* ---- sleeping -------------------------------------------------------------------------------- */

static int watch(struct dev_worker *w, int fd, enum wake wake, uint32_t more_events)
{
	struct epoll_event ev = {.events = EPOLLIN | more_events, .data.u32 = wake};

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* Requests that there is no room for stay in the kernel, and wake nobody. */
static int watch_source(struct dev_worker *w, bool is_wanted)
{
	int err = 0;

	if (is_wanted == w->is_source_watched)
		return 0;
	if (is_wanted)
		err = watch(w, w->source_fd, WAKE_SOURCE, w->is_shared ? EPOLLEXCLUSIVE : 0);
	else
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->source_fd, NULL);
	w->is_source_watched = is_wanted;
	return err;
}

/* A connection made again has another descriptor; the old one is closed and thus forgotten. */
static int watch_data(struct dev_worker *w)
{
	unsigned int before = w->fds.change;

	brp_queue_fds(w->queue, &w->fds);
	if (w->fds.change == before || w->fds.data < 0)
		return 0;
	return watch(w, w->fds.data, WAKE_DATA, EDGE_EVENTS);
}

/* What woke it: bits of enum wake. */
static int sleep_on(struct dev_worker *w, bool is_source_wanted)
{
	struct epoll_event events[MAX_WAKES];
	int err = watch_source(w, is_source_wanted);
	int wakes = 0;
	int n;

	if (err)
		return err;
	n = epoll_wait(w->epoll_fd, events, MAX_WAKES, -1);
	for (int i = 0; i < n; i++)
		wakes |= (int)events[i].data.u32;
	return wakes;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Everything there is: only then do the descriptors tell what comes next. */
static int drain(struct dev_worker *w, int wakes)
{
	int n;

	if (w->is_queue_gone || !(wakes & WAKE_QUEUE))
		return 0;
	n = brp_drain(w->queue, wakes & WAKE_RARE);
	while (n > 0)
		n = brp_drain(w->queue, false);
	if (n == 0)
		return watch_data(w);
	/* The session is lost for good: requests fail at once from here on. */
	w->is_queue_gone = true;
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->fds.rare, NULL);
	return 0;
}

static int pass(struct dev_worker *w, int wakes)
{
	int err = 0;

	if (wakes & WAKE_SOURCE) {
		err = w->ops->receive(w);
		w->is_blocked = !w->ops->can_receive(w);
	}
	if (err >= 0)
		err = drain(w, wakes);
	if (err >= 0)
		err = w->ops->flush(w);
	return err;
}

/* What was blocked is gone on with as soon as there is room: it may have been read from the source
 * already, which then wakes nobody. */
static int next_wakes(struct dev_worker *w)
{
	bool has_room = w->ops->can_receive(w);

	return has_room && w->is_blocked ? WAKE_SOURCE : sleep_on(w, has_room);
}

/* Requests that libbrp has must come back before the memory they use may go. */
static void wait_for_completions(struct dev_worker *w)
{
	int wakes = WAKE_QUEUE;

	while (drain(w, wakes) >= 0 && !w->is_queue_gone && brp_queue_in_flight(w->queue) > 0 &&
	       !atomic_load(&w->is_stopping))
		wakes = sleep_on(w, false);
}

static void *worker_main(void *arg)
{
	struct dev_worker *w = arg;
	int err;

	become_io_flusher();
	err = drain(w, WAKE_QUEUE);
	while (!atomic_load(&w->is_stopping) && err >= 0) {
		err = next_wakes(w);
		if (err >= 0)
			err = pass(w, err);
	}
	if (err < 0 && !atomic_load(&w->is_stopping)) {
		w->gone(w, err);
		wait_for_completions(w);
	}
	return NULL;
}

static int make_fds(struct dev_worker *w)
{
	int err;

	w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->stop_fd < 0)
		return -errno;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0)
		return -errno;
	err = watch(w, w->stop_fd, WAKE_STOP, 0);
	if (!err)
		err = watch_source(w, true);
	if (!err)
		err = watch_data(w);
	if (!err)
		err = watch(w, w->fds.rare, WAKE_RARE, EDGE_EVENTS);
	return err;
}

static void close_fds(struct dev_worker *w)
{
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	if (w->stop_fd >= 0)
		close(w->stop_fd);
	w->epoll_fd = -1;
	w->stop_fd = -1;
}

/* Signals are for the owner's thread. */
static int start_thread(struct dev_worker *w)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int dev_worker_start(struct dev_worker *w, const char *kind, unsigned int index)
{
	char name[16]; /* the kernel's limit */
	int err;

	w->epoll_fd = -1;
	w->stop_fd = -1;
	w->is_queue_gone = false;
	w->is_source_watched = false;
	w->fds = (struct brp_queue_fds){.data = -1};
	atomic_init(&w->is_stopping, false);
	snprintf(name, sizeof(name), "%s/%u", kind, index % 1000);
	err = make_fds(w);
	if (!err)
		err = start_thread(w);
	if (err) {
		log_error("cannot start the thread %s: %s", name, strerror(-err));
		close_fds(w);
		return err;
	}
	w->is_running = true;
	pthread_setname_np(w->thread, name);
	return 0;
}

static void join(struct dev_worker *w)
{
	uint64_t one = 1;

	atomic_store(&w->is_stopping, true);
	if (write(w->stop_fd, &one, sizeof(one)) < 0)
		log_error("cannot wake a thread: %s", strerror(errno));
	pthread_join(w->thread, NULL);
	w->is_running = false;
	close_fds(w);
}

void dev_worker_stop(struct dev_worker *w)
{
	if (w->is_running)
		join(w);
	if (w->source_fd >= 0)
		close(w->source_fd);
	w->source_fd = -1;
}

void dev_worker_finish(struct dev_worker *w)
{
	dev_pool_destroy(w->pool);
	w->pool = NULL;
}
