/* SPDX-License-Identifier: BSD-2-Clause */
/* The only place where errno and wire status meet, and the names of protocol constants for logs. */
#ifndef BRP_STATUS_H
#define BRP_STATUS_H

#include "brp/proto.h"

/* Negative errno for a status; unknown codes are -EIO. BRP_ST_OK is 0. protocol.md 7. */
int brp_status_to_errno(uint16_t status);

/* Status for a negative errno (or 0) that a back end or the target decided. Unknown ones are
 * BRP_ST_IO_ERROR. */
enum brp_status_code brp_status_from_errno(int err);

/* Never NULL; unknown values give "unknown". */
const char *brp_status_name(uint16_t status);
const char *brp_msg_name(uint8_t type);
const char *brp_op_name(uint8_t op);

/* UUID text form, 36 characters. buf has room for 37. parse: 0 or -EINVAL. */
void brp_uuid_format(const struct brp_uuid *u, char *buf);
int brp_uuid_parse(const char *s, struct brp_uuid *ret_u);
bool brp_uuid_is_zero(const struct brp_uuid *u);
bool brp_uuid_equal(const struct brp_uuid *a, const struct brp_uuid *b);

#endif
