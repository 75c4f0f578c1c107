/* SPDX-License-Identifier: BSD-2-Clause */
/* Trouble, in an order that follows from the seed. One thing at a time, each undone before the next
 * but for what the clients make of it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/history/driver.h"

#define RESUME_MS 60000u
#define STEP_US   500u
#define WIRE_MAX  1024u

struct action {
	const char *name;
	bool needs_proxy;
	bool needs_wire;
	int (*run)(struct nemesis *n);
};

static unsigned int pick_ms(struct nemesis *n, unsigned int from, unsigned int to)
{
	return from + (unsigned int)random_below(&n->random, to - from);
}

static void wait_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/* ---- the target ------------------------------------------------------------------------------ */

/* The time until every client has had an answer again to something. Clients that are logging in
 * count too: they do so in the same way. */
static void measure_resume(struct nemesis *n)
{
	uint64_t start = now_ns();
	uint64_t end = start + RESUME_MS * NS_PER_MS;

	for (unsigned int i = 0; i < n->opt->clients; i++) {
		while (atomic_load(&n->sh->clients[i].last_ok_ns) < start && now_ns() < end)
			usleep(STEP_US);
	}
	n->worst_resume_ms = MAX(n->worst_resume_ms, (now_ns() - start) / NS_PER_MS);
	n->nr_resumes++;
}

/* The record of a crash goes to the log of a client that does not exist, beside the auditor's. */
static int crash(struct nemesis *n, int sig, unsigned int down_ms)
{
	struct hist_rec *r = shared_begin(n->sh, n->opt->clients + 1);
	int status;
	int err;

	if (!r)
		return -ENOSPC;
	r->op = HIST_CRASH;
	r->client = HIST_NEMESIS;
	r->start = tick(n->sh);
	status = target_end(n->target, sig);
	r->end = tick(n->sh);
	r->result = HIST_OK;
	shared_commit(n->sh, n->opt->clients + 1);
	if (sig == SIGTERM && status != 0)
		fprintf(stderr, "brp-history: SIGTERM: the target ended with status %#x\n",
			(unsigned int)status);
	wait_ms(down_ms);
	err = target_start(n->target);
	if (!err)
		measure_resume(n);
	return err < 0 ? err : sig == SIGTERM && status != 0 ? -ECHILD : 0;
}

static int act_kill(struct nemesis *n)
{
	return crash(n, SIGKILL, pick_ms(n, 0, 400));
}

static int act_term(struct nemesis *n)
{
	return crash(n, SIGTERM, pick_ms(n, 0, 200));
}

static int act_stop(struct nemesis *n)
{
	kill(n->target->pid, SIGSTOP);
	wait_ms(pick_ms(n, 20, MAX_PAUSE * n->opt->keepalive_ms));
	kill(n->target->pid, SIGCONT);
	return 0;
}

/* ---- the network ----------------------------------------------------------------------------- */

static int act_cut(struct nemesis *n)
{
	proxy_set(n->proxy, PROXY_CUT, 0);
	return 0;
}

static int act_close(struct nemesis *n)
{
	proxy_set(n->proxy, PROXY_CLOSE, 0);
	return 0;
}

static int act_half(struct nemesis *n)
{
	proxy_set(n->proxy, PROXY_HALF, 0);
	return 0;
}

static int disturb(struct nemesis *n, enum proxy_mode mode, bool is_cut_afterwards)
{
	proxy_set(n->proxy, mode, 0);
	wait_ms(pick_ms(n, 20, MAX_PAUSE * n->opt->keepalive_ms));
	if (is_cut_afterwards)
		proxy_set(n->proxy, PROXY_CUT, 0);
	proxy_set(n->proxy, PROXY_PASS, 0);
	return 0;
}

static int act_stall(struct nemesis *n)
{
	return disturb(n, PROXY_STALL, random_below(&n->random, 2));
}

static int act_stall_up(struct nemesis *n)
{
	return disturb(n, PROXY_STALL_UP, random_below(&n->random, 2));
}

static int act_stall_down(struct nemesis *n)
{
	return disturb(n, PROXY_STALL_DOWN, random_below(&n->random, 2));
}

static int act_refuse(struct nemesis *n)
{
	proxy_set(n->proxy, PROXY_CUT, 0);
	return disturb(n, PROXY_REFUSE, false);
}

static int act_delay(struct nemesis *n)
{
	proxy_set(n->proxy, PROXY_PASS, pick_ms(n, 1, 60) * 1000);
	wait_ms(pick_ms(n, 100, 500));
	if (random_below(&n->random, 2))
		proxy_set(n->proxy, PROXY_CUT, 0);
	proxy_set(n->proxy, PROXY_PASS, 0);
	return 0;
}

/* The command of --wire, told to do this. */
static int wire(const struct nemesis *n, const char *what)
{
	char command[WIRE_MAX];
	int status;

	if (snprintf(command, sizeof(command), "%s %s", n->opt->wire, what) >= (int)sizeof(command))
		return -E2BIG;
	status = system(command);
	if (status != 0)
		fprintf(stderr, "brp-history: '%s' ended with status %#x\n", command,
			(unsigned int)status);
	return status ? -EIO : 0;
}

static int disturb_wire(struct nemesis *n, const char *what)
{
	int err = wire(n, what);
	int mend_err;

	wait_ms(pick_ms(n, 20, MAX_PAUSE * n->opt->keepalive_ms));
	mend_err = wire(n, "mend");
	return err ? err : mend_err;
}

static int act_wire(struct nemesis *n)
{
	return disturb_wire(n, "cut");
}

static int act_wire_up(struct nemesis *n)
{
	return disturb_wire(n, "cut-up");
}

static int act_wire_down(struct nemesis *n)
{
	return disturb_wire(n, "cut-down");
}

static int act_lag(struct nemesis *n)
{
	return disturb_wire(n, "lag");
}

static int act_lossy(struct nemesis *n)
{
	return disturb_wire(n, "lossy");
}

/* ---- clients --------------------------------------------------------------------------------- */

static int act_client(struct nemesis *n)
{
	unsigned int i = (unsigned int)random_below(&n->random, n->opt->clients);

	kill(n->pids[i], SIGKILL);
	waitpid(n->pids[i], NULL, 0);
	wait_ms(pick_ms(n, 0, 200));
	n->respawn(n, i);
	return 0;
}

static int act_freeze(struct nemesis *n)
{
	unsigned int i = (unsigned int)random_below(&n->random, n->opt->clients);

	kill(n->pids[i], SIGSTOP);
	wait_ms(pick_ms(n, 20, MAX_PAUSE * n->opt->keepalive_ms));
	kill(n->pids[i], SIGCONT);
	return 0;
}

/* ---- which, and when ------------------------------------------------------------------------- */

static const struct action actions[NEMESIS_KINDS] = {
	[NEMESIS_KILL] = {"kill", false, false, act_kill},
	[NEMESIS_TERM] = {"term", false, false, act_term},
	[NEMESIS_STOP] = {"stop", false, false, act_stop},
	[NEMESIS_CUT] = {"cut", true, false, act_cut},
	[NEMESIS_CLOSE] = {"close", true, false, act_close},
	[NEMESIS_HALF] = {"half", true, false, act_half},
	[NEMESIS_STALL] = {"stall", true, false, act_stall},
	[NEMESIS_STALL_UP] = {"stall-up", true, false, act_stall_up},
	[NEMESIS_STALL_DOWN] = {"stall-down", true, false, act_stall_down},
	[NEMESIS_REFUSE] = {"refuse", true, false, act_refuse},
	[NEMESIS_DELAY] = {"delay", true, false, act_delay},
	[NEMESIS_CLIENT] = {"client", false, false, act_client},
	[NEMESIS_FREEZE] = {"freeze", false, false, act_freeze},
	[NEMESIS_WIRE] = {"wire", false, true, act_wire},
	[NEMESIS_WIRE_UP] = {"wire-up", false, true, act_wire_up},
	[NEMESIS_WIRE_DOWN] = {"wire-down", false, true, act_wire_down},
	[NEMESIS_LAG] = {"lag", false, true, act_lag},
	[NEMESIS_LOSSY] = {"lossy", false, true, act_lossy},
};

const char *nemesis_name(enum nemesis_kind kind)
{
	return actions[kind].name;
}

static bool can(const struct action *a, const struct driver_options *opt)
{
	bool has_proxy = !strcmp(opt->transport, "tcp");

	return (has_proxy || !a->needs_proxy) && (opt->wire || !a->needs_wire);
}

static unsigned int named(const char *name, size_t n, const struct driver_options *opt)
{
	unsigned int bits = 0;
	bool is_all = n == 3 && !strncmp(name, "all", 3);

	for (unsigned int k = 0; k < NEMESIS_KINDS; k++) {
		const struct action *a = &actions[k];

		if (can(a, opt) && (is_all || (n == strlen(a->name) && !strncmp(name, a->name, n))))
			bits |= 1u << k;
	}
	return bits;
}

int nemesis_parse(const char *list, const struct driver_options *opt, unsigned int *ret_actions)
{
	*ret_actions = 0;
	if (!strcmp(list, "none"))
		return 0;
	for (size_t n; *list; list += n + (list[n] == ',')) {
		unsigned int bits;

		n = strcspn(list, ",");
		bits = named(list, n, opt);
		if (!bits)
			return -EINVAL;
		*ret_actions |= bits;
	}
	return 0;
}

static enum nemesis_kind pick_kind(struct nemesis *n)
{
	unsigned int bits = n->opt->actions;
	uint64_t left = random_below(&n->random, (uint64_t)__builtin_popcount(bits));

	for (; left > 0; left--)
		bits &= bits - 1;
	return (enum nemesis_kind)__builtin_ctz(bits);
}

int nemesis_act(struct nemesis *n, enum nemesis_kind kind)
{
	n->counts[kind]++;
	if (n->opt->is_verbose)
		fprintf(stderr, "[%llu] nemesis: %s\n",
			(unsigned long long)atomic_load(&n->sh->clock), actions[kind].name);
	return actions[kind].run(n);
}

static bool is_over(const struct nemesis *n, unsigned int done, uint64_t end_ns)
{
	return n->opt->cycles ? done == n->opt->cycles : now_ns() >= end_ns;
}

int nemesis_run(struct nemesis *n)
{
	uint64_t end_ns = now_ns() + n->opt->seconds * NS_PER_S;
	unsigned int done = 0;
	int err = 0;

	while (!err && !is_over(n, done, end_ns)) {
		wait_ms(pick_ms(n, 50, 600));
		if (n->opt->actions)
			err = nemesis_act(n, pick_kind(n));
		done++;
	}
	return err;
}
