/* SPDX-License-Identifier: BSD-2-Clause */
/* The TCP fabric with digests against a peer made of raw bytes: whole, and damaged at every bit.
 * protocol.md 2.1. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "tests/unit/fabric_raw.h"

Test(fabric_digest, cut_anywhere_towards_target)
{
	raw_with_digests();
	raw_cut_everywhere(raw_meet_target, raw_build_for_target);
}

Test(fabric_digest, cut_anywhere_towards_initiator)
{
	raw_with_digests();
	raw_cut_everywhere(raw_meet_initiator, raw_build_for_initiator);
}

/* ---- damaged --------------------------------------------------------------------------------- */

/* Messages, notices and pulls that the frames wholly in front of byte `at` make. */
static void count_before(uint32_t at, unsigned int *ret_messages, unsigned int *ret_pulls)
{
	const uint32_t before = BRP_FRAME_BYTES + BRP_DIGESTS_BYTES;

	*ret_messages = 0;
	*ret_pulls = 0;
	for (uint32_t from = 0; from < raw_stream.bytes;
	     from += before + raw_get32(raw_stream.b + from + 4)) {
		const uint8_t *f = raw_stream.b + from;
		uint32_t end_offset = raw_get32(f + 4) + raw_get32(f + 12);

		if (from + before + raw_get32(f + 4) > at)
			break;
		*ret_messages += f[0] == BRP_FRAME_MESSAGE || f[1] == BRP_FRAME_NOTICE;
		/* The sizes of build_for_target(). */
		*ret_pulls += f[0] == BRP_FRAME_DATA && (end_offset == 40 || end_offset == 21);
	}
}

/* One bit at every place: noticed, counted, and nothing of that frame or behind it is delivered. */
static void flip_everywhere(void (*meet)(void), void (*build)(void), bool is_pulling)
{
	unsigned int messages, pulls;
	uint32_t bit = 0;

	raw_with_digests();
	raw_open();
	log_init("test", LOG_ERROR);
	do {
		raw_stream.bytes = 0;
		meet();
		build();
		raw_add_digests();
		count_before(bit / 8, &messages, &pulls);
		raw_stream.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		raw_send(raw_stream.b, raw_stream.bytes);
		cr_assert(rig_pump(&raw_rig, raw_is_closed, NULL), "bit %u: %s", bit,
			  raw_rig.wrong);
		cr_assert(raw_end->error == -EBADMSG, "bit %u: %d", bit, raw_end->error);
		cr_assert(fabric_conn_stats(raw_end->conn)->digest_errors == 1);
		cr_assert(raw_end->messages + raw_end->notices == messages, "bit %u", bit);
		cr_assert(!is_pulling || raw_end->pulls_done == pulls, "bit %u", bit);
		raw_part();
	} while (++bit < 8 * raw_stream.bytes);
	rig_close(&raw_rig);
}

Test(fabric_digest, flipped_towards_target)
{
	flip_everywhere(raw_meet_target, raw_build_for_target, true);
}

Test(fabric_digest, flipped_towards_initiator)
{
	flip_everywhere(raw_meet_initiator, raw_build_for_initiator, false);
}

/* What stands on the wire, with a CRC computed here: header, digests, payload. */
Test(fabric_digest, digests_sent)
{
	uint8_t got[BRP_FRAME_BYTES + BRP_DIGESTS_BYTES + 100];

	raw_with_digests();
	raw_open();
	raw_meet_initiator();
	cr_assert(rig_send(raw_end, 0, 100, 60) == 0);
	fabric_flush(raw_end->conn);
	cr_assert(recv(raw_fd, got, sizeof(got), MSG_WAITALL) == sizeof(got));
	raw_add_plain(0, 100);
	raw_add_digests();
	cr_assert(raw_stream.bytes == sizeof(got) && memcmp(got, raw_stream.b, sizeof(got)) == 0);
	raw_part();
	rig_close(&raw_rig);
}

/* Answered before its data was sent: the frame cannot be what its digest says any more. */
Test(fabric_digest, unexposed_early)
{
	raw_with_digests();
	raw_open();
	raw_meet_initiator();
	cr_assert(rig_request(raw_end, RIG_PULL, 0, 1, RIG_DATA_BYTES) == 0); /* not flushed */
	fabric_unexpose(raw_end->conn, 1u << 16);
	cr_assert(rig_pump(&raw_rig, raw_is_closed, NULL), "%s", raw_rig.wrong);
	cr_assert(raw_end->error == -EPROTO);
	raw_part();
	rig_close(&raw_rig);
}
