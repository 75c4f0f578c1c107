/* SPDX-License-Identifier: BSD-2-Clause */
/* Message headers, and what the other files of the codec share. protocol.md 1 and 3. */
#include "brp/codec.h"

#include <errno.h>

#include "brp/codec_util.h"

static bool type_known(uint8_t type)
{
	return type >= BRP_MSG_HELLO && type <= BRP_MSG_GOODBYE;
}

static bool type_has_entries(uint8_t type)
{
	return type == BRP_MSG_JUMBO || type == BRP_MSG_RESPONSE || type == BRP_MSG_LIST_REPLY;
}

int brp_decode_header(const void *buf, size_t len, struct brp_header *ret_h)
{
	const struct brp_wire_header *h = buf;
	uint16_t count;

	if (len < sizeof(*h) || !type_known(h->type) || !brp_header_in_step(h, len))
		return -EPROTO;
	count = brp_get16(h->count);
	if (count != 0 && !type_has_entries(h->type))
		return -EPROTO;
	ret_h->type = (enum brp_msg_type)h->type;
	ret_h->count = count;
	ret_h->length_bytes = (uint32_t)len;
	ret_h->epoch = brp_get32(h->epoch);
	return 0;
}

int brp_put_fixed(void *buf, size_t cap, size_t size, enum brp_msg_type type, uint32_t epoch)
{
	if (cap < size)
		return -ENOSPC;
	memset(buf, 0, size);
	brp_put_header(buf, type, 0, (uint32_t)size, epoch);
	return (int)size;
}

bool brp_is_fixed(const void *buf, size_t len, size_t size, enum brp_msg_type type)
{
	const struct brp_wire_header *h = buf;

	return len == size && h->type == type && brp_header_in_step(h, len) &&
	       brp_get16(h->count) == 0;
}

bool brp_is_setup(const void *buf, size_t len, size_t size, enum brp_msg_type type)
{
	const struct brp_wire_header *h = buf;

	return brp_is_fixed(buf, len, size, type) && brp_get32(h->epoch) == 0;
}

static bool is_continuation(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

/* Length of the UTF-8 sequence that the first byte announces, 0 for a byte that begins none. */
static size_t sequence_length(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return 2;
	if ((first & 0xf0) == 0xe0)
		return 3;
	return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/* Forms that are too long, surrogates, and what lies beyond U+10FFFF: all show in the second byte.
 */
static bool second_byte_ok(uint8_t first, uint8_t second)
{
	switch (first) {
	case 0xc2: /* U+0080...U+009F are control characters */
		return second >= 0xa0;
	case 0xe0:
		return second >= 0xa0;
	case 0xed:
		return second < 0xa0;
	case 0xf0:
		return second >= 0x90;
	case 0xf4:
		return second < 0x90;
	default:
		return true;
	}
}

/* Length of the character at s, of which n >= 1 bytes may be read; 0 when it may not stand in a
 * text. */
static size_t character_length(const char *s, size_t n)
{
	const uint8_t *b = (const uint8_t *)s;
	size_t len = sequence_length(b[0]);

	if (len == 0 || len > n)
		return 0;
	if (len == 1)
		return b[0] >= 0x20 && b[0] != 0x7f;
	for (size_t i = 1; i < len; i++) {
		if (!is_continuation(b[i]))
			return 0;
	}
	return second_byte_ok(b[0], b[1]) ? len : 0;
}

bool brp_get_text(const char *field, size_t n, char *ret_text)
{
	size_t used = strnlen(field, n);
	size_t step;

	if (used == n || !brp_is_zero(field + used, n - used))
		return false;
	for (size_t at = 0; at < used; at += step) {
		step = character_length(field + at, used - at);
		if (step == 0)
			return false;
	}
	memcpy(ret_text, field, n);
	return true;
}

/* text is an array of n bytes, too, and may fill it to the last one. */
void brp_put_text(char *field, size_t n, const char *text)
{
	size_t left = strnlen(text, n);
	size_t at = 0;

	memset(field, 0, n);
	while (left > 0 && at < n - 1 && sequence_length((uint8_t)*text) <= n - 1 - at) {
		size_t step = character_length(text, left);

		if (step)
			memcpy(field + at, text, step);
		else
			field[at] = '?';
		step = step ? step : 1;
		at += step;
		text += step;
		left -= step;
	}
}

bool brp_volume_size_ok(uint64_t size_blocks, uint32_t block_bytes)
{
	return brp_block_bytes_ok(block_bytes) && size_blocks <= (uint64_t)INT64_MAX / block_bytes;
}
