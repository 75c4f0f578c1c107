/* SPDX-License-Identifier: BSD-2-Clause */
/* One request after the other: every size and operation, and what must be refused. */
#include "ops.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SHAPE (3u << 20)
#define ARENA     (2 * (MAX_SHAPE + 2 * OPS_UNALIGNED_MAX))

static int failed(const char *what, uint64_t offset, uint64_t bytes, int result)
{
	fprintf(stderr, "brp-ops: %s of %llu bytes at %llu: %s\n", what, (unsigned long long)bytes,
		(unsigned long long)offset, result ? strerror(-result) : "wrong data");
	if (result == -ENOTCONN || result == -ECONNRESET || result == -ESHUTDOWN)
		return OPS_LOST;
	return OPS_BAD_DATA;
}

static bool is_all(const uint8_t *p, uint8_t value, uint64_t bytes)
{
	return p[0] == value && !memcmp(p, p + 1, bytes - 1);
}

static void fill(uint8_t *p, uint64_t bytes, uint64_t seed)
{
	uint64_t state = seed | 1;

	for (uint64_t i = 0; i < bytes; i += 8) {
		uint64_t word = ops_random(&state);

		memcpy(p + i, &word, 8);
	}
}

/* Write and read back, from and into buffers that start in the middle of a page. */
static int write_read(struct ops_session *os, uint64_t offset, uint64_t bytes)
{
	uint8_t *out = os->base + bytes % 4093;
	uint8_t *in = os->base + ARENA / 2 + bytes % 3067;
	int err;

	fill(out, bytes, offset + bytes);
	memset(in, 0xee, bytes);
	err = ops_sync(os, BRP_WRITE, offset, bytes, out);
	if (err)
		return failed("write", offset, bytes, err);
	err = ops_sync(os, BRP_READ, offset, bytes, in);
	if (err || memcmp(in, out, bytes))
		return failed("read", offset, bytes, err);
	return OPS_OK;
}

static int zero_read(struct ops_session *os, uint64_t offset, uint64_t bytes)
{
	uint8_t *in = os->base + ARENA / 2 + 1;
	int err = ops_sync(os, BRP_WRITE_ZEROES, offset, bytes, NULL);

	if (err)
		return failed("write zeroes", offset, bytes, err);
	memset(in, 0xee, bytes);
	err = ops_sync(os, BRP_READ, offset, bytes, in);
	if (err || !is_all(in, 0, bytes))
		return failed("read after write zeroes", offset, bytes, err);
	return OPS_OK;
}

/* What a discarded range reads as is not defined, its neighbours are. */
static int discard(struct ops_session *os, uint64_t offset, uint64_t bytes)
{
	int err = ops_sync(os, BRP_DISCARD, offset, bytes, NULL);

	if (err)
		return failed("discard", offset, bytes, err);
	err = ops_sync(os, BRP_FLUSH, 0, 0, NULL);
	return err ? failed("flush", offset, bytes, err) : OPS_OK;
}

static int one_shape(struct ops_session *os, uint64_t offset, uint64_t bytes, bool is_null)
{
	int rc;

	if (is_null) {
		int err = ops_sync(os, BRP_WRITE, offset, bytes, os->base);

		if (!err)
			err = ops_sync(os, BRP_READ, offset, bytes, os->base);
		return err ? failed("null read or write", offset, bytes, err) : OPS_OK;
	}
	rc = write_read(os, offset, bytes);
	if (rc == OPS_OK && os->info.has_write_zeroes)
		rc = zero_read(os, offset, bytes);
	if (rc == OPS_OK)
		rc = write_read(os, offset, bytes);
	if (rc == OPS_OK && os->info.has_discard)
		rc = discard(os, offset, bytes);
	return rc;
}

/* Powers of two up to beyond one transfer, and the sizes around them. */
static int all_shapes(struct ops_session *os, const struct ops_options *o)
{
	const uint64_t block = os->info.block_bytes;
	const bool is_null = o->no_discard;
	uint64_t max = o->max_bytes && o->max_bytes < MAX_SHAPE ? o->max_bytes : MAX_SHAPE;

	for (uint64_t bytes = block; bytes <= max; bytes *= 2) {
		uint64_t shapes[] = {bytes - block, bytes, bytes + block};

		for (unsigned int i = 0; i < 3; i++) {
			uint64_t last = os->info.size_bytes - shapes[i];
			int rc = OPS_OK;

			if (shapes[i] && shapes[i] <= os->info.size_bytes)
				rc = one_shape(os, last, shapes[i], is_null);
			if (shapes[i] && rc == OPS_OK)
				rc = one_shape(os, 7 * block, shapes[i], is_null);
			if (rc != OPS_OK)
				return rc;
		}
	}
	return OPS_OK;
}

int ops_shapes(const struct ops_options *o)
{
	struct ops_session os;
	int rc = ops_connect(o, ARENA, &os);

	if (rc != OPS_OK)
		return rc;
	rc = all_shapes(&os, o);
	if (rc == OPS_OK)
		printf("shapes: %llu bytes in blocks of %u over %s: good\n",
		       (unsigned long long)os.info.size_bytes, os.info.block_bytes,
		       os.info.transport);
	ops_disconnect(&os);
	return rc;
}

/* ---- what must be refused
 * -----------------------------------------------------------------------------------------------
 */

struct refusal {
	const char *what;
	enum brp_io_op op;
	uint64_t offset;
	uint64_t bytes;
	int want;
};

static int check_refusal(struct ops_session *os, const struct refusal *r)
{
	bool has_buf = r->op == BRP_READ || r->op == BRP_WRITE;
	int got = ops_sync(os, r->op, r->offset, r->bytes, has_buf ? os->base : NULL);

	if (got == r->want)
		return OPS_OK;
	fprintf(stderr, "brp-ops: %s gives %d (%s), must be %d (%s)\n", r->what, got,
		strerror(-got), r->want, strerror(-r->want));
	return OPS_BAD_DATA;
}

static int check_buffers(struct ops_session *os)
{
	const uint32_t block = os->info.block_bytes;
	static uint8_t foreign[65536];
	int got = ops_sync(os, BRP_READ, 0, block, foreign);

	if (got == -EINVAL)
		got = ops_sync(os, BRP_READ, 0, block, os->base + os->bytes - block + 1);
	if (got == -EINVAL)
		return OPS_OK;
	fprintf(stderr, "brp-ops: a buffer outside the registered memory gives %d\n", got);
	return OPS_BAD_DATA;
}

/* Afterwards the session must still work. */
static int check_all_refusals(struct ops_session *os)
{
	const uint64_t size = os->info.size_bytes;
	const uint32_t block = os->info.block_bytes;
	const int ro = os->info.read_only ? -EROFS : 0;
	const struct refusal table[] = {
		{"read behind the end", BRP_READ, size, block, -ERANGE},
		{"read across the end", BRP_READ, size - block, 2ull * block, -ERANGE},
		{"read far behind the end", BRP_READ, UINT64_MAX - block + 1, block, -ERANGE},
		{"write behind the end", BRP_WRITE, size, block, ro ? ro : -ERANGE},
		{"write zeroes across the end", BRP_WRITE_ZEROES, size - block, 2ull * block,
		 ro ? ro : -ERANGE},
		{"discard across the end", BRP_DISCARD, size - block, 2ull * block,
		 ro ? ro : -ERANGE},
		{"read at an odd offset", BRP_READ, 1, block, -EINVAL},
		{"read of an odd size", BRP_READ, 0, block + 1, -EINVAL},
		{"read of nothing", BRP_READ, 0, 0, -EINVAL},
		{"unknown operation", (enum brp_io_op)77, 0, block, -EINVAL},
		{"write", BRP_WRITE, 0, block, ro},
		{"read", BRP_READ, 0, block, 0},
		{"flush", BRP_FLUSH, 0, 0, 0},
	};
	int rc = OPS_OK;

	for (unsigned int i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (check_refusal(os, &table[i]) != OPS_OK)
			rc = OPS_BAD_DATA;
	}
	return check_buffers(os) == OPS_OK ? rc : OPS_BAD_DATA;
}

int ops_refused(const struct ops_options *o)
{
	struct ops_session os;
	int rc = ops_connect(o, ARENA, &os);

	if (rc != OPS_OK)
		return rc;
	if (o->is_read_only && !os.info.read_only) {
		fprintf(stderr, "brp-ops: the session is not read-only\n");
		rc = OPS_BAD_DATA;
	}
	if (rc == OPS_OK)
		rc = check_all_refusals(&os);
	ops_disconnect(&os);
	return rc;
}

/*
 * ---- idle sessions
 * ------------------------------------------------------------------------------------------------------
 */

static volatile sig_atomic_t is_over;

static void on_signal(int sig)
{
	(void)sig;
	is_over = 1;
}

/* "holding" on stdout tells the script that all are connected. */
static void hold(const struct ops_options *o)
{
	printf("holding %u sessions of %u connections\n", o->sessions, o->queues);
	fflush(stdout);
	signal(SIGTERM, on_signal);
	for (unsigned int left = o->seconds; left && !is_over;)
		left = sleep(left);
}

int ops_hold(const struct ops_options *given)
{
	struct ops_options unattended = *given, *o = &unattended;
	struct ops_session *all = calloc(o->sessions, sizeof(*all));
	unsigned int n = 0;
	int rc = all ? OPS_OK : OPS_USAGE;

	o->is_unattended = true;
	while (rc == OPS_OK && n < o->sessions) {
		rc = ops_connect(o, 65536, &all[n]);
		if (rc == OPS_OK &&
		    ops_sync(&all[n], BRP_READ, 0, all[n].info.block_bytes, all[n].base))
			rc = OPS_LOST;
		n += rc != OPS_NO_CONNECT;
	}
	if (rc == OPS_OK)
		hold(o);
	while (n)
		ops_disconnect(&all[--n]);
	free(all);
	return rc;
}
