/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The supervisor of one device: the parent of its serving process. When that is killed it starts
 * another, with the same session UUID, so that the target ends what the dead one had in flight
 * before it admits the new one, and with the number of the device, which the kernel may have kept
 * for us. What cannot be taken up again is cleaned away.
 *
 * It does next to nothing, so that nothing happens to it: no threads, no connection, no I/O.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "initiator/ctl/control.h"
#include "initiator/ctl/ctl.h"
#include "initiator/ctl/process.h"
#include "initiator/ctl/registry.h"
#include "initiator/ctl/serve.h"

#define NR_FDS        2 /* report, lock */
#define SERVE_FDS     3 /* and alive */
#define MAX_ARGS      (VOLUME_MAX_ARGS + 16)
#define SOON_NS       (10 * NS_PER_S) /* a life shorter than this counts as a failed start */
#define MAX_SOON      5               /* in a row; then it is given up */
#define FIRST_REST_MS 100             /* before the second of those, then doubled */

enum {
	OPT_NAME = CTL_FIRST_ID,
};

static const struct option_spec specs[] = {
	CTL_COMMON_OPTIONS,
	VOLUME_OPTIONS,
	{"name", 0, "NAME", NULL, OPT_NAME},
};

struct supervisor {
	/* constant */
	struct volume_options opt;
	unsigned int verbosity;
	char name[REG_NAME_BYTES];
	char session[REG_UUID_BYTES];
	int signal_fd;
	int alive_write; /* never written: its end tells the serving process of ours */
	int alive_read;

	pid_t server;
	int report_fd;   /* of the serving process; -1: it has reported, or died */
	bool is_awaited; /* `connect` waits at PROCESS_REPORT_FD */
	bool was_up;     /* the device was there once */
	bool shall_end;  /* signalled, or nobody waits for the device any more */
	uint64_t started_ns;
	unsigned int soon; /* lives that were too short, in a row */
};

/* ---- the serving process --------------------------------------------------------------------- */

/* Fills argv; recover: text that lives as long. */
static void fill_args(const struct supervisor *su, char *argv[MAX_ARGS], char *recover,
		      size_t recover_bytes)
{
	static char verb[] = "serve", vv[] = "-v";
	static char name[REG_NAME_BYTES + 8], session[REG_UUID_BYTES + 16];
	struct reg_entry e;
	unsigned int n = 0;

	snprintf(name, sizeof(name), "--name=%s", su->name);
	snprintf(session, sizeof(session), "--session=%s", su->session);
	/* systemd(1): a name that begins with '@' is not killed before the root file system goes.
	 */
	argv[n++] = (char *)"@" CTL_PROGRAM;
	argv[n++] = verb;
	argv[n++] = name;
	argv[n++] = session;
	if (su->was_up && registry_read(su->name, &e) == 0 && e.front_id >= 0) {
		snprintf(recover, recover_bytes, "--recover=%s:%d", e.front, e.front_id);
		argv[n++] = recover;
	}
	for (unsigned int i = 0; i < MIN(su->verbosity, 2u); i++)
		argv[n++] = vv;
	for (unsigned int i = 0; i < su->opt.nr_args; i++)
		argv[n++] = su->opt.args[i];
	argv[n++] = (char *)su->opt.uri;
	argv[n] = NULL;
}

static int start_server(struct supervisor *su)
{
	char *argv[MAX_ARGS];
	char recover[64];
	int fds[SERVE_FDS];
	int report[2];
	int pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	fill_args(su, argv, recover, sizeof(recover));
	fds[0] = report[1];
	fds[1] = PROCESS_LOCK_FD;
	fds[2] = su->alive_read;
	pid = process_start(argv, fds, SERVE_FDS, false);
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		return pid;
	}
	su->server = pid;
	su->report_fd = report[0];
	su->started_ns = now_ns();
	return 0;
}

/* `connect` hears what the first serving process says. */
static void on_report(struct supervisor *su)
{
	int err;
	json_t *j = control_read(su->report_fd, -1, &err);

	close(su->report_fd);
	su->report_fd = -1;
	if (!j)
		return; /* it died: SIGCHLD tells more */
	su->was_up |= json_is_true(json_object_get(j, "ok"));
	if (su->is_awaited)
		control_write(PROCESS_REPORT_FD, j);
	else
		json_decref(j);
	close(PROCESS_REPORT_FD);
	su->is_awaited = false;
}

static void tell_connect(struct supervisor *su, int err, const char *text)
{
	if (!su->is_awaited)
		return;
	control_write(PROCESS_REPORT_FD,
		      json_pack("{sb si ss}", "ok", 0, "errno", -err, "error", text));
	close(PROCESS_REPORT_FD);
	su->is_awaited = false;
}

/* ---- its end --------------------------------------------------------------------------------- */

static void rest(const struct supervisor *su)
{
	struct pollfd p = {.fd = su->signal_fd, .events = POLLIN};

	if (su->soon > 1)
		poll(&p, 1, FIRST_REST_MS << (su->soon - 2));
}

/* Whether the device goes on. */
static bool start_again(struct supervisor *su, int sig)
{
	int err;

	su->soon = now_ns() - su->started_ns < SOON_NS ? su->soon + 1 : 1;
	if (!su->was_up) {
		log_error("%s: the serving process was killed by signal %d (%s) before the device "
			  "was "
			  "there",
			  su->opt.uri, sig, strsignal(sig));
		tell_connect(su, -EIO, "the serving process was killed");
		return false;
	}
	if (su->soon > MAX_SOON) {
		log_error("%s: the serving process was killed by signal %d (%s) for the %u. time "
			  "in a "
			  "row: giving up, the device is removed",
			  su->opt.uri, sig, strsignal(sig), su->soon);
		return false;
	}
	log_error("%s: the serving process was killed by signal %d (%s): starting another",
		  su->opt.uri, sig, strsignal(sig));
	rest(su);
	err = start_server(su);
	if (err)
		log_error("%s: the serving process cannot be started again: %s", su->opt.uri,
			  strerror(-err));
	return !err;
}

/* Whether to go on. */
static bool on_child(struct supervisor *su)
{
	int status;

	if (waitpid(su->server, &status, WNOHANG) != su->server)
		return true;
	su->server = 0;
	if (su->report_fd >= 0)
		on_report(su);
	if (WIFSIGNALED(status) && !su->shall_end)
		return start_again(su, WTERMSIG(status));
	tell_connect(su, -EIO, "the serving process ended without a word");
	return false;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool on_signal(struct supervisor *su)
{
	struct signalfd_siginfo si;

	while (read(su->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue;
		/* It knows whether the device is needed. */
		kill(su->server, (int)si.ssi_signo);
	}
	return on_child(su);
}

/* `connect` was ended before it heard of its device: nobody wants that any more. */
static void on_connect_gone(struct supervisor *su)
{
	close(PROCESS_REPORT_FD);
	su->is_awaited = false;
	su->shall_end = true;
	kill(su->server, SIGTERM);
}

static void supervise(struct supervisor *su)
{
	bool goes_on = true;

	while (goes_on) {
		struct pollfd p[] = {
			{.fd = su->signal_fd, .events = POLLIN},
			{.fd = su->report_fd, .events = POLLIN},
			{.fd = su->is_awaited ? PROCESS_REPORT_FD : -1},
		};

		if (poll(p, ARRAY_SIZE(p), -1) <= 0)
			continue;
		if (p[1].revents)
			on_report(su);
		else if (p[2].revents)
			on_connect_gone(su);
		if (p[0].revents)
			goes_on = on_signal(su);
	}
}

/* Nothing of the device stays; an orderly end has removed it from the entry. */
static void clean_up(struct supervisor *su)
{
	int lock = registry_lock();
	struct reg_entry e;

	if (lock < 0)
		return; /* the entry is stale then, and cleaned up by the next who looks */
	if (registry_read(su->name, &e) == 0)
		registry_reap(&e);
	close(lock);
}

/* ---- start ----------------------------------------------------------------------------------- */

static int open_fds(struct supervisor *su)
{
	int alive[2];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	su->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (su->signal_fd < 0 || pipe2(alive, O_CLOEXEC) < 0)
		return -errno;
	su->alive_read = alive[0];
	su->alive_write = alive[1];
	return 0;
}

static int make_session(struct supervisor *su)
{
	uint8_t uuid[16];

	if (getrandom(uuid, sizeof(uuid), 0) != (ssize_t)sizeof(uuid))
		return -EIO;
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	registry_uuid_text(uuid, su->session);
	return 0;
}

static int start(struct supervisor *su)
{
	struct reg_entry e;
	int err = open_fds(su);

	err = err ? err : make_session(su);
	err = err ? err : registry_read(su->name, &e);
	if (!err) {
		e.supervisor = getpid();
		err = registry_write(&e);
	}
	return err ? err : start_server(su);
}

static int take(void *ctx, const struct options_iter *it, int id)
{
	struct supervisor *su = ctx;
	const char *why = "not for people";
	int err = 0;

	if (id == OPTIONS_ARG)
		err = volume_options_set_uri(&su->opt, it->value, &why);
	else if (id >= VOLUME_OPT_FIRST)
		err = volume_options_apply(&su->opt, it->spec, it->value, &why);
	else
		snprintf(su->name, sizeof(su->name), "%s", it->value);
	return err ? options_bad_value(it, "%s", why) : CTL_RUN;
}

static void run_device(struct supervisor *su)
{
	int err = start(su);

	if (err) {
		log_error("%s: cannot be served: %s", su->opt.uri, strerror(-err));
		tell_connect(su, err, strerror(-err));
	} else {
		supervise(su);
	}
	clean_up(su);
}

static int run(const struct verb *v, int argc, char **argv)
{
	struct supervisor su = {.report_fd = -1, .is_awaited = true};
	struct ctl_common common;
	int rc;

	volume_options_init(&su.opt);
	rc = ctl_parse(v, argc, argv, &common, take, &su);
	if (rc == CTL_RUN && (!su.opt.uri[0] || !su.name[0]))
		rc = options_usage_error(CTL_PROGRAM, "supervise is not for people: use connect");
	if (rc == CTL_RUN) {
		su.verbosity = common.verbosity;
		process_own_fds(NR_FDS);
		process_log_to(su.opt.log_file, su.name, LOG_NOTICE);
		process_harden(false);
		run_device(&su);
		rc = 0;
	}
	volume_options_finish(&su.opt);
	return rc;
}

const struct verb verb_supervise = {
	.name = "supervise",
	.usage = "usage: brp-initiator supervise is what connect starts\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
