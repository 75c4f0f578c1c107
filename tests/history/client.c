/* SPDX-License-Identifier: BSD-2-Clause */
/* A client: random requests on blocks that all clients share, everything written down. When its
 * session fails it logs in again with the same session UUID. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "brp/brp.h"
#include "tests/history/block.h"
#include "tests/history/driver.h"

#define MAX_QUEUES   8u
#define RETRY_MS     50u
#define DRAIN_MS     60000u
#define WAIT_MS      5
#define ALIGN_BYTES  4096u
#define DISCARD_PART 8u /* the last eighth of the blocks is where discards go */

struct client;

struct slot {
	struct client *c;
	struct hist_rec *rec;
	char *buf;
	uint64_t
		reconnects; /* of the session when it was submitted; UINT64_MAX: one was going on */
	struct slot *next;
};

struct client {
	const struct client_job *job;
	struct client_log *log;
	struct shared *sh;
	uint64_t random;
	uint64_t start_ns;
	uint64_t nr_submitted;
	struct brp_session *session;
	struct brp_info info;
	struct brp_mem *mem;
	char *memory;
	size_t memory_bytes;
	struct slot *slots;
	struct slot *idle;
	uint64_t known_reconnects;
	uint32_t next_block; /* filling, auditing */
	bool is_filler;
	bool is_full; /* its log is */
};

static bool is_ending(const struct client *c)
{
	return atomic_load(&c->sh->is_ending);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void make_uuid(uint8_t *uuid, uint64_t seed, uint64_t index)
{
	uint64_t words[2] = {random_seed(seed, index), random_seed(index, seed)};

	memcpy(uuid, words, 16);
}

static void on_event(void *arg, const struct brp_event *ev)
{
	struct client *c = arg;

	if (ev->kind == BRP_EVENT_RECONNECTED)
		atomic_fetch_add(&c->log->reconnects, 1);
	if (ev->kind == BRP_EVENT_FAILED)
		atomic_fetch_add(&c->log->losses, 1);
	if (c->job->opt->is_verbose)
		fprintf(stderr, "[%llu] client %u: event %d: %s\n",
			(unsigned long long)atomic_load(&c->sh->clock), c->job->index, ev->kind,
			ev->text);
}

static int connect_once(struct client *c)
{
	const struct driver_options *o = c->job->opt;
	uint8_t session[16];
	uint8_t host[16];
	struct brp_options opt = BRP_OPTIONS_INIT;

	make_uuid(session, o->seed, c->job->index);
	make_uuid(host, ~o->seed, c->job->index);
	opt.queues = o->queues;
	opt.queue_depth = o->depth;
	opt.keepalive_ms = o->keepalive_ms;
	opt.host_uuid = host;
	opt.session_uuid = session;
	opt.reconnect_delay_ms = RETRY_MS;
	opt.reconnect_delay_max_ms = 4 * RETRY_MS;
	opt.connect_timeout_ms = 3000;
	opt.on_event = on_event;
	opt.event_arg = c;
	return brp_connect(c->job->uri, &opt, &c->session);
}

static void free_memory(struct client *c)
{
	free(c->memory);
	free(c->slots);
	c->memory = NULL;
	c->slots = NULL;
	c->idle = NULL;
}

static int make_memory(struct client *c)
{
	unsigned int nr = c->job->opt->depth;
	size_t stride = align_up(HIST_MAX_BLOCKS * (size_t)c->info.block_bytes, ALIGN_BYTES);

	c->memory_bytes = nr * stride;
	c->memory = aligned_alloc(ALIGN_BYTES, c->memory_bytes);
	c->slots = calloc(nr, sizeof(*c->slots));
	if (!c->memory || !c->slots)
		return -ENOMEM;
	for (unsigned int i = 0; i < nr; i++) {
		c->slots[i] = (struct slot){.c = c, .buf = c->memory + i * stride, .next = c->idle};
		c->idle = &c->slots[i];
	}
	return brp_mem_register(c->session, c->memory, c->memory_bytes, &c->mem);
}

static void log_out(struct client *c)
{
	atomic_store(&c->log->is_live, false);
	brp_disconnect(c->session);
	c->session = NULL;
	free_memory(c);
}

/* Until the target lets us in. */
static int log_in(struct client *c)
{
	struct hist_rec *r;
	uint64_t end_ns = now_ns() + DRAIN_MS * NS_PER_MS;
	int err;

	c->log->session++;
	r = shared_begin(c->sh, c->job->index);
	if (!r)
		return -ENOSPC;
	r->op = HIST_LOGIN;
	r->start = tick(c->sh);
	shared_commit(c->sh, c->job->index);
	while ((err = connect_once(c)) < 0) {
		if (c->job->opt->is_verbose)
			fprintf(stderr, "client %u: cannot connect: %s\n", c->job->index,
				brp_last_error());
		if (now_ns() > end_ns)
			return err;
		usleep(RETRY_MS * 1000);
	}
	r->end = tick(c->sh);
	r->result = HIST_OK;
	c->info.size = sizeof(c->info);
	brp_session_info(c->session, &c->info);
	if (c->info.size_bytes / c->info.block_bytes < c->job->opt->blocks) {
		fprintf(stderr, "brp-history: the volume has fewer blocks than --blocks\n");
		return -EINVAL;
	}
	c->known_reconnects = 0;
	atomic_store(&c->log->is_live, true);
	return make_memory(c);
}

/* UINT64_MAX while a reconnect goes on. */
static uint64_t reconnects_now(const struct client *c)
{
	struct brp_status st = {.size = sizeof(st)};

	brp_session_status(c->session, &st);
	return st.state == BRP_STATE_LIVE ? st.reconnects : UINT64_MAX;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void look(const struct slot *slot)
{
	const struct client *c = slot->c;
	uint32_t bytes = c->info.block_bytes;

	for (uint32_t i = 0; i < slot->rec->count; i++)
		slot->rec->seen[i] = block_read(slot->buf + (size_t)i * bytes, bytes,
						c->job->opt->seed, slot->rec->first + i);
}

/* An error of the device is the target's answer; any other may be the library's, which does not
 * know. */
static enum hist_result judge(const struct client *c, int result)
{
	if (result == 0)
		return HIST_OK;
	return result == -EIO && reconnects_now(c) != UINT64_MAX ? HIST_FAILED : HIST_UNKNOWN;
}

static void on_done(void *arg, int result)
{
	struct slot *slot = arg;
	struct client *c = slot->c;
	struct hist_rec *r = slot->rec;
	uint64_t reconnects = reconnects_now(c);

	if (result == 0 && r->op == HIST_READ)
		look(slot);
	if (slot->reconnects == UINT64_MAX || slot->reconnects != reconnects)
		r->flags |= HIST_RETRIED;
	r->end = tick(c->sh);
	r->result = (uint8_t)judge(c, result);
	if (result == 0)
		atomic_store(&c->log->last_ok_ns, now_ns());
	slot->next = c->idle;
	c->idle = slot;
}

/* ---- requests -------------------------------------------------------------------------------- */

static const struct {
	enum hist_op op;
	unsigned int percent;
} mix[] = {{HIST_READ, 44}, {HIST_WRITE, 45}, {HIST_ZEROES, 5}, {HIST_FLUSH, 4}, {HIST_DISCARD, 2}};

static enum hist_op pick_op(struct client *c)
{
	uint64_t n = random_below(&c->random, 100);
	size_t i = 0;

	while (n >= mix[i].percent)
		n -= mix[i++].percent;
	if ((mix[i].op == HIST_DISCARD && !c->info.has_discard) ||
	    (mix[i].op == HIST_ZEROES && !c->info.has_write_zeroes))
		return HIST_READ;
	return mix[i].op;
}

static void pick_random(struct client *c, struct hist_rec *r)
{
	uint32_t blocks = c->job->opt->blocks;
	uint32_t first = 0;

	r->op = (uint8_t)pick_op(c);
	if (r->op == HIST_DISCARD)
		first = blocks - blocks / DISCARD_PART;
	r->first = first + (uint32_t)random_below(&c->random, blocks - first);
	r->count =
		(uint16_t)(1 + random_below(&c->random, MIN(HIST_MAX_BLOCKS, blocks - r->first)));
	if (r->op == HIST_WRITE && c->info.has_fua && random_below(&c->random, 8) == 0)
		r->flags = HIST_FUA;
}

/* Block after block: writes that fill the volume, or the reads of the auditor. */
static void pick_next(struct client *c, struct hist_rec *r)
{
	r->op = c->is_filler ? HIST_WRITE : HIST_READ;
	r->first = c->next_block;
	r->count = (uint16_t)MIN(HIST_MAX_BLOCKS, c->job->opt->blocks - c->next_block);
	c->next_block += r->count;
}

static void fill(struct client *c, const struct slot *slot)
{
	struct hist_rec *r = slot->rec;

	r->value = hist_value(r->client, ++c->log->sequence);
	for (uint32_t i = 0; i < r->count; i++)
		block_fill(slot->buf + (size_t)i * c->info.block_bytes, c->info.block_bytes,
			   c->job->opt->seed, r->first + i, r->value);
}

static int submit(struct client *c, struct slot *slot)
{
	static const enum brp_io_op ops[] = {
		[HIST_READ] = BRP_READ,           [HIST_WRITE] = BRP_WRITE,
		[HIST_ZEROES] = BRP_WRITE_ZEROES, [HIST_DISCARD] = BRP_DISCARD,
		[HIST_FLUSH] = BRP_FLUSH,
	};
	const struct hist_rec *r = slot->rec;
	struct brp_io io = {
		.op = ops[r->op],
		.flags = r->flags & HIST_FUA ? BRP_FUA : 0,
		.offset = (uint64_t)r->first * c->info.block_bytes,
		.bytes = (uint64_t)r->count * c->info.block_bytes,
		.done = on_done,
		.arg = slot,
	};
	uint64_t queue = random_below(&c->random, c->info.queues);

	if (r->op == HIST_READ || r->op == HIST_WRITE) {
		io.buf = slot->buf;
		io.mem = c->mem;
	}
	return brp_submit(brp_session_queue(c->session, (unsigned int)queue), &io);
}

/* 0, -EAGAIN: not now, -ENOSPC: the log is full, other: the session is over. */
static int submit_one(struct client *c)
{
	struct slot *slot = c->idle;
	struct hist_rec *r = shared_begin(c->sh, c->job->index);
	int err;

	if (!r)
		return -ENOSPC;
	slot->rec = r;
	if (c->is_filler || c->job->is_auditor)
		pick_next(c, r);
	else
		pick_random(c, r);
	if (r->op == HIST_WRITE)
		fill(c, slot);
	if (r->op == HIST_FLUSH)
		r->first = r->count = 0;
	c->idle = slot->next;
	slot->reconnects = reconnects_now(c);
	r->start = tick(c->sh);
	shared_commit(c->sh, c->job->index);
	err = submit(c, slot);
	if (!err) {
		c->nr_submitted++;
		return 0;
	}
	slot->next = c->idle;
	c->idle = slot;
	if (c->is_filler || c->job->is_auditor)
		c->next_block -= r->count;
	shared_take_back(c->sh, c->job->index);
	return err;
}

static bool is_time_for_another(const struct client *c)
{
	uint64_t ms = (now_ns() - c->start_ns) / NS_PER_MS;

	if (c->is_filler || c->job->is_auditor)
		return c->next_block < c->job->opt->blocks;
	return !is_ending(c) && !c->is_full && c->nr_submitted < ms * c->job->opt->rate / 1000;
}

static int submit_all(struct client *c)
{
	int err = 0;

	while (!err && c->idle && is_time_for_another(c))
		err = submit_one(c);
	for (unsigned int i = 0; i < c->info.queues; i++)
		brp_kick(brp_session_queue(c->session, i));
	c->is_full |= err == -ENOSPC;
	return err == -EAGAIN || err == -ENOSPC ? 0 : err;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static unsigned int in_flight(const struct client *c)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->info.queues; i++)
		n += brp_queue_in_flight(brp_session_queue(c->session, i));
	return n;
}

/* Completions, or a negative errno once all queues are over. */
static int poll_queues(const struct client *c)
{
	unsigned int nr_over = 0;
	int sum = 0;
	int err = 0;

	for (unsigned int i = 0; i < c->info.queues; i++) {
		int n = brp_poll(brp_session_queue(c->session, i));

		if (n >= 0)
			sum += n;
		else
			err = n;
		nr_over += n < 0;
	}
	return nr_over == c->info.queues ? err : sum;
}

static void sleep_on_queues(const struct client *c)
{
	struct pollfd pfds[MAX_QUEUES];

	for (unsigned int i = 0; i < c->info.queues; i++)
		pfds[i] = (struct pollfd){.fd = brp_queue_fd(brp_session_queue(c->session, i)),
					  .events = POLLIN};
	poll(pfds, c->info.queues, WAIT_MS);
}

static bool has_more_to_do(const struct client *c)
{
	if (c->is_filler || c->job->is_auditor)
		return c->next_block < c->job->opt->blocks;
	return !is_ending(c);
}

/* Until the work is done, 0; or the session is over, a negative errno; -EDEADLK: no answers. */
static int serve_session(struct client *c)
{
	uint64_t give_up_ns = 0;

	while (has_more_to_do(c) || in_flight(c)) {
		int n = has_more_to_do(c) ? submit_all(c) : 0;

		if (n == 0)
			n = poll_queues(c);
		if (n < 0)
			return n;
		if (n == 0)
			sleep_on_queues(c);
		if (!has_more_to_do(c) && give_up_ns == 0)
			give_up_ns = now_ns() + DRAIN_MS * NS_PER_MS;
		if (give_up_ns && now_ns() > give_up_ns)
			return -EDEADLK;
	}
	return 0;
}

static int hang(const struct client *c)
{
	struct brp_status st = {.size = sizeof(st)};

	brp_session_status(c->session, &st);
	fprintf(stderr, "brp-history: client %u: %u requests are not answered after %u s: %s\n",
		c->job->index, in_flight(c), DRAIN_MS / 1000, st.text);
	return DRIVER_HANG;
}

/* Once all is answered. */
static int flush(struct client *c)
{
	struct slot *slot = c->idle;
	struct hist_rec *r = shared_begin(c->sh, c->job->index);
	int err;

	if (!r)
		return -ENOSPC;
	r->op = HIST_FLUSH;
	r->start = tick(c->sh);
	shared_commit(c->sh, c->job->index);
	slot->rec = r;
	c->idle = slot->next;
	err = submit(c, slot);
	return err ? err : serve_session(c); /* a filler has no more to do */
}

static int fill_volume(struct client *c)
{
	int err;

	c->is_filler = true;
	err = serve_session(c);
	if (!err && c->info.is_write_back)
		err = flush(c);
	c->is_filler = false;
	atomic_store(&c->sh->is_filled, !err);
	return err;
}

/* A session is looked after meanwhile. */
static int wait_filled(const struct client *c)
{
	int n = 0;

	while (n >= 0 && !atomic_load(&c->sh->is_filled)) {
		n = poll_queues(c);
		sleep_on_queues(c);
	}
	return n < 0 ? n : 0;
}

static int live(struct client *c)
{
	int err = log_in(c);

	if (!err && c->job->index == 0 && !atomic_load(&c->sh->is_filled))
		err = fill_volume(c);
	if (!err)
		err = wait_filled(c);
	c->start_ns = now_ns();
	c->nr_submitted = 0;
	while (!err) {
		err = serve_session(c);
		if (err == 0 || err == -EDEADLK)
			break;
		if (c->job->opt->is_verbose)
			fprintf(stderr, "client %u: session %u is over: %s: %s\n", c->job->index,
				c->log->session, strerror(-err), brp_session_error(c->session));
		log_out(c);
		c->next_block = 0;
		err = log_in(c);
	}
	if (err == -EDEADLK)
		return hang(c);
	if (err)
		fprintf(stderr, "brp-history: client %u gives up: %s: %s\n", c->job->index,
			strerror(-err), brp_last_error());
	if (c->session)
		log_out(c);
	return err ? DRIVER_FAILED : DRIVER_OK;
}

void client_main(const struct client_job *job)
{
	struct client c = {
		.job = job,
		.sh = job->sh,
		.log = &job->sh->clients[job->index],
		.random = random_seed(job->opt->seed, 1000ull * job->incarnation + job->index),
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	exit(live(&c));
}
