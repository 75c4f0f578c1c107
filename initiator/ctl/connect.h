/* SPDX-License-Identifier: BSD-2-Clause */
/* Connecting one volume, for `connect` and `connect-all`. */
#ifndef INITIATOR_CTL_CONNECT_H
#define INITIATOR_CTL_CONNECT_H

#include "initiator/ctl/volume_options.h"

struct connect_how {
	bool idempotent; /* connected already is fine */
	unsigned int verbosity;
};

/*
 * Starts the background processes of a device and waits until it can be used. 0: *ret_entry says
 * where it is. -EEXIST: connected already (then *ret_entry is that one); with how->idempotent 0.
 * After an error why has the words.
 */
int connect_volume(const struct volume_options *opt, const struct connect_how *how,
		   struct reg_entry *ret_entry, char *why, size_t why_bytes);

#endif
