/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices and files by the kernel's asynchronous I/O: what its parts share. Private to aio*.c.
 * Opening, probing, identity, slow operations and the dispatch of requests are the same for both
 * engines, libaio and io_uring; an engine begins reads, writes and fdatasync() and finds out how
 * they ended.
 */
#ifndef BACKEND_AIO_H
#define BACKEND_AIO_H

#include <pthread.h>
#include <sys/types.h>

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

struct aio_volume;
struct aio_queue;

/* All are called by the thread that owns the queue, none is NULL unless it says so. */
struct aio_engine {
	const char *name;
	/* Sets v->has_dsync and v->has_fdsync. 0 or -errno (logged). */
	int (*probe)(struct aio_volume *v);
	/* What it returns has passed aio_queue_init(). 0 or -errno (logged). */
	int (*queue_create)(struct aio_volume *v, unsigned int depth, struct aio_queue **ret_queue);
	void (*queue_destroy)(struct aio_queue *q); /* ends with aio_queue_finish() */
	void (*use_memory)(struct aio_queue *q, void *base, size_t bytes); /* may be NULL */
	/* READ, WRITE (synced if aio_needs_sync()) or FLUSH, to be begun by the next flush. */
	void (*gather)(struct aio_queue *q, struct bk_req *r);
	/* Begins all that was gathered. Sets is_stalled if the kernel takes no more now. */
	void (*flush)(struct aio_queue *q);
	void (*reap)(struct aio_queue *q); /* aio_complete() for each that has ended */
};

struct aio_volume {
	struct bk_volume volume;
	const struct aio_engine *engine;
	bool is_engine_given;      /* no other will do */
	const char *why_not_uring; /* a constant; NULL: it is, or was not asked for */
	char *path;
	int fd;
	bool is_device;
	bool has_cache;  /* a finished write may be lost on power failure unless it was synced */
	bool is_sync;    /* every change is synced before it is answered */
	bool has_dsync;  /* the kernel takes RWF_DSYNC with asynchronous writes */
	bool has_fdsync; /* ... and has an asynchronous fdatasync() */
	struct aio_slow slow;
};

/* An engine embeds it in its own. */
struct aio_queue {
	struct bk_queue queue;
	struct aio_volume *v;
	const struct aio_engine *engine;
	int event_fd;
	unsigned int nr_in_kernel;
	unsigned int nr_slow; /* handed to the slow thread and not yet back */
	bool is_stalled; /* the kernel took no more: what was gathered is tried again by reap */

	/* lock: slow_lock; filled by the slow thread */
	pthread_mutex_t slow_lock;
	struct list slow_done;
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
/* Logs what fails; aio_queue_finish() in every case. */
int aio_queue_init(struct aio_queue *q, struct aio_volume *v, const struct aio_engine *engine);
void aio_queue_finish(struct aio_queue *q);
/* The kernel refused to begin r. 0: it is taken care of, go on with the rest; -EAGAIN: not now,
 * and something is under way whose end makes the owner poll. */
int aio_refused(struct aio_queue *q, struct bk_req *r, int err);
/* What the kernel said of r: bytes, or negative errno. */
void aio_complete(struct aio_queue *q, struct bk_req *r, long res);

/* aio_engine.c: sets v->engine to what spec asks for. 0 or -errno (logged). */
int aio_choose_engine(struct aio_volume *v, const struct bk_spec *spec);
void aio_say_engine(const struct aio_volume *v); /* once per process */

/* aio_libaio.c */
extern const struct aio_engine aio_engine_libaio;

/* aio_uring.c; or aio_uring_none.c, built without liburing */
extern const struct aio_engine aio_engine_uring;
/* Whether the kernel has it and lets us: 0 or -errno, and *ret_why in words. */
int aio_uring_probe(const char **ret_why);

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
