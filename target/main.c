/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-target: exports block storage over RDMA and TCP. The main thread only waits for signals. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/log.h"
#include "target/config.h"
#include "target/server.h"

/* Blocked before any thread starts, so that only sigwait() takes them. */
static void block_signals(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGTERM);
	sigaddset(ret_set, SIGINT);
	pthread_sigmask(SIG_BLOCK, ret_set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int wait_for_signal(const sigset_t *set)
{
	int sig;

	while (sigwait(set, &sig))
		;
	return sig;
}

/* A connection takes three or four descriptors; the soft limit of 1024 is for programs that use
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

static int serve(const struct target_config *c)
{
	/* Tables of constant size: too large for a stack. */
	struct server *s = malloc(sizeof(*s));
	sigset_t set;
	int err;

	if (!s)
		return -ENOMEM;
	block_signals(&set);
	raise_fd_limit();
	err = server_start(s, &c->server);
	if (!err) {
		log_notice("ready");
		log_notice("%s: ending", strsignal(wait_for_signal(&set)));
		server_stop(s, c->grace_ms);
	}
	free(s);
	return err;
}

int main(int argc, char **argv)
{
	struct target_config *c = malloc(sizeof(*c));
	int rc;

	log_init("brp-target", LOG_NOTICE);
	if (!c)
		return EXIT_FAILURE;
	rc = config_parse(c, argc, argv);
	if (rc == CONFIG_RUN)
		rc = serve(c) ? EXIT_FAILURE : EXIT_SUCCESS;
	config_finish(c);
	free(c);
	return rc;
}
