/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stable names of a device, below /dev (or $BRP_DEV_DIR):
 *
 *	brpN   brp/by-name/HOST-VOLUME   brp/by-id/UUID
 *
 * Symbolic links to the real node. The serving process makes them, so that they are there without
 * udev; the udev rule makes the same ones.
 */
#ifndef INITIATOR_CTL_LINKS_H
#define INITIATOR_CTL_LINKS_H

#include <limits.h>

#include "initiator/ctl/registry.h"

#define LINKS_NR         3
#define LINKS_NAME_BYTES 512

/* Relative to the folder of devices, in the order of above; names[i] is empty where an entry does
 * not tell enough yet. */
void links_names(const struct reg_entry *e, char names[LINKS_NR][LINKS_NAME_BYTES]);

/* "HOST-VOLUME", as it stands in by-name; empty: not known yet. */
void links_leaf(const struct reg_entry *e, char leaf[LINKS_NAME_BYTES]);

/* "/dev/NAME" */
void links_path(char path[PATH_MAX], const char *name);

/* There is something of this name that the registry does not know. */
bool links_name_taken(const char *name);

/* Needs e->node. A by-id or by-name link of another device that is still there stays. */
int links_make(const struct reg_entry *e);
/* Has udev look at the device again, once the entry tells what is true: what udev was told by the
 * kernel it may have handled before the entry was there, or while it was still there. */
void links_tell_udev(const struct reg_entry *e);
/* Those that lead to this device. */
void links_remove(const struct reg_entry *e);

#endif
