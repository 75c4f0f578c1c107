/* SPDX-License-Identifier: BSD-2-Clause */
/* See fabric_raw.h. */
#include "tests/unit/fabric_raw.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/log.h"

struct rig raw_rig;
int raw_fd = -1; /* the peer */
struct rig_end *raw_end;

/* ---- bytes ----------------------------------------------------------------------------------- */

struct raw_stream raw_stream;

void raw_add(const void *p, uint32_t bytes)
{
	memcpy(raw_stream.b + raw_stream.bytes, p, bytes);
	raw_stream.bytes += bytes;
}

void raw_add_frame(enum brp_frame_type type, uint8_t flags, uint32_t length, uint32_t key,
		   uint32_t offset)
{
	struct brp_frame f = {
		.type = type, .flags = flags, .length_bytes = length, .key = key, .offset = offset};

	brp_encode_frame(raw_stream.b + raw_stream.bytes, &f);
	raw_stream.bytes += BRP_FRAME_BYTES;
}

static void add_pattern(uint32_t seed, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		raw_stream.b[raw_stream.bytes++] = rig_byte(seed, from + i);
}

void raw_add_plain(uint32_t seed, uint32_t bytes)
{
	struct rig_msg m = {.op = RIG_PLAIN, .bytes = bytes, .seed = seed};

	raw_add_frame(BRP_FRAME_MESSAGE, 0, bytes, 0, 0);
	raw_add(&m, sizeof(m));
	add_pattern(seed, sizeof(m), bytes - (uint32_t)sizeof(m));
}

void raw_add_request(enum rig_op op, uint32_t tag, uint32_t seed, uint32_t bytes)
{
	struct rig_msg m = {.op = op, .bytes = bytes, .seed = seed, .tag = tag, .key = tag};

	raw_add_frame(BRP_FRAME_MESSAGE, 0, sizeof(m), 0, 0);
	raw_add(&m, sizeof(m));
}

void raw_add_data(uint8_t flags, uint32_t key, uint32_t seed, uint32_t from, uint32_t bytes)
{
	raw_add_frame(BRP_FRAME_DATA, flags, bytes, key, from);
	add_pattern(seed, from, bytes);
}

uint32_t raw_get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Puts the right digests into all frames: what the fabric gets if it was rig_set_digest(). */
void raw_add_digests(void)
{
	static struct raw_stream plain;

	plain = raw_stream;
	raw_stream.bytes = 0;
	for (uint32_t at = 0; at < plain.bytes;) {
		const uint8_t *frame = plain.b + at;
		uint32_t length = raw_get32(frame + 4);
		struct brp_digests d = {
			.header = crc32c_portable(0, frame, BRP_FRAME_BYTES),
			.payload = crc32c_portable(0, frame + BRP_FRAME_BYTES, length)};

		raw_add(frame, BRP_FRAME_BYTES);
		brp_encode_digests(raw_stream.b + raw_stream.bytes, &d);
		raw_stream.bytes += BRP_DIGESTS_BYTES;
		raw_add(frame + BRP_FRAME_BYTES, length);
		at += BRP_FRAME_BYTES + length;
	}
}

/* ---- the peer -------------------------------------------------------------------------------- */

static void nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static bool is_connected(void *arg)
{
	(void)arg;
	if (!raw_end)
		raw_end = raw_rig.last_target;
	return raw_end && (raw_end->is_connected || raw_end->is_closed);
}

void raw_open(void)
{
	const char *wrong;

	log_init("test", LOG_ERROR);
	wrong = rig_open(&raw_rig, "tcp", "127.0.0.1");
	cr_assert(wrong == NULL, "%s", wrong);
	raw_stream.bytes = 0;
}

/* The fabric is the target. */
void raw_meet_target(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};

	a.sin_port = htons(fabric_listener_port(raw_rig.listener));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	raw_fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert(connect(raw_fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	nodelay(raw_fd);
	raw_end = NULL;
	raw_rig.last_target = NULL;
	cr_assert(rig_pump(&raw_rig, is_connected, NULL), "%s", raw_rig.wrong);
}

/* The fabric is the initiator. */
void raw_meet_initiator(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t bytes = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l, 1) == 0);
	getsockname(l, (struct sockaddr *)&a, &bytes);
	raw_end = rig_connect(&raw_rig, ntohs(a.sin_port));
	raw_fd = accept(l, NULL, NULL);
	close(l);
	nodelay(raw_fd);
	cr_assert(rig_pump(&raw_rig, is_connected, NULL), "%s", raw_rig.wrong);
}

void raw_part(void)
{
	close(raw_fd);
	rig_forget(&raw_rig, raw_end);
	cr_assert(raw_rig.wrong == NULL, "%s", raw_rig.wrong);
}

void raw_send(const void *p, size_t bytes)
{
	cr_assert(send(raw_fd, p, bytes, MSG_NOSIGNAL) == (ssize_t)bytes);
}

unsigned int raw_want_messages;
unsigned int raw_want_answers;

bool raw_has_all(void *arg)
{
	(void)arg;
	return raw_end->is_closed || (raw_end->messages + raw_end->notices >= raw_want_messages &&
				      raw_end->pulls_done >= raw_want_answers);
}

bool raw_is_closed(void *arg)
{
	(void)arg;
	return raw_end->is_closed;
}

/* ---- cut anywhere ---------------------------------------------------------------------------- */

static bool has_digest;

void raw_with_digests(void)
{
	has_digest = true;
	rig_set_digest(true);
}

/* Odd pieces of data, so that what follows is not aligned. */
void raw_build_for_target(void)
{
	raw_add_plain(0, 40);
	raw_add_request(RIG_PULL, 3, 9, 40);
	raw_add_data(0, 3, 9, 0, 13);
	raw_add_data(0, 3, 9, 13, 1);
	raw_add_data(0, 3, 9, 14, 26);
	raw_add_request(RIG_PULL_DISCARD, 4, 1, 21);
	raw_add_data(0, 4, 1, 0, 21);
	raw_add_plain(1, 77);
	raw_add_plain(2, 32);
	raw_want_messages = 5;
	raw_want_answers = 2;
}

void raw_build_for_initiator(void)
{
	cr_assert(rig_request(raw_end, RIG_PUSH, 3, 9, 40) == 0);
	cr_assert(rig_request(raw_end, RIG_PUSH, 4, 8, 5) == 0);
	raw_add_data(0, 9 << 16 | 3, 9, 0, 11);
	raw_add_plain(0, 40);
	raw_add_data(BRP_FRAME_NOTICE, 8 << 16 | 4, 8, 0, 5);
	raw_add_plain(1, 41);
	raw_add_data(BRP_FRAME_NOTICE, 9 << 16 | 3, 9, 11, 29);
	raw_add_plain(2, 32);
	raw_want_messages = 5;
	raw_want_answers = 0;
}

static void send_cut(uint32_t at, uint32_t step)
{
	raw_send(raw_stream.b, at);
	rig_spin(&raw_rig, 4);
	for (uint32_t off = at; off < raw_stream.bytes; off += step) {
		raw_send(raw_stream.b + off, MIN(step, raw_stream.bytes - off));
		if (step < raw_stream.bytes)
			rig_spin(&raw_rig, 2);
	}
	cr_assert(rig_pump(&raw_rig, raw_has_all, NULL), "cut at %u: %s", at, raw_rig.wrong);
	cr_assert(!raw_end->is_closed && raw_end->messages + raw_end->notices == raw_want_messages,
		  "cut at %u, step %u", at, step);
	cr_assert(raw_end->pulls_done == raw_want_answers);
}

void raw_cut_everywhere(void (*meet)(void), void (*build)(void))
{
	uint32_t at = 1;

	raw_open();
	do {
		raw_stream.bytes = 0;
		meet();
		build();
		if (has_digest)
			raw_add_digests();
		send_cut(at, raw_stream.bytes);
		raw_part();
	} while (++at < raw_stream.bytes);
	for (uint32_t step = 1; step < 20; step++) {
		raw_stream.bytes = 0;
		meet();
		build();
		if (has_digest)
			raw_add_digests();
		send_cut(1, step);
		raw_part();
	}
	rig_close(&raw_rig);
}
