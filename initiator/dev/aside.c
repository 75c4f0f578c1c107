/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/aside.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "common/log.h"

struct call {
	int (*fn)(void *arg);
	void *arg;
	const int *fds;
	unsigned int nr_fds;
	int result;
};

static void *aside_main(void *arg)
{
	struct call *c = arg;

	if (unshare(CLONE_FILES) < 0) {
		c->result = -errno;
		return NULL;
	}
	for (unsigned int i = 0; i < c->nr_fds; i++)
		close(c->fds[i]);
	c->result = c->fn(c->arg);
	return NULL;
}

int dev_aside(int (*fn)(void *arg), void *arg, const int *fds, unsigned int nr_fds)
{
	struct call c = {.fn = fn, .arg = arg, .fds = fds, .nr_fds = nr_fds};
	pthread_t thread;
	int err = -pthread_create(&thread, NULL, aside_main, &c);

	if (err)
		return err;
	pthread_join(thread, NULL);
	return c.result;
}
