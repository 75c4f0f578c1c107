/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether acknowledged writes of a write-back volume may be lost when its target restarts
 * (protocol.md 4.2, "Identity"). All queues together need to know, and a write must not pay for it.
 *
 * A FLUSH covers what was answered, on any queue, before it was sent. So time is cut into rounds by
 * the FLUSHes sent: session.round is their number + 1. A queue that gets a write acknowledged notes
 * the current round as its own dirt.round. A FLUSH, when it is sent, ends the current round r and
 * begins r + 1; answered OK, everything acknowledged in rounds <= r is stable: clean_round becomes
 * at least r + 1. There are unflushed writes if and only if some queue's dirt.round >= clean_round.
 *
 * Why that is right. If a write was noted in round r, then r was read before the FLUSH's increment
 * to r + 1 (one order of all changes of one atomic), the answer had arrived before it was read, and
 * the FLUSH was sent after the increment: the FLUSH covers the write. If a write's answer arrived
 * after the FLUSH left, the note says r + 1 or more, which this FLUSH does not clean. A write noted
 * in r + 1 although the FLUSH covers it is the only error, to the safe side. Only the last round of
 * a queue matters: what cleans it cleans the earlier ones.
 *
 * Restarts. The queue that finds another boot id does boot_seq++ and then looks at every dirt.round
 * (identity.c). Another queue may at that moment handle answers of the old target that were still
 * in its socket. It notes the round and then looks at boot_seq. Both sides write, then fence, then
 * read the other's word, so at least one sees the other: either the restart's check counts the
 * write, or the write is not believed, and sent again like one without an answer. When the note is
 * already there, the fence after it was done by the write that made it. A FLUSH that the old target
 * answered is as good as ever: what it cleans was acknowledged before it was sent.
 *
 * FUA writes are stable when answered, what a discarded block holds is not defined, and a
 * write-through volume has nothing to lose: they cost nothing and count nothing.
 */
#include "initiator/internal.h"

/* Acquire: what follows (the application's done()) comes after. */
static bool is_believed(const struct brp_queue *q)
{
	return atomic_load_explicit(&q->session->boot_seq, memory_order_acquire) ==
	       q->dirt.boot_seq;
}

static uint64_t clean_round(const struct brp_session *s)
{
	return atomic_load_explicit(&s->clean_round, memory_order_acquire);
}

static void note_write(struct brp_queue *q)
{
	struct ini_dirt *d = &q->dirt;
	/* Acquire: it is read after the answer came and before done() can submit a FLUSH. */
	uint64_t round = atomic_load_explicit(&q->session->round, memory_order_acquire);
	uint64_t noted = atomic_load_explicit(&d->round, memory_order_relaxed);
	uint64_t nr = atomic_load_explicit(&d->nr, memory_order_relaxed);

	if (noted != round) {
		if (noted < clean_round(q->session))
			nr = 0;
		atomic_store(&d->round, round);
		atomic_thread_fence(memory_order_seq_cst);
	}
	atomic_store_explicit(&d->nr, nr + 1, memory_order_relaxed);
}

static void note_flush(struct brp_session *s, uint64_t round)
{
	uint64_t clean = clean_round(s);

	while (clean < round + 1 &&
	       !atomic_compare_exchange_weak(&s->clean_round, &clean, round + 1))
		;
}

bool ini_stable_answered(struct brp_queue *q, const struct ini_slot *slot)
{
	bool is_write = slot->op == BRP_OP_WRITE || slot->op == BRP_OP_WRITE_ZEROES;

	if (is_write && !(slot->flags & BRP_REQ_FUA)) {
		note_write(q);
		return is_believed(q);
	}
	if (slot->op == BRP_OP_FLUSH)
		note_flush(q->session, slot->flush_round);
	return true;
}

uint64_t ini_stable_flush_sent(struct brp_session *s)
{
	return atomic_fetch_add(&s->round, 1);
}

uint64_t ini_stable_nr_unflushed(const struct brp_session *s)
{
	uint64_t clean, nr = 0;

	atomic_thread_fence(memory_order_seq_cst);
	clean = clean_round(s);
	for (unsigned int i = 0; i < s->opt.queues; i++) {
		const struct ini_dirt *d = &s->queues[i]->dirt;

		if (atomic_load(&d->round) >= clean)
			nr += MAX(1u, atomic_load_explicit(&d->nr, memory_order_relaxed));
	}
	return nr;
}
