/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What we use of the kernel's ublk interface and the header of Debian 12 (Linux 6.1) does not have.
 * Values: include/uapi/linux/ublk_cmd.h of the kernel named in each line. A newer header may define
 * them itself.
 */
#ifndef INITIATOR_DEV_UBLK_ABI_H
#define INITIATOR_DEV_UBLK_ABI_H

#include <linux/ioctl.h>
#include <linux/ublk_cmd.h>

/* Numbers of control commands; since 6.4 sent as ioctl numbers of type 'u'. */
#define UBLK_NR_GET_FEATURES  0x13 /* 6.5 */
#define UBLK_NR_DEL_DEV_ASYNC 0x14 /* 6.9 */
#define UBLK_NR_UPDATE_SIZE   0x15 /* 6.16 */

#ifndef UBLK_F_CMD_IOCTL_ENCODE
#define UBLK_F_CMD_IOCTL_ENCODE (1UL << 6) /* 6.4 */
#endif
#ifndef UBLK_F_UPDATE_SIZE
#define UBLK_F_UPDATE_SIZE (1ULL << 10) /* 6.16 */
#endif

/* What an unknown command gets inside the kernel; not in errno.h. */
#define UBLK_ENOTSUPP 524

#endif
