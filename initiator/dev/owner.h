/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A mark on a kernel device that tells whose it is, so that cleaning up after a killed server
 * touches neither devices of others nor of a server that lives: numbers are used again.
 */
#ifndef INITIATOR_DEV_OWNER_H
#define INITIATOR_DEV_OWNER_H

#include <stdbool.h>
#include <stddef.h>

#define OWNER_BYTES 64 /* a mark with its end; longer names are cut */

void owner_mark(char mark[OWNER_BYTES], const char *name);

/* There is such a process. A zombie holds nothing any more, and is none. */
bool owner_is_running(int pid);

/* The mark is of a BRP server that is no more. */
bool owner_is_dead(const char *mark);

#endif
