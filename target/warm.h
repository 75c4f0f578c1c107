/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory volumes: the pages that the writes of a message go to are asked for before the first of
 * them is written. A random page of a volume is in no cache, and copying to it waits for memory
 * most of the time; told of all pages in a row, a processor fetches more at once than it does in
 * the course of a copy. Not for reads: they are sent when the whole pass is done, and asking for so
 * much at once gained nothing (docs/results/path.md, "TCP at depth 128").
 */
#ifndef TARGET_WARM_H
#define TARGET_WARM_H

#include "brp/codec.h"

struct conn;

/* The n requests of one message, not checked yet; those out of range are left out. */
void warm_requests(const struct conn *c, const struct brp_request *wire, int n);

#endif
