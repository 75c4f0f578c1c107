/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of the target as JSON, for the control socket. Each is a new object, or NULL without
 * memory. Control thread. */
#ifndef TARGET_REPORT_H
#define TARGET_REPORT_H

#include <jansson.h>

#include "target/server.h"

json_t *report_status(struct server *s);
json_t *report_volumes(struct server *s);
json_t *report_sessions(struct server *s);
json_t *report_stats(struct server *s);

#endif
