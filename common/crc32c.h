/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC32C (Castagnoli), the digest of iSCSI, NVMe/TCP and BRP (protocol.md 2.1). By the processor's
 * instructions where it has them (SSE4.2, ARMv8 CRC), found out at the first call; otherwise by
 * tables. Pure, any thread.
 */
#ifndef COMMON_CRC32C_H
#define COMMON_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of what `crc` is the CRC of (0: nothing yet), followed by [p, p + bytes). */
uint32_t crc32c(uint32_t crc, const void *p, size_t bytes);

/* The same by tables, whatever the processor can do: to compare with. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t bytes);

/* How crc32c() does it: "sse4.2", "armv8" or "portable". */
const char *crc32c_method(void);

#endif
