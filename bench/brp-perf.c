/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-perf: measures a volume through libbrp. main() connects, runs the jobs through their phases
 * and reports. */
#include "bench/perf.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/util.h"

#define VERIFY_DEFAULT_BYTES (1ull << 30)

static volatile sig_atomic_t is_interrupted;
static atomic_bool has_failed; /* the session, for good: no job goes on */

static void on_signal(int sig)
{
	(void)sig;
	is_interrupted = 1;
}

static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static double cpu_us(const struct timeval *tv)
{
	return (double)tv->tv_sec * 1e6 + (double)tv->tv_usec;
}

/* May be cut short by Ctrl-C, and by the end of the session: nothing is left to measure. */
static void pause_ms(uint32_t ms)
{
	uint64_t end = now_ns() + ms * NS_PER_MS;

	while (!is_interrupted && !atomic_load(&has_failed) && now_ns() < end)
		usleep((useconds_t)MIN((end - now_ns()) / NS_PER_US + 1, 100000ull));
}

/* What the session goes through; how it ends is said at the end. */
static void on_event(void *arg, const struct brp_event *ev)
{
	const struct perf_options *opt = arg;

	if (ev->kind == BRP_EVENT_FAILED)
		atomic_store(&has_failed, true);
	else
		fprintf(stderr, "brp-perf: %s: %s\n", opt->uri, ev->text);
}

static int connect_session(struct perf_options *opt, struct brp_session **ret_s,
			   struct brp_info *ret_info)
{
	struct brp_options o = BRP_OPTIONS_INIT;
	int r;

	o.queues = opt->jobs;
	o.queue_depth = opt->queue_size;
	o.merge = opt->merge;
	o.merge_window_us = opt->merge_window_us;
	o.merge_max_bytes = opt->merge_max_bytes;
	o.poll_us = opt->poll_us;
	o.reconnect_delay_ms = opt->reconnect_delay_ms;
	o.reconnect_delay_max_ms = opt->reconnect_delay_ms > 10000 ? opt->reconnect_delay_ms : 0;
	o.ctrl_loss_tmo_ms = opt->ctrl_loss_tmo_ms;
	o.fast_io_fail_tmo_ms = opt->fast_io_fail_tmo_ms;
	/* A peer is dead when the fourth of its keep-alives is overdue. */
	o.keepalive_ms =
		opt->keep_alive_tmo_ms ? MAX(opt->keep_alive_tmo_ms / 4, 1u) : BRP_KEEPALIVE_NEVER;
	o.digest = opt->digest;
	o.on_event = on_event;
	o.event_arg = opt;
	o.read_only = !opt->is_verify && (opt->rw == PERF_READ || opt->rw == PERF_RANDREAD);
	r = brp_connect(opt->uri, &o, ret_s);
	if (r < 0) {
		fprintf(stderr, "brp-perf: %s: %s\n", opt->uri, brp_last_error());
		return r;
	}
	ret_info->size = sizeof(*ret_info);
	return brp_session_info(*ret_s, ret_info);
}

static int check_volume(struct perf_options *opt, const struct brp_info *info)
{
	uint64_t bytes = opt->size ? MIN(opt->size, info->size_bytes) : info->size_bytes;

	if (opt->is_verify && !opt->size)
		bytes = MIN(bytes, VERIFY_DEFAULT_BYTES);
	opt->size = bytes;
	if (opt->bs % info->block_bytes != 0) {
		fprintf(stderr, "brp-perf: --bs %u is no multiple of the volume's block size %u\n",
			opt->bs, info->block_bytes);
		return -EINVAL;
	}
	if (bytes / opt->bs < opt->jobs) {
		fprintf(stderr, "brp-perf: %llu bytes are too few for %u jobs\n",
			(unsigned long long)bytes, opt->jobs);
		return -EINVAL;
	}
	if (info->queue_depth < opt->iodepth)
		fprintf(stderr, "brp-perf: the target grants a depth of %u only\n",
			info->queue_depth);
	return 0;
}

/* With --verify, and for sequential work, each job has its own part; else all use everything. */
static void set_part(struct perf_job *job)
{
	const struct perf_options *opt = job->opt;
	uint64_t blocks = opt->size / opt->bs;

	job->nr_blocks = blocks;
	if (opt->is_verify || opt->rw < PERF_RANDREAD) {
		job->nr_blocks = blocks / opt->jobs;
		job->first_byte = job->index * job->nr_blocks * opt->bs;
	}
}

static int init_jobs(struct perf_job *jobs, const struct perf_options *opt,
		     const struct brp_info *info, const atomic_int *phase, struct brp_session *s)
{
	for (uint32_t i = 0; i < opt->jobs; i++) {
		int r;

		jobs[i].opt = opt;
		jobs[i].info = info;
		jobs[i].phase = phase;
		jobs[i].index = i;
		jobs[i].queue = brp_session_queue(s, i);
		set_part(&jobs[i]);
		r = perf_job_init(&jobs[i], s);
		if (r < 0) {
			fprintf(stderr, "brp-perf: memory for job %u: %s%s\n", i, strerror(-r),
				r == -ENOMEM ? " (memlock limit? see 'ulimit -l')" : "");
			return r;
		}
	}
	return 0;
}

static void wait_ready(struct perf_job *jobs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		while (!is_interrupted && !atomic_load(&jobs[i].is_ready))
			usleep(1000);
	}
}

/* The phases; fills in time and CPU. */
static void measure(struct perf_report *r, struct perf_job *jobs, atomic_int *phase)
{
	struct rusage before, after;
	uint64_t start;

	wait_ready(jobs, r->opt->jobs);
	pause_ms(r->opt->warmup_ms);
	getrusage(RUSAGE_SELF, &before);
	start = now_ns();
	atomic_store(phase, PERF_MEASURE);
	pause_ms(r->opt->time_ms);
	atomic_store(phase, PERF_STOP);
	r->seconds = (double)(now_ns() - start) / 1e9;
	getrusage(RUSAGE_SELF, &after);
	r->user_us = cpu_us(&after.ru_utime) - cpu_us(&before.ru_utime);
	r->system_us = cpu_us(&after.ru_stime) - cpu_us(&before.ru_stime);
}

static int run_jobs(struct perf_report *r, struct perf_job *jobs, atomic_int *phase)
{
	uint32_t started = 0;
	int err = 0;

	for (; started < r->opt->jobs && err == 0; started += err == 0)
		err = perf_job_start(&jobs[started]);
	if (err == 0)
		measure(r, jobs, phase);
	else
		fprintf(stderr, "brp-perf: cannot start a thread: %s\n", strerror(-err));
	atomic_store(phase, PERF_STOP);
	for (uint32_t i = 0; i < started; i++) {
		perf_job_join(&jobs[i]);
		perf_report_add(r, &jobs[i].result);
	}
	return err;
}

static enum perf_exit report(struct perf_report *r, const struct brp_session *s, bool is_broken)
{
	struct brp_status status = {.size = sizeof(status)};

	if (is_broken && brp_session_error(s)[0])
		fprintf(stderr, "brp-perf: %s: %s\n", r->opt->uri, brp_session_error(s));
	brp_session_status(s, &status);
	r->reconnects = status.reconnects;
	r->retried_requests = status.retried_requests;
	r->digest_errors = status.digest_errors;
	if (r->opt->is_json)
		perf_report_json(stdout, r);
	else
		perf_report_text(stdout, r);
	return is_broken || r->sum.errors || r->sum.mismatches ? PERF_ERRORS : PERF_OK;
}

static enum perf_exit run_session(struct perf_options *opt, struct brp_session *s,
				  const struct brp_info *info)
{
	struct perf_job *jobs = calloc(opt->jobs, sizeof(*jobs));
	struct perf_report *r = calloc(1, sizeof(*r));
	enum perf_exit code = PERF_ERRORS;
	atomic_int phase = PERF_PREPARE;
	bool is_broken = false;

	if (!jobs || !r) {
		fprintf(stderr, "brp-perf: out of memory\n");
	} else if (init_jobs(jobs, opt, info, &phase, s) == 0) {
		*r = (struct perf_report){.opt = opt, .info = info};
		histogram_init(&r->sum.latency_ns);
		if (run_jobs(r, jobs, &phase) == 0) {
			for (uint32_t i = 0; i < opt->jobs; i++)
				is_broken |= jobs[i].is_broken;
			code = report(r, s, is_broken);
		}
	}
	brp_disconnect(s); /* before the memory goes */
	for (uint32_t i = 0; jobs && i < opt->jobs; i++)
		perf_job_finish(&jobs[i]);
	free(jobs);
	free(r);
	return code;
}

int main(int argc, char **argv)
{
	struct perf_options opt;
	struct brp_session *s;
	struct brp_info info;
	enum perf_exit code;

	if (!perf_options_parse(argc, argv, &opt, &code))
		return code;
	catch_signals();
	if (connect_session(&opt, &s, &info) < 0)
		return PERF_NO_CONNECTION;
	if (check_volume(&opt, &info) < 0) {
		brp_disconnect(s);
		return PERF_USAGE;
	}
	return run_session(&opt, s, &info);
}
