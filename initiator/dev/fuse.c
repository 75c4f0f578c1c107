/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Front end "fuse": a file of the volume's size, exported over /dev/fuse, under a loop device with
 * direct I/O. For machines with neither ublk nor nbd; only what every kernel since 5.8 has.
 *
 *	file system ── /dev/loopN ── FUSE file ── /dev/fuse (one descriptor per queue) ── libbrp
 *
 * The FUSE file system is mounted nowhere: fsmount() gives a descriptor of it, the image is opened
 * through that, and afterwards the loop device alone holds it. So nothing can be left behind in
 * the mount table, and nobody but us gets at the image. When this process dies, the kernel closes
 * /dev/fuse and with it aborts the connection: I/O fails, nothing hangs. What remains is a loop
 * device that gives errors, until fuse_cleanup().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "initiator/dev/aside.h"
#include "initiator/dev/front.h"
#include "initiator/dev/fuse_queue.h"
#include "initiator/dev/loop.h"
#include "initiator/dev/owner.h"

struct fuse_front {
	struct front front;
	struct fuse_shared shared;
	int mount_fd; /* -1: none */
	unsigned int nr_queues;
	struct fuse_queue *queues;
	int fds[FRONT_MAX_QUEUES]; /* of the queues, for dev_aside() */
};

static struct fuse_front *fuse_of(struct front *f)
{
	return container_of(f, struct fuse_front, front);
}

/* ---- probe ----------------------------------------------------------------------------------- */

static int probe_open(const char *path, const char *module, char *why, size_t why_bytes)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		int err = -errno;

		snprintf(why, why_bytes, "%s: %s; %s%s", path, strerror(-err),
			 err == -EACCES || err == -EPERM ? "run it as root" : "modprobe ",
			 err == -EACCES || err == -EPERM ? "" : module);
		return err;
	}
	close(fd);
	return 0;
}

static int fuse_probe(char *why, size_t why_bytes)
{
	int err = probe_open("/dev/fuse", "fuse", why, why_bytes);
	int fd;

	if (!err)
		err = probe_open("/dev/loop-control", "loop", why, why_bytes);
	if (err)
		return err;
	fd = fsopen("fuse", FSOPEN_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		snprintf(why, why_bytes, "mounting a FUSE file system: %s%s", strerror(-err),
			 err == -EPERM ? "; needs CAP_SYS_ADMIN: run it as root" : "");
		return err;
	}
	close(fd);
	return 0;
}

/* ---- the connection -------------------------------------------------------------------------- */

static int set_option(int fs, const char *key, const char *value)
{
	return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static int configure_mount(int fs, int fuse_fd)
{
	char number[16];
	int err;

	snprintf(number, sizeof(number), "%d", fuse_fd);
	err = set_option(fs, "source", "brp");
	if (!err)
		err = set_option(fs, "fd", number);
	if (!err)
		err = set_option(fs, "rootmode", "40000");
	if (!err)
		err = set_option(fs, "user_id", "0");
	if (!err)
		err = set_option(fs, "group_id", "0");
	if (!err && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		err = -errno;
	return err;
}

/* A descriptor of the mounted file system, or a negative errno. */
static int mount_detached(int fuse_fd)
{
	int fs = fsopen("fuse", FSOPEN_CLOEXEC);
	int fd, err;

	if (fs < 0)
		return -errno;
	err = configure_mount(fs, fuse_fd);
	fd = err ? err
		 : fsmount(fs, FSMOUNT_CLOEXEC,
			   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fd == -1)
		fd = -errno;
	close(fs);
	return fd;
}

/* Another descriptor of the connection that fuse_fd has, or a negative errno. */
static int clone_fd(int fuse_fd)
{
	uint32_t of = (uint32_t)fuse_fd;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int err;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, FUSE_DEV_IOC_CLONE, &of) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int start_queues(struct fuse_front *f, const struct front_config *c)
{
	int err = 0;

	for (unsigned int i = 0; i < c->nr_queues && !err; i++) {
		int fd = i == 0 ? f->fds[0] : clone_fd(f->fds[0]);

		if (fd < 0) {
			log_error("%s: another descriptor of /dev/fuse: %s", c->name,
				  strerror(-fd));
			return fd;
		}
		f->fds[i] = fd;
		f->nr_queues = i + 1;
		err = fuse_queue_init(&f->queues[i], &f->shared, c, i, fd);
	}
	for (unsigned int i = 0; i < f->nr_queues && !err; i++)
		err = dev_worker_start(&f->queues[i].worker, "brp-fuse", i);
	return err;
}

static int connect_fuse(struct fuse_front *f, const struct front_config *c)
{
	f->fds[0] = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (f->fds[0] < 0) {
		int err = -errno;

		log_error("/dev/fuse: %s", strerror(-err));
		return err;
	}
	f->mount_fd = mount_detached(f->fds[0]);
	if (f->mount_fd < 0) {
		log_error("%s: mounting a FUSE file system: %s", c->name, strerror(-f->mount_fd));
		close(f->fds[0]);
		return f->mount_fd;
	}
	return start_queues(f, c);
}

/* ---- the device: these run aside ------------------------------------------------------------- */

static int open_image(const struct fuse_front *f, int flags)
{
	int fd = openat(f->mount_fd, f->shared.volume.image, flags | O_CLOEXEC);
	int err = -errno;

	if (fd >= 0)
		return fd;
	log_error("%s: opening the image: %s", f->shared.volume.image, strerror(-err));
	return err;
}

/* The number of the loop device. */
static int attach(void *arg)
{
	const struct fuse_front *f = arg;
	const struct fuse_volume *v = &f->shared.volume;
	char label[OWNER_BYTES];
	struct loop_config_request r = {
		.label = label,
		.size_bytes = v->size_bytes,
		.block_bytes = v->block_bytes,
		.is_read_only = v->is_read_only,
	};
	int number;

	owner_mark(label, v->image);
	r.file_fd = open_image(f, O_DIRECT | (v->is_read_only ? O_RDONLY : O_RDWR));
	if (r.file_fd < 0)
		return r.file_fd;
	number = loop_attach(&r);
	close(r.file_fd);
	return number;
}

static int detach(void *arg)
{
	const struct fuse_front *f = arg;

	return loop_detach(f->front.id);
}

/* The kernel asks for the image's attributes again, then loop looks at them. */
static int follow_size(void *arg)
{
	const struct fuse_front *f = arg;
	struct statx st;
	int fd = open_image(f, O_RDONLY);
	int err = 0;

	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &st) < 0)
		err = -errno;
	close(fd);
	if (!err)
		err = loop_resize(f->front.id, atomic_load(&f->shared.size_bytes));
	if (err)
		log_error("%s: the new size: %s", f->front.path, strerror(-err));
	return err;
}

static int run_aside(struct fuse_front *f, int (*fn)(void *arg))
{
	return dev_aside(fn, f, f->fds, f->nr_queues);
}

/* ---- front.h --------------------------------------------------------------------------------- */

static void fuse_destroy(struct front *front)
{
	struct fuse_front *f = fuse_of(front);

	for (unsigned int i = 0; i < f->nr_queues; i++)
		dev_worker_finish(&f->queues[i].worker);
	free(f->queues);
	free(f);
}

/* With the last descriptor the connection ends, and what is open on it gets errors. */
static void disconnect_fuse(struct fuse_front *f)
{
	for (unsigned int i = 0; i < f->nr_queues; i++)
		dev_worker_stop(&f->queues[i].worker);
	if (f->mount_fd >= 0)
		close(f->mount_fd);
	f->mount_fd = -1;
}

static int fuse_stop(struct front *front)
{
	struct fuse_front *f = fuse_of(front);
	int err = run_aside(f, detach);

	if (err == -EBUSY)
		log_warning("%s is in use: its I/O fails from now on, and it goes away when it is "
			    "closed",
			    front->path);
	else if (err == -ENXIO)
		err = 0; /* somebody detached it */
	else if (err)
		log_error("%s: detaching: %s", front->path, strerror(-err));
	disconnect_fuse(f);
	return err;
}

static struct fuse_front *new_front(const struct front_config *c)
{
	struct fuse_front *f = calloc(1, sizeof(*f));
	uint32_t background = c->nr_queues * c->queue_depth;

	if (!f)
		return NULL;
	f->queues = calloc(c->nr_queues, sizeof(*f->queues));
	f->front = (struct front){.ops = &fuse_front, .id = FRONT_NO_ID};
	f->mount_fd = -1;
	f->shared = (struct fuse_shared){
		.volume =
			{
				.image = c->name,
				.size_bytes = c->info.size_bytes,
				.block_bytes = c->info.block_bytes,
				.max_background = (uint16_t)MIN(background, (uint32_t)UINT16_MAX),
				.is_read_only = c->info.read_only,
				.is_write_back = c->info.is_write_back,
				.has_write_zeroes = c->info.has_write_zeroes,
			},
		.gone = c->gone,
		.arg = c->arg,
	};
	atomic_init(&f->shared.size_bytes, c->info.size_bytes);
	atomic_init(&f->shared.is_gone, false);
	return f;
}

static int fuse_create(const struct front_config *c, struct front **ret_front)
{
	struct fuse_front *f;
	int number;

	if (c->recover_id != FRONT_NO_ID)
		return -EOPNOTSUPP;
	f = new_front(c);
	if (!f)
		return -ENOMEM;
	number = f->queues ? connect_fuse(f, c) : -ENOMEM;
	if (!number)
		number = run_aside(f, attach);
	if (number < 0) {
		disconnect_fuse(f);
		fuse_destroy(&f->front);
		return number;
	}
	f->front.id = number;
	loop_path(number, f->front.path, sizeof(f->front.path));
	*ret_front = &f->front;
	return 0;
}

static int fuse_resize(struct front *front, uint64_t size_bytes)
{
	struct fuse_front *f = fuse_of(front);

	atomic_store(&f->shared.size_bytes, size_bytes);
	return run_aside(f, follow_size);
}

/* Only a device of ours whose process is no more: its number may be somebody else's by now. */
static int fuse_cleanup(int id)
{
	char label[OWNER_BYTES];
	int err = loop_label(id, label, sizeof(label));

	if (!err && owner_is_dead(label))
		err = loop_detach(id);
	return err == -ENXIO || err == -ENOENT || err == -EBUSY ? 0 : err;
}

const struct front_ops fuse_front = {
	.name = "fuse",
	.probe = fuse_probe,
	.create = fuse_create,
	.resize = fuse_resize,
	.stop = fuse_stop,
	.destroy = fuse_destroy,
	.cleanup = fuse_cleanup,
};
