/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the codec share: headers, reserved fields, texts. Not for others. */
#ifndef BRP_CODEC_UTIL_H
#define BRP_CODEC_UTIL_H

#include "brp/wire.h"

/* The other bits of the volume flags are reserved. 4.2 */
#define BRP_VOL_KNOWN (BRP_VOL_READ_ONLY | BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES | BRP_VOL_FUA)

static inline bool brp_is_zero(const void *field, size_t n)
{
	const uint8_t *b = field;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return any == 0;
}

#define BRP_RESERVED_OK(field) brp_is_zero(field, sizeof(field))

static inline void brp_put_header(struct brp_wire_header *h, enum brp_msg_type type, uint16_t count,
				  uint32_t length_bytes, uint32_t epoch)
{
	h->type = (uint8_t)type;
	h->flags = 0;
	h->count = brp_put16(count);
	h->length = brp_put32(length_bytes);
	h->epoch = brp_put32(epoch);
	memset(h->reserved, 0, sizeof(h->reserved));
}

/* What every header must hold, whatever its type; len >= BRP_HEADER_BYTES. 3. */
static inline bool brp_header_in_step(const struct brp_wire_header *h, size_t len)
{
	return h->flags == 0 && BRP_RESERVED_OK(h->reserved) && brp_get32(h->length) == len;
}

static inline bool brp_block_bytes_ok(uint32_t n)
{
	return n >= BRP_MIN_BLOCK_BYTES && n <= BRP_MAX_BLOCK_BYTES && (n & (n - 1)) == 0;
}

/* Zeroes a message of fixed size and writes its header; size, or -ENOSPC. */
int brp_put_fixed(void *buf, size_t cap, size_t size, enum brp_msg_type type, uint32_t epoch);

/* Whether buf holds a message of just this type and size, without entries. */
bool brp_is_fixed(const void *buf, size_t len, size_t size, enum brp_msg_type type);

/* The same, with epoch 0: the messages before the login's end. 3. */
bool brp_is_setup(const void *buf, size_t len, size_t size, enum brp_msg_type type);

/* Texts. get: false when the field breaks protocol.md 1. put: what get would refuse becomes '?',
 * the rest is cut. */
bool brp_get_text(const char *field, size_t n, char *ret_text);
void brp_put_text(char *field, size_t n, const char *text);

/* Whether a volume of so many blocks can be addressed in bytes by an off_t. */
bool brp_volume_size_ok(uint64_t size_blocks, uint32_t block_bytes);

#endif
