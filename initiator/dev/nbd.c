/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Front end "nbd": the kernel's nbd driver, talking to us over socket pairs instead of a network.
 *
 *	file system ── /dev/nbdN ── one socket pair per queue ── libbrp
 *
 * When this process dies the driver notices the end of its sockets: new requests fail, but those it
 * had sent to us stay until somebody disconnects the device, which is nbd_cleanup()'s to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "initiator/dev/aside.h"
#include "initiator/dev/front.h"
#include "initiator/dev/nbd_netlink.h"
#include "initiator/dev/nbd_queue.h"
#include "initiator/dev/owner.h"

#define SOCKET_BYTES (4 << 20) /* what a socket may hold: several long requests */

struct nbd_front {
	struct front front;
	struct nbd_shared shared;
	unsigned int nr_queues;
	struct nbd_queue *queues;
	int fds[FRONT_MAX_QUEUES]; /* our ends, for dev_aside() */
};

static struct nbd_front *nbd_of(struct front *f)
{
	return container_of(f, struct nbd_front, front);
}

static int nbd_probe(char *why, size_t why_bytes)
{
	int err;

	if (geteuid() != 0) {
		snprintf(why, why_bytes, "nbd devices need CAP_SYS_ADMIN: run it as root");
		return -EPERM;
	}
	err = nbd_netlink_probe();
	if (err == -ENOENT)
		snprintf(why, why_bytes, "no nbd driver in the kernel: modprobe nbd");
	else if (err)
		snprintf(why, why_bytes, "nbd over netlink: %s", strerror(-err));
	return err;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static void enlarge(int fd)
{
	const int bytes = SOCKET_BYTES;

	/* Without CAP_NET_ADMIN up to the system's limit; smaller only means more wake-ups. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* A queue over a new pair; the kernel's end is *ret_fd. */
static int add_queue(struct nbd_front *f, const struct front_config *c, unsigned int index,
		     int *ret_fd)
{
	int fds[2];
	int err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		err = -errno;
		log_error("%s: socketpair: %s", c->name, strerror(-err));
		return err;
	}
	enlarge(fds[0]);
	enlarge(fds[1]);
	*ret_fd = fds[1];
	f->fds[index] = fds[0];
	f->nr_queues = index + 1;
	err = nbd_queue_init(&f->queues[index], &f->shared, c, index, fds[0]);
	return err ? err : dev_worker_start(&f->queues[index].worker, "brp-nbd", index);
}

static int connect_device(const struct front_config *c, const int *fds)
{
	char mark[OWNER_BYTES];
	const struct nbd_setup setup = {
		.fds = fds,
		.nr_fds = c->nr_queues,
		.size_bytes = c->info.size_bytes,
		.block_bytes = c->info.block_bytes,
		.flags = nbd_flags_of(&c->info),
		.mark = mark,
	};
	int number;

	owner_mark(mark, c->name);
	number = nbd_netlink_connect(&setup);
	if (number == -EINVAL && c->info.block_bytes > 4096)
		log_error("%s: this kernel's nbd takes no blocks of %u bytes", c->name,
			  c->info.block_bytes);
	else if (number < 0)
		log_error("%s: connecting an nbd device: %s", c->name, strerror(-number));
	return number;
}

/* The number of the device. */
static int set_up(struct nbd_front *f, const struct front_config *c)
{
	int fds[FRONT_MAX_QUEUES];
	unsigned int nr_fds = 0;
	int r = 0;

	for (; nr_fds < c->nr_queues && r == 0; nr_fds++) {
		fds[nr_fds] = -1;
		r = add_queue(f, c, nr_fds, &fds[nr_fds]);
	}
	if (r == 0)
		r = connect_device(c, fds);
	/* The driver has references of its own. */
	for (unsigned int i = 0; i < nr_fds; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return r;
}

/* ---- these run aside ------------------------------------------------------------------------- */

/* The first one who opens it makes the kernel read the partition table. */
static int open_once(void *arg)
{
	const struct nbd_front *f = arg;
	int fd = open(f->front.path, O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0) {
		err = -errno;
		log_error("%s: %s", f->front.path, strerror(-err));
		return err;
	}
	close(fd);
	return err;
}

/* What is in the page cache is written; the driver would fail it. */
static int write_back(void *arg)
{
	const struct nbd_front *f = arg;
	int fd = open(f->front.path, O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int run_aside(struct nbd_front *f, int (*fn)(void *arg))
{
	return dev_aside(fn, f, f->fds, f->nr_queues);
}

/* ---- front.h --------------------------------------------------------------------------------- */

static void nbd_destroy(struct front *front)
{
	struct nbd_front *f = nbd_of(front);

	for (unsigned int i = 0; i < f->nr_queues; i++)
		dev_worker_finish(&f->queues[i].worker);
	free(f->queues);
	free(f);
}

static void stop_queues(struct nbd_front *f)
{
	atomic_store(&f->shared.is_ending, true);
	for (unsigned int i = 0; i < f->nr_queues; i++)
		dev_worker_stop(&f->queues[i].worker);
}

static int nbd_stop(struct front *front)
{
	struct nbd_front *f = nbd_of(front);
	bool is_gone = atomic_load(&f->shared.is_ending);
	int err = is_gone ? 0 : run_aside(f, write_back);
	int r;

	if (err)
		log_error("%s: writing back before it goes: %s", front->path, strerror(-err));
	atomic_store(&f->shared.is_ending, true);
	r = nbd_netlink_disconnect(front->id);
	if (r && !is_gone) {
		log_error("%s: disconnecting: %s", front->path, strerror(-r));
		err = err ? err : r;
	}
	stop_queues(f);
	return err;
}

static struct nbd_front *new_front(const struct front_config *c)
{
	struct nbd_front *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->queues = calloc(c->nr_queues, sizeof(*f->queues));
	f->front = (struct front){.ops = &nbd_front, .id = FRONT_NO_ID};
	f->shared = (struct nbd_shared){.name = c->name, .gone = c->gone, .arg = c->arg};
	atomic_init(&f->shared.is_ending, false);
	atomic_init(&f->shared.number, -1);
	return f;
}

static int nbd_create(const struct front_config *c, struct front **ret_front)
{
	struct nbd_front *f;
	int number, err;

	if (c->recover_id != FRONT_NO_ID)
		return -EOPNOTSUPP;
	f = new_front(c);
	if (!f)
		return -ENOMEM;
	number = f->queues ? set_up(f, c) : -ENOMEM;
	err = number < 0 ? number : 0;
	if (!err) {
		f->front.id = number;
		atomic_store(&f->shared.number, number);
		snprintf(f->front.path, sizeof(f->front.path), "/dev/nbd%d", number);
		err = run_aside(f, open_once);
		if (err)
			nbd_netlink_disconnect(number);
	}
	if (err) {
		stop_queues(f);
		nbd_destroy(&f->front);
		return err;
	}
	*ret_front = &f->front;
	return 0;
}

/* The mark of a device; kernels before 5.14 keep none, and we leave those devices alone. */
static int read_mark(int number, char mark[OWNER_BYTES])
{
	char path[64];
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/sys/block/nbd%d/backend", number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, mark, OWNER_BYTES - 1);
	err = n < 0 ? -errno : 0;
	close(fd);
	mark[MAX(n, 0)] = '\0';
	mark[strcspn(mark, "\n")] = '\0';
	return err;
}

static int nbd_resize(struct front *front, uint64_t size_bytes)
{
	char mark[OWNER_BYTES];
	bool has_mark = read_mark(front->id, mark) == 0;
	int err = nbd_netlink_resize(front->id, has_mark ? mark : NULL, size_bytes);

	if (err)
		log_error("%s: the new size: %s", front->path, strerror(-err));
	return err;
}

/* Only a device of ours whose process is no more: its number may be somebody else's by now. */
static int nbd_cleanup(int id)
{
	char mark[OWNER_BYTES];
	int err = read_mark(id, mark);

	if (err == -ENOENT)
		return 0; /* not connected */
	if (!err && owner_is_dead(mark))
		err = nbd_netlink_disconnect(id);
	return err == -EINVAL ? 0 : err; /* somebody was faster */
}

const struct front_ops nbd_front = {
	.name = "nbd",
	.probe = nbd_probe,
	.create = nbd_create,
	.resize = nbd_resize,
	.stop = nbd_stop,
	.destroy = nbd_destroy,
	.cleanup = nbd_cleanup,
};
