/* SPDX-License-Identifier: BSD-2-Clause */
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define SYNC_TIMEOUT_MS 60000u

uint64_t ops_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* xorshift64*: repeatable with --seed. */
uint64_t ops_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static int map_arena(struct ops_session *os, size_t bytes)
{
	int err;

	os->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (os->base == MAP_FAILED) {
		os->base = NULL;
		return -errno;
	}
	os->bytes = bytes;
	err = brp_mem_register(os->s, os->base, bytes, &os->mem);
	if (err)
		fprintf(stderr, "brp-ops: cannot register memory: %s: %s\n", strerror(-err),
			brp_session_error(os->s));
	return err;
}

void ops_say(const char *event, const char *text)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	printf("%lld.%03ld %s: %s\n", (long long)ts.tv_sec, ts.tv_nsec / 1000000, event, text);
	fflush(stdout);
}

static bool is_flowing;

void ops_say_flowing(void)
{
	if (!is_flowing)
		ops_say("flowing", "a request was answered");
	is_flowing = true;
}

static void on_event(void *arg, const struct brp_event *ev)
{
	static const char *const names[] = {
		[BRP_EVENT_LOST] = "lost",         [BRP_EVENT_RECONNECTED] = "reconnected",
		[BRP_EVENT_RESIZED] = "resized",   [BRP_EVENT_REMOVED] = "removed",
		[BRP_EVENT_GOING_DOWN] = "ending", [BRP_EVENT_FAILED] = "failed",
	};

	(void)arg;
	if (ev->kind == BRP_EVENT_RECONNECTED)
		is_flowing = false;
	ops_say(names[ev->kind], ev->text);
}

static void fill_options(const struct ops_options *o, struct brp_options *opt)
{
	*opt = (struct brp_options)BRP_OPTIONS_INIT;
	opt->queues = o->queues;
	opt->queue_depth = o->depth;
	opt->merge = o->merge;
	opt->read_only = o->is_read_only;
	opt->on_event = on_event;
	if (o->session) {
		static uint8_t uuid[16] = "brp-ops";

		/* Machines without a machine-id would be another host each time. */
		memcpy(uuid + 12, &o->session, sizeof(o->session));
		opt->session_uuid = uuid;
		opt->host_uuid = uuid;
	}
	opt->ctrl_loss_tmo_ms = o->does_reconnect ? -1 : 0;
	/* The library has no threads: idle sessions that nobody polls answer no KEEPALIVE. */
	if (o->is_unattended)
		opt->keepalive_ms = BRP_KEEPALIVE_NEVER;
}

int ops_connect(const struct ops_options *o, size_t arena_bytes, struct ops_session *ret)
{
	struct ops_session os = {.info.size = sizeof(os.info)};
	struct brp_options opt;
	int err;

	fill_options(o, &opt);
	err = brp_connect(o->uri, &opt, &os.s);
	if (err) {
		fprintf(stderr, "brp-ops: %s: %s\n", o->uri, brp_last_error());
		return OPS_NO_CONNECT;
	}
	err = brp_session_info(os.s, &os.info);
	if (!err && arena_bytes)
		err = map_arena(&os, arena_bytes);
	if (err) {
		ops_disconnect(&os);
		return OPS_NO_CONNECT;
	}
	*ret = os;
	return OPS_OK;
}

void ops_disconnect(struct ops_session *os)
{
	brp_mem_unregister(os->mem);
	brp_disconnect(os->s);
	if (os->base)
		munmap(os->base, os->bytes);
	*os = (struct ops_session){0};
}

struct sync_result {
	bool is_done;
	int result;
};

static void on_sync(void *arg, int result)
{
	struct sync_result *r = arg;

	r->is_done = true;
	r->result = result;
}

int ops_sync(struct ops_session *os, enum brp_io_op op, uint64_t offset, uint64_t bytes, void *buf)
{
	struct brp_queue *q = brp_session_queue(os->s, 0);
	struct sync_result r = {0};
	struct brp_io io = {.op = op,
			    .offset = offset,
			    .bytes = bytes,
			    .buf = buf,
			    .mem = buf ? os->mem : NULL,
			    .done = on_sync,
			    .arg = &r};
	uint64_t deadline = ops_now_ms() + SYNC_TIMEOUT_MS;
	int err = brp_submit(q, &io);

	if (err)
		return err;
	while (!r.is_done) {
		if (brp_wait(q, 1000) < 0 && !r.is_done)
			return -ENOTCONN;
		if (ops_now_ms() > deadline) {
			fprintf(stderr, "brp-ops: a request takes more than %u ms\n",
				SYNC_TIMEOUT_MS);
			exit(OPS_HANG);
		}
	}
	return r.result;
}
