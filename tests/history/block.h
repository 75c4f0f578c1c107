/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks that tell who wrote them, and where: every word follows from the run, the address and the
 * value, so that a block is right as a whole or it is seen which way it is wrong. */
#ifndef HISTORY_BLOCK_H
#define HISTORY_BLOCK_H

#include <stdint.h>

void block_fill(void *buf, uint32_t bytes, uint64_t run, uint64_t address, uint64_t value);
/* The value, or HIST_ZERO, HIST_TORN, HIST_GARBAGE, HIST_MISPLACED (history.h). */
uint64_t block_read(const void *buf, uint32_t bytes, uint64_t run, uint64_t address);

#endif
