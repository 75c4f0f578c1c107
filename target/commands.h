/* SPDX-License-Identifier: BSD-2-Clause */
/* What the control socket can be asked. */
#ifndef TARGET_COMMANDS_H
#define TARGET_COMMANDS_H

#include <jansson.h>

#include "target/control.h"

/* The answer to a request, or NULL without memory. Control thread. */
json_t *commands_run(struct server *s, const struct control_hooks *hooks, const json_t *request);

#endif
