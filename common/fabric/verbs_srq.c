/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared receive queue of a device. It has room for the most receives from the start, which
 * costs little, but buffers only for as many as its connections deserve: they are registered and
 * posted in chunks when connections come. Fewer than there are messages under way, and soft-RoCE
 * waits milliseconds for each that finds none (VERBS_MIN_RNR_TIMER).
 *
 * A chunk that cannot be had is no reason to refuse a connection: all live with fewer. The address
 * range is reserved as a whole, so a buffer is known by its number.
 *
 * Connections learn of a chunk through receives that complete in it, so the adapter orders what is
 * written here before what they read.
 */
#include "common/fabric/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/log.h"

static size_t chunk_bytes(const struct verbs_srq *s)
{
	return (size_t)VERBS_SRQ_CHUNK * s->buf_bytes;
}

static unsigned int nr_chunks(const struct verbs_srq *s)
{
	return s->room / VERBS_SRQ_CHUNK;
}

static size_t room_bytes(const struct verbs_srq *s)
{
	return (size_t)s->room * s->buf_bytes;
}

uint32_t verbs_srq_lkey(const struct verbs_srq *s, uint32_t buf)
{
	return s->chunks[buf / VERBS_SRQ_CHUNK]->lkey;
}

/* ---- growing --------------------------------------------------------------------------------- */

static int post_chunk(struct verbs_srq *s, uint32_t first, uint32_t lkey)
{
	for (uint32_t i = first; i < first + VERBS_SRQ_CHUNK; i++) {
		struct ibv_sge sge = {
			.addr = (uintptr_t)s->base + (uint64_t)i * s->buf_bytes,
			.length = s->buf_bytes,
			.lkey = lkey,
		};
		struct ibv_recv_wr wr = {
			.wr_id = VERBS_RECV_FLAG | i, .sg_list = &sge, .num_sge = 1};
		struct ibv_recv_wr *bad;
		int rc = ibv_post_srq_recv(s->srq, &wr, &bad);

		if (rc)
			return -rc;
	}
	return 0;
}

static int add_chunk(struct verbs_dev *dev)
{
	struct verbs_srq *s = &dev->srq;
	uint32_t first = s->nr_bufs;
	struct ibv_mr *mr;

	errno = 0;
	mr = ibv_reg_mr(dev->pd, s->base + (size_t)first * s->buf_bytes, chunk_bytes(s),
			IBV_ACCESS_LOCAL_WRITE);
	if (!mr)
		return errno ? -errno : -ENOMEM;
	/* Some of it may be posted, and then it stays, although the rest fails. */
	s->chunks[first / VERBS_SRQ_CHUNK] = mr;
	s->nr_bufs += VERBS_SRQ_CHUNK;
	return post_chunk(s, first, mr->lkey);
}

/* As many as nr_users connections deserve. */
static int grow(struct verbs_dev *dev, unsigned int nr_users)
{
	struct verbs_srq *s = &dev->srq;
	uint64_t wanted = MAX((uint64_t)s->min_bufs, (uint64_t)nr_users * VERBS_SRQ_SHARE);
	int rc = 0;

	while (!rc && s->nr_bufs < wanted && s->nr_bufs < s->room && !s->is_stuck)
		rc = add_chunk(dev);
	return rc;
}

/* Not again: what was short once is likely to stay so, and the queue is made anew when all have
 * left. */
static void stop_growing(struct verbs_srq *s, int err)
{
	log_warning("verbs: many connections share %u receives, and there can be no more: %s%s; "
		    "some will be slow",
		    s->nr_bufs, strerror(-err),
		    err == -ENOMEM ? " (locked memory: ulimit -l, LimitMEMLOCK=)" : "");
	s->is_stuck = true;
}

/* What is there beyond the connections' shares may wait to be posted. */
static void share_out(struct verbs_srq *s)
{
	unsigned int taken = s->nr_users * VERBS_SRQ_SHARE;
	unsigned int spare = s->nr_bufs > taken ? (s->nr_bufs - taken) / s->nr_users : 0;

	__atomic_store_n(&s->repost_due, MAX(MIN(spare, VERBS_REPOST_DUE), 1u), __ATOMIC_RELAXED);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void srq_destroy(struct verbs_srq *s)
{
	int rc = s->srq ? ibv_destroy_srq(s->srq) : 0;

	if (rc)
		log_error("verbs: cannot destroy shared receive queue: %s", strerror(rc));
	for (uint32_t i = 0; i < s->nr_bufs / VERBS_SRQ_CHUNK; i++) {
		if (ibv_dereg_mr(s->chunks[i]))
			log_error("verbs: cannot unregister shared receive buffers");
	}
	if (s->base)
		munmap(s->base, room_bytes(s));
	free(s->chunks);
	*s = (struct verbs_srq){0};
}

/* In whole chunks. */
static void set_sizes(struct verbs_dev *dev, const struct fabric_params *params)
{
	struct verbs_srq *s = &dev->srq;
	const struct ibv_device_attr *attr = &dev->attr;
	uint32_t device_max = (uint32_t)MAX(MIN(attr->max_srq_wr, attr->max_cqe - 16), 0);

	s->min_bufs = (uint32_t)align_up(MAX(VERBS_SRQ_MIN, params->recv_count), VERBS_SRQ_CHUNK);
	s->room = MAX(VERBS_SRQ_MAX, s->min_bufs);
	s->room = MIN(s->room, device_max / VERBS_SRQ_CHUNK * VERBS_SRQ_CHUNK);
	s->buf_bytes = (uint32_t)align_up(params->recv_bytes, 64);
}

static int make_queue(struct verbs_dev *dev)
{
	struct verbs_srq *s = &dev->srq;
	struct ibv_srq_init_attr attr = {.attr = {.max_sge = 1, .max_wr = s->room}};
	int rc;

	errno = 0;
	s->srq = ibv_create_srq(dev->pd, &attr);
	if (s->srq)
		return 0;
	rc = errno ? -errno : -ENOMEM;
	log_error("verbs: no shared receive queue of %u: %s", s->room, strerror(-rc));
	return rc;
}

static int make_room(struct verbs_srq *s)
{
	void *p = mmap(NULL, room_bytes(s), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	s->base = p;
	s->chunks = calloc(nr_chunks(s), sizeof(*s->chunks));
	return s->chunks ? 0 : -ENOMEM;
}

static int srq_create(struct verbs_dev *dev, const struct fabric_params *params)
{
	struct verbs_srq *s = &dev->srq;
	int rc;

	set_sizes(dev, params);
	rc = make_queue(dev);
	if (!rc)
		rc = make_room(s);
	if (!rc) {
		rc = grow(dev, 1);
		if (rc == -ENOMEM)
			verbs_log_memlock("message buffers", chunk_bytes(s));
	}
	if (rc)
		srq_destroy(s);
	return rc;
}

/* All connections of a device share one size: the first one fixes it. */
int verbs_srq_get(struct verbs_dev *dev, const struct fabric_params *params,
		  struct verbs_srq **ret_srq)
{
	struct verbs_srq *s = &dev->srq;
	int rc = 0;
	int err;

	pthread_mutex_lock(&dev->lock);
	if (!s->nr_users) {
		rc = srq_create(dev, params);
	} else if (params->recv_bytes > s->buf_bytes) {
		log_error("verbs: receive buffers of %u bytes wanted, %u in use",
			  params->recv_bytes, s->buf_bytes);
		rc = -EINVAL;
	} else if ((err = grow(dev, s->nr_users + 1)) < 0) {
		stop_growing(s, err);
	}
	if (!rc) {
		s->nr_users++;
		share_out(s);
		*ret_srq = s;
	}
	pthread_mutex_unlock(&dev->lock);
	return rc;
}

void verbs_srq_put(struct verbs_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
	if (--dev->srq.nr_users == 0)
		srq_destroy(&dev->srq);
	else
		share_out(&dev->srq);
	pthread_mutex_unlock(&dev->lock);
}
