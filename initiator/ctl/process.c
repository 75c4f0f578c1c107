/* SPDX-License-Identifier: BSD-2-Clause */
/* Background processes: start, protection, messages; see process.h. */
#include "initiator/ctl/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "initiator/ctl/registry.h"
#include "initiator/ctl/syslog_sink.h"
#include "initiator/ctl/path.h"

/* prctl(2), Linux 5.6; older headers lack it. */
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define MAX_FDS     3
#define STACK_BYTES (1u << 20) /* of a thread: all of it is locked in memory */

/* ---- starting -------------------------------------------------------------------------------- */

/* The child, after fork. Returns only on error. */
static int become(char *const argv[], const int *fds, unsigned int nr_fds)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int high[MAX_FDS];

	if (null < 0)
		return -errno;
	/* First out of the way: the numbers wanted may be in use. */
	for (unsigned int i = 0; i < nr_fds; i++) {
		high[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
		if (fds[i] >= 0 && high[i] < 0)
			return -errno;
	}
	for (int fd = 0; fd < 3; fd++) {
		if (dup2(null, fd) < 0)
			return -errno;
	}
	for (unsigned int i = 0; i < nr_fds; i++) {
		int fd = PROCESS_REPORT_FD + (int)i;

		if (high[i] < 0)
			close(fd);
		else if (dup2(high[i], fd) < 0)
			return -errno;
	}
	close_range(PROCESS_REPORT_FD + nr_fds, ~0u, CLOSE_RANGE_CLOEXEC);
	if (chdir("/") < 0)
		return -errno;
	execv("/proc/self/exe", argv);
	return -errno;
}

/* Signals and their masks are inherited; the new program begins with none of ours. */
static void reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
}

/* Writes the error to `out`, which exec closes. */
static void run_child(char *const argv[], const int *fds, unsigned int nr_fds, bool detached,
		      int out)
{
	int err = 0;

	reset_signals();
	if (detached) {
		setsid();
		err = fork();
		if (err > 0)
			_exit(0);
		err = err < 0 ? -errno : 0;
	}
	if (!err) {
		/* become() closes nothing that is close-on-exec: `out` stays to tell. */
		err = become(argv, fds, nr_fds);
	}
	while (write(out, &err, sizeof(err)) < 0 && errno == EINTR)
		;
	_exit(127);
}

int process_start(char *const argv[], const int *fds, unsigned int nr_fds, bool detached)
{
	int status[2];
	int err = 0;
	pid_t pid;

	if (pipe2(status, O_CLOEXEC) < 0)
		return -errno;
	/* Out of reach of the numbers that become() fills. */
	pid = fork();
	if (pid == 0) {
		int out = fcntl(status[1], F_DUPFD_CLOEXEC, 128);

		run_child(argv, fds, nr_fds, detached, out < 0 ? status[1] : out);
	}
	close(status[1]);
	if (pid < 0) {
		err = -errno;
	} else {
		if (detached)
			waitpid(pid, NULL, 0);
		if (read(status[0], &err, sizeof(err)) != (ssize_t)sizeof(err))
			err = 0; /* end of file: it runs */
		if (err && !detached)
			waitpid(pid, NULL, 0);
	}
	close(status[0]);
	return err ? err : detached ? 0 : pid;
}

void process_own_fds(unsigned int nr_fds)
{
	for (int fd = PROCESS_REPORT_FD; fd < PROCESS_REPORT_FD + (int)nr_fds; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* ---- protection ------------------------------------------------------------------------------ */

/* Threads' stacks are made after mlockall(): 8 MiB each would all be there. */
static void shrink_stacks(void)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr))
		return;
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

static int set_oom_score(const char *score)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, score, strlen(score)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* A queue takes about four descriptors; the soft limit of 1024 is for programs that use select().
 */
static void raise_fd_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static bool has_ipc_lock(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &head, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

/* Under a limit it would succeed, and what is allocated later would fail. */
static int lock_memory(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_MEMLOCK, &lim) < 0)
		return -errno;
	if (lim.rlim_cur != RLIM_INFINITY && !has_ipc_lock())
		return -EPERM;
	return mlockall(MCL_CURRENT | MCL_FUTURE) < 0 ? -errno : 0;
}

void process_harden(bool says)
{
	int err;

	raise_fd_limit();

	shrink_stacks();
	/* Memory for I/O is never got by writing to the device that this process serves. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0 && says)
		log_warning("PR_SET_IO_FLUSHER: %s: under memory pressure the device may hang",
			    strerror(errno));
	err = lock_memory();
	if (err && says)
		log_warning("memory is not locked: %s: under memory pressure the device may be "
			    "slow; raise the limit with 'ulimit -l unlimited' or "
			    "LimitMEMLOCK=infinity",
			    strerror(-err));
	err = set_oom_score("-1000");
	if (err && says)
		log_warning("oom_score_adj: %s: the kernel may end this process when memory ends",
			    strerror(-err));
}

/* ---- messages -------------------------------------------------------------------------------- */

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (fd < 0)
		return -errno;
	dup2(fd, STDERR_FILENO);
	close(fd);
	return 0;
}

void process_log_to(const char *file, const char *device, enum log_level level)
{
	static char name[64];
	char path[PATH_MAX];

	if (!file[0] && syslog_is_there()) {
		syslog_open(CTL_SYSLOG_NAME, device);
		log_init(CTL_SYSLOG_NAME, level);
		log_set_sink(syslog_put);
		return;
	}
	snprintf(name, sizeof(name), "%s: %s", CTL_SYSLOG_NAME, device);
	if (!file[0])
		registry_path(path, device, ".log");
	else
		path_format(path, "%s", file);
	if (open_file(path))
		return; /* checked when it was given; there is nowhere to say it */
	log_init(name, level);
}
