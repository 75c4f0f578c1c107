/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

enum wake { WAKE_SOURCE = 1, WAKE_QUEUE = 2, WAKE_STOP = 4 };

/* Memory of this thread must not be reclaimed by writing to the very device it serves. */
static void become_io_flusher(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_debug("PR_SET_IO_FLUSHER: %s", strerror(errno));
}

/* ---- sleeping -------------------------------------------------------------------------------- */

static unsigned int sleep_on_all(struct dev_worker *w)
{
	struct epoll_event events[3];
	unsigned int wakes = 0;
	int n = epoll_wait(w->epoll_fd, events, 3, -1);

	for (int i = 0; i < n; i++)
		wakes |= events[i].data.u32;
	return wakes;
}

/* Requests stay in the kernel: only what makes room counts. */
static unsigned int sleep_without_source(struct dev_worker *w)
{
	struct pollfd pfds[] = {
		{.fd = w->stop_fd, .events = POLLIN},
		{.fd = w->is_queue_gone ? -1 : brp_queue_fd(w->queue), .events = POLLIN},
	};

	if (poll(pfds, ARRAY_SIZE(pfds), -1) < 0)
		return 0;
	return (pfds[0].revents ? WAKE_STOP : 0) | (pfds[1].revents ? WAKE_QUEUE : 0);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int watch(struct dev_worker *w, int fd, enum wake wake, uint32_t more_events)
{
	struct epoll_event ev = {.events = EPOLLIN | more_events, .data.u32 = wake};

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* Completions until there are none: only then libbrp's descriptor may be slept on. */
static void poll_queue(struct dev_worker *w)
{
	int n;

	if (w->is_queue_gone)
		return;
	do {
		n = brp_poll(w->queue);
	} while (n > 0);
	if (n == 0)
		return;
	/* The session is lost for good: requests fail at once from here on. */
	w->is_queue_gone = true;
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, brp_queue_fd(w->queue), NULL);
}

static int pass(struct dev_worker *w, unsigned int wakes)
{
	int err = 0;

	if (wakes & WAKE_SOURCE) {
		err = w->ops->receive(w);
		w->is_blocked = !w->ops->can_receive(w);
	}
	poll_queue(w);
	if (err >= 0)
		err = w->ops->flush(w);
	return err;
}

/* What was blocked is gone on with as soon as there is room: it may have been read from the source
 * already, which then wakes nobody. */
static unsigned int next_wakes(struct dev_worker *w)
{
	if (!w->ops->can_receive(w))
		return sleep_without_source(w);
	return w->is_blocked ? WAKE_SOURCE : sleep_on_all(w);
}

/* Requests that libbrp has must come back before the memory they use may go. */
static void wait_for_completions(struct dev_worker *w)
{
	while (!w->is_queue_gone && brp_queue_in_flight(w->queue) > 0 &&
	       !atomic_load(&w->is_stopping)) {
		sleep_without_source(w);
		poll_queue(w);
	}
}

static void *worker_main(void *arg)
{
	struct dev_worker *w = arg;
	int err = 0;

	become_io_flusher();
	poll_queue(w);
	while (!atomic_load(&w->is_stopping) && err >= 0)
		err = pass(w, next_wakes(w));
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
		err = watch(w, brp_queue_fd(w->queue), WAKE_QUEUE, 0);
	if (!err)
		err = watch(w, w->source_fd, WAKE_SOURCE, w->is_shared ? EPOLLEXCLUSIVE : 0);
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

int dev_worker_start(struct dev_worker *w, const char *name)
{
	int err;

	w->epoll_fd = -1;
	w->stop_fd = -1;
	w->is_queue_gone = false;
	atomic_init(&w->is_stopping, false);
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

void dev_worker_stop(struct dev_worker *w)
{
	uint64_t one = 1;

	if (!w->is_running)
		return;
	atomic_store(&w->is_stopping, true);
	if (write(w->stop_fd, &one, sizeof(one)) < 0)
		log_error("cannot wake a thread: %s", strerror(errno));
	pthread_join(w->thread, NULL);
	w->is_running = false;
	close_fds(w);
}
