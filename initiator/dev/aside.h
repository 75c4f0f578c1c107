/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that wait for I/O which this very process serves: attaching a device (the kernel reads its
 * partition table), closing it (dirty pages are written). If the process is killed meanwhile, the
 * thread in such a call cannot end before its I/O does; and as long as it holds the descriptors
 * the requests come through, the kernel does not fail them: it would hang for ever.
 *
 * So the call is made by a thread with a descriptor table of its own, without those descriptors.
 */
#ifndef INITIATOR_DEV_ASIDE_H
#define INITIATOR_DEV_ASIDE_H

/*
 * fn(arg) in such a thread; returns what it does. fds: the descriptors requests come through; they
 * are closed in the thread's table and stay open in the process. Descriptors that fn opens exist
 * only until it returns.
 */
int dev_aside(int (*fn)(void *arg), void *arg, const int *fds, unsigned int nr_fds);

#endif
