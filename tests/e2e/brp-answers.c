/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * brp-answers FABRIC ADDRESS PORT VOLUME: an initiator without libbrp that sends jumbo commands and
 * looks at how they are answered: by notices, by RESPONSEs with and without data (protocol.md 5.2),
 * and that the data of each READ is in its place and nothing beside it. VOLUME, of 512-byte blocks
 * and 4 MiB at least, is overwritten. One line per check; exit status 0 when all are good.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brp/codec.h"
#include "common/fabric/fabric.h"
#include "common/strparse.h"
#include "common/util.h"

#define DEPTH      64u
#define AREA_BYTES (4u << 20)
#define STEP_BYTES 65536u /* between the places of two requests */
#define BLOCK      512u
#define UNTOUCHED  0xee

static struct fabric *fabric;
static struct fabric_mem *mem;
static uint8_t *area;

/* One connection, and what came on it since the last jumbo command. */
static struct {
	struct fabric_conn *conn;
	bool is_up, is_closed;
	int error;
	struct brp_limits limits;
	uint64_t features;
	uint8_t answer[BRP_MAX_INITIATOR_MSG_BYTES]; /* last message that is no RESPONSE */
	uint32_t answer_bytes;
	uint16_t status[DEPTH];
	bool is_done[DEPTH];
	unsigned int nr_done, nr_notices, nr_responses, nr_with_data;
} c;

static struct brp_request requests[DEPTH];
static unsigned int nr_requests;

#define DIE(...)                             \
	do {                                 \
		printf("BAD: " __VA_ARGS__); \
		printf(" (%d)\n", __LINE__); \
		exit(1);                     \
	} while (0)
#define MUST(cond)                        \
	do {                              \
		if (!(cond))              \
			DIE("%s", #cond); \
	} while (0)

/* ---- what the target says -------------------------------------------------------------------- */

static uint8_t *place(unsigned int tag)
{
	return area + (size_t)tag * STEP_BYTES;
}

static void finish(uint32_t tag, uint16_t status)
{
	MUST(tag < nr_requests && !c.is_done[tag]);
	c.is_done[tag] = true;
	c.status[tag] = status;
	c.nr_done++;
}

static void on_response(const uint8_t *buf, uint32_t bytes)
{
	struct brp_completion done[BRP_MAX_RESPONSES];
	int n = brp_decode_response(buf, bytes, &c.limits, done);

	MUST(n > 0);
	c.nr_responses++;
	for (int i = 0; i < n; i++) {
		finish(done[i].tag, done[i].status);
		if (!done[i].data_bytes)
			continue;
		MUST(requests[done[i].tag].op == BRP_OP_READ);
		MUST(requests[done[i].tag].blocks * BLOCK == done[i].data_bytes);
		memcpy(place(done[i].tag), buf + done[i].data_offset, done[i].data_bytes);
		c.nr_with_data++;
	}
}

static int on_message(struct fabric_conn *fc, const void *buf, uint32_t bytes)
{
	struct brp_header h;

	(void)fc;
	MUST(brp_decode_header(buf, bytes, &h) == 0);
	if (h.type == BRP_MSG_RESPONSE) {
		on_response(buf, bytes);
		return 0;
	}
	memcpy(c.answer, buf, bytes);
	c.answer_bytes = bytes;
	return 0;
}

static void on_connected(struct fabric_conn *fc)
{
	(void)fc;
	c.is_up = true;
}

static void on_notice(struct fabric_conn *fc, uint32_t value)
{
	(void)fc;
	MUST(value < nr_requests && requests[value].op == BRP_OP_READ);
	c.nr_notices++;
	finish(value, BRP_ST_OK);
}

static void on_xfer(struct fabric_conn *fc, struct fabric_xfer *x, int status)
{
	(void)fc;
	(void)x;
	(void)status;
}

static void on_sendable(struct fabric_conn *fc)
{
	(void)fc;
}

static void on_closed(struct fabric_conn *fc, int error)
{
	(void)fc;
	c.is_closed = true;
	c.error = error;
}

static const struct fabric_handler handler = {
	.connected = on_connected,
	.message = on_message,
	.notice = on_notice,
	.pull_done = on_xfer,
	.push_done = on_xfer,
	.sendable = on_sendable,
	.closed = on_closed,
};

/* ---- a connection ---------------------------------------------------------------------------- */

static void wait_for(const char *what, bool (*is_true)(void))
{
	for (int i = 0; i < 20000 && !is_true(); i++) {
		if (fabric_poll(c.conn) > 0)
			fabric_flush(c.conn);
		else
			usleep(1000);
		if (c.is_closed && !is_true())
			DIE("closed (%d) while waiting for %s", c.error, what);
	}
	if (!is_true())
		DIE("waiting in vain for %s", what);
}

static bool is_up(void)
{
	return c.is_up;
}

static bool has_answer(void)
{
	return c.answer_bytes > 0;
}

static bool has_all(void)
{
	return c.nr_done == nr_requests;
}

static bool is_closed(void)
{
	return c.is_closed;
}

static void connect_to(const char *address, const char *port)
{
	const struct fabric_params params = {
		.recv_bytes = BRP_MAX_INITIATOR_MSG_BYTES,
		.recv_count = DEPTH + 8,
		.send_bytes = BRP_MAX_TARGET_MSG_BYTES,
		.send_count = 8,
		.max_data_bytes = BRP_DEFAULT_TRANSFER_BYTES,
		.depth = DEPTH,
	};
	struct sockaddr_in to = {.sin_family = AF_INET};
	uint32_t number;

	MUST(inet_pton(AF_INET, address, &to.sin_addr) == 1 &&
	     parse_u32(port, 1, UINT16_MAX, &number) == 0);
	to.sin_port = htons((uint16_t)number);
	memset(&c, 0, sizeof(c));
	MUST(!fabric_connect(fabric, (struct sockaddr *)&to, sizeof(to), &params, &handler, NULL,
			     &c.conn));
	wait_for("the connection", is_up);
}

static void disconnect(void)
{
	fabric_close(c.conn, false);
	wait_for("the end", is_closed);
	fabric_conn_destroy(c.conn);
}

/* Sends what `encode` makes of m and waits for the answer. */
#define EXCHANGE(encode, m)                                                         \
	do {                                                                        \
		void *buf_ = fabric_msg_begin(c.conn, 512);                         \
                                                                                    \
		MUST(buf_);                                                         \
		c.answer_bytes = 0;                                                 \
		fabric_msg_commit(c.conn, (uint32_t)encode(buf_, 512, m), NULL, 0); \
		fabric_flush(c.conn);                                               \
		wait_for(#encode, has_answer);                                      \
	} while (0)

/* The status of the reply. */
static uint16_t greet(uint64_t offered, uint64_t required)
{
	const struct brp_hello hello = {BRP_VERSION, BRP_VERSION, offered, required};
	struct brp_hello_reply reply;

	EXCHANGE(brp_encode_hello, &hello);
	MUST(brp_decode_hello_reply(c.answer, c.answer_bytes, &reply) == 0);
	c.features = reply.features;
	return reply.status;
}

static void log_in(const char *volume)
{
	struct brp_login login = {.epoch = 1, .queue_count = 1, .queue_depth = DEPTH};
	struct brp_login_reply reply;

	login.host_uuid.b[0] = 1;
	login.session_uuid.b[0] = (uint8_t)getpid();
	snprintf(login.volume_name, sizeof(login.volume_name), "%s", volume);
	snprintf(login.host_name, sizeof(login.host_name), "answers");
	EXCHANGE(brp_encode_login, &login);
	MUST(brp_decode_login_reply(c.answer, c.answer_bytes, &reply) == 0);
	MUST(reply.status == BRP_ST_OK && reply.block_bytes == BLOCK &&
	     reply.queue_depth == DEPTH && reply.size_blocks >= AREA_BYTES / BLOCK);
	c.limits = (struct brp_limits){
		.epoch = (uint32_t)reply.epoch,
		.queue_depth = DEPTH,
		.block_bytes = BLOCK,
		.max_transfer_bytes = reply.max_transfer_bytes,
		.has_read_data = c.features & BRP_FEATURE_READ_DATA,
	};
}

/* ---- jumbo commands -------------------------------------------------------------------------- */

static uint8_t pattern(uint64_t lba, unsigned int i)
{
	return (uint8_t)(lba * 37 + i * 11 + (lba >> 8));
}

/* Its data goes to place(tag); tags count up from 0. */
static void ask(uint8_t op, uint64_t lba, uint32_t blocks)
{
	MUST(nr_requests < DEPTH);
	requests[nr_requests] =
		(struct brp_request){.op = op, .tag = nr_requests, .lba = lba, .blocks = blocks};
	nr_requests++;
}

static void expose(struct brp_request *r)
{
	uint32_t bytes = r->blocks * BLOCK;
	bool is_read = r->op == BRP_OP_READ;

	for (unsigned int i = 0; i < bytes && !is_read; i++)
		place(r->tag)[i] = pattern(r->lba + i / BLOCK, i % BLOCK);
	MUST(!fabric_expose(c.conn, r->tag, place(r->tag), bytes, mem,
			    is_read ? FABRIC_MEM_REMOTE_WRITE : FABRIC_MEM_REMOTE_READ, &r->key,
			    &r->addr));
}

static void send_and_wait(void)
{
	uint8_t *msg = fabric_msg_begin(c.conn, BRP_HEADER_BYTES + nr_requests * BRP_REQUEST_BYTES);

	MUST(msg);
	memset(area, UNTOUCHED, AREA_BYTES);
	memset(c.is_done, 0, sizeof(c.is_done));
	c.nr_done = c.nr_notices = c.nr_responses = c.nr_with_data = 0;
	for (unsigned int i = 0; i < nr_requests; i++) {
		struct brp_request *r = &requests[i];

		if (r->op == BRP_OP_READ || r->op == BRP_OP_WRITE)
			expose(r);
		brp_encode_request(msg + BRP_HEADER_BYTES + i * BRP_REQUEST_BYTES, r);
	}
	brp_encode_jumbo_header(msg, c.limits.epoch, (uint16_t)nr_requests, 0);
	fabric_msg_commit(c.conn, BRP_HEADER_BYTES + nr_requests * BRP_REQUEST_BYTES, NULL, 0);
	fabric_flush(c.conn);
	wait_for("all answers", has_all);
	for (unsigned int i = 0; i < nr_requests; i++) {
		if (requests[i].op == BRP_OP_READ || requests[i].op == BRP_OP_WRITE)
			fabric_unexpose(c.conn, requests[i].tag);
	}
}

/* What a successful READ asked for is there, and whatever else is as it was. */
static void check_places(void)
{
	for (unsigned int tag = 0; tag < nr_requests; tag++) {
		const struct brp_request *r = &requests[tag];
		unsigned int bytes = r->blocks * BLOCK;

		if (r->op != BRP_OP_READ)
			continue;
		if (c.status[tag] != BRP_ST_OK)
			bytes = 0;
		for (unsigned int i = 0; i < STEP_BYTES; i++) {
			uint8_t want =
				i < bytes ? pattern(r->lba + i / BLOCK, i % BLOCK) : UNTOUCHED;

			if (place(tag)[i] != want)
				DIE("request %u: byte %u is %02x, must be %02x", tag, i,
				    place(tag)[i], want);
		}
	}
}

static void report(const char *what)
{
	printf("%s: %u answered by %u notices, %u RESPONSEs with data of %u\n", what, c.nr_done,
	       c.nr_notices, c.nr_responses, c.nr_with_data);
}

/* n READs of `blocks` each in one jumbo command. */
static void read_many(const char *what, unsigned int n, uint32_t blocks)
{
	nr_requests = 0;
	for (unsigned int i = 0; i < n; i++)
		ask(BRP_OP_READ, 3 + (uint64_t)i * 97, blocks);
	send_and_wait();
	for (unsigned int i = 0; i < n; i++)
		MUST(c.status[i] == BRP_ST_OK);
	check_places();
	report(what);
}

static void fill(void)
{
	for (uint64_t lba = 0; lba < AREA_BYTES / BLOCK; lba += nr_requests * 128) {
		nr_requests = 0;
		for (unsigned int i = 0; i < 32; i++)
			ask(BRP_OP_WRITE, lba + (uint64_t)i * 128, 128);
		send_and_wait();
		for (unsigned int i = 0; i < nr_requests; i++)
			MUST(c.status[i] == BRP_ST_OK);
	}
}

/* A mixture of all that there is in one command. */
static void read_mixture(void)
{
	nr_requests = 0;
	for (unsigned int i = 0; i < 12; i++) {
		ask(BRP_OP_READ, i * 100, 1 + i % 3 * 7);
		ask(BRP_OP_READ, UINT64_MAX / 2, 1);
		ask(BRP_OP_FLUSH, 0, 0);
		ask(BRP_OP_READ, i * 100, 1);
	}
	send_and_wait();
	for (unsigned int i = 0; i < nr_requests; i++)
		MUST(c.status[i] == (i % 4 == 1 ? BRP_ST_OUT_OF_RANGE : BRP_ST_OK));
	check_places();
	report("mixture");
}

/* At the depths of one connection over RDMA how many receives answers take is what counts. */
static void check_rdma(bool is_inline)
{
	bool has_data = c.limits.has_read_data;

	read_many("one block", 1, 1);
	MUST(c.nr_notices == 1);
	read_many("64 times a block", 64, 1);
	MUST(has_data ? c.nr_with_data >= (is_inline ? 63u : 1u) : c.nr_with_data == 0);
	MUST(!has_data || !is_inline || c.nr_notices + c.nr_responses <= 12);
	read_many("64 pages", 64, 8);
	MUST(c.nr_notices == 64);
	read_many("16 times 64 KiB", 16, 128);
	MUST(c.nr_notices == 16);
	read_mixture();
	MUST(has_data || c.nr_with_data == 0);
}

static void check_tcp(void)
{
	read_many("64 times a block", 64, 1);
	MUST(c.nr_notices == 64);
	read_many("64 pages", 64, 8);
	MUST(c.nr_notices == 64);
	read_mixture();
	MUST(c.nr_with_data == 0);
}

int main(int argc, char **argv)
{
	bool is_tcp, is_inline;

	if (argc != 5)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	is_tcp = strcmp(argv[1], "tcp") == 0;
	is_inline = strcmp(argv[4], "ram") == 0;
	MUST(!fabric_create(argv[1], &fabric));
	area = aligned_alloc(4096, AREA_BYTES);
	MUST(area);
	MUST(!fabric_mem_register(fabric, area, AREA_BYTES,
				  FABRIC_MEM_REMOTE_READ | FABRIC_MEM_REMOTE_WRITE, &mem));
	/* As one that knows nothing of READ_DATA, then as one that does. */
	for (int is_offered = 0; is_offered <= 1; is_offered++) {
		connect_to(argv[2], argv[3]);
		MUST(greet(is_offered ? BRP_FEATURE_READ_DATA : 0, 0) == BRP_ST_OK);
		MUST(c.features == (is_offered && !is_tcp ? BRP_FEATURE_READ_DATA : 0));
		printf("-- %s, READ_DATA %s\n", argv[4], c.features ? "granted" : "not granted");
		log_in(argv[4]);
		fill();
		if (is_tcp)
			check_tcp();
		else
			check_rdma(is_inline);
		disconnect();
	}
	connect_to(argv[2], argv[3]);
	MUST(greet(0, BRP_FEATURE_READ_DATA) == (is_tcp ? BRP_ST_BAD_VERSION : BRP_ST_OK));
	disconnect();
	fabric_mem_unregister(mem);
	fabric_destroy(fabric);
	free(area);
	return 0;
}
