/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A job: a thread that keeps iodepth requests in flight on its own queue. Each completion submits
 * the next request, so the load is closed-loop. Latency is from before brp_submit() to the
 * callback; one clock read per request serves as the end of one and the beginning of the next.
 *
 * With --verify a job has a part of the volume to itself. It fills that part first if it is going
 * to read, and reads back at the end what it has written; both are sweeps: sequential, ending by
 * themselves, not measured.
 */
#include "bench/perf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"

#define WAIT_MS     100
#define DRAIN_S     30
#define ALIGN_BYTES 4096u

/* ---- what to do next ------------------------------------------------------------------------- */

static uint64_t next_random(struct perf_job *job)
{
	uint64_t v = job->random;

	v ^= v >> 12;
	v ^= v << 25;
	v ^= v >> 27;
	job->random = v;
	return v * 0x2545f4914f6cdd1dull;
}

static bool is_written(const struct perf_job *job, uint64_t block)
{
	return job->written[block / 8] >> (block % 8) & 1;
}

static uint64_t pick_block(struct perf_job *job)
{
	uint64_t block;

	if (job->rw >= PERF_RANDREAD)
		return (uint64_t)((unsigned __int128)next_random(job) * job->nr_blocks >> 64);
	block = job->next_block++;
	if (job->next_block == job->nr_blocks)
		job->next_block = 0;
	return block;
}

static bool pick_is_write(struct perf_job *job)
{
	if (job->rw == PERF_RANDRW)
		return next_random(job) % 100 >= job->opt->mix_read;
	return job->rw == PERF_WRITE || job->rw == PERF_RANDWRITE;
}

static uint64_t block_of(const struct perf_slot *slot)
{
	return (slot->offset - slot->job->first_byte) / slot->job->opt->bs;
}

static void go_idle(struct perf_slot *slot)
{
	slot->next_idle = slot->job->idle;
	slot->job->idle = slot;
}

static bool is_over(struct perf_job *job)
{
	if (job->is_broken)
		return true;
	if (job->is_sweep)
		return job->left == 0;
	return atomic_load_explicit(job->phase, memory_order_relaxed) == PERF_STOP;
}

static void say_error(struct perf_job *job, const struct perf_slot *slot, int err)
{
	if (job->result.errors++ == 0)
		fprintf(stderr, "brp-perf: job %u: %s of %u bytes at %llu: %s\n", job->index,
			slot->is_write ? "write" : "read", job->opt->bs,
			(unsigned long long)slot->offset, strerror(-err));
}

static void on_done(void *arg, int result);

static void submit(struct perf_slot *slot, uint64_t now)
{
	struct perf_job *job = slot->job;
	struct brp_io io = {
		.op = slot->is_write ? BRP_WRITE : BRP_READ,
		.offset = slot->offset,
		.bytes = job->opt->bs,
		.buf = slot->buf,
		.mem = job->mem,
		.done = on_done,
		.arg = slot,
	};
	int r;

	slot->start_ns = now;
	r = brp_submit(job->queue, &io);
	if (likely(r == 0))
		return;
	go_idle(slot);
	if (r == -EAGAIN)
		return;
	if (r != -ENOTCONN) /* that was said by what was in flight, or will be by main() */
		say_error(job, slot, r);
	job->is_broken = true;
}

/* The next request of this slot, or none. In a sweep over what was written the blocks that were not
 * are left out. */
static void submit_next(struct perf_slot *slot, uint64_t now)
{
	struct perf_job *job = slot->job;
	uint64_t block = 0;

	do {
		if (is_over(job)) {
			go_idle(slot);
			return;
		}
		block = pick_block(job);
		job->left -= job->is_sweep;
	} while (job->is_sweep && job->rw == PERF_READ && !is_written(job, block));
	slot->offset = job->first_byte + block * job->opt->bs;
	slot->is_write = pick_is_write(job);
	if (slot->is_write && job->opt->is_verify) {
		perf_pattern_fill(slot->buf, slot->offset, job->opt->bs, job->info->block_bytes,
				  job->opt->seed);
		now = now_ns();
	}
	submit(slot, now);
}

/* ---- completions ----------------------------------------------------------------------------- */

static void verify(struct perf_slot *slot)
{
	struct perf_job *job = slot->job;
	uint64_t block = block_of(slot);
	uint64_t bad;

	if (slot->is_write) {
		job->written[block / 8] |= (unsigned char)(1u << block % 8);
		return;
	}
	if (!is_written(job, block))
		return;
	bad = perf_pattern_check(slot->buf, slot->offset, job->opt->bs, job->info->block_bytes,
				 job->opt->seed);
	if (bad == UINT64_MAX) {
		job->result.verified++;
		return;
	}
	if (job->result.mismatches++ == 0)
		fprintf(stderr, "brp-perf: job %u: wrong data at %llu\n", job->index,
			(unsigned long long)bad);
}

static void set_measuring(struct perf_job *job, bool is_measuring)
{
	if (job->is_measuring == is_measuring)
		return;
	job->is_measuring = is_measuring;
	if (is_measuring) {
		brp_queue_stats(job->queue, &job->stats_before);
	} else {
		job->result.stats.size = sizeof(job->result.stats);
		brp_queue_stats(job->queue, &job->result.stats);
	}
}

static void note_phase(struct perf_job *job)
{
	set_measuring(job, atomic_load_explicit(job->phase, memory_order_relaxed) == PERF_MEASURE);
}

static void on_done(void *arg, int result)
{
	struct perf_slot *slot = arg;
	struct perf_job *job = slot->job;
	uint64_t now = now_ns();

	if (!job->is_sweep)
		note_phase(job);
	if (unlikely(result < 0)) {
		if (result != -ECANCELED || !is_over(job))
			say_error(job, slot, result);
	} else {
		if (job->is_measuring) {
			histogram_add(&job->result.latency_ns, now - slot->start_ns);
			job->result.reads += !slot->is_write;
			job->result.writes += slot->is_write;
		}
		if (job->opt->is_verify) {
			verify(slot);
			now = now_ns();
		}
	}
	submit_next(slot, now);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void submit_idle(struct perf_job *job)
{
	struct perf_slot *slot = job->idle;

	job->idle = NULL;
	while (slot) {
		struct perf_slot *next = slot->next_idle;

		submit_next(slot, now_ns());
		slot = next;
	}
}

/* Keeps going until is_over(), then until nothing is in flight. */
static void run(struct perf_job *job)
{
	uint64_t give_up_ns = 0;

	while (!is_over(job) || brp_queue_in_flight(job->queue) > 0) {
		if (!is_over(job) && job->idle)
			submit_idle(job);
		if (brp_wait(job->queue, WAIT_MS) < 0) {
			job->is_broken = true;
			return;
		}
		if (!is_over(job))
			continue;
		if (!job->is_sweep)
			note_phase(job);
		give_up_ns = give_up_ns ? give_up_ns : now_ns() + DRAIN_S * NS_PER_S;
		if (now_ns() > give_up_ns) {
			fprintf(stderr, "brp-perf: job %u: %u requests are not answered\n",
				job->index, brp_queue_in_flight(job->queue));
			job->result.errors += brp_queue_in_flight(job->queue);
			job->is_broken = true;
			return;
		}
	}
}

static void sweep(struct perf_job *job, enum perf_rw rw)
{
	job->is_sweep = true;
	job->rw = rw;
	job->next_block = 0;
	job->left = job->nr_blocks;
	run(job);
	job->is_sweep = false;
	job->rw = job->opt->rw;
	job->next_block = 0;
}

static void on_flushed(void *arg, int result)
{
	struct perf_job *job = arg;

	job->is_flushed = true;
	if (result == 0)
		return;
	job->result.errors++;
	job->is_broken = true;
	fprintf(stderr, "brp-perf: job %u: flush: %s\n", job->index, strerror(-result));
}

/* A volatile cache of the target may lose what was filled in, should the target restart. */
static void flush(struct perf_job *job)
{
	struct brp_io io = {.op = BRP_FLUSH, .done = on_flushed, .arg = job};
	int r = brp_submit(job->queue, &io);

	if (r < 0)
		on_flushed(job, r);
	while (!job->is_flushed && brp_wait(job->queue, WAIT_MS) >= 0)
		;
}

static void subtract_stats(struct brp_stats *s, const struct brp_stats *before)
{
	s->requests -= before->requests;
	s->messages -= before->messages;
	s->completions -= before->completions;
	s->responses -= before->responses;
	s->sent_idle -= before->sent_idle;
	s->sent_full -= before->sent_full;
	s->sent_completion -= before->sent_completion;
	s->sent_kick -= before->sent_kick;
	s->sent_window -= before->sent_window;
	s->sent_large -= before->sent_large;
	s->sleeps -= before->sleeps;
	for (unsigned int i = 0; i < 7; i++)
		s->requests_per_message[i] -= before->requests_per_message[i];
}

static void *job_main(void *arg)
{
	struct perf_job *job = arg;
	bool is_reading = job->opt->rw == PERF_READ || job->opt->rw == PERF_RANDREAD;

	if (job->opt->is_verify && is_reading)
		sweep(job, PERF_WRITE);
	if (job->opt->is_verify && is_reading && job->info->is_write_back && !job->is_broken)
		flush(job);
	atomic_store(&job->is_ready, true);
	if (!job->is_broken)
		run(job);
	set_measuring(job, false);
	subtract_stats(&job->result.stats, &job->stats_before);
	if (job->opt->is_verify && !is_reading && !job->is_broken)
		sweep(job, PERF_READ);
	return NULL;
}

int perf_job_start(struct perf_job *job)
{
	return -pthread_create(&job->thread, NULL, job_main, job);
}

void perf_job_join(struct perf_job *job)
{
	pthread_join(job->thread, NULL);
}

/* ---- life ------------------------------------------------------------------------------------ */

int perf_job_init(struct perf_job *job, struct brp_session *s)
{
	const struct perf_options *opt = job->opt;
	size_t stride = align_up(opt->bs, ALIGN_BYTES);

	job->rw = opt->rw;
	job->random = opt->seed * 0x9e3779b97f4a7c15ull + job->index + 1;
	job->stats_before.size = sizeof(job->stats_before);
	histogram_init(&job->result.latency_ns);
	job->memory = aligned_alloc(ALIGN_BYTES, stride * opt->iodepth);
	job->slots = calloc(opt->iodepth, sizeof(*job->slots));
	job->written = opt->is_verify ? calloc(1, job->nr_blocks / 8 + 1) : NULL;
	if (!job->memory || !job->slots || (opt->is_verify && !job->written))
		return -ENOMEM;
	memset(job->memory, 0xa5, stride * opt->iodepth);
	for (uint32_t i = 0; i < opt->iodepth; i++) {
		job->slots[i].job = job;
		job->slots[i].buf = job->memory + i * stride;
		go_idle(&job->slots[i]);
	}
	return brp_mem_register(s, job->memory, stride * opt->iodepth, &job->mem);
}

void perf_job_finish(struct perf_job *job)
{
	free(job->memory);
	free(job->slots);
	free(job->written);
}
