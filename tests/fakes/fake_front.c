/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A front end without a kernel device, for tests of brp-initiator where there is none that can
 * recover, or no root: the "device" is a file, $BRP_RUN_DIR/fake-ID. It serves no I/O; its threads
 * only look after their queues. It stays when its process is killed, and another can take it over,
 * as with ublk. With $BRP_FAKE_CRASH=yes a start with recover_id kills its process.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "initiator/dev/front.h"

#define MAX_DEVICES 1000

static const struct front_ops fake_front;

struct fake_queue {
	struct fake *fake;
	struct brp_queue *queue;
	pthread_t thread;
};

struct fake {
	struct front front;
	char file[PATH_MAX];
	atomic_bool is_stopping;
	unsigned int nr_started;
	struct fake_queue queues[FRONT_MAX_QUEUES];
};

static void file_of(char path[PATH_MAX], int id)
{
	const char *dir = getenv("BRP_RUN_DIR");

	snprintf(path, PATH_MAX, "%s/fake-%d", dir ? dir : "/tmp", id);
}

static int fake_probe(char *why, size_t why_bytes)
{
	if (!getenv("BRP_FAKE_MISSING"))
		return 0;
	snprintf(why, why_bytes, "there is no fake today; unset BRP_FAKE_MISSING");
	return -ENODEV;
}

static void *serve(void *arg)
{
	struct fake_queue *q = arg;

	while (!atomic_load(&q->fake->is_stopping))
		brp_wait(q->queue, 20);
	return NULL;
}

static int take_name(struct fake *f, int recover_id)
{
	int first = recover_id == FRONT_NO_ID ? 0 : recover_id;

	for (int id = first; id < MAX_DEVICES; id++) {
		int fd;

		file_of(f->file, id);
		if (strlen(f->file) >= sizeof(f->front.path))
			return -ENAMETOOLONG;
		fd = open(f->file, O_WRONLY | O_CLOEXEC | (recover_id == id ? 0 : O_CREAT | O_EXCL),
			  0600);
		if (fd < 0 && recover_id != FRONT_NO_ID)
			return -errno;
		if (fd < 0)
			continue;
		close(fd);
		f->front.id = id;
		memcpy(f->front.path, f->file, sizeof(f->front.path));
		return 0;
	}
	return -ENOSPC;
}

static int fake_stop(struct front *front)
{
	struct fake *f = container_of(front, struct fake, front);

	atomic_store(&f->is_stopping, true);
	for (unsigned int i = 0; i < f->nr_started; i++)
		pthread_join(f->queues[i].thread, NULL);
	f->nr_started = 0;
	return unlink(f->file) ? -errno : 0;
}

static void fake_destroy(struct front *front)
{
	free(container_of(front, struct fake, front));
}

static int fake_create(const struct front_config *c, struct front **ret_front)
{
	struct fake *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->front.ops = &fake_front;
	if (c->recover_id != FRONT_NO_ID && getenv("BRP_FAKE_CRASH"))
		raise(SIGKILL);
	err = take_name(f, c->recover_id);
	for (unsigned int i = 0; i < c->nr_queues && !err; i++) {
		f->queues[i].fake = f;
		f->queues[i].queue = brp_session_queue(c->session, i);
		err = -pthread_create(&f->queues[i].thread, NULL, serve, &f->queues[i]);
		f->nr_started += !err;
	}
	if (err) {
		fake_stop(&f->front);
		fake_destroy(&f->front);
		return err;
	}
	*ret_front = &f->front;
	return 0;
}

static int fake_resize(struct front *front, uint64_t size_bytes)
{
	log_notice("%s: told %llu bytes", front->path, (unsigned long long)size_bytes);
	return 0;
}

static int fake_cleanup(int id)
{
	char path[PATH_MAX];

	file_of(path, id);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

static const struct front_ops fake_front = {
	.name = "fake",
	.probe = fake_probe,
	.create = fake_create,
	.resize = fake_resize,
	.stop = fake_stop,
	.destroy = fake_destroy,
	.cleanup = fake_cleanup,
};

const struct front_ops *front_at(unsigned int index)
{
	return index == 0 ? &fake_front : NULL;
}
