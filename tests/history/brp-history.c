/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-history: rounds of trouble, each judged by the checker. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/history/check.h"
#include "tests/history/driver.h"

#define CYCLE_MS   2000u /* that one thing going wrong takes beside its pause, generously */
#define FILL_MS    30000u
#define SPARE_RECS 4096u /* of a log, beyond what the rate allows */

struct run {
	struct driver_options opt; /* with the seed of the round */
	struct shared *sh;
	struct target target;
	struct proxy proxy;
	bool has_proxy;
	char uri[160];
	pid_t pids[MAX_CLIENTS];
	unsigned int incarnations[MAX_CLIENTS];
	struct nemesis nemesis;
};

/* ---- processes ------------------------------------------------------------------------------- */

static void spawn(struct run *r, unsigned int i, bool is_auditor)
{
	struct client_job job = {
		.opt = &r->opt,
		.sh = r->sh,
		.index = i,
		.incarnation = r->incarnations[i]++,
		.uri = r->uri,
		.is_auditor = is_auditor,
	};

	fflush(NULL);
	r->pids[i] = fork();
	if (r->pids[i] == 0)
		client_main(&job);
}

static void respawn(struct nemesis *n, unsigned int i)
{
	spawn(n->arg, i, false);
}

/* The worst exit status. */
static int reap(struct run *r, unsigned int i)
{
	int status;

	if (r->pids[i] <= 0 || waitpid(r->pids[i], &status, 0) != r->pids[i])
		return DRIVER_FAILED;
	r->pids[i] = 0;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "brp-history: client %u was ended by signal %d\n", i, WTERMSIG(status));
	return DRIVER_FAILED;
}

static void kill_clients(struct run *r)
{
	for (unsigned int i = 0; i <= r->opt.clients; i++) {
		if (r->pids[i] > 0)
			kill(r->pids[i], SIGKILL);
	}
	for (unsigned int i = 0; i <= r->opt.clients; i++) {
		if (r->pids[i] > 0)
			waitpid(r->pids[i], NULL, 0);
		r->pids[i] = 0;
	}
}

static int set_up(struct run *r)
{
	const struct driver_options *o = &r->opt;
	size_t cycle_ms = CYCLE_MS + (size_t)MAX_PAUSE * o->keepalive_ms;
	size_t max_ms = o->seconds * 2000ul + o->cycles * cycle_ms;
	size_t max = o->rate * max_ms / 1000 + o->blocks + SPARE_RECS;
	int err = target_init(&r->target, o);

	if (!err)
		err = target_start(&r->target);
	if (!err) {
		/* the clients, the auditor, the nemesis */
		r->sh = shared_create(o->clients + 2, max);
		err = r->sh ? 0 : -ENOMEM;
	}
	r->has_proxy = !err && !strcmp(o->transport, "tcp");
	if (r->has_proxy)
		err = proxy_start(&r->proxy, o->address, r->target.port);
	snprintf(r->uri, sizeof(r->uri), "%s://%s:%u/%s", r->has_proxy ? "brp+tcp" : "brp",
		 o->address, r->has_proxy ? r->proxy.port : r->target.port, o->volume);
	return err;
}

static void tear_down(struct run *r)
{
	kill_clients(r);
	if (r->has_proxy)
		proxy_stop(&r->proxy);
	target_finish(&r->target);
	if (r->sh)
		shared_destroy(r->sh, r->opt.clients + 2);
}

/* ---- a round --------------------------------------------------------------------------------- */

static int wait_filled(struct run *r)
{
	uint64_t end = now_ns() + FILL_MS * NS_PER_MS;

	while (!atomic_load(&r->sh->is_filled)) {
		if (now_ns() > end || waitpid(r->pids[0], NULL, WNOHANG) == r->pids[0]) {
			fprintf(stderr, "brp-history: the volume could not be filled\n");
			return -EIO;
		}
		usleep(1000);
	}
	return 0;
}

static int trouble(struct run *r)
{
	r->nemesis = (struct nemesis){
		.opt = &r->opt,
		.sh = r->sh,
		.target = &r->target,
		.proxy = r->has_proxy ? &r->proxy : NULL,
		.pids = r->pids,
		.respawn = respawn,
		.arg = r,
		.random = random_seed(r->opt.seed, 999),
	};
	return nemesis_run(&r->nemesis);
}

/* The clients come to an end; what is on the volume then is read by one more, after a last crash if
 * the target may be killed. */
static int finish(struct run *r)
{
	int worst = DRIVER_OK;

	atomic_store(&r->sh->is_ending, true);
	for (unsigned int i = 0; i < r->opt.clients; i++)
		worst = MAX(worst, reap(r, i));
	if (worst != DRIVER_OK)
		return worst;
	if (r->opt.actions & 1u << NEMESIS_KILL) {
		struct hist_rec *rec = shared_begin(r->sh, r->opt.clients + 1);

		rec->op = HIST_CRASH;
		rec->client = HIST_NEMESIS;
		rec->start = tick(r->sh);
		target_end(&r->target, SIGKILL);
		rec->end = tick(r->sh);
		rec->result = HIST_OK;
		shared_commit(r->sh, r->opt.clients + 1);
		if (target_start(&r->target) < 0)
			return DRIVER_FAILED;
	}
	spawn(r, r->opt.clients, true);
	return reap(r, r->opt.clients);
}

static int play(struct run *r)
{
	int err = set_up(r);

	if (err < 0) {
		fprintf(stderr, "brp-history: the round cannot begin: %s\n", strerror(-err));
		return DRIVER_FAILED;
	}
	for (unsigned int i = 0; i < r->opt.clients; i++)
		spawn(r, i, false);
	if (wait_filled(r) < 0 || trouble(r) < 0)
		return DRIVER_FAILED;
	return finish(r);
}

/* ---- judgement ------------------------------------------------------------------------------- */

static struct hist_rec *gather(const struct run *r, size_t *ret_nr)
{
	size_t nr = 0;
	struct hist_rec *all;

	for (unsigned int i = 0; i < r->opt.clients + 2; i++)
		nr += atomic_load(&r->sh->clients[i].nr_recs);
	all = calloc(nr + 1, sizeof(*all));
	*ret_nr = 0;
	for (unsigned int i = 0; all && i < r->opt.clients + 2; i++) {
		size_t n = atomic_load(&r->sh->clients[i].nr_recs);

		memcpy(all + *ret_nr, r->sh->clients[i].recs, n * sizeof(*all));
		*ret_nr += n;
	}
	return all;
}

static void count(const struct run *r, const struct hist_rec *recs, size_t nr)
{
	unsigned int retried = 0;
	unsigned int unanswered = 0;
	unsigned int failed = 0;
	unsigned int reconnects = 0;
	unsigned int losses = 0;

	for (size_t i = 0; i < nr; i++) {
		retried += !!(recs[i].flags & HIST_RETRIED);
		unanswered += recs[i].result == HIST_PENDING || recs[i].result == HIST_UNKNOWN;
		failed += recs[i].result == HIST_FAILED;
	}
	for (unsigned int i = 0; i < r->opt.clients; i++) {
		reconnects += atomic_load(&r->sh->clients[i].reconnects);
		losses += atomic_load(&r->sh->clients[i].losses);
	}
	printf("  %zu requests, %u retried, %u failed, %u unanswered; %u reconnects, %u sessions "
	       "lost\n ",
	       nr, retried, failed, unanswered, reconnects, losses);
	printf("  nemesis:");
	for (unsigned int k = 0; k < NEMESIS_KINDS; k++) {
		if (r->nemesis.counts[k])
			printf(" %u %s", r->nemesis.counts[k], nemesis_name(k));
	}
	if (r->nemesis.nr_resumes)
		printf("; target ready to all clients served: at most %llu ms",
		       (unsigned long long)r->nemesis.worst_resume_ms);
	printf("%s\n", r->opt.actions ? "" : " none");
}

static int judge(const struct run *r)
{
	struct check_options opt = {
		.nr_blocks = r->opt.blocks,
		.is_write_back = r->opt.is_volatile,
		.may_tear = r->opt.may_tear,
	};
	struct check_result result;
	size_t nr;
	struct hist_rec *recs = gather(r, &nr);
	int err = recs ? check_history(recs, nr, &opt, &result) : -ENOMEM;

	if (err < 0) {
		fprintf(stderr, "brp-history: no memory to judge %zu records\n", nr);
		free(recs);
		return DRIVER_FAILED;
	}
	count(r, recs, nr);
	printf("  %u reads of blocks judged: ", result.nr_reads);
	if (!result.nr_all)
		printf("good\n");
	else
		printf("%u VIOLATIONS\n", result.nr_all);
	for (unsigned int i = 0; i < MIN(result.nr_all, CHECK_MAX_SHOWN); i++)
		printf("  %s\n", result.shown[i]);
	free(recs);
	return result.nr_all ? DRIVER_VIOLATION : DRIVER_OK;
}

static int round_of(const struct driver_options *opt, uint64_t seed)
{
	static struct run r;
	int rc;

	memset(&r, 0, sizeof(r));
	r.opt = *opt;
	r.opt.seed = seed;
	printf("round with --seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	rc = play(&r);
	if (r.sh && rc != DRIVER_FAILED) {
		int verdict = judge(&r);

		rc = rc ? rc : verdict;
	}
	tear_down(&r);
	fflush(stdout);
	return rc;
}

int main(int argc, char **argv)
{
	struct driver_options opt;
	uint64_t end;
	int rc;

	if (!driver_options_parse(argc, argv, &opt, &rc))
		return rc;
	signal(SIGPIPE, SIG_IGN);
	end = now_ns() + opt.minutes * 60 * NS_PER_S;
	do {
		rc = round_of(&opt, opt.seed);
		opt.seed++;
	} while (rc == DRIVER_OK && now_ns() < end);
	return rc;
}
