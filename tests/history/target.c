/* SPDX-License-Identifier: BSD-2-Clause */
/* The target under test: started, killed and started again on the same port. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/history/driver.h"

#define READY_MS 20000u
#define END_MS   30000u
#define NR_TRIES 100u /* while a predecessor's last requests are still in the device */
#define MAX_ARGS 64u
#define STEP_US  1000u

/* One that is free now, and soon again: nobody else is told of it. RDMA ports are another space. */
static int free_port(const char *address, unsigned int *ret_port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (inet_pton(AF_INET, address, &sa.sin_addr) != 1)
		err = -EINVAL;
	else if (bind(fd, (struct sockaddr *)&sa, len) < 0 ||
		 getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		err = -errno;
	*ret_port = ntohs(sa.sin_port);
	close(fd);
	return err;
}

int target_init(struct target *t, const struct driver_options *opt)
{
	int err;

	*t = (struct target){.opt = opt, .log_fd = -1};
	err = free_port(opt->address, &t->port);
	if (err < 0) {
		fprintf(stderr, "brp-history: %s: %s\n", opt->address, strerror(-err));
		return err;
	}
	/* It is read again: the target says there when it is ready. */
	if (opt->log)
		t->log_fd = open(opt->log, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	else
		t->log_fd = memfd_create("target-log", MFD_CLOEXEC);
	if (t->log_fd < 0) {
		err = -errno;
		fprintf(stderr, "brp-history: %s: %s\n", opt->log ? opt->log : "a log in memory",
			strerror(errno));
	}
	return err;
}

void target_finish(struct target *t)
{
	if (t->pid)
		target_end(t, SIGKILL);
	if (t->log_fd >= 0)
		close(t->log_fd);
}

static void exec_target(const struct target *t)
{
	char listen[64];
	char *argv[MAX_ARGS + 3];
	size_t n = 0;

	for (; t->opt->target_argv[n] && n < MAX_ARGS; n++)
		argv[n] = t->opt->target_argv[n];
	snprintf(listen, sizeof(listen), "%s://%s:%u", t->opt->transport, t->opt->address, t->port);
	argv[n++] = strdup("--listen");
	argv[n++] = listen;
	argv[n] = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(t->log_fd, STDOUT_FILENO);
	dup2(t->log_fd, STDERR_FILENO);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "brp-history: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* What it has said since `from`, the end of it if that is much. */
static const char *said_since(const struct target *t, off_t from)
{
	static char text[8192];
	off_t end = lseek(t->log_fd, 0, SEEK_END);
	ssize_t n;

	if (end - from >= (off_t)sizeof(text))
		from = end - (off_t)sizeof(text) + 1;
	n = pread(t->log_fd, text, sizeof(text) - 1, from);
	text[MAX(n, 0)] = '\0';
	return text;
}

static bool has_ended(struct target *t, int *ret_status)
{
	if (waitpid(t->pid, ret_status, WNOHANG) != t->pid)
		return false;
	t->pid = 0;
	return true;
}

/* 0 ready, -EAGAIN its predecessor has not quite gone, other: said on stderr. */
static int start_once(struct target *t)
{
	off_t from = lseek(t->log_fd, 0, SEEK_END);
	uint64_t end_ns = now_ns() + READY_MS * NS_PER_MS;
	int status = 0;

	t->pid = fork();
	if (t->pid < 0)
		return -errno;
	if (t->pid == 0)
		exec_target(t);
	while (!strstr(said_since(t, from), ": ready\n")) {
		if (has_ended(t, &status)) {
			if (strstr(said_since(t, from), "in use"))
				return -EAGAIN;
			fprintf(stderr, "brp-history: the target ended with status %#x: %s\n",
				(unsigned int)status, said_since(t, from));
			return -ECHILD;
		}
		if (now_ns() > end_ns) {
			fprintf(stderr, "brp-history: the target is not ready after %u s\n",
				READY_MS / 1000);
			return -ETIMEDOUT;
		}
		usleep(STEP_US);
	}
	return 0;
}

int target_start(struct target *t)
{
	int err = -EAGAIN;

	for (unsigned int i = 0; err == -EAGAIN && i < NR_TRIES; i++) {
		if (i > 0)
			usleep(100 * STEP_US);
		err = start_once(t);
	}
	if (err == -EAGAIN)
		fprintf(stderr, "brp-history: the target's port or volume stays in use\n");
	return err;
}

int target_end(struct target *t, int sig)
{
	uint64_t end_ns = now_ns() + END_MS * NS_PER_MS;
	int status = -1;

	kill(t->pid, sig);
	kill(t->pid, SIGCONT);
	while (!has_ended(t, &status)) {
		if (now_ns() > end_ns) {
			fprintf(stderr, "brp-history: the target does not end; killed\n");
			kill(t->pid, SIGKILL);
			waitpid(t->pid, &status, 0);
			t->pid = 0;
			return -1;
		}
		usleep(STEP_US);
	}
	return status;
}
