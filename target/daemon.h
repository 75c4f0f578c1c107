/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program's main thread, which is the server's control thread: signals, the control socket,
 * volumes to be closed, addresses to be tried again. It sleeps in between.
 */
#ifndef TARGET_DAEMON_H
#define TARGET_DAEMON_H

#include "target/config.h"

/* Serves until a signal or the control socket ends it. argv: to read the configuration again. The
 * exit status. */
int daemon_run(const struct target_config *c, int argc, char **argv);

#endif
