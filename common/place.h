/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where on a machine with several NUMA nodes threads and buffers belong: near the adapter or disk
 * that they serve. Answers are node numbers; -1: no matter, since the machine has one node, or not
 * known, or there is more than one answer; a device that is not known has no say. sysfs: where it
 * is mounted, "/sys".
 */
#ifndef COMMON_PLACE_H
#define COMMON_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

/* The node of the RDMA devices. */
int place_of_rdma(const char *sysfs);
/* The node of a block device or of the disk that a partition is on. */
int place_of_block(const char *sysfs, dev_t dev);

/* The calling thread, and those it starts from here on, run on the processors of the node that they
 * may run on. False, and nothing has changed: there is no such processor. */
bool place_enter_node(int node);

#endif
