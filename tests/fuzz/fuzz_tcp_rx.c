/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The receive path of the TCP fabric over a socket pair. The first byte says which side we are and
 * in pieces of which size the rest comes. Message bytes steer our side, so that the fuzzer reaches
 * pulls, late buffers and refusals. Every input runs three times: as it is, with the right digests
 * put into its frames, and with one bit of that flipped.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/fabric/tcp.h"
#include "common/log.h"
#include "tests/fuzz/fuzz.h"

#define DEPTH      8u
#define DATA_BYTES 4096u
#define MAX_INPUT  65536u

static struct fabric *fabric;
static struct fabric_mem *mem;
static char memory[DEPTH][DATA_BYTES];
static struct fabric_xfer xfers[DEPTH];
static bool is_busy[DEPTH];
static bool is_refused;
static bool is_closed;
static int close_error;
static unsigned int nr_delivered;

static const struct fabric_params params = {
	.recv_bytes = 1024,
	.recv_count = 8,
	.send_bytes = 1024,
	.send_count = 8,
	.max_data_bytes = DATA_BYTES,
	.depth = DEPTH,
};

static void on_any(struct fabric_conn *c)
{
	(void)c;
}

/* op, slot, two bytes of length */
static int on_message(struct fabric_conn *c, const void *buf, uint32_t bytes)
{
	const uint8_t *b = buf;
	struct fabric_xfer *x = &xfers[bytes > 1 ? b[1] % DEPTH : 0];

	CHECK((uintptr_t)buf % 8 == 0 && bytes >= 1 && bytes <= params.recv_bytes && !is_closed);
	if (b[0] == 1 && !is_refused) {
		is_refused = true;
		return -EAGAIN;
	}
	is_refused = false;
	nr_delivered++;
	if (bytes < 4 || b[0] < 2 || b[0] > 4 || is_busy[x - xfers])
		return 0;
	*x = (struct fabric_xfer){.bytes = 1u + (b[2] | b[3] << 8) % DATA_BYTES, .mem = mem};
	x->key = b[1];
	x->local = b[0] == 2 ? memory[x - xfers] : NULL;
	x->is_discard = b[0] == 3;
	if (fabric_pull(c, x) == 0)
		is_busy[x - xfers] = true;
	return 0;
}

static void on_notice(struct fabric_conn *c, uint32_t value)
{
	CHECK(value < DEPTH);
	nr_delivered++;
	fabric_unexpose(c, value);
}

static void on_done(struct fabric_conn *c, struct fabric_xfer *x, int status)
{
	(void)c;
	CHECK(is_busy[x - xfers] && (status == -ECANCELED || x->done_bytes == x->bytes));
	is_busy[x - xfers] = false;
}

static void on_closed(struct fabric_conn *c, int error)
{
	(void)c;
	CHECK(!is_closed);
	close_error = error;
	is_closed = true;
}

static const struct fabric_handler handler = {
	.connected = on_any,
	.message = on_message,
	.notice = on_notice,
	.pull_done = on_done,
	.push_done = on_done,
	.sendable = on_any,
	.closed = on_closed,
};

static void settle(struct fabric_conn *c)
{
	for (int n = 0; fabric_poll(c) > 0; n++)
		CHECK(n < 10000);
	fabric_resume(c);
	for (unsigned int i = 0; i < DEPTH; i++) {
		if (is_busy[i] && !xfers[i].local && !xfers[i].is_discard) {
			xfers[i].local = memory[i];
			fabric_pull_ready(c, &xfers[i]);
		}
	}
	for (int n = 0; fabric_poll(c) > 0; n++)
		CHECK(n < 10000);
}

static void expose_some(struct fabric_conn *c)
{
	uint32_t key;
	uint64_t addr;

	CHECK(fabric_msg_begin(c, 64));
	for (uint32_t i = 0; i < DEPTH; i++)
		CHECK(fabric_expose(c, i, memory[i], 16 + 64 * i, mem,
				    i % 4 == 3 ? FABRIC_MEM_REMOTE_READ : FABRIC_MEM_REMOTE_WRITE,
				    &key, &addr) == 0);
}

static void feed(struct fabric_conn *c, int fd, const uint8_t *data, size_t len, size_t piece)
{
	for (size_t off = 0; off < len; off += piece) {
		if (send(fd, data + off, MIN(piece, len - off), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		settle(c);
	}
}

/* data[0] is for us, the rest comes from the peer. */
static void run(const uint8_t *data, size_t len, bool has_digest)
{
	struct tcp_conn *c;
	int fd[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0 && tcp_conn_alloc(fabric, &c) == 0);
	is_closed = false;
	is_refused = false;
	nr_delivered = 0;
	c->fd = fd[0];
	c->is_initiator = data[0] & 1;
	CHECK(fabric_accept(&c->base, &params, &handler, NULL) == 0);
	fabric_poll(&c->base);
	CHECK(!has_digest || fabric_enable_digest(&c->base) == 0);
	if (c->is_initiator)
		expose_some(&c->base);
	feed(&c->base, fd[1], data + 1, len - 1, 1 + (data[0] >> 1) * (data[0] >> 1));
	close(fd[1]);
	settle(&c->base);
	CHECK(is_closed);
	for (unsigned int i = 0; i < DEPTH; i++)
		CHECK(!is_busy[i]);
	fabric_conn_destroy(&c->base);
}

/*
 * Puts digests behind what can be taken for frame headers, up to the first of which the end is
 * missing: from there on everything is left as it is. Returns the new length.
 */
static size_t seal(const uint8_t *in, size_t len, uint8_t *out)
{
	size_t at = 1, n = 0;

	out[n++] = in[0];
	while (len - at >= BRP_FRAME_BYTES) {
		const uint8_t *f = in + at;
		size_t bytes = f[4] | (size_t)f[5] << 8 | (size_t)f[6] << 16 | (size_t)f[7] << 24;
		struct brp_digests d = {.header = crc32c(0, f, BRP_FRAME_BYTES)};

		if (bytes > len - at - BRP_FRAME_BYTES)
			break;
		d.payload = crc32c(0, f + BRP_FRAME_BYTES, bytes);
		memcpy(out + n, f, BRP_FRAME_BYTES);
		brp_encode_digests(out + n + BRP_FRAME_BYTES, &d);
		memcpy(out + n + BRP_FRAME_BYTES + BRP_DIGESTS_BYTES, f + BRP_FRAME_BYTES, bytes);
		n += BRP_FRAME_BYTES + BRP_DIGESTS_BYTES + bytes;
		at += BRP_FRAME_BYTES + bytes;
	}
	memcpy(out + n, in + at, len - at);
	return n + len - at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t sealed[1 + 3 * MAX_INPUT];
	unsigned int nr_whole;

	if (len < 1 || len > MAX_INPUT)
		return 0;
	if (!fabric) {
		log_init("fuzz", LOG_ERROR);
		CHECK(fabric_create("tcp", &fabric) == 0);
		CHECK(fabric_mem_register(fabric, memory, sizeof(memory), 3, &mem) == 0);
	}
	run(data, len, false);
	len = seal(data, len, sealed);
	run(sealed, len, true);
	if (len < 2)
		return 0;
	nr_whole = nr_delivered;
	sealed[1 + crc32c(0, sealed, len) % (len - 1)] ^= 0x08;
	run(sealed, len, true);
	CHECK(close_error < 0 && nr_delivered <= nr_whole);
	return 0;
}
