/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether somebody needs a block device. */
#ifndef INITIATOR_CTL_INUSE_H
#define INITIATOR_CTL_INUSE_H

#include <stddef.h>

/*
 * 0: nobody does. -EBUSY: why gets who: a mount in any mount namespace, swap, a holder such as LVM
 * or MD, or a program that opened it exclusively; partitions count. Also when it cannot be told.
 * What is no block device is not in use.
 */
int inuse_check(const char *node, char *why, size_t why_bytes);

/* The parts, for tests. A line of mountinfo or of swaps is about device `major:minor` or about
 * `node`, then *ret_where is filled in. */
int inuse_mountinfo_line(const char *line, unsigned int major, unsigned int minor, char *ret_where,
			 size_t bytes);
int inuse_swaps_line(const char *line, const char *node);

#endif
