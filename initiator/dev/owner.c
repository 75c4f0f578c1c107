/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/owner.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

#define MARK_FORMAT "brp:%d:" /* then the name; the number is the process */

void owner_mark(char mark[OWNER_BYTES], const char *name)
{
	snprintf(mark, OWNER_BYTES, MARK_FORMAT "%s", (int)getpid(), name);
}

bool owner_is_running(int pid)
{
	char path[32], text[512], *end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[MAX(n, 0)] = '\0';
	end = strrchr(text, ')'); /* of the program's name; the state follows */
	return end && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}

bool owner_is_dead(const char *mark)
{
	int pid;

	return sscanf(mark, MARK_FORMAT, &pid) == 1 && !owner_is_running(pid);
}
