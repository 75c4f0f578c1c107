/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a device; see disconnect.h. */
#include "initiator/ctl/disconnect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "initiator/ctl/control.h"

int disconnect_device(const struct reg_entry *e, bool force, char *why, size_t why_bytes)
{
	char path[PATH_MAX];
	int lock, err;

	registry_path(path, e->name, ".lock");
	/* Before it is removed: the same file, whoever takes the name next. */
	lock = open(path, O_RDONLY | O_CLOEXEC);
	/* The answer comes after the I/O in flight, however long that takes. */
	err = control_ask(e->name, json_pack("{ss sb}", "command", "disconnect", "force", force),
			  -1, NULL, why, why_bytes);
	/* Its processes hold the lock until they have tidied up. */
	if (!err && lock >= 0) {
		while (flock(lock, LOCK_SH) < 0 && errno == EINTR)
			;
	}
	if (lock >= 0)
		close(lock);
	return err;
}
