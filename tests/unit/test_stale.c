/* SPDX-License-Identifier: BSD-2-Clause */
/* Which control sockets are taken for a killed target's. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target/stale.h"

static char dir[64];
static int dead_pid; /* there is no such process */

static void make_dir(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	dead_pid = pid;
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	snprintf(dir, sizeof(dir), "/tmp/brp-stale.XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(stale, .init = make_dir, .fini = remove_dir);

static void path_of(const char *name, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/%s", dir, name);
}

static const char *named(int pid)
{
	static char name[32];

	snprintf(name, sizeof(name), "target-%d.sock", pid);
	return name;
}

/* Somebody answers there until this is closed. */
static int listener(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	path_of(name, addr.sun_path, sizeof(addr.sun_path));
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	return fd;
}

static void leave_socket(const char *name)
{
	close(listener(name));
}

static bool is_there(const char *name)
{
	char path[128];

	path_of(name, path, sizeof(path));
	return !access(path, F_OK);
}

Test(stale, what_a_killed_target_left_goes)
{
	leave_socket(named(dead_pid));
	cr_assert_eq(stale_sweep(dir), 1);
	cr_assert_not(is_there(named(dead_pid)));
	cr_assert_eq(stale_sweep(dir), 0);
}

/* As one in a container, whose number means nothing here. */
Test(stale, who_answers_stays)
{
	int fd = listener(named(dead_pid));

	cr_assert_eq(stale_sweep(dir), 0);
	cr_assert(is_there(named(dead_pid)));
	close(fd);
}

Test(stale, a_living_process_keeps_its_own)
{
	leave_socket(named(getpid()));
	cr_assert_eq(stale_sweep(dir), 0);
	cr_assert(is_there(named(getpid())));
}

Test(stale, other_names_and_other_files_stay)
{
	static const char *const other[] = {
		"target.sock",    "target-.sock",   "target-0.sock",
		"target--5.sock", "target-1x.sock", "target-99999999999.sock",
		"initiator.sock",
	};
	char name[64], path[128];

	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		leave_socket(other[i]);
	snprintf(name, sizeof(name), "target-0%d.sock", dead_pid);
	leave_socket(name);
	snprintf(name, sizeof(name), "target-%d.sock.old", dead_pid);
	leave_socket(name);
	path_of(named(dead_pid), path, sizeof(path));
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	cr_assert_eq(stale_sweep(dir), 0);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		cr_assert(is_there(other[i]), "%s", other[i]);
	cr_assert(is_there(name));
	cr_assert(is_there(named(dead_pid)));
}

Test(stale, not_while_a_target_binds)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	leave_socket(named(dead_pid));
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	cr_assert_eq(stale_sweep(dir), 0);
	close(fd);
	cr_assert_eq(stale_sweep(dir), 1);
}

Test(stale, no_folder_is_nothing_to_do)
{
	cr_assert_eq(stale_sweep("/nonexistent"), 0);
}
