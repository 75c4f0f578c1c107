/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's nbd driver, configured by generic netlink. Negative errno; nothing is logged. */
#ifndef INITIATOR_DEV_NBD_NETLINK_H
#define INITIATOR_DEV_NBD_NETLINK_H

#include <stdint.h>

struct nbd_setup {
	const int *fds; /* the kernel's ends of the sockets; may be closed afterwards */
	unsigned int nr_fds;
	uint64_t size_bytes;
	uint32_t block_bytes;
	uint64_t flags;   /* NBD_FLAG_* */
	const char *mark; /* owner.h; kernels before 5.14 cannot keep it */
};

/* 0: the driver is there, and we may. -ENOENT: no such driver. */
int nbd_netlink_probe(void);

/* A device that nobody uses; its number. */
int nbd_netlink_connect(const struct nbd_setup *s);
int nbd_netlink_disconnect(int number);
/* mark: the one it was connected with; NULL where the kernel has kept none. */
int nbd_netlink_resize(int number, const char *mark, uint64_t size_bytes);

#endif
