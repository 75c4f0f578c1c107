/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether what answers a login is still the volume the application works on (protocol.md 4.2,
 * "Identity"). A session never goes on silently with other data.
 *
 * Replies reach the queues' threads in any order. One that is older than what the session knows
 * already says nothing: a queue that nobody polled for a while may find the reply of a target that
 * was killed since. Only a reply at a newer epoch than the last accepted one may tell of another
 * boot id; a queue that finds another one at the same epoch asks again at a newer one.
 */
#include "initiator/internal.h"

#include <errno.h>
#include <stdio.h>

#include "brp/status.h"

const char *ini_identity_differs(const struct brp_login_reply *a, const struct brp_login_reply *b)
{
	if (!brp_uuid_equal(&a->volume_uuid, &b->volume_uuid))
		return "another volume UUID";
	if (a->generation != b->generation)
		return "another volume generation";
	if (!brp_uuid_equal(&a->boot_id, &b->boot_id))
		return "another boot id";
	if (a->block_bytes != b->block_bytes)
		return "another block size";
	return NULL;
}

void ini_identity_init(struct brp_session *s, const struct brp_login_reply *m)
{
	s->login = *m;
	atomic_store(&s->size_blocks, m->size_blocks);
}

static const char *volume(const struct brp_session *s)
{
	return s->uri.by_uuid ? "the volume" : s->uri.volume_name;
}

/* What can never be gone on with. 0, or -ESTALE with the words. */
static int check_volume(const struct brp_session *s, const struct brp_login_reply *m, char *why)
{
	const struct brp_login_reply *known = &s->login;
	uint64_t size_blocks = atomic_load(&s->size_blocks);

	if (!brp_uuid_equal(&known->volume_uuid, &m->volume_uuid))
		snprintf(why, INI_ERROR_BYTES,
			 "%s came back as another volume (its UUID differs): memory that was "
			 "emptied, or another disk; it is not the same data",
			 volume(s));
	else if (known->generation != m->generation)
		snprintf(why, INI_ERROR_BYTES,
			 "%s came back empty: generation %llu, before it was %llu; it is not the "
			 "same data",
			 volume(s), (unsigned long long)m->generation,
			 (unsigned long long)known->generation);
	else if (known->block_bytes != m->block_bytes)
		snprintf(why, INI_ERROR_BYTES, "%s has blocks of %u bytes now, before of %u",
			 volume(s), m->block_bytes, known->block_bytes);
	else if (m->size_blocks < size_blocks)
		snprintf(why, INI_ERROR_BYTES, "%s has shrunk from %llu to %llu blocks", volume(s),
			 (unsigned long long)size_blocks, (unsigned long long)m->size_blocks);
	else if (m->cache == BRP_CACHE_WRITE_BACK && known->cache != BRP_CACHE_WRITE_BACK)
		snprintf(why, INI_ERROR_BYTES,
			 "%s has a volatile cache now, before it had none: what writes it was told "
			 "otherwise",
			 volume(s));
	else
		return 0;
	return -ESTALE;
}

/* The target restarted: 0, or -EIO when it took acknowledged writes with it. */
static int check_restart(struct brp_session *s, char *why)
{
	uint64_t nr;

	/* Before the look at what is unflushed; see stable.c. */
	atomic_fetch_add(&s->boot_seq, 1);
	nr = ini_stable_nr_unflushed(s);
	if (nr == 0)
		return 0;
	snprintf(why, INI_ERROR_BYTES,
		 "the target of %s restarted and %llu acknowledged writes may be lost: they were "
		 "not flushed",
		 volume(s), (unsigned long long)nr);
	return -EIO;
}

enum ini_identity ini_identity_check(struct brp_queue *q, const struct brp_login_reply *m,
				     int *ret_err, char why[INI_ERROR_BYTES])
{
	struct brp_session *s = q->session;
	/* Of a write-through volume the boot id says nothing. */
	bool is_restarted = s->login.cache == BRP_CACHE_WRITE_BACK &&
			    !brp_uuid_equal(&s->login.boot_id, &m->boot_id);
	bool is_larger;

	if (m->epoch < s->login.epoch || (is_restarted && m->epoch == s->login.epoch))
		return INI_IDENTITY_OUTDATED;
	*ret_err = check_volume(s, m, why);
	if (*ret_err == 0 && is_restarted)
		*ret_err = check_restart(s, why);
	if (*ret_err < 0)
		return INI_IDENTITY_OTHER;
	is_larger = atomic_exchange(&s->size_blocks, m->size_blocks) < m->size_blocks;
	s->login = *m;
	q->dirt.boot_seq = atomic_load(&s->boot_seq);
	return is_larger ? INI_IDENTITY_LARGER : INI_IDENTITY_SAME;
}
