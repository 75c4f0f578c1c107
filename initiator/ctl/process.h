/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process must be so that a block device can depend on it. */
#ifndef INITIATOR_CTL_PROCESS_H
#define INITIATOR_CTL_PROCESS_H

#include <stdbool.h>

#include "common/log.h"

/* Descriptors the supervisor and the serving process are started with; 0, 1, 2 are /dev/null. */
#define PROCESS_REPORT_FD \
	3 /* write end of a pipe: one line of JSON when the device is there or not */
#define PROCESS_LOCK_FD  4 /* the device's lock in the registry */
#define PROCESS_ALIVE_FD 5 /* serving process: end of file when the supervisor is gone */

/*
 * Starts `argv` as a copy of this program with fds[i] as descriptor PROCESS_REPORT_FD + i; -1: that
 * one is closed. All other descriptors are closed, the working directory is /. `detached`: in a
 * session of its own and nobody's child. Returns its process id (0 when detached), or a negative
 * errno.
 */
int process_start(char *const argv[], const int *fds, unsigned int nr_fds, bool detached);

/* Makes descriptors start over as close-on-exec: what is started later gets only what it shall. */
void process_own_fds(unsigned int nr_fds);

/* Before threads start: never swapped or reclaimed for, not the first to be killed when memory
 * ends. What is not allowed is a warning if `says`. */
void process_harden(bool says);

/* Messages go to file, or to syslog, or where there is none, to the registry's folder; device
 * stands in front. */
void process_log_to(const char *file, const char *device, enum log_level level);

#endif
