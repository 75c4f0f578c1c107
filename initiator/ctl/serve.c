/* SPDX-License-Identifier: BSD-2-Clause */
/* The serving process: start, loop, end; see serve.h. Started by supervise.c only. */
#include "initiator/ctl/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "brp/status.h"
#include "common/log.h"
#include "common/strparse.h"
#include "initiator/ctl/control.h"
#include "initiator/ctl/ctl.h"
#include "initiator/ctl/process.h"

#define NR_FDS 3 /* report, lock, alive */

enum {
	OPT_NAME = CTL_FIRST_ID,
	OPT_SESSION,
	OPT_RECOVER,
};

static const struct option_spec specs[] = {
	CTL_COMMON_OPTIONS,
	VOLUME_OPTIONS,
	{"name", 0, "NAME", NULL, OPT_NAME},
	{"session", 0, "UUID", NULL, OPT_SESSION},
	{"recover", 0, "FRONT:ID", NULL, OPT_RECOVER},
};

int serve_fail(struct server *s, int err, const char *fmt, ...)
{
	char text[sizeof(s->error)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s", text);
	memcpy(s->error, text, sizeof(s->error));
	return err;
}

/* ---- one pass of the loop -------------------------------------------------------------------- */

static void end_for(struct server *s, int asker)
{
	s->is_ending = true;
	if (s->asker >= 0)
		close(s->asker);
	s->asker = asker;
}

/* By a signal or the end of the supervisor; whoever uses the device comes first. */
static void end_if_unused(struct server *s, const char *cause)
{
	char why[256];

	if (!s->front || !serve_in_use(s, why, sizeof(why))) {
		log_notice("%s: ending", cause);
		end_for(s, -1);
		return;
	}
	log_warning("%s: going on, because the device is needed: %s; or 'brp-initiator disconnect "
		    "--force %s'",
		    cause, why, s->entry.name);
}

static void on_disconnect(struct server *s, int fd, bool force)
{
	char why[256];

	if (s->front && !force && serve_in_use(s, why, sizeof(why)))
		control_refuse(fd, -EBUSY, why);
	else
		end_for(s, fd);
}

static void on_control(struct server *s)
{
	int fd;
	json_t *request = control_accept(s->listen_fd, &fd);
	const char *command = json_string_value(json_object_get(request, "command"));

	if (!request)
		return;
	if (command && !strcmp(command, "status"))
		control_answer(fd, serve_status(s));
	else if (command && !strcmp(command, "disconnect"))
		on_disconnect(s, fd, json_is_true(json_object_get(request, "force")));
	else
		control_refuse(fd, -EOPNOTSUPP, "no such command");
	json_decref(request);
}

static void on_signal(struct server *s)
{
	struct signalfd_siginfo si;

	if (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		end_if_unused(s, strsignal((int)si.ssi_signo));
}

static void on_orphaned(struct server *s)
{
	s->is_orphan = true;
	end_if_unused(s, "the supervisor is gone");
}

static void on_wakeup(struct server *s)
{
	eventfd_t v;
	int err;

	eventfd_read(s->event_fd, &v);
	serve_news(s);
	err = atomic_load(&s->gone_error);
	if (err && !s->is_ending) {
		serve_fail(s, err, "%s: %s ended by itself: %s", s->entry.name, s->entry.node,
			   strerror(-err));
		s->is_ending = true;
	}
}

void serve_pass(struct server *s, int extra_fd, int timeout_ms)
{
	struct pollfd p[] = {
		{.fd = s->listen_fd, .events = POLLIN},
		{.fd = s->signal_fd, .events = POLLIN},
		{.fd = s->event_fd, .events = POLLIN},
		{.fd = s->is_orphan ? -1 : PROCESS_ALIVE_FD, .events = POLLIN},
		{.fd = extra_fd, .events = POLLIN},
	};

	if (poll(p, ARRAY_SIZE(p), timeout_ms) <= 0)
		return;
	if (p[3].revents)
		on_orphaned(s);
	if (p[1].revents)
		on_signal(s);
	if (p[2].revents)
		on_wakeup(s);
	if (p[0].revents)
		on_control(s);
}

/* ---- start and end --------------------------------------------------------------------------- */

/* One line for `connect`, and for the supervisor; it may have gone meanwhile. */
static void report(struct server *s, int err)
{
	json_t *j = err ? json_pack("{sb si ss}", "ok", 0, "errno", -err, "error", s->error)
			: registry_entry_json(&s->entry);

	if (!err && j)
		json_object_set_new(j, "ok", json_true());
	control_write(PROCESS_REPORT_FD, j);
	close(PROCESS_REPORT_FD);
}

static int open_fds(struct server *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	/* Before there are threads, so that all of them have it. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->signal_fd < 0 || s->event_fd < 0)
		return serve_fail(s, -errno, "%s: no descriptors: %s", s->opt.uri, strerror(errno));
	s->listen_fd = control_listen(s->entry.name);
	if (s->listen_fd < 0)
		return serve_fail(s, s->listen_fd, "%s: no control socket", s->opt.uri);
	return 0;
}

static int start(struct server *s)
{
	int err = registry_read(s->entry.name, &s->entry);

	if (err)
		return serve_fail(s, err, "%s: no entry in %s", s->entry.name, registry_dir());
	s->entry.server = getpid();
	err = registry_write(&s->entry);
	if (err)
		return serve_fail(s, err, "%s: the entry cannot be written", s->entry.name);
	err = open_fds(s);
	if (!err)
		err = serve_connect(s);
	if (!err)
		err = serve_create(s);
	return err;
}

/* The links go first, the device next, then the session it needed; whoever asked hears of it last.
 */
static void end(struct server *s)
{
	serve_remove(s);
	brp_disconnect(s->session);
	if (s->is_orphan) {
		int lock = registry_lock();

		if (lock >= 0) {
			registry_reap(&s->entry);
			close(lock);
		}
	}
	if (s->asker >= 0)
		control_answer(s->asker, json_object());
}

static enum serve_end serve(struct server *s)
{
	int err = start(s);

	report(s, err);
	if (!err) {
		log_notice("%s is %s, by %s, %u queues of %u", s->opt.uri, s->entry.node,
			   s->entry.front, s->info.queues, s->info.queue_depth);
		while (!s->is_ending)
			serve_pass(s, -1, serve_watch(s));
	}
	end(s);
	return s->error[0] ? SERVE_FAILED : SERVE_CLEAN;
}

/* ---- command line ---------------------------------------------------------------------------- */

static int set_recover(struct server *s, const char *value)
{
	const char *colon = strchr(value, ':');
	uint32_t id;

	if (!colon || (size_t)(colon - value) >= sizeof(s->recover_front) ||
	    parse_u32(colon + 1, 0, INT32_MAX, &id))
		return -EINVAL;
	memcpy(s->recover_front, value, (size_t)(colon - value));
	s->recover_id = (int)id;
	return 0;
}

static int set_session(struct server *s, const char *value)
{
	struct brp_uuid u;

	if (brp_uuid_parse(value, &u))
		return -EINVAL;
	memcpy(s->session_uuid, u.b, sizeof(u.b));
	return 0;
}

static int take(void *ctx, const struct options_iter *it, int id)
{
	struct server *s = ctx;
	const char *why = "not for people";
	int err;

	if (id == OPTIONS_ARG)
		err = volume_options_set_uri(&s->opt, it->value, &why);
	else if (id >= VOLUME_OPT_FIRST)
		err = volume_options_apply(&s->opt, it->spec, it->value, &why);
	else if (id == OPT_RECOVER)
		err = set_recover(s, it->value);
	else if (id == OPT_SESSION)
		err = set_session(s, it->value);
	else
		err = snprintf(s->entry.name, sizeof(s->entry.name), "%s", it->value) <
				      (int)sizeof(s->entry.name)
			      ? 0
			      : -EINVAL;
	return err ? options_bad_value(it, "%s", why) : CTL_RUN;
}

static int run(const struct verb *v, int argc, char **argv)
{
	static const enum log_level levels[] = {LOG_NOTICE, LOG_INFO, LOG_DEBUG};
	struct server *s = calloc(1, sizeof(*s));
	struct ctl_common common;
	int rc;

	if (!s)
		return SERVE_FAILED;
	volume_options_init(&s->opt);
	s->recover_id = FRONT_NO_ID;
	s->asker = s->listen_fd = -1;
	rc = ctl_parse(v, argc, argv, &common, take, s);
	if (rc == CTL_RUN && (!s->opt.uri[0] || !s->entry.name[0]))
		rc = options_usage_error(CTL_PROGRAM, "serve is not for people: use connect");
	if (rc == CTL_RUN) {
		process_own_fds(NR_FDS);
		process_log_to(s->opt.log_file, s->entry.name, levels[MIN(common.verbosity, 2u)]);
		process_harden(true);
		rc = serve(s);
	}
	volume_options_finish(&s->opt);
	free(s);
	return rc;
}

const struct verb verb_serve = {
	.name = "serve",
	.usage = "usage: brp-initiator serve is what connect starts\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
