/* SPDX-License-Identifier: BSD-2-Clause */
/* See fake_fabric.h. */
#include "tests/fakes/fake_fabric.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MUST(x)                                                                  \
	do {                                                                     \
		if (!(x)) {                                                      \
			fprintf(stderr, "fake_fabric.c:%d: %s\n", __LINE__, #x); \
			abort();                                                 \
		}                                                                \
	} while (0)

struct fabric {
	int dummy;
};

struct fabric_mem {
	char *base;
	size_t bytes;
};

struct fake_config fake_config;
struct fabric_conn *fake_conns[FAKE_MAX_CONNS];
unsigned int fake_nr_conns;
unsigned int fake_nr_objects;

/* Not malloc(): tests that make that fail mean others. */
static void *fake_alloc(size_t bytes)
{
	void *p = NULL;

	MUST(posix_memalign(&p, 16, bytes) == 0);
	memset(p, 0, bytes);
	return p;
}

void fake_reset(void)
{
	fake_config = (struct fake_config){
		.is_auto = true,
		.is_stream = true,
		.hello = {.version = BRP_VERSION,
			  .max_message_bytes = BRP_MAX_TARGET_MSG_BYTES,
			  .boot_id = {{1}}},
		.login =
			{
				.max_requests = 64,
				.queue_depth = BRP_MAX_QUEUE_DEPTH,
				.volume_uuid = {{2}},
				.generation = 1,
				.boot_id = {{1}},
				.size_blocks = 1 << 20,
				.block_bytes = 512,
				.max_transfer_bytes = 65536,
				.in_capsule_bytes = 4096,
				.volume_flags =
					BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES | BRP_VOL_FUA,
				.preferred_io_bytes = 4096,
			},
	};
}

/* ---- set-up ---------------------------------------------------------------------------------- */

int fabric_create(const char *name, struct fabric **ret_fabric)
{
	MUST(strcmp(name, "tcp") == 0 || strcmp(name, "verbs") == 0);
	if (fake_config.create_error)
		return fake_config.create_error;
	*ret_fabric = calloc(1, sizeof(**ret_fabric));
	if (!*ret_fabric)
		return -ENOMEM;
	fake_nr_objects++;
	return 0;
}

void fabric_destroy(struct fabric *f)
{
	fake_nr_objects -= f != NULL;
	free(f);
}

const char *fabric_name(const struct fabric *f)
{
	(void)f;
	return "fake";
}

int fabric_mem_register(struct fabric *f, void *base, size_t bytes, unsigned int access,
			struct fabric_mem **ret_mem)
{
	struct fabric_mem *mem = calloc(1, sizeof(*mem));

	(void)f;
	(void)access;
	if (!mem)
		return -ENOMEM;
	mem->base = base;
	mem->bytes = bytes;
	fake_nr_objects++;
	*ret_mem = mem;
	return 0;
}

void fabric_mem_unregister(struct fabric_mem *mem)
{
	fake_nr_objects -= mem != NULL;
	free(mem);
}

bool fabric_mem_contains(const struct fabric_mem *mem, const void *p, size_t bytes)
{
	const char *at = p;

	return at >= mem->base && bytes <= mem->bytes &&
	       (size_t)(at - mem->base) <= mem->bytes - bytes;
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct fake_event *push_event(struct fabric_conn *c, enum fake_event_kind kind)
{
	struct fake_event *e = &c->events[c->tail++ % FAKE_MAX_EVENTS];
	uint64_t one = 1;

	MUST(c->tail - c->head <= FAKE_MAX_EVENTS);
	*e = (struct fake_event){.kind = kind};
	MUST(write(c->fd, &one, sizeof(one)) == sizeof(one));
	return e;
}

void fake_deliver_connected(struct fabric_conn *c)
{
	push_event(c, FAKE_CONNECTED);
}

void fake_deliver(struct fabric_conn *c, const void *buf, uint32_t bytes)
{
	struct fake_event *e = push_event(c, FAKE_MESSAGE);

	e->message.bytes = fake_alloc(bytes);
	memcpy(e->message.bytes, buf, bytes);
	e->message.length = bytes;
}

void fake_deliver_notice(struct fabric_conn *c, uint32_t value)
{
	push_event(c, FAKE_NOTICE)->value = value;
}

void fake_deliver_closed(struct fabric_conn *c, int error)
{
	push_event(c, FAKE_CLOSED)->error = error;
}

void fake_free_slots(struct fabric_conn *c)
{
	c->slots_used = 0;
	if (c->owes_sendable)
		push_event(c, FAKE_SENDABLE);
	c->owes_sendable = false;
}

static void closed(struct fabric_conn *c, int error)
{
	if (c->is_closed)
		return;
	c->is_closed = true;
	memset(c->exposed, 0, c->params.depth * sizeof(*c->exposed));
	c->nr_exposed = 0;
	c->handler->closed(c, error);
}

static void handle(struct fabric_conn *c, struct fake_event *e)
{
	switch (e->kind) {
	case FAKE_CONNECTED:
		c->handler->connected(c);
		break;
	case FAKE_MESSAGE:
		MUST(c->handler->message(c, e->message.bytes, e->message.length) == 0);
		break;
	case FAKE_NOTICE:
		c->handler->notice(c, e->value);
		break;
	case FAKE_SENDABLE:
		c->handler->sendable(c);
		break;
	case FAKE_CLOSED:
		closed(c, e->error);
		break;
	}
}

int fabric_poll(struct fabric_conn *c)
{
	uint64_t n;
	int handled = 0;

	(void)!read(c->fd, &n, sizeof(n));
	while (c->head != c->tail && !c->is_closed) {
		struct fake_event e = c->events[c->head++ % FAKE_MAX_EVENTS];

		if (fake_config.lose_at > 0 && --fake_config.lose_at == 0)
			closed(c, -ECONNRESET);
		else
			handle(c, &e);
		free(e.message.bytes);
		handled++;
	}
	return handled;
}

void fabric_look(struct fabric_conn *c)
{
	(void)c;
}

int fabric_arm(struct fabric_conn *c)
{
	return c->head != c->tail && !c->is_closed;
}

/* ---- connections ----------------------------------------------------------------------------- */

int fabric_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		   const struct fabric_params *params, const struct fabric_handler *h, void *ctx,
		   struct fabric_conn **ret_conn)
{
	struct fabric_conn *c;

	(void)f;
	if (fake_config.connect_error)
		return fake_config.connect_error;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->exposed = fake_alloc(params->depth * sizeof(*c->exposed));
	c->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	MUST(c->fd >= 0 && fake_nr_conns < FAKE_MAX_CONNS);
	memcpy(&c->addr, addr, addr_bytes);
	c->handler = h;
	c->ctx = ctx;
	c->params = *params;
	fake_conns[fake_nr_conns++] = c;
	fake_nr_objects++;
	if (fake_config.refuse_first > 0) {
		fake_config.refuse_first--;
		fake_deliver_closed(c, -ECONNREFUSED);
	} else if (fake_config.is_auto) {
		fake_deliver_connected(c);
	}
	*ret_conn = c;
	return 0;
}

void *fabric_conn_ctx(const struct fabric_conn *c)
{
	return c->ctx;
}

bool fabric_conn_has_digest(const struct fabric_conn *c)
{
	(void)c;
	return fake_config.has_digest;
}

bool fabric_conn_is_stream(const struct fabric_conn *c)
{
	(void)c;
	return fake_config.is_stream;
}

int fabric_enable_digest(struct fabric_conn *c)
{
	MUST(fake_config.has_digest && !c->has_digest && !c->is_begun);
	c->has_digest = true;
	return 0;
}

const char *fabric_conn_why(const struct fabric_conn *c)
{
	return c->why;
}

const char *fabric_conn_peer(const struct fabric_conn *c)
{
	(void)c;
	return "fake:1";
}

int fabric_conn_fds(const struct fabric_conn *c, int ret_fds[FABRIC_MAX_FDS])
{
	ret_fds[0] = c->fd;
	return 1;
}

void fabric_close(struct fabric_conn *c, bool is_abort)
{
	if (is_abort && !c->is_aborted) {
		c->is_aborted = true;
		fake_deliver_closed(c, 0);
	} else if (!is_abort && !c->is_closing && !fake_config.holds_close) {
		fake_deliver_closed(c, 0);
	}
	c->is_closing = true;
}

void fabric_conn_destroy(struct fabric_conn *c)
{
	MUST(c->is_closed && !c->is_destroyed);
	for (unsigned int i = 0; i < c->nr_sent; i++)
		free(c->sent[i].bytes);
	for (; c->head != c->tail; c->head++)
		free(c->events[c->head % FAKE_MAX_EVENTS].message.bytes);
	for (unsigned int i = 0; i < fake_nr_conns; i++) {
		if (fake_conns[i] == c)
			fake_conns[i] = NULL;
	}
	free(c->begun);
	free(c->exposed);
	close(c->fd);
	free(c);
	fake_nr_objects--;
}

/* ---- sending --------------------------------------------------------------------------------- */

void *fabric_msg_begin(struct fabric_conn *c, uint32_t head_bytes)
{
	MUST(!c->is_begun && head_bytes > 0 && head_bytes <= c->params.send_bytes);
	if (c->is_closed)
		return NULL;
	if (c->slots_used == c->params.send_count) {
		c->owes_sendable = true;
		return NULL;
	}
	free(c->begun);
	c->begun = fake_alloc(head_bytes);
	c->is_begun = true;
	c->begun_bytes = head_bytes;
	return c->begun;
}

int fabric_msg_commit(struct fabric_conn *c, uint32_t head_bytes, const struct iovec *data,
		      unsigned int nr_data)
{
	struct fake_message *m = &c->sent[c->nr_sent];
	uint32_t bytes = head_bytes;

	MUST(c->is_begun && head_bytes <= c->begun_bytes && c->nr_sent < FAKE_MAX_MESSAGES);
	for (unsigned int i = 0; i < nr_data; i++)
		bytes += (uint32_t)data[i].iov_len;
	MUST(bytes <= c->params.send_bytes);
	m->bytes = fake_alloc(bytes);
	memcpy(m->bytes, c->begun, head_bytes);
	m->length = head_bytes;
	for (unsigned int i = 0; i < nr_data; i++) {
		memcpy(m->bytes + m->length, data[i].iov_base, data[i].iov_len);
		m->length += (uint32_t)data[i].iov_len;
	}
	c->nr_sent++;
	c->slots_used++;
	c->is_begun = false;
	return 0;
}

/* The target's admission barrier (protocol.md 4.2), which here has nothing to wait for. */
static void pass_barrier(const struct fabric_conn *c, struct brp_login_reply *reply)
{
	if (c->epoch < fake_config.newest_epoch) {
		reply->status = BRP_ST_STALE_EPOCH;
		reply->epoch = fake_config.newest_epoch;
		return;
	}
	fake_config.newest_epoch = c->epoch;
	for (unsigned int i = 0; i < fake_nr_conns; i++) {
		struct fabric_conn *other = fake_conns[i];

		if (!other || other == c || other->is_closed || !other->epoch)
			continue;
		if (other->epoch < c->epoch)
			fake_deliver_closed(other, -ECONNRESET);
		else if (other->epoch == c->epoch &&
			 other->login.queue_index == c->login.queue_index)
			reply->status = BRP_ST_BUSY;
	}
}

static void auto_login(struct fabric_conn *c)
{
	struct brp_login_reply reply = fake_config.login;
	uint8_t buf[BRP_MAX_INITIATOR_MSG_BYTES];

	reply.epoch = reply.epoch ? reply.epoch : c->epoch;
	reply.queue_depth =
		reply.queue_depth < c->login.queue_depth ? reply.queue_depth : c->login.queue_depth;
	if (fake_config.has_barrier)
		pass_barrier(c, &reply);
	fake_deliver(c, buf, (uint32_t)brp_encode_login_reply(buf, sizeof(buf), &reply));
}

static void auto_list(struct fabric_conn *c, const struct fake_message *m)
{
	struct brp_list_entry entries[BRP_MAX_LIST_ENTRIES] = {0};
	uint8_t buf[BRP_MAX_INITIATOR_MSG_BYTES];
	struct brp_list_reply reply = {.total = fake_config.list_total};
	struct brp_list list;

	MUST(brp_decode_list(m->bytes, m->length, &list) == 0);
	reply.first = list.first;
	reply.count = MIN(reply.total - list.first, BRP_MAX_LIST_ENTRIES);
	for (uint32_t i = 0; i < reply.count; i++) {
		entries[i].block_bytes = 512;
		entries[i].size_blocks = 100 + list.first + i;
		snprintf(entries[i].name, sizeof(entries[i].name), "vol%u", list.first + i);
	}
	fake_deliver(c, buf, (uint32_t)brp_encode_list_reply(buf, sizeof(buf), &reply, entries));
}

static int decode_jumbo(const struct fabric_conn *c, const struct fake_message *m,
			struct brp_request requests[BRP_MAX_JUMBO_REQUESTS]);

static void serve(struct fabric_conn *c, const struct fake_message *m)
{
	struct brp_request requests[BRP_MAX_JUMBO_REQUESTS];
	struct brp_completion completions[BRP_MAX_RESPONSES] = {0};
	int n = decode_jumbo(c, m, requests);

	for (int i = 0; i < n; i++)
		completions[i].tag = requests[i].tag;
	fake_respond(c, completions, (unsigned int)n);
}

static void auto_answer(struct fabric_conn *c, const struct fake_message *m)
{
	uint8_t buf[BRP_MAX_INITIATOR_MSG_BYTES];

	if (m->bytes[0] == BRP_MSG_HELLO)
		fake_deliver(
			c, buf,
			(uint32_t)brp_encode_hello_reply(buf, sizeof(buf), &fake_config.hello));
	else if (m->bytes[0] == BRP_MSG_LOGIN)
		auto_login(c);
	else if (m->bytes[0] == BRP_MSG_LIST)
		auto_list(c, m);
	else if (m->bytes[0] == BRP_MSG_JUMBO && fake_config.is_serving)
		serve(c, m);
}

static void note_login(struct fabric_conn *c, const struct fake_message *m)
{
	if (m->bytes[0] != BRP_MSG_LOGIN)
		return;
	MUST(brp_decode_login(m->bytes, m->length, &c->login) == 0);
	c->epoch = c->login.epoch;
}

void fabric_flush(struct fabric_conn *c)
{
	MUST(!c->is_begun);
	c->nr_flushes++;
	for (; c->nr_flushed < c->nr_sent; c->nr_flushed++) {
		note_login(c, &c->sent[c->nr_flushed]);
		if (fake_config.is_auto)
			auto_answer(c, &c->sent[c->nr_flushed]);
	}
	if (!fake_config.keeps_slots)
		fake_free_slots(c);
}

/* ---- bulk data ------------------------------------------------------------------------------- */

int fabric_expose(struct fabric_conn *c, uint32_t tag, void *base, uint32_t bytes,
		  struct fabric_mem *mem, unsigned int access, uint32_t *ret_key,
		  uint64_t *ret_addr)
{
	uint32_t index = tag & 0xffff;

	MUST(c->is_begun && index < c->params.depth && !c->exposed[index]);
	MUST(fabric_mem_contains(mem, base, bytes) && bytes <= c->params.max_data_bytes);
	MUST(access == FABRIC_MEM_REMOTE_READ || access == FABRIC_MEM_REMOTE_WRITE);
	if (fake_config.expose_error) {
		c->is_begun = false;
		return fake_config.expose_error;
	}
	c->exposed[index] = true;
	c->nr_exposed++;
	*ret_key = tag;
	*ret_addr = 0;
	return 0;
}

void fabric_unexpose(struct fabric_conn *c, uint32_t tag)
{
	uint32_t index = tag & 0xffff;

	MUST(index < c->params.depth);
	if (c->is_closed)
		return;
	MUST(c->exposed[index]);
	c->exposed[index] = false;
	c->nr_exposed--;
}

/* ---- what the target says -------------------------------------------------------------------- */

void fake_respond_data(struct fabric_conn *c, const struct brp_completion *completions,
		       unsigned int n, const void *data, uint32_t data_bytes)
{
	uint8_t buf[BRP_MAX_INITIATOR_MSG_BYTES];
	uint32_t at = BRP_HEADER_BYTES + n * BRP_COMPLETION_BYTES;

	MUST(at + data_bytes <= sizeof(buf));
	for (unsigned int i = 0; i < n; i++)
		brp_encode_completion(buf + BRP_HEADER_BYTES + i * BRP_COMPLETION_BYTES,
				      &completions[i]);
	if (data_bytes)
		memcpy(buf + at, data, data_bytes);
	brp_encode_response_header(buf, (uint32_t)c->epoch, (uint16_t)n, data_bytes);
	fake_deliver(c, buf, at + data_bytes);
}

void fake_respond(struct fabric_conn *c, const struct brp_completion *completions, unsigned int n)
{
	fake_respond_data(c, completions, n, NULL, 0);
}

void fake_respond_one(struct fabric_conn *c, uint32_t tag, uint16_t status)
{
	fake_respond(c, &(struct brp_completion){.tag = tag, .status = status}, 1);
}

void fake_keepalive(struct fabric_conn *c, uint32_t epoch, uint64_t sequence)
{
	const struct brp_keepalive m = {.sequence = sequence};
	uint8_t buf[64];

	fake_deliver(c, buf, (uint32_t)brp_encode_keepalive(buf, sizeof(buf), epoch, false, &m));
}

void fake_goodbye(struct fabric_conn *c, uint32_t epoch, uint16_t status, const char *text)
{
	struct brp_goodbye m = {.status = status};
	uint8_t buf[128];

	snprintf(m.text, sizeof(m.text), "%s", text);
	fake_deliver(c, buf, (uint32_t)brp_encode_goodbye(buf, sizeof(buf), epoch, &m));
}

void fake_event(struct fabric_conn *c, const struct brp_event_msg *m)
{
	uint8_t buf[64];

	fake_deliver(c, buf, (uint32_t)brp_encode_event(buf, sizeof(buf), (uint32_t)c->epoch, m));
}

/* ---- what we said ---------------------------------------------------------------------------- */

unsigned int fake_count(const struct fabric_conn *c, enum brp_msg_type type)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->nr_sent; i++)
		n += c->sent[i].bytes[0] == type;
	return n;
}

unsigned int fake_nr_jumbos(const struct fabric_conn *c)
{
	return fake_count(c, BRP_MSG_JUMBO);
}

static int decode_jumbo(const struct fabric_conn *c, const struct fake_message *m,
			struct brp_request requests[BRP_MAX_JUMBO_REQUESTS])
{
	const struct brp_limits lim = {
		.epoch = (uint32_t)c->epoch,
		.queue_depth = MIN(c->login.queue_depth, fake_config.login.queue_depth),
		.max_requests = fake_config.login.max_requests,
		.block_bytes = fake_config.login.block_bytes,
		.max_transfer_bytes = fake_config.login.max_transfer_bytes,
		.in_capsule_bytes = fake_config.login.in_capsule_bytes,
		.size_blocks = fake_config.login.size_blocks,
		.volume_flags = fake_config.login.volume_flags,
	};
	int n = brp_decode_jumbo(m->bytes, m->length, &lim, requests);

	MUST(n > 0);
	return n;
}

int fake_jumbo(struct fabric_conn *c, unsigned int i,
	       struct brp_request requests[BRP_MAX_JUMBO_REQUESTS])
{
	for (unsigned int at = 0; at < c->nr_sent; at++) {
		const struct fake_message *m = &c->sent[at];

		if (m->bytes[0] == BRP_MSG_JUMBO && i-- == 0)
			return decode_jumbo(c, m, requests);
	}
	fprintf(stderr, "fake_fabric: not so many jumbo commands\n");
	abort();
}
