/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/ctl/syslog_sink.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

static const char *device;

bool syslog_is_there(void)
{
	static const struct sockaddr_un log = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok;

	if (fd < 0)
		return false;
	ok = connect(fd, (const struct sockaddr *)&log, sizeof(log)) == 0;
	close(fd);
	return ok;
}

void syslog_open(const char *name, const char *about)
{
	device = about;
	openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void syslog_put(int priority, const char *text)
{
	syslog(priority, "%s: %s", device, text);
}
