/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/stale.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The process id in "target-PID.sock", written as a target writes it; 0: another name. */
static pid_t pid_of(const char *name)
{
	char again[64];
	int pid;

	if (sscanf(name, "target-%9d.sock", &pid) != 1 || pid <= 0)
		return 0;
	snprintf(again, sizeof(again), "target-%d.sock", pid);
	return strcmp(name, again) ? 0 : pid;
}

/* The process may be one of another PID namespace, so its absence alone says nothing. */
static bool is_refused(const char *dir, const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	bool refused;
	int n, fd;

	n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", dir, name);
	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	refused = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static bool is_stale(int dir_fd, const char *dir, const char *name)
{
	pid_t pid = pid_of(name);
	struct stat st;

	return pid && !fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISSOCK(st.st_mode) &&
	       kill(pid, 0) < 0 && errno == ESRCH && is_refused(dir, name);
}

unsigned int stale_sweep(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	unsigned int n = 0;

	if (!d)
		return 0;
	/* Closing gives the lock up. */
	if (!flock(dirfd(d), LOCK_EX | LOCK_NB)) {
		while ((e = readdir(d)))
			n += is_stale(dirfd(d), dir, e->d_name) &&
			     !unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	return n;
}
