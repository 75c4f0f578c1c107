/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ublk front end inside (Linux 6.0 or newer): the kernel hands block requests to this process
 * through an io_uring and copies their data to and from buffers of ours.
 *
 *	ublk.c         the device's life: create, take over, resize, stop, clean up
 *	ublk_ctrl.c    commands on /dev/ublk-control
 *	ublk_queue.c   one thread per queue: requests in, libbrp, results out
 *	ublk_io.c      pure: parameters, translation of requests and results
 *
 * Threads: the owner (front.h) creates and stops; each queue belongs to its thread in between.
 */
#ifndef INITIATOR_DEV_UBLK_H
#define INITIATOR_DEV_UBLK_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/util.h"
#include "initiator/dev/front.h"
#include "initiator/dev/ublk_abi.h"

/* Kernels before 2025 overflow a buffer above 2728 requests; more than this helps nobody. */
#define UBLK_MAX_DEPTH 1024u
/* Memory for the data of one queue's requests, unless that leaves each less than the minimum. It
 * stays registered, thus on RDMA locked, as long as the device. */
#define UBLK_REGION_BYTES (32u << 20)
#define UBLK_MIN_IO_BYTES (64u << 10)
#define UBLK_MAX_IO_BYTES (1u << 20)

/* ---- ublk_io.c ------------------------------------------------------------------------------- */

/* Largest data of one request, in bytes: a power of two that every block size divides. */
uint32_t ublk_io_max_bytes(const struct brp_info *info, unsigned int depth);

/* -EOPNOTSUPP: the volume's block size is none that ublk can offer. */
int ublk_io_params(const struct brp_info *info, uint32_t max_io_bytes,
		   struct ublk_params *ret_params);

/* The request of a descriptor, with its data at buf; without mem, done and arg. -EOPNOTSUPP: no
 * operation of ours; -EINVAL: longer than max_io_bytes. */
int ublk_io_translate(const struct ublksrv_io_desc *desc, void *buf, uint32_t max_io_bytes,
		      struct brp_io *ret_io);

/* What the kernel is told about a request that libbrp completed with `result`. */
int ublk_io_result(const struct ublksrv_io_desc *desc, int result);

/* ---- ublk_ctrl.c ----------------------------------------------------------------------------- */

struct ublk_ctrl {
	struct io_uring ring;
	int fd;
	bool has_ring;
	bool is_legacy;    /* commands go as plain numbers: the kernel is older than 6.5 */
	uint64_t features; /* UBLK_F_*; 0 where the kernel cannot be asked */
};

int ublk_ctrl_open(struct ublk_ctrl *c); /* says nothing: the caller knows whether it matters */
void ublk_ctrl_close(struct ublk_ctrl *c);

/* All block until the kernel has done it; negative errno as the kernel gave it. */
int ublk_ctrl_add(struct ublk_ctrl *c, struct ublksrv_ctrl_dev_info *info); /* in and out */
/* is_held: somebody has the block device and will not close it soon. -EBUSY: so it cannot be
 * deleted now; Linux 6.1 would wait, unkillable, and let nobody use the driver meanwhile. */
int ublk_ctrl_del(struct ublk_ctrl *c, unsigned int id, bool is_held);
int ublk_ctrl_start(struct ublk_ctrl *c, unsigned int id);
int ublk_ctrl_stop(struct ublk_ctrl *c, unsigned int id);
int ublk_ctrl_info(struct ublk_ctrl *c, unsigned int id, struct ublksrv_ctrl_dev_info *ret_info);
int ublk_ctrl_set_params(struct ublk_ctrl *c, unsigned int id, struct ublk_params *params);
int ublk_ctrl_get_params(struct ublk_ctrl *c, unsigned int id, struct ublk_params *ret_params);
int ublk_ctrl_start_recovery(struct ublk_ctrl *c, unsigned int id);
int ublk_ctrl_end_recovery(struct ublk_ctrl *c, unsigned int id);
int ublk_ctrl_update_size(struct ublk_ctrl *c, unsigned int id, uint64_t sectors);
/* CPUs whose requests come to this queue. */
int ublk_ctrl_affinity(struct ublk_ctrl *c, unsigned int id, unsigned int queue,
		       cpu_set_t *ret_cpus);

/* ---- ublk_queue.c ---------------------------------------------------------------------------- */

struct ublk_dev;
struct ublk_queue;

struct ublk_tag { /* a slot of the kernel's queue; its data is region + tag * max_io_bytes */
	struct ublk_queue *queue;
	uint16_t tag;
};

struct ublk_queue {
	/* constant from ublk_queue_open() on */
	struct ublk_dev *dev; /* borrowed */
	unsigned int index;
	struct brp_queue *brp;               /* borrowed from the session */
	const struct ublksrv_io_desc *descs; /* the kernel's, read-only, one per tag */
	size_t descs_bytes;
	char *region;
	size_t region_bytes;
	struct brp_mem *mem; /* of the region */
	struct ublk_tag *tags;
	uint16_t *waiting; /* tags that libbrp had no room for, a ring of `depth` */

	/* owner thread */
	pthread_t thread;
	bool has_thread;

	/* queue thread only */
	struct io_uring ring;
	unsigned int first_waiting;
	unsigned int nr_waiting;
	unsigned int nr_gone;     /* tags the kernel took back for good */
	struct brp_queue_fds fds; /* watched */
	bool is_dry;              /* brp_drain() was the last to look: it may sleep */
	bool is_brp_ready;        /* brp_drain() is due */
	bool is_rare_ready;       /* and fds.rare had an event */
	bool is_batch;            /* several requests came together: brp_kick() sends them */
};

/* Memory and mappings, before its thread is there. */
int ublk_queue_open(struct ublk_queue *q, struct ublk_dev *dev, unsigned int index);
void ublk_queue_close(struct ublk_queue *q); /* after join, or half open */
/* The thread reports to ublk_dev_report() when the kernel has all its buffers. */
int ublk_queue_start(struct ublk_queue *q);
void ublk_queue_join(struct ublk_queue *q);

/* ---- ublk.c ---------------------------------------------------------------------------------- */

struct ublk_dev {
	struct front front;

	/* constant after create */
	struct front_config config;
	struct ublksrv_ctrl_dev_info info; /* as the kernel read it */
	int char_fd;                       /* /dev/ublkcN */
	struct ublk_queue *queues;         /* info.nr_hw_queues of them */

	/* owner thread */
	struct ublk_ctrl ctrl;
	bool is_added;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int nr_reported; /* lock; queues that fetched, or could not */
	int report_error;         /* lock; the first one's */

	atomic_bool is_stopping;
	atomic_bool is_gone; /* told the owner */
};

void ublk_dev_report(struct ublk_dev *dev, int error);
/* A queue has ended although nobody stopped the device. */
void ublk_dev_gone(struct ublk_dev *dev, int error);

#endif
