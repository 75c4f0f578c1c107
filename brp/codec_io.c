/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * JUMBO and RESPONSE, run for every I/O: one pass, no copies but into the host form. protocol.md 5.
 *
 * Two kinds of wrong are kept apart: what leaves the connection out of step (brp_decode_jumbo:
 * -EPROTO) and what is wrong with one request alone (brp_check_request: a status).
 */
#include "brp/codec.h"

#include <errno.h>

#include "brp/codec_util.h"

/* What an operation may carry and needs. 5.1. */
struct op_rule {
	bool is_known;
	bool is_write;   /* changes the volume */
	bool has_blocks; /* names blocks */
	bool has_data;   /* moves data */
	uint8_t flags;   /* BRP_REQ_* allowed */
	uint8_t needs;   /* BRP_VOL_* of the volume */
};

#define OP_RULES (BRP_OP_FLUSH + 1)

static const struct op_rule op_rules[OP_RULES] = {
	[BRP_OP_READ] = {true, false, true, true, 0, 0},
	[BRP_OP_WRITE] = {true, true, true, true, BRP_REQ_FUA | BRP_REQ_IN_CAPSULE, 0},
	[BRP_OP_WRITE_ZEROES] = {true, true, true, false, BRP_REQ_FUA, BRP_VOL_WRITE_ZEROES},
	[BRP_OP_DISCARD] = {true, true, true, false, 0, BRP_VOL_DISCARD},
	[BRP_OP_FLUSH] = {true, false, false, false, 0, 0},
};

/* The empty rule 0 for an unknown op. */
static const struct op_rule *rule_of(uint8_t op)
{
	return &op_rules[op < OP_RULES ? op : 0];
}

/* Only a WRITE has data in the message; the flag on another op is a bad combination without data.
 */
static bool is_in_capsule(const struct brp_request *r)
{
	return r->op == BRP_OP_WRITE && (r->flags & BRP_REQ_IN_CAPSULE);
}

void brp_encode_request(void *at, const struct brp_request *r)
{
	struct brp_wire_request *w = at;

	w->op = r->op;
	w->flags = r->flags;
	memset(w->reserved, 0, sizeof(w->reserved));
	w->tag = brp_put32(r->tag);
	w->lba = brp_put64(r->lba);
	w->blocks = brp_put32(r->blocks);
	w->key = brp_put32(r->key);
	w->addr = brp_put64(r->addr);
}

void brp_encode_jumbo_header(void *buf, uint32_t epoch, uint16_t count, uint32_t capsule_bytes)
{
	uint32_t len = BRP_HEADER_BYTES + count * BRP_REQUEST_BYTES + capsule_bytes;

	brp_put_header(buf, BRP_MSG_JUMBO, count, len, epoch);
}

static void get_request(const struct brp_wire_request *w, struct brp_request *r)
{
	r->op = w->op;
	r->flags = w->flags;
	r->tag = brp_get32(w->tag);
	r->lba = brp_get64(w->lba);
	r->blocks = brp_get32(w->blocks);
	r->key = brp_get32(w->key);
	r->addr = brp_get64(w->addr);
}

/* Data within its limits and, in-capsule, just at *at, which moves on behind it. Keeps *at <= len.
 */
static bool data_in_step(const struct brp_request *r, const struct brp_limits *lim, size_t len,
			 size_t *at)
{
	uint64_t bytes;

	if (!rule_of(r->op)->has_data)
		return true;
	bytes = (uint64_t)r->blocks * lim->block_bytes;
	if (bytes > lim->max_transfer_bytes)
		return false;
	if (!is_in_capsule(r))
		return true;
	if (bytes > lim->in_capsule_bytes || r->addr != *at || bytes > len - *at)
		return false;
	*at += bytes;
	return true;
}

/* Number of entries of `size` bytes that the message says it has, or -EPROTO. */
static int entry_count(const struct brp_wire_header *h, size_t len, enum brp_msg_type type,
		       uint32_t epoch, uint32_t max_count, uint32_t size)
{
	uint16_t count;

	if (len < sizeof(*h) || h->type != type || !brp_header_in_step(h, len) ||
	    brp_get32(h->epoch) != epoch)
		return -EPROTO;
	count = brp_get16(h->count);
	if (count < 1 || count > max_count || len - sizeof(*h) < (size_t)count * size)
		return -EPROTO;
	return count;
}

static int jumbo_count(const void *buf, size_t len, const struct brp_limits *lim)
{
	uint32_t max_count = BRP_MAX_JUMBO_REQUESTS; /* what ret_requests has room for */

	if (lim->max_requests < max_count)
		max_count = lim->max_requests;
	return entry_count(buf, len, BRP_MSG_JUMBO, lim->epoch, max_count, BRP_REQUEST_BYTES);
}

int brp_decode_jumbo(const void *buf, size_t len, const struct brp_limits *lim,
		     struct brp_request *ret_requests)
{
	const uint8_t *b = buf;
	const struct brp_wire_request *w;
	int count = jumbo_count(buf, len, lim);
	size_t at;

	if (count < 0)
		return count;
	w = (const struct brp_wire_request *)(b + BRP_HEADER_BYTES);
	at = BRP_HEADER_BYTES + (size_t)count * BRP_REQUEST_BYTES;
	if (len - at > BRP_MAX_CAPSULE_BYTES)
		return -EPROTO;
	for (int i = 0; i < count; i++) {
		struct brp_request *r = &ret_requests[i];

		get_request(&w[i], r);
		if (!BRP_RESERVED_OK(w[i].reserved) || brp_tag_index(r->tag) >= lim->queue_depth ||
		    !data_in_step(r, lim, len, &at))
			return -EPROTO;
	}
	return at == len ? count : -EPROTO;
}

static bool well_formed(const struct brp_request *r, const struct op_rule *rule)
{
	if (!rule->is_known || (r->flags & ~rule->flags))
		return false;
	if (!rule->has_data)
		return r->key == 0 && r->addr == 0 &&
		       (rule->has_blocks ? r->blocks > 0 : r->blocks == 0 && r->lba == 0);
	return r->blocks > 0 && (!is_in_capsule(r) || r->key == 0);
}

enum brp_status_code brp_check_request(const struct brp_request *r, const struct brp_limits *lim)
{
	const struct op_rule *rule = rule_of(r->op);
	uint32_t needs = rule->needs;

	if (!well_formed(r, rule))
		return BRP_ST_INVALID;
	if (r->flags & BRP_REQ_FUA)
		needs |= BRP_VOL_FUA;
	if (rule->is_write && (lim->volume_flags & BRP_VOL_READ_ONLY))
		return BRP_ST_READ_ONLY;
	if (needs & ~lim->volume_flags)
		return BRP_ST_NOT_SUPPORTED;
	if (r->lba > lim->size_blocks || r->blocks > lim->size_blocks - r->lba)
		return BRP_ST_OUT_OF_RANGE;
	return BRP_ST_OK;
}

uint32_t brp_request_data_bytes(const struct brp_request *r, const struct brp_limits *lim)
{
	return rule_of(r->op)->has_data ? r->blocks * lim->block_bytes : 0;
}

void brp_encode_completion(void *at, const struct brp_completion *c)
{
	struct brp_wire_completion *w = at;

	w->tag = brp_put32(c->tag);
	w->status = brp_put16(c->status);
	memset(w->reserved, 0, sizeof(w->reserved));
	w->data_bytes = brp_put32(c->data_bytes);
	w->data_offset = brp_put32(c->data_offset);
}

void brp_encode_response_header(void *buf, uint32_t epoch, uint16_t count, uint32_t data_bytes)
{
	uint32_t len = BRP_HEADER_BYTES + count * BRP_COMPLETION_BYTES + data_bytes;

	brp_put_header(buf, BRP_MSG_RESPONSE, count, len, epoch);
}

static void get_completion(const struct brp_wire_completion *w, struct brp_completion *c)
{
	c->tag = brp_get32(w->tag);
	c->status = brp_get16(w->status);
	c->data_bytes = brp_get32(w->data_bytes);
	c->data_offset = brp_get32(w->data_offset);
}

/* Data of a READ, if any, just at *at, which moves on behind it. Keeps *at <= len. */
static bool read_data_in_step(const struct brp_completion *c, const struct brp_limits *lim,
			      size_t len, size_t *at)
{
	if (c->data_bytes == 0)
		return c->data_offset == 0;
	if (!lim->has_read_data || c->status != BRP_ST_OK || c->data_bytes % lim->block_bytes ||
	    c->data_bytes > lim->max_transfer_bytes)
		return false;
	if (c->data_offset != *at || c->data_bytes > len - *at)
		return false;
	*at += c->data_bytes;
	return true;
}

int brp_decode_response(const void *buf, size_t len, const struct brp_limits *lim,
			struct brp_completion *ret_completions)
{
	const uint8_t *b = buf;
	const struct brp_wire_completion *w;
	int count = entry_count(buf, len, BRP_MSG_RESPONSE, lim->epoch, BRP_MAX_RESPONSES,
				BRP_COMPLETION_BYTES);
	size_t at;

	if (count < 0 || len > BRP_MAX_INITIATOR_MSG_BYTES)
		return -EPROTO;
	w = (const struct brp_wire_completion *)(b + BRP_HEADER_BYTES);
	at = BRP_HEADER_BYTES + (size_t)count * BRP_COMPLETION_BYTES;
	for (int i = 0; i < count; i++) {
		struct brp_completion *c = &ret_completions[i];

		get_completion(&w[i], c);
		if (!BRP_RESERVED_OK(w[i].reserved) || !read_data_in_step(c, lim, len, &at))
			return -EPROTO;
	}
	return at == len ? count : -EPROTO;
}
