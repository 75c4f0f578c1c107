/* SPDX-License-Identifier: BSD-2-Clause */
/* The small calls of brp.h: memory, what we are connected to, figures. */
#include "initiator/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef BRP_VERSION_TEXT
#define BRP_VERSION_TEXT "unknown"
#endif

const char *brp_version(void)
{
	return BRP_VERSION_TEXT;
}

/* ---- memory ---------------------------------------------------------------------------------- */

int brp_mem_register(struct brp_session *s, void *base, size_t bytes, struct brp_mem **ret_mem)
{
	struct log_capture why;
	struct brp_mem *mem;
	int r;

	if (!base || bytes == 0)
		return -EINVAL;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	/* The same buffer serves reads (the target pushes) and writes (it pulls). */
	log_capture(&why);
	r = fabric_mem_register(s->fabric, base, bytes,
				FABRIC_MEM_REMOTE_WRITE | FABRIC_MEM_REMOTE_READ, &mem->fabric);
	log_capture(NULL);
	if (r < 0) {
		free(mem);
		return ini_last_error_set(r, "%s", why.text[0] ? why.text : strerror(-r));
	}
	mem->session = s;
	list_add_tail(&s->mems, &mem->link);
	*ret_mem = mem;
	return 0;
}

void brp_mem_unregister(struct brp_mem *mem)
{
	if (!mem)
		return;
	fabric_mem_unregister(mem->fabric);
	list_del(&mem->link);
	free(mem);
}

void ini_session_free_mems(struct brp_session *s)
{
	while (!list_empty(&s->mems))
		brp_mem_unregister(list_entry(s->mems.next, struct brp_mem, link));
}

/* ---- session --------------------------------------------------------------------------------- */

struct brp_queue *brp_session_queue(struct brp_session *s, unsigned int index)
{
	return s->is_connected && index < s->opt.queues ? s->queues[index] : NULL;
}

int ini_copy_out(void *to, size_t to_bytes, const void *from, size_t from_bytes)
{
	if (to_bytes < sizeof(size_t))
		return -EINVAL;
	memset(to, 0, to_bytes);
	memcpy(to, from, MIN(to_bytes, from_bytes));
	memcpy(to, &to_bytes, sizeof(to_bytes));
	return 0;
}

static uint32_t smallest_depth(const struct brp_session *s)
{
	uint32_t depth = s->queues[0]->nr_slots;

	for (unsigned int i = 1; i < s->opt.queues; i++)
		depth = MIN(depth, s->queues[i]->nr_slots);
	return depth;
}

/* Reconnecting changes it. */
static struct brp_login_reply last_login(struct brp_session *s)
{
	struct brp_login_reply login;

	pthread_mutex_lock(&s->lock);
	login = s->login;
	pthread_mutex_unlock(&s->lock);
	return login;
}

int brp_session_info(const struct brp_session *s, struct brp_info *ret_info)
{
	const struct brp_queue *q;
	struct brp_login_reply login;
	struct brp_info info;

	if (!s->is_connected || s->listing)
		return -ENOTCONN;
	q = s->queues[0];
	login = last_login((struct brp_session *)s);
	info = (struct brp_info){
		.generation = login.generation,
		.size_bytes = atomic_load(&s->size_blocks) << q->block_shift,
		.block_bytes = login.block_bytes,
		.preferred_io_bytes = login.preferred_io_bytes,
		.max_transfer_bytes = MIN(login.max_transfer_bytes, q->params.max_data_bytes),
		.queue_depth = smallest_depth(s),
		.queues = s->opt.queues,
		.read_only = s->opt.read_only || login.volume_flags & BRP_VOL_READ_ONLY,
		.has_discard = login.volume_flags & BRP_VOL_DISCARD,
		.has_write_zeroes = login.volume_flags & BRP_VOL_WRITE_ZEROES,
		.has_fua = login.volume_flags & BRP_VOL_FUA,
		.is_write_back = login.cache == BRP_CACHE_WRITE_BACK,
		.has_digest = atomic_load(&s->features) & BRP_FEATURE_DIGEST,
	};
	memcpy(info.volume_uuid, login.volume_uuid.b, sizeof(info.volume_uuid));
	memcpy(info.boot_id, login.boot_id.b, sizeof(info.boot_id));
	memcpy(info.volume_name, s->uri.volume_name, sizeof(info.volume_name));
	snprintf(info.transport, sizeof(info.transport), "%s", fabric_name(s->fabric));
	return ini_copy_out(ret_info, ret_info->size, &info, sizeof(info));
}

int brp_queue_stats(const struct brp_queue *q, struct brp_stats *ret_stats)
{
	const uint64_t *from = (const uint64_t *)&q->stats;
	struct brp_stats copy;
	uint64_t *to = (uint64_t *)&copy;

	/* The queue's thread may be counting. */
	static_assert(sizeof(copy) % sizeof(uint64_t) == 0, "counters only");
	for (size_t i = 0; i < sizeof(copy) / sizeof(uint64_t); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	return ini_copy_out(ret_stats, ret_stats->size, &copy, sizeof(copy));
}

void brp_session_abort(struct brp_session *s, const char *why)
{
	ini_session_fail(s, -ECANCELED, "%s", why);
}
