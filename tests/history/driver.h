/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-history inside: a target, a proxy before it, clients, and a nemesis that troubles them all.
 */
#ifndef HISTORY_DRIVER_H
#define HISTORY_DRIVER_H

#include <sys/types.h>

#include "common/util.h"
#include "tests/history/shared.h"

enum driver_exit { /* documented in --help */
		   DRIVER_OK = 0,
		   DRIVER_VIOLATION = 1,
		   DRIVER_USAGE = 2,
		   DRIVER_FAILED = 3, /* the run itself could not be made */
		   DRIVER_HANG = 4,   /* requests were not answered */
};

struct driver_options {
	char **target_argv;    /* command of the target, without its listener */
	const char *transport; /* tcp, rdma */
	const char *address;
	const char *volume;
	const char *log; /* for what the target says; NULL = none */
	uint64_t seed;
	unsigned int seconds; /* of a round */
	unsigned int minutes; /* of all; 0 = one round */
	unsigned int cycles;  /* things that go wrong in a round; 0 = as many as fit */
	unsigned int clients;
	unsigned int depth;
	unsigned int queues;
	unsigned int rate; /* requests per second and client */
	uint32_t blocks;
	unsigned int keepalive_ms;
	unsigned int actions; /* bits of enum nemesis_kind */
	const char *wire;     /* command for the shell, told "cut", "mend" and so on; NULL = none */
	bool is_volatile;     /* what is not flushed dies with the target */
	bool may_tear;
	bool is_verbose;
};

/* True: go on. False: end with *ret_exit. */
bool driver_options_parse(int argc, char **argv, struct driver_options *ret_opt, int *ret_exit);

/* ---- random numbers, replayable -------------------------------------------------------------- */

static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return (random_next(state) >> 16) % n;
}

static inline uint64_t random_seed(uint64_t seed, uint64_t stream)
{
	uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (stream + 1) * 0xc2b2ae3d27d4eb4full;

	state |= 1;
	random_next(&state);
	return state;
}

/* ---- the target ------------------------------------------------------------------------------ */

struct target {
	const struct driver_options *opt;
	pid_t pid; /* 0 = not running */
	unsigned int port;
	int log_fd;
};

int target_init(struct target *t, const struct driver_options *opt);
void target_finish(struct target *t); /* kills it */
/* Until it is ready. 0, or a negative errno (said on stderr). */
int target_start(struct target *t);
/* Sends sig, SIGKILL or SIGTERM, and waits for the end. Its wait status. */
int target_end(struct target *t, int sig);

/* ---- the proxy: bytes forwarded over TCP, or not --------------------------------------------- */

enum proxy_mode {
	PROXY_PASS,
	PROXY_STALL,      /* nothing moves */
	PROXY_STALL_UP,   /* nothing moves to the target */
	PROXY_STALL_DOWN, /* nothing moves to the clients */
	PROXY_REFUSE,     /* new connections are reset */
	/* at once, then PROXY_PASS goes on */
	PROXY_CUT,   /* all connections are reset, on both sides */
	PROXY_CLOSE, /* the clients' side ends in order, the target hears of it afterwards */
	PROXY_HALF,  /* the target hears an end, and may go on talking */
};

struct proxy {
	pid_t pid;
	int control;
	unsigned int port;
};

/* Before the address and port of the target. A process of its own. */
int proxy_start(struct proxy *p, const char *address, unsigned int target_port);
void proxy_stop(struct proxy *p);
/* delay_us: everything arrives so much later. Returns when it holds. */
void proxy_set(struct proxy *p, enum proxy_mode mode, unsigned int delay_us);

/* ---- clients --------------------------------------------------------------------------------- */

struct client_job {
	const struct driver_options *opt;
	struct shared *sh;
	unsigned int index;
	unsigned int incarnation; /* how often it was killed before */
	const char *uri;
	bool is_auditor; /* only reads every block once */
};

/* A client's whole life, in a process of its own: never returns. */
void client_main(const struct client_job *job) __attribute__((noreturn));

/* ---- the nemesis ----------------------------------------------------------------------------- */

enum nemesis_kind {
	NEMESIS_KILL,
	NEMESIS_TERM,
	NEMESIS_STOP,
	NEMESIS_CUT,
	NEMESIS_CLOSE,
	NEMESIS_HALF,
	NEMESIS_STALL,
	NEMESIS_STALL_UP,
	NEMESIS_STALL_DOWN,
	NEMESIS_REFUSE,
	NEMESIS_DELAY,
	NEMESIS_CLIENT,
	NEMESIS_FREEZE,
	NEMESIS_WIRE,
	NEMESIS_WIRE_UP,
	NEMESIS_WIRE_DOWN,
	NEMESIS_LAG,
	NEMESIS_LOSSY,
	NEMESIS_KINDS
};

#define MAX_PAUSE 8u /* keep-alives: a silent peer is given up after 3 to 4 */

struct run; /* brp-history.c */

struct nemesis {
	const struct driver_options *opt;
	struct shared *sh;
	struct target *target;
	struct proxy *proxy; /* NULL: none */
	pid_t *pids;         /* of clients */
	/* starts client i again after it was killed */
	void (*respawn)(struct nemesis *n, unsigned int client);
	void *arg;
	uint64_t random;
	unsigned int counts[NEMESIS_KINDS];
	uint64_t worst_resume_ms; /* from the target's being ready until the last client went on */
	unsigned int nr_resumes;
};

const char *nemesis_name(enum nemesis_kind kind);
/* "kill,cut" or "all" or "none" into bits. -EINVAL: one that is unknown, or cannot be done with
 * this transport or without --wire. */
int nemesis_parse(const char *list, const struct driver_options *opt, unsigned int *ret_actions);
/* Until the round's time, or cycles, are over; afterwards all is well again. 0, or a negative
 * errno: the target does not come back. */
int nemesis_run(struct nemesis *n);
int nemesis_act(struct nemesis *n, enum nemesis_kind kind);

#endif
