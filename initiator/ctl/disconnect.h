/* SPDX-License-Identifier: BSD-2-Clause */
/* Removing a device, for `disconnect` and `disconnect-all`. */
#ifndef INITIATOR_CTL_DISCONNECT_H
#define INITIATOR_CTL_DISCONNECT_H

#include "initiator/ctl/registry.h"

/* Returns when the device and its processes are gone. -EBUSY: it is in use, and force is false.
 * After an error why has the words. */
int disconnect_device(const struct reg_entry *e, bool force, char *why, size_t why_bytes);

#endif
