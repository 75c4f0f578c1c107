/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-perf inside: options -> jobs (a thread and a queue each) -> one report. */
#ifndef BENCH_PERF_H
#define BENCH_PERF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "brp/brp.h"
#include "common/histogram.h"

enum perf_exit { /* documented in --help */
		 PERF_OK = 0,
		 PERF_ERRORS = 1,
		 PERF_USAGE = 2,
		 PERF_NO_CONNECTION = 3,
};

enum perf_rw {
	PERF_READ,
	PERF_WRITE,
	PERF_RANDREAD,
	PERF_RANDWRITE,
	PERF_RANDRW,
};

struct perf_options {
	const char *uri;
	enum perf_rw rw;
	uint32_t bs;
	uint32_t iodepth; /* per job */
	uint32_t jobs;
	uint32_t time_ms;
	uint32_t warmup_ms;
	uint32_t mix_read;   /* percent, randrw */
	uint32_t queue_size; /* 0: iodepth */
	uint64_t size;       /* 0: whole volume */
	uint64_t seed;
	enum brp_merge merge;
	uint32_t merge_window_us;
	uint32_t merge_max_bytes;
	int poll_us;
	uint32_t reconnect_delay_ms; /* 0: the library's */
	int ctrl_loss_tmo_ms;        /* -1: never */
	int fast_io_fail_tmo_ms;     /* likewise */
	uint32_t keep_alive_tmo_ms;  /* 0: never */
	int digest;                  /* as in brp_options */
	bool is_verify;
	bool is_json;
	const char *rig;
};

/* Parses the command line. True: go on. False: end with *ret_exit. */
bool perf_options_parse(int argc, char **argv, struct perf_options *ret_opt,
			enum perf_exit *ret_exit);
const char *perf_rw_name(enum perf_rw rw);
const char *perf_merge_name(enum brp_merge merge);

enum perf_phase {
	PERF_PREPARE, /* jobs fill and warm up */
	PERF_MEASURE,
	PERF_STOP,
};

struct perf_job;

struct perf_slot { /* one of iodepth requests of a job */
	struct perf_job *job;
	char *buf;
	uint64_t offset;
	uint64_t start_ns;
	bool is_write;
	struct perf_slot *next_idle;
};

/* What a job did while measuring. */
struct perf_result {
	struct histogram latency_ns;
	uint64_t reads;
	uint64_t writes;
	uint64_t errors;        /* I/O */
	uint64_t mismatches;    /* blocks */
	uint64_t verified;      /* blocks compared and found right */
	struct brp_stats stats; /* difference over the time measured */
};

struct perf_job {
	/* constant while it runs */
	const struct perf_options *opt;
	const struct brp_info *info;
	const atomic_int *phase; /* enum perf_phase, set by main() */
	unsigned int index;
	struct brp_queue *queue;
	struct brp_mem *mem;
	char *memory;
	uint64_t first_byte; /* its part of the volume */
	uint64_t nr_blocks;  /* of opt->bs */
	struct perf_slot *slots;

	/* its thread's */
	pthread_t thread;
	struct perf_slot *idle;
	uint64_t random;
	uint64_t next_block; /* sequential */
	uint64_t left;       /* sweeps: blocks to go */
	enum perf_rw rw;     /* now; differs from opt->rw in sweeps */
	bool is_sweep;       /* filling, or comparing at the end */
	bool is_measuring;
	bool is_flushed; /* after filling */
	bool is_broken;
	unsigned char *written; /* bitmap: blocks that carry the pattern */
	struct brp_stats stats_before;
	struct perf_result result;
	atomic_bool is_ready; /* filled, I/O is flowing */
};

int perf_job_init(struct perf_job *job, struct brp_session *s);
void perf_job_finish(struct perf_job *job);
int perf_job_start(struct perf_job *job);
void perf_job_join(struct perf_job *job);

/* verify.c: the content of every volume block follows from its number and the seed. */
void perf_pattern_fill(void *buf, uint64_t offset, uint32_t bytes, uint32_t block_bytes,
		       uint64_t seed);
/* Offset of the first volume block that differs, or UINT64_MAX. */
uint64_t perf_pattern_check(const void *buf, uint64_t offset, uint32_t bytes, uint32_t block_bytes,
			    uint64_t seed);

/* The sum over all jobs, and what it cost. */
struct perf_report {
	const struct perf_options *opt;
	const struct brp_info *info;
	struct perf_result sum;
	double seconds;
	double user_us; /* CPU time of this process while measuring */
	double system_us;
	uint64_t reconnects;
	uint64_t retried_requests;
	uint64_t digest_errors;
};
void perf_report_add(struct perf_report *r, const struct perf_result *job);
void perf_report_text(FILE *f, const struct perf_report *r);
void perf_report_json(FILE *f, const struct perf_report *r);

#endif
