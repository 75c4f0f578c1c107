/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Back ends: what stores a volume. A back end is opened once per volume; every connection makes a
 * queue of its own on it, used only by the thread that owns the connection, so the I/O path takes
 * no locks. Asynchronous throughout: submit never waits for the device.
 *
 * 	bk_submit(q, r) ...      any number of requests, gathered
 * 	bk_flush(q)              hands them to the device together (one system call)
 * 	bk_poll(q, done, max)    finished ones, in any order; those that finish inline show up here
 * too
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "brp/proto.h"
#include "common/list.h"

struct bk_volume; /* one opened back end */
struct bk_queue;  /* one connection's way into it */

/* How devices and files are driven. */
enum bk_engine {
	BK_ENGINE_AUTO, /* io_uring if the kernel lets us, else libaio */
	BK_ENGINE_AIO,
	BK_ENGINE_URING,
};

/* What --dev says: PATH | ram:SIZE | null:SIZE, and options. Parsed by the caller. */
struct bk_spec {
	const char *path;     /* "/dev/nvme0n1", "/srv/disk.img", "ram:4G", "null:64G" */
	uint32_t block_bytes; /* logical block size asked for; 0 = the device's, 512 for files, 4096
				 for ram and null */
	bool is_read_only;
	bool is_forced;        /* open although mounted or busy */
	bool is_write_through; /* acknowledge only stable writes */
	int numa_node;         /* ram: -1 = where the kernel likes */
	enum bk_engine engine; /* devices and files */
	const char *fault; /* fault back end around this one: its plan as text (see fault.h), NULL =
			      none */
	/* For the proof that the checks find lost writes: FLUSH and FUA are answered without having
	 * reached anything. */
	bool is_unsafe_no_flush;
};

struct bk_info {
	uint64_t size_bytes; /* multiple of block_bytes; what is left over at the end is not
				exported */
	uint32_t block_bytes;
	uint32_t preferred_io_bytes;
	uint32_t align_bytes;  /* alignment that buffers of reads and writes need; 1 = none */
	uint32_t volume_flags; /* BRP_VOL_* */
	enum brp_cache_mode cache;
	bool is_volatile; /* content does not survive the process (ram, null) */
	bool is_inline;   /* reads and writes finish inside bk_submit() */
	/* Identity. Stable for devices and files that can carry one; a new random one each start
	 * when is_volatile. */
	struct brp_uuid uuid;
	uint64_t generation;
	/* Another one than before: what was acknowledged and not flushed may be lost (protocol.md
	 * 4.2). */
	struct brp_uuid boot_id;
};

struct bk_req {
	/* set by the caller, constant until finished */
	enum brp_op op;
	bool is_fua;     /* undefined when finished */
	uint64_t offset; /* bytes, checked against the size */
	uint64_t bytes;
	void *buf; /* READ, WRITE: aligned to align_bytes */

	int result; /* 0 or negative errno, valid when finished */

	/* the back end's own */
	struct list link;
	uint64_t scratch[10]; /* e.g. a struct iocb; static-asserted by its user */
};

/*
 * Opens a volume. Refusals are logged in words by the one who decides: missing, not a block device
 * or file, mounted or held by another (unless forced), too small, cannot be opened with O_DIRECT,
 * not enough memory. 0 or negative errno.
 */
int bk_open(const struct bk_spec *spec, struct bk_volume **ret_volume);
void bk_close(struct bk_volume *v); /* no queue is left; NULL is fine */
void bk_get_info(const struct bk_volume *v, struct bk_info *ret_info);
/*
 * Looks at the size of the device or file again, or with set_bytes > 0 first makes the file that
 * large. Requests are checked against the new size from then on. *ret_bytes is what it is now.
 * -EOPNOTSUPP: this back end has a fixed size (or, with set_bytes, a device). -EPERM: smaller than
 * it was and may_shrink is false; nothing has changed here. Logged. One thread at a time; others
 * may have requests in flight.
 */
int bk_resize(struct bk_volume *v, uint64_t set_bytes, bool may_shrink, uint64_t *ret_bytes);
const char *bk_kind(const struct bk_volume *v); /* "device", "file", "ram", "null", "fault" */

/*
 * Memory volumes: where the bytes are, to be moved by the fabric without a copy. NULL: this back
 * end has no such thing. The whole range is valid until bk_close(). bk_memory(): base and size to
 * register.
 */
void *bk_map(struct bk_volume *v, uint64_t offset, uint64_t bytes);
void *bk_memory(struct bk_volume *v, size_t *ret_bytes);

/* depth: requests unfinished at most. -EAGAIN from the kernel's aio-max-nr becomes -ENOBUFS, logged
 * with the way out. */
int bk_queue_create(struct bk_volume *v, unsigned int depth, struct bk_queue **ret_queue);
/* No request is unfinished. NULL is fine. */
void bk_queue_destroy(struct bk_queue *q);
/* Most requests will have their buffers in here: a back end that can prepares it, so that they cost
 * less. Once per queue, before the first request; it stays mapped until bk_queue_destroy(). */
void bk_queue_use_memory(struct bk_queue *q, void *base, size_t bytes);
/* Edge-triggered descriptor that signals finished requests; -1: there is none, bk_poll() does the
 * work and is called until nothing is in flight. */
int bk_queue_fd(const struct bk_queue *q);

/* Takes r. Never fails: errors are results. Alignment has been checked by the caller (asserted
 * here: own invariant). Beyond the end, which may have moved since the caller checked: -ERANGE. */
void bk_submit(struct bk_queue *q, struct bk_req *r);
void bk_flush(struct bk_queue *q);
/* Finished requests, up to max; 0 = none now. */
unsigned int bk_poll(struct bk_queue *q, struct bk_req **ret_done, unsigned int max);
/* Submitted and not yet returned by bk_poll(). */
unsigned int bk_in_flight(const struct bk_queue *q);

#endif
