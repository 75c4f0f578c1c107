/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TCP fabric when the system fails it: call 1, 2, 3 ... of those below (link-time wraps)
 * returns an error during a session. Whatever fails, every transfer is reported once, closed()
 * comes last (the rig looks), and nothing is left.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/fabric_rig.h"

void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__real_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t off);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
ssize_t __real_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *mh, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *mh, int flags);

static unsigned int fail_at; /* 0: never */
static unsigned int nr_calls;
static bool has_failed;

static bool is_to_fail(int error)
{
	if (++nr_calls != fail_at)
		return false;
	has_failed = true;
	errno = error;
	return true;
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return is_to_fail(ENOMEM) ? NULL : __real_calloc(n, bytes);
}

void *__wrap_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
	return is_to_fail(ENOMEM) ? MAP_FAILED : __real_mmap64(at, bytes, prot, flags, fd, off);
}

int __wrap_socket(int domain, int type, int protocol)
{
	return is_to_fail(EMFILE) ? -1 : __real_socket(domain, type, protocol);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags)
{
	return is_to_fail(ECONNRESET) ? -1 : __real_sendmsg(fd, mh, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *mh, int flags)
{
	return is_to_fail(ETIMEDOUT) ? -1 : __real_recvmsg(fd, mh, flags);
}

static struct rig rig;
static struct rig_end *i, *t;

static bool is_over(void *arg)
{
	return i->is_closed || i->messages + i->notices >= *(unsigned int *)arg;
}

static bool are_closed(void *arg)
{
	(void)arg;
	return i->is_closed && t->is_closed;
}

static void talk(void)
{
	unsigned int want = 4;

	rig_request(i, RIG_PULL, 0, 0, 4096);
	rig_request(i, RIG_PUSH, 1, 1, 100000);
	rig_request(i, RIG_PULL_DISCARD, 2, 2, 70000);
	rig_request(i, RIG_PUSH_REPLY, 3, 3, 512);
	fabric_flush(i->conn);
	rig_pump(&rig, is_over, &want);
	fabric_close(i->conn, false);
	cr_assert(rig_pump(&rig, are_closed, NULL) || rig.wrong);
}

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

/* What the rig itself says when it gets no memory or no connection; anything else is a failure of
 * the fabric. */
static void session(unsigned int nth)
{
	fail_at = nth;
	nr_calls = 0;
	has_failed = false;
	if (rig_open(&rig, "tcp", "127.0.0.1") == NULL && rig_pair(&rig, &i, &t) == NULL)
		talk();
	fail_at = 0;
	while (rig.nr_ends > 0) {
		struct rig_end *e = rig.ends[0];

		cr_assert(e->wrong == NULL, "call %u: %s", nth, e->wrong);
		rig_forget(&rig, e);
	}
	cr_assert(nth > 0 || rig.wrong == NULL, "%s", rig.wrong);
	rig_close(&rig);
}

Test(fabric_sweep, every_call_fails_once)
{
	unsigned int fds, nth = 0;

	log_init("test", LOG_ERROR);
	session(0);
	fds = count_fds();
	do {
		session(++nth);
		cr_assert(count_fds() == fds, "call %u: %u descriptors, %u before", nth,
			  count_fds(), fds);
	} while (has_failed);
	cr_assert(nth > 20);
}

static int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = __real_socket(AF_INET, SOCK_STREAM, 0);

	a.sin_port = htons(fabric_listener_port(rig.listener));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

/* Without descriptors peers are turned away: they notice, and the listener does not stay ready. */
Test(fabric_sweep, out_of_descriptors)
{
	struct rlimit old, tight;
	int fd[4];
	char c;

	log_init("test", LOG_ERROR);
	cr_assert(rig_open(&rig, "tcp", "127.0.0.1") == NULL);
	for (int k = 0; k < 4; k++)
		fd[k] = dial();
	getrlimit(RLIMIT_NOFILE, &old);
	tight = old;
	tight.rlim_cur = (rlim_t)fd[3] + 1;
	setrlimit(RLIMIT_NOFILE, &tight);
	rig_spin(&rig, 3);
	cr_assert(fabric_listener_poll(rig.listener) == 0);
	setrlimit(RLIMIT_NOFILE, &old);
	for (int k = 0; k < 4; k++) {
		cr_assert(recv(fd[k], &c, 1, 0) <= 0);
		close(fd[k]);
	}
	cr_assert(rig_pair(&rig, &i, &t) == NULL, "%s", rig.wrong);
	rig_close(&rig);
}
