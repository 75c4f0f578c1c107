/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory volumes, ram:SIZE. Everything happens inside submit(), but for zeroing that would take
 * long: that goes on piece by piece in reap(), so that the connection is heard meanwhile. Queues of
 * several threads work on the same bytes without locks: what overlapping requests see is a mixture
 * (protocol.md 5.1), as on any disk that is asked to read what it writes.
 *
 * Zeroing writes zeroes, also where it would be cheaper to give whole pages back
 * (madvise(MADV_DONTNEED), a hole): the memory may be registered with RDMA devices, which pin the
 * pages they were shown. Given back, the page leaves our page table but not the device's: the CPU
 * would get a new page and the device would go on with the old one, two disks at the same address.
 * DISCARD does the same, so that nobody reads what was thrown away.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/arena.h"
#include "common/log.h"
#include "common/strparse.h"
#include "target/backend/ops.h"

/* Of zeroing: done at once, and by one reap(). As much as a write may have. */
#define PIECE_BYTES (1ull << 20)

struct mem_volume {
	struct bk_volume volume;
	char *base;
};

struct mem_queue {
	struct bk_queue queue;
	struct list zeroing; /* unfinished, in order of arrival */
};

/* In the request's scratch while it is zeroing. */
struct mem_work {
	uint64_t done_bytes;
};
static_assert(sizeof(struct mem_work) <= sizeof(((struct bk_req *)0)->scratch),
	      "a request carries its work");

static struct mem_volume *to_mem(struct bk_volume *v)
{
	return container_of(v, struct mem_volume, volume);
}

static struct mem_queue *to_mem_queue(struct bk_queue *q)
{
	return container_of(q, struct mem_queue, queue);
}

static void mem_close(struct bk_volume *v)
{
	struct mem_volume *m = to_mem(v);

	arena_unmap_pages(m->base, v->info.size_bytes);
	free(m);
}

static void *mem_map(struct bk_volume *v, uint64_t offset, uint64_t bytes)
{
	(void)bytes;
	return to_mem(v)->base + offset;
}

static void *mem_memory(struct bk_volume *v, size_t *ret_bytes)
{
	*ret_bytes = v->info.size_bytes;
	return to_mem(v)->base;
}

static int mem_queue_create(struct bk_volume *v, unsigned int depth, struct bk_queue **ret_queue)
{
	struct mem_queue *q = calloc(1, sizeof(*q));

	(void)v;
	(void)depth;
	if (!q)
		return -ENOMEM;
	list_init(&q->zeroing);
	*ret_queue = &q->queue;
	return 0;
}

static void mem_queue_destroy(struct bk_queue *q)
{
	free(to_mem_queue(q));
}

/* ---- zeroing --------------------------------------------------------------------------------- */

static struct mem_work *work_of(struct bk_req *r)
{
	void *scratch = r->scratch;

	return scratch;
}

/* True when nothing is left to be done. */
static bool zero_piece(struct mem_volume *m, struct bk_req *r)
{
	struct mem_work *w = work_of(r);
	uint64_t piece = MIN(r->bytes - w->done_bytes, PIECE_BYTES);

	memset(m->base + r->offset + w->done_bytes, 0, piece);
	w->done_bytes += piece;
	return w->done_bytes == r->bytes;
}

static void start_zeroing(struct mem_queue *q, struct bk_req *r)
{
	work_of(r)->done_bytes = 0;
	if (r->bytes > PIECE_BYTES || !list_empty(&q->zeroing)) {
		list_add_tail(&q->zeroing, &r->link);
	} else {
		zero_piece(to_mem(q->queue.volume), r);
		bk_finish(&q->queue, r, 0);
	}
}

static void mem_reap(struct bk_queue *queue)
{
	struct mem_queue *q = to_mem_queue(queue);
	struct bk_req *r;

	if (likely(list_empty(&q->zeroing)))
		return;
	r = list_entry(q->zeroing.next, struct bk_req, link);
	if (!zero_piece(to_mem(queue->volume), r))
		return;
	list_del(&r->link);
	bk_finish(queue, r, 0);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void mem_submit(struct bk_queue *q, struct bk_req *r)
{
	char *at = to_mem(q->volume)->base + r->offset;
	int result = 0;

	switch (r->op) {
	case BRP_OP_READ:
		memcpy(r->buf, at, r->bytes);
		break;
	case BRP_OP_WRITE:
		memcpy(at, r->buf, r->bytes);
		break;
	case BRP_OP_WRITE_ZEROES:
	case BRP_OP_DISCARD:
		start_zeroing(to_mem_queue(q), r);
		return;
	case BRP_OP_FLUSH:
		break;
	default:
		result = -EOPNOTSUPP;
	}
	bk_finish(q, r, result);
}

static const struct bk_ops mem_ops = {
	.close = mem_close,
	.map = mem_map,
	.memory = mem_memory,
	.queue_create = mem_queue_create,
	.queue_destroy = mem_queue_destroy,
	.submit = mem_submit,
	.reap = mem_reap,
};

/* What the kernel thinks could be had without swapping; UINT64_MAX if it does not say. */
static uint64_t available_bytes(void)
{
	unsigned long long kib = 0;
	bool is_found = false;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	if (!f)
		return UINT64_MAX;
	while (!is_found && fgets(line, sizeof(line), f))
		is_found = sscanf(line, "MemAvailable: %llu kB", &kib) == 1;
	fclose(f);
	return is_found ? kib * 1024 : UINT64_MAX;
}

/* Linux would hand out the addresses anyway and kill somebody when they are used. */
static int check_memory(const struct bk_spec *spec, uint64_t bytes)
{
	uint64_t available = available_bytes();

	if (bytes <= available)
		return 0;
	if (spec->is_forced) {
		log_warning(
			"%s: only %llu MiB of memory are available; opened because it was forced",
			spec->path, (unsigned long long)(available >> 20));
		return 0;
	}
	log_error("%s: only %llu MiB of memory are available; choose a smaller size or free memory",
		  spec->path, (unsigned long long)(available >> 20));
	return -ENOMEM;
}

/*
 * Takes the pages now: a volume's memory must be there when it is written to, not when the kernel
 * finds some, and a first touch costs milliseconds where the host has to find the page too. Kernels
 * before 5.14 lack the advice; then it is done by hand, one write per page.
 */
static void populate(char *base, uint64_t bytes)
{
	if (!madvise(base, bytes, MADV_POPULATE_WRITE))
		return;
	for (uint64_t at = 0; at < bytes; at += 4096)
		*(volatile char *)(base + at) = 0;
}

int mem_open(const struct bk_spec *spec, const char *size, struct bk_volume **ret_volume)
{
	struct mem_volume *m = calloc(1, sizeof(*m));
	void *base;
	int r;

	if (!m)
		return -ENOMEM;
	m->volume.ops = &mem_ops;
	m->volume.kind = "ram";
	r = bk_info_volatile(spec, size, &m->volume.info);
	if (r < 0)
		goto fail;
	r = check_memory(spec, m->volume.info.size_bytes);
	if (r < 0)
		goto fail;
	r = arena_map_pages(m->volume.info.size_bytes, spec->numa_node, &base);
	if (r < 0) {
		log_error("%s: cannot map the memory: %s; choose a smaller size or see "
			  "vm.overcommit_memory",
			  spec->path, strerror(-r));
		goto fail;
	}
	m->base = base;
	populate(base, m->volume.info.size_bytes);
	*ret_volume = &m->volume;
	return 0;
fail:
	mem_close(&m->volume);
	return r;
}
