/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and files through libaio: what its parts share. Private to aio*.c. */
#ifndef BACKEND_AIO_H
#define BACKEND_AIO_H

#include <libaio.h>
#include <pthread.h>
#include <sys/types.h>

#include "target/backend/aio_context.h"
#include "target/backend/ops.h"

/* Operations without an asynchronous kernel interface, done one after the other by a thread that
 * starts with the first. */
struct aio_slow {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list todo;
	pthread_t thread;
	bool is_started;
	bool is_stopping;
	/* the thread's own */
	bool no_zero_range; /* found out that the kernel or file system cannot */
	bool no_punch_hole;
};

struct aio_volume {
	struct bk_volume volume;
	char *path;
	int fd;
	bool is_device;
	bool has_cache;  /* a finished write may be lost on power failure unless it was synced */
	bool is_sync;    /* every change is synced before it is answered */
	bool has_dsync;  /* the kernel takes RWF_DSYNC with asynchronous writes */
	bool has_fdsync; /* ... and has an asynchronous fdatasync() */
	struct aio_slow slow;
};

struct aio_queue {
	struct bk_queue queue;
	struct aio_volume *v;
	struct aio_context *context;
	io_context_t ctx; /* the context's */
	int event_fd;
	unsigned int nr_in_kernel;
	unsigned int nr_slow; /* handed to the slow thread and not yet back */
	bool is_stalled; /* the kernel took no more: what is in the batch is tried again by reap */

	/* lock: slow_lock; filled by the slow thread */
	pthread_mutex_t slow_lock;
	struct list slow_done;

	unsigned int nr_batch; /* gathered for the next io_submit() */
	struct iocb *batch[];
};

static inline struct aio_volume *to_aio_volume(struct bk_volume *v)
{
	return container_of(v, struct aio_volume, volume);
}

/* Whether the change must be on the medium before it is answered, and needs a sync for that. */
static inline bool aio_needs_sync(const struct aio_volume *v, const struct bk_req *r)
{
	return v->has_cache && (v->is_sync || r->is_fua);
}

/* aio.c */
extern const struct bk_ops aio_ops;
void aio_log_failure(const struct aio_volume *v, const struct bk_req *r, int err);

/* aio_slow.c */
void aio_slow_init(struct aio_slow *s);
void aio_slow_finish(struct aio_slow *s); /* nothing is to be done any more */
void aio_slow_submit(struct aio_queue *q, struct bk_req *r);
void aio_slow_reap(struct aio_queue *q);

/* aio_probe.c: finds out what the open file can do and fills v->volume.info except the identity.
 * Destroys nothing. */
int aio_probe(struct aio_volume *v, const struct bk_spec *spec);
/* The size now, in bytes, not cut to whole blocks. 0 or -errno (logged). */
int aio_probe_size(const struct aio_volume *v, uint64_t *ret_bytes);
/* One line of /sys/dev/block/MAJOR:MINOR/name, of its disk if a partition has none, without the
 * newline. 0 or -errno. */
int aio_read_sysfs(dev_t dev, const char *name, char *buf, size_t bytes);

/* aio_id.c: fills UUID, generation and boot id; the rest of *info is there already. */
void aio_identify(const struct aio_volume *v, struct bk_info *info);

#endif
