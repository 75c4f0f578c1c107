/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/daemon.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/log.h"
#include "target/control.h"
#include "target/listener.h"
#include "target/notify.h"
#include "target/reload.h"

/* A device did not answer before the end. */
#define EXIT_STUCK 3
/* How often addresses are tried that were not there. */
#define LISTEN_RETRY_MS 1000

struct daemon {
	const struct target_config *config;
	int argc;
	char **argv;
	struct server *server;
	struct control *control; /* NULL: none */
	int signal_fd;
	bool must_reload_again; /* a volume waits for its predecessor's users */
	bool is_ending;
};

/* Blocked before any thread starts, so that only the descriptor takes them. */
static int take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A connection takes three to five descriptors; the soft limit of 1024 is for programs that use
 * select(). */
static void raise_fd_limit(void)
{
	struct rlimit lim;

	if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &lim))
			log_warning("cannot raise the limit of open files: %s", strerror(errno));
	}
}

static void notify_ready(const struct daemon *d)
{
	notify("READY=1\nSTATUS=%u volumes on offer", d->server->nr_volumes);
}

/* ---- what there is to do --------------------------------------------------------------------- */

static int load_and_apply(struct daemon *d)
{
	struct target_config *c = malloc(sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	err = config_parse(c, d->argc, d->argv) == CONFIG_RUN ? reload(d->server, c) : -EINVAL;
	config_finish(c);
	free(c);
	d->must_reload_again = err == -EAGAIN;
	return err;
}

static int daemon_reload(struct daemon *d)
{
	int err;

	notify("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(now_ns() / NS_PER_US));
	err = load_and_apply(d);
	if (err && err != -EAGAIN)
		log_error("the configuration is not, or not wholly, in effect: see above");
	else
		log_notice("configuration loaded again");
	notify_ready(d);
	return err;
}

static int hook_reload(void *arg)
{
	return daemon_reload(arg);
}

static void hook_drain(void *arg)
{
	struct daemon *d = arg;

	log_notice("control socket: ending");
	d->is_ending = true;
}

static void on_signal(struct daemon *d)
{
	struct signalfd_siginfo info;

	while (read(d->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			daemon_reload(d);
		} else {
			log_notice("%s: ending", strsignal((int)info.ssi_signo));
			d->is_ending = true;
		}
	}
}

static void on_volumes_left(struct daemon *d)
{
	eventfd_t n;

	eventfd_read(d->server->control_fd, &n);
	volumes_close_removed(d->server);
	if (d->must_reload_again)
		load_and_apply(d);
}

static void loop(struct daemon *d)
{
	struct pollfd fds[] = {
		{.fd = d->signal_fd, .events = POLLIN},
		{.fd = d->server->control_fd, .events = POLLIN},
		{.fd = control_fd(d->control), .events = POLLIN},
	};

	while (!d->is_ending) {
		bool has_pending = listeners_retry(d->server);

		poll(fds, ARRAY_SIZE(fds), has_pending ? LISTEN_RETRY_MS : -1);
		if (fds[0].revents)
			on_signal(d);
		if (fds[1].revents)
			on_volumes_left(d);
		if (fds[2].revents)
			control_serve(d->control);
	}
}

/* ---- from start to end ----------------------------------------------------------------------- */

static int open_control(struct daemon *d)
{
	const struct control_hooks hooks = {hook_reload, hook_drain, d};

	return control_open(d->config->control, d->server, &hooks, &d->control);
}

static int end(struct daemon *d)
{
	notify("STOPPING=1\nSTATUS=finishing what is in flight");
	control_close(d->control);
	if (!server_stop(d->server, d->config->grace_ms))
		return EXIT_SUCCESS;
	/* Threads still wait for a device: what they use cannot be freed. */
	_exit(EXIT_STUCK);
}

/* The server has started. */
static int serve(struct daemon *d)
{
	int err = open_control(d);
	int rc;

	if (!err) {
		log_notice("ready");
		notify_ready(d);
		loop(d);
	}
	rc = end(d);
	return err ? EXIT_FAILURE : rc;
}

int daemon_run(const struct target_config *c, int argc, char **argv)
{
	struct daemon d = {.config = c, .argc = argc, .argv = argv, .signal_fd = take_signals()};
	int rc = EXIT_FAILURE;

	/* Tables of constant size: too large for a stack. */
	d.server = malloc(sizeof(*d.server));
	raise_fd_limit();
	if (d.signal_fd < 0 || !d.server) {
		log_error("cannot start: %s", strerror(errno));
	} else if (!server_start(d.server, &c->server)) {
		rc = serve(&d);
	}
	free(d.server);
	if (d.signal_fd >= 0)
		close(d.signal_fd);
	return rc;
}
