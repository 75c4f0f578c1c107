/* SPDX-License-Identifier: BSD-2-Clause */
/* What a device is and how it is, for `list` and `stat`. */
#ifndef INITIATOR_CTL_DEVICE_STATUS_H
#define INITIATOR_CTL_DEVICE_STATUS_H

#include "initiator/ctl/registry.h"

/* The entry, "device" (its path), and what the serving process tells; "state" is always there.
 * NULL: no memory. */
json_t *device_status(const struct reg_entry *e);

/* "live", "reconnecting, attempt 3, down 12 s, I/O waits, gives up never" */
void device_state_text(const json_t *status, char *text, size_t bytes);

#endif
