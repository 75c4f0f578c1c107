/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * raw-verbs: what the messages of block I/O cost over RDMA verbs with no protocol and no storage
 * behind them. The limits that bench/lab holds BRP and its peers against, in the same machine.
 *
 *	ping-read	SEND 64 B there, RDMA WRITE of --bytes with immediate back, one at a time
 *	ping-write	SEND 64 B + --bytes there, SEND 32 B back, one at a time
 *	read		RDMA READ of --bytes, one at a time
 *	stream		RDMA WRITEs of --bytes: --depth under one doorbell, one completion for them
 *	read-stream	RDMA READs, likewise
 *
 * Two processes, the server is the child. Both sleep on their completion channels: nobody spins.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/histogram.h"
#include "common/options.h"
#include "common/strparse.h"
#include "common/util.h"

#define PROGRAM       "raw-verbs"
#define MAX_DEPTH     256u
#define MAX_BYTES     (1u << 20)
#define REQUEST_BYTES 64u
#define ANSWER_BYTES  32u
#define NR_RECVS      64u
#define SIGNAL_EVERY \
	16u /* sends: their completions are of no interest, but for the room they give */
#define BUFFER_BYTES (REQUEST_BYTES + MAX_BYTES)

enum mode { PING_READ, PING_WRITE, READ, STREAM, READ_STREAM, NR_MODES };

static const char *const mode_names[NR_MODES] = {"ping-read", "ping-write", "read", "stream",
						 "read-stream"};

enum {
	OPT_MODE = 1,
	OPT_BYTES,
	OPT_DEPTH,
	OPT_TIME,
	OPT_HELP,
};

static const struct option_spec specs[] = {
	{"mode", 0, "MODE", "ping-read (default), ping-write, read, stream or read-stream",
	 OPT_MODE},
	{"bytes", 'b', "N", "data of one operation (default 4096)", OPT_BYTES},
	{"depth", 'd', "N", "operations under one doorbell when streaming (default 32)", OPT_DEPTH},
	{"time", 't', "MS", "milliseconds (default 1000)", OPT_TIME},
	{"help", 'h', NULL, "print this text", OPT_HELP},
};

static const char usage[] = "usage: raw-verbs ADDRESS [options]\n"
			    "\n"
			    "Measures bare RDMA operations between two processes on the device of "
			    "ADDRESS; prints JSON.\n";

struct arguments {
	const char *address;
	enum mode mode;
	uint32_t bytes;
	uint32_t depth;
	uint32_t time_ms;
};

/* What each end tells the other in the connection manager's private data. */
struct memory {
	uint64_t addr;
	uint32_t key;
} __attribute__((packed));

struct end {
	struct rdma_cm_id *id;
	struct ibv_mr *mr;
	char *buf;
	struct memory peer;
	unsigned int nr_sent; /* since the last signalled one */
};

static void die(const char *what)
{
	fprintf(stderr, PROGRAM ": %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static const char port_text[] = "20999";

static struct rdma_cm_id *make_endpoint(const char *address, bool is_listener)
{
	struct rdma_addrinfo hints = {.ai_flags = is_listener ? RAI_PASSIVE : 0,
				      .ai_port_space = RDMA_PS_TCP};
	struct ibv_qp_init_attr attr = {
		.cap = {.max_send_wr = MAX_DEPTH + SIGNAL_EVERY,
			.max_recv_wr = NR_RECVS,
			.max_send_sge = 1,
			.max_recv_sge = 1,
			.max_inline_data = REQUEST_BYTES},
		.qp_type = IBV_QPT_RC,
	};
	struct rdma_addrinfo *info;
	struct rdma_cm_id *id;

	if (rdma_getaddrinfo(address, port_text, &hints, &info))
		die(address);
	if (rdma_create_ep(&id, info, NULL, &attr))
		die("cannot make an endpoint");
	rdma_freeaddrinfo(info);
	return id;
}

static void prepare(struct end *e)
{
	e->buf = aligned_alloc(4096, align_up(BUFFER_BYTES, 4096));
	if (!e->buf)
		die("no memory");
	memset(e->buf, 0x5a, BUFFER_BYTES);
	e->mr = ibv_reg_mr(e->id->pd, e->buf, BUFFER_BYTES,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_READ);
	if (!e->mr)
		die("cannot register memory (the memlock limit?)");
	for (unsigned int i = 0; i < NR_RECVS; i++) {
		if (rdma_post_recv(e->id, NULL, e->buf, BUFFER_BYTES, e->mr))
			die("cannot post a receive");
	}
}

static struct memory memory_of(const struct end *e)
{
	return (struct memory){.addr = (uintptr_t)e->buf, .key = e->mr->rkey};
}

static struct rdma_conn_param conn_param(const struct memory *mine)
{
	return (struct rdma_conn_param){
		.private_data = mine,
		.private_data_len = sizeof(*mine),
		.responder_resources = 16,
		.initiator_depth = 16,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
}

static void take_peer(struct end *e)
{
	memcpy(&e->peer, e->id->event->param.conn.private_data, sizeof(e->peer));
}

static void accept_one(struct end *e, struct rdma_cm_id *listener)
{
	struct memory mine;
	struct rdma_conn_param param;

	if (rdma_get_request(listener, &e->id))
		die("no connection came");
	take_peer(e);
	prepare(e);
	mine = memory_of(e);
	param = conn_param(&mine);
	if (rdma_accept(e->id, &param))
		die("cannot accept");
}

static void connect_to(struct end *e, const char *address)
{
	struct memory mine;
	struct rdma_conn_param param;

	e->id = make_endpoint(address, false);
	prepare(e);
	mine = memory_of(e);
	param = conn_param(&mine);
	if (rdma_connect(e->id, &param))
		die("cannot connect");
	take_peer(e);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* Sleeps until a message or an immediate has come, and posts a receive for another. False: the
 * connection has ended. */
static bool await_message(struct end *e)
{
	struct ibv_wc wc;

	if (rdma_get_recv_comp(e->id, &wc) <= 0 || wc.status != IBV_WC_SUCCESS)
		return false;
	return rdma_post_recv(e->id, NULL, e->buf, BUFFER_BYTES, e->mr) == 0;
}

static void await_sent(struct end *e)
{
	struct ibv_wc wc;

	if (rdma_get_send_comp(e->id, &wc) <= 0)
		die("no completion came");
	if (wc.status != IBV_WC_SUCCESS) {
		fprintf(stderr, PROGRAM ": %s\n", ibv_wc_status_str(wc.status));
		exit(EXIT_FAILURE);
	}
}

/* One work request; now and then one that tells when it is done. */
static void post_one(struct end *e, enum ibv_wr_opcode opcode, uint32_t bytes)
{
	struct ibv_sge sge = {.addr = (uintptr_t)e->buf, .length = bytes, .lkey = e->mr->lkey};
	struct ibv_send_wr *bad, wr = {.sg_list = &sge, .num_sge = 1, .opcode = opcode};
	bool is_signalled = ++e->nr_sent == SIGNAL_EVERY;

	wr.wr.rdma.remote_addr = e->peer.addr;
	wr.wr.rdma.rkey = e->peer.key;
	if (bytes <= REQUEST_BYTES)
		wr.send_flags |= IBV_SEND_INLINE;
	if (is_signalled)
		wr.send_flags |= IBV_SEND_SIGNALED;
	if (ibv_post_send(e->id->qp, &wr, &bad))
		die("cannot post");
	if (is_signalled) {
		e->nr_sent = 0;
		await_sent(e);
	}
}

/* `n` of them under one doorbell, the last one signalled. */
static void post_chain(struct end *e, enum ibv_wr_opcode opcode, uint32_t bytes, uint32_t n)
{
	static struct ibv_send_wr wr[MAX_DEPTH];
	struct ibv_sge sge = {.addr = (uintptr_t)e->buf, .length = bytes, .lkey = e->mr->lkey};
	struct ibv_send_wr *bad;

	for (uint32_t i = 0; i < n; i++) {
		bool is_last = i + 1 == n;

		wr[i] = (struct ibv_send_wr){
			.next = is_last ? NULL : &wr[i + 1],
			.sg_list = &sge,
			.num_sge = 1,
			.opcode = opcode,
			.send_flags = is_last ? IBV_SEND_SIGNALED : 0,
		};
		wr[i].wr.rdma.remote_addr = e->peer.addr;
		wr[i].wr.rdma.rkey = e->peer.key;
	}
	if (ibv_post_send(e->id->qp, wr, &bad))
		die("cannot post");
	await_sent(e);
}

/* ---- both ends ------------------------------------------------------------------------------- */

static void serve(struct end *e, const struct arguments *a)
{
	while (await_message(e)) {
		if (a->mode == PING_READ)
			post_one(e, IBV_WR_RDMA_WRITE_WITH_IMM, a->bytes);
		else
			post_one(e, IBV_WR_SEND, ANSWER_BYTES);
	}
}

/* One round: how many operations it was. */
static uint32_t do_round(struct end *e, const struct arguments *a)
{
	switch (a->mode) {
	case PING_READ:
	case PING_WRITE:
		post_one(e, IBV_WR_SEND, REQUEST_BYTES + (a->mode == PING_WRITE ? a->bytes : 0));
		if (!await_message(e))
			die("the server has ended");
		return 1;
	case READ:
		post_chain(e, IBV_WR_RDMA_READ, a->bytes, 1);
		return 1;
	case STREAM:
		post_chain(e, IBV_WR_RDMA_WRITE, a->bytes, a->depth);
		return a->depth;
	case READ_STREAM:
	default:
		post_chain(e, IBV_WR_RDMA_READ, a->bytes, a->depth);
		return a->depth;
	}
}

static void measure(struct end *e, const struct arguments *a)
{
	static struct histogram h;
	uint64_t start, now, ops = 0;

	histogram_init(&h);
	for (int i = 0; i < 10; i++)
		do_round(e, a);
	start = now = now_ns();
	while (now - start < a->time_ms * NS_PER_MS) {
		uint64_t began = now;

		ops += do_round(e, a);
		now = now_ns();
		histogram_add(&h, now - began);
	}
	printf("{ \"mode\": \"%s\", \"bs\": %u, \"iodepth\": %u, \"iops\": %.1f,\n",
	       mode_names[a->mode], a->bytes, a->mode >= STREAM ? a->depth : 1,
	       (double)ops * 1e9 / (double)(now - start));
	printf("  \"lat_us\": { \"mean\": %.3f, \"p50\": %.3f, \"p99\": %.3f } }\n",
	       histogram_mean(&h) / 1000, histogram_quantile(&h, 0.5) / 1000.0,
	       histogram_quantile(&h, 0.99) / 1000.0);
}

/* ---- command line ---------------------------------------------------------------------------- */

static int set_mode(struct arguments *a, const struct options_iter *it)
{
	for (unsigned int i = 0; i < NR_MODES; i++) {
		if (!strcmp(it->value, mode_names[i])) {
			a->mode = (enum mode)i;
			return 0;
		}
	}
	return options_bad_value(it, "see --help");
}

static int set_number(const struct options_iter *it, uint32_t max, uint32_t *where)
{
	return parse_u32(it->value, 1, max, where) ? options_bad_value(it, "1 to %u", max) : 0;
}

static int on_option(struct arguments *a, struct options_iter *it, int id)
{
	switch (id) {
	case OPT_MODE:
		return set_mode(a, it);
	case OPT_BYTES:
		return set_number(it, MAX_BYTES, &a->bytes);
	case OPT_DEPTH:
		return set_number(it, MAX_DEPTH, &a->depth);
	case OPT_TIME:
		return set_number(it, 1000000, &a->time_ms);
	case OPTIONS_ARG:
		a->address = it->value;
		return 0;
	case OPT_HELP:
		options_help(stdout, usage, specs, ARRAY_SIZE(specs));
		exit(EXIT_SUCCESS);
	default:
		return OPTIONS_EXIT_USAGE;
	}
}

static void parse(struct arguments *a, int argc, char **argv)
{
	struct options_iter it;
	int id;

	*a = (struct arguments){.bytes = 4096, .depth = 32, .time_ms = 1000};
	options_begin(&it, PROGRAM, argc, argv, specs, ARRAY_SIZE(specs));
	while ((id = options_next(&it)) != OPTIONS_END) {
		if (on_option(a, &it, id))
			exit(OPTIONS_EXIT_USAGE);
	}
	if (!a->address)
		exit(options_usage_error(PROGRAM, "no address"));
}

int main(int argc, char **argv)
{
	struct arguments a;
	struct end e = {0};
	struct rdma_cm_id *listener;
	pid_t child;
	int ready[2];
	char byte = 0;

	parse(&a, argc, argv);

	if (pipe(ready) < 0)
		die("pipe");
	/* Each process has its device contexts to itself, so nothing is opened before. */
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		listener = make_endpoint(a.address, true);
		if (rdma_listen(listener, 1) || write(ready[1], &byte, 1) != 1)
			die("cannot listen");
		accept_one(&e, listener);
		serve(&e, &a);
		_exit(EXIT_SUCCESS);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		die("the server did not come up");
	connect_to(&e, a.address);
	measure(&e, &a);
	fflush(stdout);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return EXIT_SUCCESS;
}
