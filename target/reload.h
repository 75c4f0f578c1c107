/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration loaded again: what has changed is done, the rest goes on undisturbed. */
#ifndef TARGET_RELOAD_H
#define TARGET_RELOAD_H

#include "target/config.h"
#include "target/server.h"

/*
 * Makes the volumes what `c` says: adds those that are new, removes those that the configuration
 * named before and does not any more, replaces those whose SPEC changed, looks at the size of the
 * others. What was added by the control socket stays. Options that cannot change while running are
 * named in the log. 0, or the first error of a volume; the others are done all the same.
 * -EAGAIN: one has to wait until the users of its predecessor have left: reload again after
 * server.control_fd has said so. Control thread.
 */
int reload(struct server *s, const struct target_config *c);

#endif
