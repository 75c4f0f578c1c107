/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors as the NBD protocol knows them; anything else would reach the client as EINVAL. */
#ifndef INITIATOR_DEV_NBD_ERRNO_H
#define INITIATOR_DEV_NBD_ERRNO_H

/* 0 or negative errno -> 0 or the positive value for a reply (which on Linux is an errno too). */
int nbd_errno(int err);

#endif
