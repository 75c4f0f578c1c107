/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a ublk device; see ublk.h.
 *
 * New:        ADD_DEV, open /dev/ublkcN, SET_PARAMS, queues fetch, START_DEV.
 * Taken over: START_USER_RECOVERY, open, queues fetch, END_USER_RECOVERY.
 * The end:    STOP_DEV while the queues still serve (it waits for the I/O in flight), join, unmap
 *             and close /dev/ublkcN (DEL_DEV would wait for both), DEL_DEV.
 *
 * Take-over. When a server is killed, the kernel keeps the device, holds back new requests and,
 * with UBLK_F_USER_RECOVERY_REISSUE, gives those that were in flight to the next server once more.
 * A request may so be carried out twice, which is harmless only if the first time cannot come after
 * the second, or after anything later. That holds here: the next server logs in with its
 * predecessor's session UUID, and the target admits the new epoch only when every request of the
 * older one is finished or cancelled in the device (docs/protocol.md, LOGIN). The session was
 * connected before create() got it, so when the kernel re-issues, no old request is left.
 */
#include "initiator/dev/ublk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <poll.h>

#include "common/log.h"
#include "initiator/dev/owner.h"

/* In ublksrv_flags, which the kernel keeps for whoever made the device: "brp", as owner.h has it.
 */
#define OUR_MARK          0x627270ull
#define RECOVERY_TRIES    600 /* of START_USER_RECOVERY, while the kernel cleans up */
#define RECOVERY_PAUSE_MS 50

static struct ublk_dev *dev_of(struct front *f)
{
	return container_of(f, struct ublk_dev, front);
}

/* ---- what the queue threads tell ------------------------------------------------------------- */

void ublk_dev_report(struct ublk_dev *dev, int error)
{
	pthread_mutex_lock(&dev->lock);
	dev->nr_reported++;
	if (error && !dev->report_error)
		dev->report_error = error;
	pthread_cond_signal(&dev->changed);
	pthread_mutex_unlock(&dev->lock);
}

void ublk_dev_gone(struct ublk_dev *dev, int error)
{
	if (atomic_load(&dev->is_stopping) || atomic_exchange(&dev->is_gone, true))
		return;
	dev->config.gone(dev->config.arg, error);
}

static int wait_for_queues(struct ublk_dev *dev)
{
	int error;

	pthread_mutex_lock(&dev->lock);
	while (dev->nr_reported < dev->info.nr_hw_queues)
		pthread_cond_wait(&dev->changed, &dev->lock);
	error = dev->report_error;
	pthread_mutex_unlock(&dev->lock);
	return error;
}

/* ---- probe ----------------------------------------------------------------------------------- */

static int explain(int err, char *why, size_t why_bytes)
{
	switch (err) {
	case -ENOENT:
		snprintf(why, why_bytes,
			 "no /dev/ublk-control: run 'modprobe ublk_drv' (Linux 6.0 or newer with "
			 "CONFIG_BLK_DEV_UBLK)");
		break;
	case -EACCES:
		snprintf(why, why_bytes, "no permission for /dev/ublk-control: run as root");
		break;
	case -EPERM:
		snprintf(why, why_bytes,
			 "io_uring is not allowed here: run 'sysctl kernel.io_uring_disabled=0', "
			 "as root");
		break;
	default:
		snprintf(why, why_bytes, "/dev/ublk-control: %s", strerror(-err));
	}
	return err;
}

static int ublk_probe(char *why, size_t why_bytes)
{
	struct ublk_ctrl c;
	int r = ublk_ctrl_open(&c);

	if (r < 0)
		return explain(r, why, why_bytes);
	ublk_ctrl_close(&c);
	return 0;
}

/* ---- steps of create ------------------------------------------------------------------------- */

static int failed(const struct ublk_dev *dev, const char *what, int err)
{
	log_error("ublk device for %s: %s: %s", dev->config.name, what, strerror(-err));
	return err;
}

static void set_id(struct ublk_dev *dev, unsigned int id)
{
	dev->front.id = (int)id;
	snprintf(dev->front.path, sizeof(dev->front.path), "/dev/ublkb%u", id);
}

static int add(struct ublk_dev *dev)
{
	const struct front_config *c = &dev->config;
	unsigned int depth = MIN(c->queue_depth, UBLK_MAX_DEPTH);
	int r;

	dev->info = (struct ublksrv_ctrl_dev_info){
		.nr_hw_queues = (uint16_t)c->nr_queues,
		.queue_depth = (uint16_t)depth,
		.max_io_buf_bytes = ublk_io_max_bytes(&c->info, depth),
		.dev_id = UINT32_MAX, /* any */
		.ublksrv_pid = getpid(),
		.ublksrv_flags = OUR_MARK,
		/* The kernel clears what it does not have: what holds is read back into info. */
		.flags = UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE |
			 (dev->ctrl.features & UBLK_F_UPDATE_SIZE),
	};
	r = ublk_ctrl_add(&dev->ctrl, &dev->info);
	if (r < 0)
		return failed(dev, "ADD_DEV", r);
	dev->is_added = true;
	set_id(dev, dev->info.dev_id);
	return 0;
}

static int set_params(struct ublk_dev *dev)
{
	struct ublk_params params;
	int r = ublk_io_params(&dev->config.info, dev->info.max_io_buf_bytes, &params);

	if (r < 0) {
		log_error("ublk device for %s: blocks of %u bytes: the kernel takes 512 to 4096",
			  dev->config.name, dev->config.info.block_bytes);
		return r;
	}
	r = ublk_ctrl_set_params(&dev->ctrl, dev->info.dev_id, &params);
	return r < 0 ? failed(dev, "SET_PARAMS", r) : 0;
}

static int open_char_dev(struct ublk_dev *dev)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/ublkc%u", dev->info.dev_id);
	dev->char_fd = open(path, O_RDWR | O_CLOEXEC);
	return dev->char_fd < 0 ? failed(dev, path, -errno) : 0;
}

static int open_queues(struct ublk_dev *dev)
{
	dev->queues = calloc(dev->info.nr_hw_queues, sizeof(*dev->queues));
	if (!dev->queues)
		return failed(dev, "queues", -ENOMEM);
	for (unsigned int i = 0; i < dev->info.nr_hw_queues; i++) {
		int r = ublk_queue_open(&dev->queues[i], dev, i);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Returns when the kernel has the buffers of all queues. */
static int start_queues(struct ublk_dev *dev)
{
	int r = 0;

	for (unsigned int i = 0; i < dev->info.nr_hw_queues; i++) {
		if (r == 0)
			r = ublk_queue_start(&dev->queues[i]);
		/* Also for those not started then: the others must have fetched before the device
		 * is stopped, or they would never hear of it. */
		if (r < 0)
			ublk_dev_report(dev, r);
	}
	if (r < 0)
		failed(dev, "starting a thread", r);
	return wait_for_queues(dev);
}

/*
 * The target's disks sort requests themselves, and a device with one queue would get the kernel's
 * mq-deadline: some microseconds a request, for nothing. Whoever wants another scheduler can set
 * it, this is a default.
 */
static void use_no_scheduler(const struct ublk_dev *dev)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/ublkb%u/queue/scheduler", dev->info.dev_id);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "none", 4) != 4)
		log_debug("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int create_new(struct ublk_dev *dev)
{
	int r = add(dev);

	if (r == 0)
		r = set_params(dev);
	if (r == 0)
		r = open_char_dev(dev);
	if (r == 0)
		r = open_queues(dev);
	if (r == 0)
		r = start_queues(dev);
	if (r < 0)
		return r;
	r = ublk_ctrl_start(&dev->ctrl, dev->info.dev_id);
	if (r < 0)
		return failed(dev, "START_DEV", r);
	use_no_scheduler(dev);
	return 0;
}

/* ---- take-over ------------------------------------------------------------------------------- */

/* Whether this session can serve the device as it is. */
static int check_device(struct ublk_dev *dev)
{
	const struct brp_info *info = &dev->config.info;
	struct ublk_params p;
	int r = ublk_ctrl_get_params(&dev->ctrl, dev->info.dev_id, &p);

	if (r < 0)
		return failed(dev, "GET_PARAMS", r);
	if (dev->info.nr_hw_queues > dev->config.nr_queues) {
		log_error("%s has %u queues, the session %u: connect with --queues %u",
			  dev->front.path, dev->info.nr_hw_queues, dev->config.nr_queues,
			  dev->info.nr_hw_queues);
		return -EINVAL;
	}
	if (1u << p.basic.logical_bs_shift != info->block_bytes ||
	    p.basic.dev_sectors << 9 > info->size_bytes) {
		log_error("%s has %llu sectors and blocks of %u bytes, the volume is another: "
			  "disconnect it and connect anew",
			  dev->front.path, (unsigned long long)p.basic.dev_sectors,
			  1u << p.basic.logical_bs_shift);
		return -ESTALE;
	}
	return 0;
}

/*
 * -EBUSY until the kernel has taken everything back from the killed server; up to five seconds on
 * Linux 6.1. -EINVAL: no queue is ready because another successor was killed before it was through;
 * the device then waits for fetches as it is.
 */
static int start_recovery(struct ublk_dev *dev)
{
	int r = -EBUSY;

	for (int i = 0; i < RECOVERY_TRIES && r == -EBUSY; i++) {
		if (i > 0)
			(void)poll(NULL, 0, RECOVERY_PAUSE_MS);
		r = ublk_ctrl_start_recovery(&dev->ctrl, dev->info.dev_id);
	}
	if (r == -EINVAL && dev->info.state == UBLK_S_DEV_QUIESCED)
		return 0;
	return r < 0 ? failed(dev, "START_USER_RECOVERY", r) : 0;
}

static int take_over(struct ublk_dev *dev)
{
	unsigned int id = (unsigned int)dev->config.recover_id;
	int r;

	set_id(dev, id);
	r = ublk_ctrl_info(&dev->ctrl, id, &dev->info);
	if (r < 0)
		return failed(dev, "the device to take over", r);
	if (!(dev->info.flags & UBLK_F_USER_RECOVERY_REISSUE)) {
		log_error("%s cannot be taken over: it needs Linux 6.1 or newer", dev->front.path);
		return -EOPNOTSUPP;
	}
	r = check_device(dev);
	if (r == 0)
		r = start_recovery(dev);
	if (r == 0)
		r = open_char_dev(dev);
	if (r == 0)
		r = open_queues(dev);
	if (r < 0)
		return r; /* another successor can still have it */
	dev->is_added = true;
	r = start_queues(dev);
	if (r < 0)
		return r;
	r = ublk_ctrl_end_recovery(&dev->ctrl, id);
	return r < 0 ? failed(dev, "END_USER_RECOVERY", r) : 0;
}

/* ---- the operations -------------------------------------------------------------------------- */

/* Whatever holds /dev/ublkcN open: the descriptor, and the mappings of the queues. */
static void close_char_dev(struct ublk_dev *dev)
{
	for (unsigned int i = 0; dev->queues && i < dev->info.nr_hw_queues; i++)
		ublk_queue_close(&dev->queues[i]);
	free(dev->queues);
	dev->queues = NULL;
	if (dev->char_fd >= 0)
		close(dev->char_fd);
	dev->char_fd = -1;
}

/*
 * Mounted, swapped to, part of another device. To be asked before STOP_DEV, and only where DEL_DEV
 * would hang for that: opening waits for whoever else opens it, as STOP_DEV of such a kernel does.
 */
static bool is_held(const struct ublk_ctrl *c, unsigned int id)
{
	char path[32];
	int fd;

	if (!c->is_legacy)
		return false;
	snprintf(path, sizeof(path), "/dev/ublkb%u", id);
	fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EBUSY;
}

/* One that is held cannot be deleted on an old kernel: it is dead and done with all the same. */
static int delete_dev(struct ublk_ctrl *c, unsigned int id, bool held)
{
	int r = ublk_ctrl_del(c, id, held);

	if (r != -EBUSY || !held)
		return r;
	log_warning("/dev/ublkc%u stays, without a device behind it: /dev/ublkb%u was mounted or "
		    "held, and this kernel cannot delete such a one",
		    id, id);
	return 0;
}

static int remove_dev(struct ublk_dev *dev)
{
	bool held = is_held(&dev->ctrl, dev->info.dev_id);
	int r, result;

	atomic_store(&dev->is_stopping, true);
	result = ublk_ctrl_stop(&dev->ctrl, dev->info.dev_id);
	if (result < 0)
		failed(dev, "STOP_DEV", result);
	for (unsigned int i = 0; dev->queues && i < dev->info.nr_hw_queues; i++)
		ublk_queue_join(&dev->queues[i]);
	close_char_dev(dev);
	r = delete_dev(&dev->ctrl, dev->info.dev_id, held);
	/* Somebody else was faster: it is gone, as it should be. */
	if (r < 0 && r != -ENODEV)
		result = failed(dev, "DEL_DEV", r);
	dev->is_added = false;
	return result == -ENODEV ? 0 : result;
}

static int ublk_stop(struct front *f)
{
	struct ublk_dev *dev = dev_of(f);

	return dev->is_added ? remove_dev(dev) : 0;
}

static void ublk_destroy(struct front *f)
{
	struct ublk_dev *dev = dev_of(f);

	close_char_dev(dev);
	ublk_ctrl_close(&dev->ctrl);
	pthread_mutex_destroy(&dev->lock);
	pthread_cond_destroy(&dev->changed);
	free(dev);
}

static int ublk_create(const struct front_config *c, struct front **ret_front)
{
	struct ublk_dev *dev = calloc(1, sizeof(*dev));
	char why[160];
	int r;

	if (!dev)
		return -ENOMEM;
	dev->front = (struct front){.ops = &ublk_front, .id = FRONT_NO_ID};
	dev->config = *c;
	dev->char_fd = -1;
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->changed, NULL);
	r = ublk_ctrl_open(&dev->ctrl);
	if (r < 0) {
		explain(r, why, sizeof(why));
		log_error("ublk device for %s: %s", c->name, why);
	} else {
		r = c->recover_id == FRONT_NO_ID ? create_new(dev) : take_over(dev);
	}
	if (r == 0) {
		*ret_front = &dev->front;
		return 0;
	}
	ublk_stop(&dev->front);
	ublk_destroy(&dev->front);
	return r;
}

static int ublk_resize(struct front *f, uint64_t size_bytes)
{
	struct ublk_dev *dev = dev_of(f);
	int r;

	if (!(dev->info.flags & UBLK_F_UPDATE_SIZE))
		return -EOPNOTSUPP;
	r = ublk_ctrl_update_size(&dev->ctrl, dev->info.dev_id, size_bytes >> 9);
	return r < 0 ? failed(dev, "UPDATE_SIZE", r) : 0;
}

/* Requests that waited for a successor fail. */
static int remove_left(struct ublk_ctrl *c, unsigned int id)
{
	bool held = is_held(c, id);
	int r = ublk_ctrl_stop(c, id);

	return r == 0 ? delete_dev(c, id, held) : r;
}

/* Only a device of ours whose process is no more: its number may be somebody else's by now. */
static int ublk_cleanup(int id)
{
	struct ublksrv_ctrl_dev_info info;
	struct ublk_ctrl c;
	int r = ublk_ctrl_open(&c);

	if (r < 0)
		return r;
	r = ublk_ctrl_info(&c, (unsigned int)id, &info);
	if (r == 0 && info.ublksrv_flags == OUR_MARK && !owner_is_running(info.ublksrv_pid))
		r = remove_left(&c, (unsigned int)id);
	ublk_ctrl_close(&c);
	return r == -ENODEV ? 0 : r; /* it is gone */
}

const struct front_ops ublk_front = {
	.name = "ublk",
	.probe = ublk_probe,
	.create = ublk_create,
	.resize = ublk_resize,
	.stop = ublk_stop,
	.destroy = ublk_destroy,
	.cleanup = ublk_cleanup,
};
