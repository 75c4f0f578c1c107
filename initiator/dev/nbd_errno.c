/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/nbd_errno.h"

#include <errno.h>

int nbd_errno(int err)
{
	switch (err) {
	case 0:
	case -EPERM:
	case -EIO:
	case -ENOMEM:
	case -EINVAL:
	case -ENOSPC:
	case -EOVERFLOW:
	case -EOPNOTSUPP:
	case -ESHUTDOWN:
		return -err;
	case -EROFS:
	case -EACCES:
		return EPERM;
	case -ERANGE:
		return EINVAL;
	default:
		return EIO;
	}
}
