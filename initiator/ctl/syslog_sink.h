/* SPDX-License-Identifier: BSD-2-Clause */
/* syslog(3) as a sink of log.h; a file of its own because the two fight over the LOG_ names. */
#ifndef INITIATOR_CTL_SYSLOG_SINK_H
#define INITIATOR_CTL_SYSLOG_SINK_H

#include <stdbool.h>

#define CTL_SYSLOG_NAME "brp-initiator"

bool syslog_is_there(void);                             /* somebody listens, e.g. the journal */
void syslog_open(const char *name, const char *device); /* both are kept */
void syslog_put(int priority, const char *text);

#endif
