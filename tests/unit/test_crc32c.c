/* SPDX-License-Identifier: BSD-2-Clause */
/* The CRC against published values, against its definition, and the instructions against the
 * tables. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"

/* Bit by bit, from the polynomial alone. */
static uint32_t by_definition(const uint8_t *p, size_t bytes)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

static void assert_crc(const void *p, size_t bytes, uint32_t want)
{
	cr_expect_eq(crc32c(0, p, bytes), want, "%s: %08x", crc32c_method(), crc32c(0, p, bytes));
	cr_expect_eq(crc32c_portable(0, p, bytes), want);
	cr_expect_eq(by_definition(p, bytes), want);
}

/* RFC 3720 B.4. */
Test(crc32c, rfc_3720)
{
	static const uint8_t scsi_read[48] = {
		0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, 0x28, [40] = 0x02};
	uint8_t b[32];

	memset(b, 0, sizeof(b));
	assert_crc(b, sizeof(b), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	assert_crc(b, sizeof(b), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		b[i] = i;
	assert_crc(b, sizeof(b), 0x46dd794e);
	for (uint8_t i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	assert_crc(b, sizeof(b), 0x113fdb5c);
	assert_crc(scsi_read, sizeof(scsi_read), 0xd9963a56);
	assert_crc("123456789", 9, 0xe3069283);
	assert_crc("", 0, 0);
}

static uint8_t noise[3 * 8192 + 16];

static void fill_noise(void)
{
	srand(1);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)rand();
}

/* Around every length at which the streams of crc32c.c begin, end and follow each other. */
Test(crc32c, all_lengths_and_alignments)
{
	fill_noise();
	for (size_t at = 0; at < 8; at++) {
		for (size_t bytes = 0; bytes <= 9000; bytes += bytes < 1200 ? 1 : 7) {
			uint32_t want = crc32c_portable(0, noise + at, bytes);

			cr_assert_eq(crc32c(0, noise + at, bytes), want, "%zu bytes at %zu", bytes,
				     at);
		}
	}
	for (size_t bytes = 0; bytes <= 9000; bytes += 97)
		cr_assert_eq(crc32c(0, noise, bytes), by_definition(noise, bytes));
}

Test(crc32c, in_pieces)
{
	size_t bytes = sizeof(noise);
	uint32_t want;

	fill_noise();
	want = crc32c(0, noise, bytes);
	for (size_t piece = 1; piece < 5000; piece = piece * 3 / 2 + 1) {
		uint32_t crc = 0, portable = 0;

		for (size_t at = 0; at < bytes; at += piece) {
			size_t n = bytes - at < piece ? bytes - at : piece;

			crc = crc32c(crc, noise + at, n);
			portable = crc32c_portable(portable, noise + at, n);
		}
		cr_assert_eq(crc, want, "pieces of %zu", piece);
		cr_assert_eq(portable, want, "pieces of %zu", piece);
	}
}
