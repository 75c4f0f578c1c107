/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Little-endian integers as they lie on the wire: byte arrays, so they need no alignment or
 * packing, and mixing them up with host integers does not compile.
 */
#ifndef BRP_BYTEORDER_H
#define BRP_BYTEORDER_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t b[2];
} brp_le16;

typedef struct {
	uint8_t b[4];
} brp_le32;

typedef struct {
	uint8_t b[8];
} brp_le64;

static inline uint16_t brp_get16(brp_le16 v)
{
	uint16_t x;

	memcpy(&x, v.b, sizeof(x));
	return le16toh(x);
}

static inline uint32_t brp_get32(brp_le32 v)
{
	uint32_t x;

	memcpy(&x, v.b, sizeof(x));
	return le32toh(x);
}

static inline uint64_t brp_get64(brp_le64 v)
{
	uint64_t x;

	memcpy(&x, v.b, sizeof(x));
	return le64toh(x);
}

static inline brp_le16 brp_put16(uint16_t v)
{
	brp_le16 w;

	v = htole16(v);
	memcpy(w.b, &v, sizeof(v));
	return w;
}

static inline brp_le32 brp_put32(uint32_t v)
{
	brp_le32 w;

	v = htole32(v);
	memcpy(w.b, &v, sizeof(v));
	return w;
}

static inline brp_le64 brp_put64(uint64_t v)
{
	brp_le64 w;

	v = htole64(v);
	memcpy(w.b, &v, sizeof(v));
	return w;
}

#endif
