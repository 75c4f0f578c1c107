/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processor's CRC instruction takes one result per cycle but each three cycles late, so long
 * inputs are cut into three streams that are computed side by side and joined: the CRC of A
 * followed by n bytes of B is that of A followed by n zeroes, plus (xor) that of B alone. "Followed
 * by n zeroes" is linear in the 32 bits of the CRC, so for a fixed n it is four table look-ups.
 *
 * Everything works on the inverted CRC, as the instructions do; crc32c() inverts at both ends.
 */
#include "common/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

/*
 * Bytes of one of three streams. Three long ones are a page but for 16 bytes, three short ones a
 * sector but for 8; both are multiples of 8.
 */
#define LONG_BYTES  1360u
#define SHORT_BYTES 168u

typedef uint32_t update_fn(uint32_t crc, const uint8_t *p, size_t bytes);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t slices[8][256]; /* slices[k][b]: byte b followed by k zero bytes */
static uint32_t skip_long[4][256];
static uint32_t skip_short[4][256];
static update_fn *update;
static const char *method;

/* ---- tables ---------------------------------------------------------------------------------- */

static void make_slices(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		slices[0][b] = crc;
	}
	for (uint32_t b = 0; b < 256; b++) {
		for (int k = 1; k < 8; k++)
			slices[k][b] =
				slices[k - 1][b] >> 8 ^ slices[0][slices[k - 1][b] & UINT8_MAX];
	}
}

static uint32_t skip_zeroes(uint32_t crc, size_t bytes)
{
	while (bytes-- > 0)
		crc = crc >> 8 ^ slices[0][crc & UINT8_MAX];
	return crc;
}

/* Linear: the entry of a byte is the sum of those of its bits. */
static void make_skip(uint32_t skip[4][256], size_t bytes)
{
	for (int k = 0; k < 4; k++) {
		for (int bit = 0; bit < 8; bit++)
			skip[k][1u << bit] = skip_zeroes(1u << (8 * k + bit), bytes);
		for (uint32_t b = 1; b < 256; b++)
			skip[k][b] = skip[k][b & (b - 1)] ^ skip[k][b & -b];
	}
}

static inline uint32_t skip(const uint32_t table[4][256], uint32_t crc)
{
	return table[0][crc & UINT8_MAX] ^ table[1][crc >> 8 & UINT8_MAX] ^
	       table[2][crc >> 16 & UINT8_MAX] ^ table[3][crc >> 24];
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t update_portable(uint32_t crc, const uint8_t *p, size_t bytes)
{
	for (; bytes >= 8; p += 8, bytes -= 8)
		crc = slices[7][(crc ^ p[0]) & UINT8_MAX] ^
		      slices[6][(crc >> 8 ^ p[1]) & UINT8_MAX] ^
		      slices[5][(crc >> 16 ^ p[2]) & UINT8_MAX] ^ slices[4][crc >> 24 ^ p[3]] ^
		      slices[3][p[4]] ^ slices[2][p[5]] ^ slices[1][p[6]] ^ slices[0][p[7]];
	for (; bytes > 0; p++, bytes--)
		crc = crc >> 8 ^ slices[0][(crc ^ *p) & UINT8_MAX];
	return crc;
}

/* ---- instructions ---------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define HW_METHOD      "sse4.2"
#define HW_TARGET      __attribute__((target("sse4.2")))
#define HW_U64(crc, v) _mm_crc32_u64(crc, v)
#define HW_U8(crc, v)  _mm_crc32_u8((uint32_t)(crc), v)
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HW_METHOD      "armv8"
#define HW_TARGET      __attribute__((target("+crc")))
#define HW_U64(crc, v) __crc32cd((uint32_t)(crc), v)
#define HW_U8(crc, v)  __crc32cb((uint32_t)(crc), v)
#endif

#ifdef HW_METHOD
/* Three streams of `each` bytes, as long as there are that many. */
HW_TARGET static inline const uint8_t *take_three(uint64_t *crc, const uint8_t *p, size_t *bytes,
						  size_t each, const uint32_t table[4][256])
{
	while (*bytes >= 3 * each) {
		const uint8_t *end = p + each;
		uint64_t a = *crc, b = 0, c = 0;

		for (; p < end; p += 8) {
			a = HW_U64(a, load64(p));
			b = HW_U64(b, load64(p + each));
			c = HW_U64(c, load64(p + 2 * each));
		}
		*crc = skip(table, skip(table, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
		p += 2 * each;
		*bytes -= 3 * each;
	}
	return p;
}

HW_TARGET static uint32_t update_hw(uint32_t crc, const uint8_t *p, size_t bytes)
{
	uint64_t c = crc;

	p = take_three(&c, p, &bytes, LONG_BYTES, skip_long);
	p = take_three(&c, p, &bytes, SHORT_BYTES, skip_short);
	for (; bytes >= 8; p += 8, bytes -= 8)
		c = HW_U64(c, load64(p));
	for (; bytes > 0; p++, bytes--)
		c = HW_U8(c, *p);
	return (uint32_t)c;
}

static bool has_hw(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("sse4.2");
#else
	return getauxval(AT_HWCAP) & HWCAP_CRC32;
#endif
}
#endif

/* ---- outside --------------------------------------------------------------------------------- */

static void init(void)
{
	make_slices();
	make_skip(skip_long, LONG_BYTES);
	make_skip(skip_short, SHORT_BYTES);
	update = update_portable;
	method = "portable";
#ifdef HW_METHOD
	if (has_hw()) {
		update = update_hw;
		method = HW_METHOD;
	}
#endif
}

uint32_t crc32c(uint32_t crc, const void *p, size_t bytes)
{
	pthread_once(&once, init);
	return ~update(~crc, p, bytes);
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t bytes)
{
	pthread_once(&once, init);
	return ~update_portable(~crc, p, bytes);
}

const char *crc32c_method(void)
{
	pthread_once(&once, init);
	return method;
}
