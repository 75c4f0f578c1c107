/* SPDX-License-Identifier: BSD-2-Clause */
/* The back ends' common part: choosing one, and checked wrappers around its operations. */
#include "target/backend/backend.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/strparse.h"
#include "target/backend/ops.h"

#define DEFAULT_VOLATILE_BLOCK_BYTES 4096u
#define MAX_VOLATILE_BYTES           (1ull << 62)

/* ---- opening --------------------------------------------------------------------------------- */

static int open_plain(const struct bk_spec *spec, struct bk_volume **ret_volume)
{
	if (!strncmp(spec->path, "ram:", 4))
		return mem_open(spec, spec->path + 4, ret_volume);
	if (!strncmp(spec->path, "null:", 5))
		return null_open(spec, spec->path + 5, ret_volume);
	return aio_open(spec, ret_volume);
}

int bk_open(const struct bk_spec *spec, struct bk_volume **ret_volume)
{
	bool has_fault = spec->fault || spec->is_unsafe_no_flush;
	struct bk_spec plain = *spec;
	struct bk_volume *v = NULL;
	int r;

	if (!bk_block_bytes_ok(spec))
		return -EINVAL;
	if (has_fault)
		plain.is_write_through = false; /* when to sync is the fault back end's to decide */
	r = open_plain(&plain, &v);
	if (r < 0)
		return r;
	assert(v->info.size_bytes % v->info.block_bytes == 0);
	if (has_fault)
		return fault_open(spec, v, ret_volume);
	*ret_volume = v;
	return 0;
}

bool bk_block_bytes_ok(const struct bk_spec *spec)
{
	uint32_t b = spec->block_bytes;

	if (b == 0 || (b >= BRP_MIN_BLOCK_BYTES && b <= BRP_MAX_BLOCK_BYTES && !(b & (b - 1))))
		return true;
	log_error(
		"%s: a block size of %u bytes is not possible; choose a power of two from %u to %u",
		spec->path, b, BRP_MIN_BLOCK_BYTES, BRP_MAX_BLOCK_BYTES);
	return false;
}

/* Version 4 (random), RFC 9562. */
void bk_uuid_random(struct brp_uuid *ret_uuid)
{
	size_t got = 0;

	/* 16 bytes come at once from an initialized generator; before that the call waits for it.
	 */
	while (got < sizeof(ret_uuid->b)) {
		ssize_t n = getrandom(ret_uuid->b + got, sizeof(ret_uuid->b) - got, 0);

		got += n > 0 ? (size_t)n : 0;
	}
	ret_uuid->b[6] = (ret_uuid->b[6] & 0x0f) | 0x40;
	ret_uuid->b[8] = (ret_uuid->b[8] & 0x3f) | 0x80;
}

int bk_start_thread(pthread_t *ret_thread, void *(*fn)(void *), void *arg)
{
	sigset_t all;
	sigset_t old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(ret_thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

/*
 * Write-through: the memory is all there is, nothing lies in front of it. UUID and generation are
 * new each time, so that an initiator that waited for the target does not go on with an empty disk
 * (design: what did not survive says so).
 */
int bk_info_volatile(const struct bk_spec *spec, const char *size, struct bk_info *ret_info)
{
	uint32_t block = spec->block_bytes ? spec->block_bytes : DEFAULT_VOLATILE_BLOCK_BYTES;
	struct brp_uuid random;
	uint64_t bytes;

	if (parse_size(size, 1, MAX_VOLATILE_BYTES, &bytes) < 0) {
		log_error("%s: '%s' is not a size; write for example 512M, 4G or 1T", spec->path,
			  size);
		return -EINVAL;
	}
	if (bytes < block) {
		log_error("%s: smaller than one block of %u bytes", spec->path, block);
		return -EINVAL;
	}
	if (bytes % block)
		log_notice("%s: the last %u bytes are not a whole block of %u and are not exported",
			   spec->path, (unsigned int)(bytes % block), block);
	*ret_info = (struct bk_info){
		.size_bytes = bytes - bytes % block,
		.block_bytes = block,
		.preferred_io_bytes = MAX(block, 4096u),
		.align_bytes = 1,
		.volume_flags = BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES | BRP_VOL_FUA,
		.cache = BRP_CACHE_WRITE_THROUGH,
		.is_volatile = true,
		.is_inline = true,
	};
	if (spec->is_read_only)
		ret_info->volume_flags |= BRP_VOL_READ_ONLY;
	bk_uuid_random(&ret_info->uuid);
	bk_uuid_random(&ret_info->boot_id);
	bk_uuid_random(&random);
	memcpy(&ret_info->generation, random.b, sizeof(ret_info->generation));
	return 0;
}

/* ---- volumes --------------------------------------------------------------------------------- */

void bk_close(struct bk_volume *v)
{
	if (v)
		v->ops->close(v);
}

void bk_get_info(const struct bk_volume *v, struct bk_info *ret_info)
{
	*ret_info = v->info;
}

/* Grown or shrunk while requests are checked against it. */
static uint64_t size_of(const struct bk_volume *v)
{
	return __atomic_load_n(&v->info.size_bytes, __ATOMIC_RELAXED);
}

int bk_resize(struct bk_volume *v, uint64_t set_bytes, bool may_shrink, uint64_t *ret_bytes)
{
	uint64_t old = size_of(v);
	uint64_t bytes;
	int err;

	if (!v->ops->resize) {
		log_error("a volume of kind %s cannot be resized", v->kind);
		return -EOPNOTSUPP;
	}
	if (set_bytes && set_bytes < old && !may_shrink) {
		log_error("%llu bytes are less than the %llu it has; what lies behind would be "
			  "lost: force it if you are sure",
			  (unsigned long long)set_bytes, (unsigned long long)old);
		return -EPERM;
	}
	err = v->ops->resize(v, set_bytes, &bytes);
	if (err < 0)
		return err;
	bytes -= bytes % v->info.block_bytes;
	if (bytes < old && !may_shrink) {
		log_error("it has %llu bytes now, less than the %llu that are exported; force it "
			  "to export it so",
			  (unsigned long long)bytes, (unsigned long long)old);
		return -EPERM;
	}
	__atomic_store_n(&v->info.size_bytes, bytes, __ATOMIC_RELAXED);
	*ret_bytes = bytes;
	return 0;
}

const char *bk_kind(const struct bk_volume *v)
{
	return v->kind;
}

void *bk_map(struct bk_volume *v, uint64_t offset, uint64_t bytes)
{
	assert(offset <= size_of(v) && bytes <= size_of(v) - offset);
	return v->ops->map ? v->ops->map(v, offset, bytes) : NULL;
}

void *bk_memory(struct bk_volume *v, size_t *ret_bytes)
{
	return v->ops->memory ? v->ops->memory(v, ret_bytes) : NULL;
}

/* ---- queues ---------------------------------------------------------------------------------- */

int bk_queue_create(struct bk_volume *v, unsigned int depth, struct bk_queue **ret_queue)
{
	struct bk_queue *q;
	int r;

	assert(depth >= 1);
	r = v->ops->queue_create(v, depth, &q);
	if (r < 0)
		return r;
	q->volume = v;
	q->depth = depth;
	q->nr_in_flight = 0;
	list_init(&q->done);
	*ret_queue = q;
	return 0;
}

void bk_queue_destroy(struct bk_queue *q)
{
	if (!q)
		return;
	assert(q->nr_in_flight == 0);
	q->volume->ops->queue_destroy(q);
}

void bk_queue_use_memory(struct bk_queue *q, void *base, size_t bytes)
{
	assert(q->nr_in_flight == 0);
	if (q->volume->ops->use_memory)
		q->volume->ops->use_memory(q, base, bytes);
}

int bk_queue_fd(const struct bk_queue *q)
{
	return q->volume->ops->queue_fd ? q->volume->ops->queue_fd(q) : -1;
}

/* What the caller has checked already. */
static bool is_aligned(const struct bk_info *info, const struct bk_req *r)
{
	bool has_data = r->op == BRP_OP_READ || r->op == BRP_OP_WRITE;

	if (r->op == BRP_OP_FLUSH)
		return true;
	if (has_data && (uintptr_t)r->buf % info->align_bytes)
		return false;
	return r->offset % info->block_bytes == 0 && r->bytes % info->block_bytes == 0;
}

/* What this volume does not do. The caller refuses such requests by the flags; this is the second
 * lock on the door. */
static int check_allowed(const struct bk_volume *v, const struct bk_req *r)
{
	const struct bk_info *info = &v->info;
	uint64_t size = size_of(v);
	bool is_change = r->op != BRP_OP_READ && r->op != BRP_OP_FLUSH;

	if (is_change && info->volume_flags & BRP_VOL_READ_ONLY)
		return -EROFS;
	if (r->op == BRP_OP_DISCARD && !(info->volume_flags & BRP_VOL_DISCARD))
		return -EOPNOTSUPP;
	if (r->op != BRP_OP_FLUSH && (r->offset > size || r->bytes > size - r->offset))
		return -ERANGE;
	return 0;
}

/* A request that breaks the rules is our own bug; without assertions it is refused rather than let
 * loose on the memory. */
void bk_submit(struct bk_queue *q, struct bk_req *r)
{
	bool is_ok = is_aligned(&q->volume->info, r);
	int err = is_ok ? check_allowed(q->volume, r) : -EINVAL;

	assert(is_ok);
	assert(q->nr_in_flight < q->depth);
	q->nr_in_flight++;
	list_init(&r->link);
	if (unlikely(err < 0))
		bk_finish(q, r, err);
	else
		q->volume->ops->submit(q, r);
}

void bk_flush(struct bk_queue *q)
{
	if (q->volume->ops->flush)
		q->volume->ops->flush(q);
}

unsigned int bk_poll(struct bk_queue *q, struct bk_req **ret_done, unsigned int max)
{
	unsigned int n = 0;

	if (q->volume->ops->reap)
		q->volume->ops->reap(q);
	while (n < max) {
		struct list *node = list_pop(&q->done);

		if (!node)
			break;
		ret_done[n++] = list_entry(node, struct bk_req, link);
	}
	assert(q->nr_in_flight >= n);
	q->nr_in_flight -= n;
	return n;
}

unsigned int bk_in_flight(const struct bk_queue *q)
{
	return q->nr_in_flight;
}
