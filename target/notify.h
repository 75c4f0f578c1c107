/* SPDX-License-Identifier: BSD-2-Clause */
/* What systemd wants to know of a service with Type=notify: sd_notify(3), its documented datagram.
 */
#ifndef TARGET_NOTIFY_H
#define TARGET_NOTIFY_H

#include "common/util.h"

/* Assignments separated by newlines, e.g. "READY=1\nSTATUS=...". Without NOTIFY_SOCKET in the
 * environment nobody wants to know. */
void notify(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
