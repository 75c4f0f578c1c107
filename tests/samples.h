/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of tests/golden/ in host form, and comparison field by field (structs have padding).
 */
#ifndef TESTS_SAMPLES_H
#define TESTS_SAMPLES_H

#include <string.h>

#include "brp/codec.h"

#define SAMPLE_EPOCH     0x1122334455667788ull
#define SAMPLE_EPOCH_LOW 0x55667788u
#define SAMPLE_SIZE      0x0001000000123456ull

/* 16 bytes counting up from `first`. */
static inline struct brp_uuid sample_uuid(uint8_t first)
{
	struct brp_uuid u;

	for (uint8_t i = 0; i < sizeof(u.b); i++)
		u.b[i] = (uint8_t)(first + i);
	return u;
}

static inline struct brp_hello sample_hello(void)
{
	return (struct brp_hello){1, 0x0102, 0x0102030405060708, 0x1112131415161718};
}

static inline struct brp_hello_reply sample_hello_reply(void)
{
	return (struct brp_hello_reply){
		.version = 1,
		.max_message_bytes = 69632,
		.features = 0x2122232425262728,
		.boot_id = sample_uuid(0xb0),
	};
}

static inline struct brp_login sample_login(void)
{
	return (struct brp_login){
		.host_uuid = sample_uuid(0x10),
		.session_uuid = sample_uuid(0x20),
		.epoch = SAMPLE_EPOCH,
		.queue_index = 3,
		.queue_count = 256,
		.queue_depth = 128,
		.keepalive_ms = 5000,
		.flags = BRP_LOGIN_READ_ONLY,
		.volume_name = "vol-1",
		.host_name = "host.\xc3\xa9",
	};
}

static inline struct brp_login sample_login_by_uuid(void)
{
	return (struct brp_login){
		.host_uuid = sample_uuid(0x10),
		.session_uuid = sample_uuid(0x20),
		.epoch = 1,
		.queue_count = 1,
		.queue_depth = 1,
		.flags = BRP_LOGIN_BY_UUID,
		.volume_uuid = sample_uuid(0x30),
		.host_name = "h",
	};
}

static inline struct brp_login_reply sample_login_reply(void)
{
	return (struct brp_login_reply){
		.max_requests = 32,
		.queue_depth = 128,
		.volume_uuid = sample_uuid(0x30),
		.generation = 0x4142434445464748,
		.boot_id = sample_uuid(0xb0),
		.size_blocks = SAMPLE_SIZE,
		.block_bytes = 512,
		.max_transfer_bytes = 1u << 20,
		.in_capsule_bytes = 4096,
		.volume_flags = BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES | BRP_VOL_FUA,
		.cache = BRP_CACHE_WRITE_BACK,
		.epoch = SAMPLE_EPOCH,
		.keepalive_ms = 5000,
		.preferred_io_bytes = 8192,
	};
}

static inline struct brp_login_reply sample_login_refused(void)
{
	return (struct brp_login_reply){
		.status = BRP_ST_STALE_EPOCH,
		.epoch = 0x1122334455667799,
		.reason = "old epoch",
	};
}

static inline struct brp_list_reply sample_list_reply(void)
{
	return (struct brp_list_reply){.total = 22, .first = 20, .count = 2};
}

static inline void sample_entries(struct brp_list_entry *e)
{
	e[0] = (struct brp_list_entry){
		.uuid = sample_uuid(0x30),
		.size_blocks = SAMPLE_SIZE,
		.block_bytes = 512,
		.volume_flags = BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES | BRP_VOL_FUA,
		.generation = 0x4142434445464748,
		.cache = BRP_CACHE_WRITE_BACK,
		.name = "vol-1",
	};
	e[1] = (struct brp_list_entry){
		.uuid = sample_uuid(0x40),
		.size_blocks = 2,
		.block_bytes = 65536,
		.volume_flags = BRP_VOL_READ_ONLY,
		.generation = 1,
		.name = "diskB",
	};
}

/* The limits that sample_login_reply() grants. */
static inline struct brp_limits sample_limits(void)
{
	return (struct brp_limits){
		.epoch = SAMPLE_EPOCH_LOW,
		.queue_depth = 128,
		.max_requests = 32,
		.block_bytes = 512,
		.max_transfer_bytes = 1u << 20,
		.in_capsule_bytes = 4096,
		.size_blocks = SAMPLE_SIZE,
		.volume_flags = BRP_VOL_DISCARD | BRP_VOL_WRITE_ZEROES | BRP_VOL_FUA,
	};
}

#define SAMPLE_REQUESTS 7

static inline void sample_requests(struct brp_request *r)
{
	r[0] = (struct brp_request){BRP_OP_READ, 0,          0x00010000,        0x0002030405060708,
				    8,           0x11223344, 0x2132435465768798};
	r[1] = (struct brp_request){BRP_OP_WRITE, 3, 0xffff0001, 0x10, 1, 0, 240};
	r[2] = (struct brp_request){BRP_OP_WRITE, 0, 0x0002007f, 0x20, 2048, 0x0002007f, 0};
	r[3] = (struct brp_request){BRP_OP_WRITE_ZEROES, 1, 0x00030003, 0x30, 1u << 28, 0, 0};
	r[4] = (struct brp_request){BRP_OP_DISCARD, 0, 0x00040004, 0x40, UINT32_MAX, 0, 0};
	r[5] = (struct brp_request){BRP_OP_WRITE, 2, 0x00050005, 0x50, 2, 0, 752};
	r[6] = (struct brp_request){BRP_OP_FLUSH, 0, 0x00060006, 0, 0, 0, 0};
}

/* The whole of golden/jumbo.hex; buf has room for 1776 bytes. */
static inline size_t sample_jumbo(uint8_t *buf)
{
	struct brp_request r[SAMPLE_REQUESTS];

	sample_requests(r);
	for (size_t i = 0; i < SAMPLE_REQUESTS; i++)
		brp_encode_request(buf + BRP_HEADER_BYTES + i * BRP_REQUEST_BYTES, &r[i]);
	memset(buf + 240, 0xaa, 512);
	memset(buf + 752, 0xbb, 1024);
	brp_encode_jumbo_header(buf, SAMPLE_EPOCH_LOW, SAMPLE_REQUESTS, 1536);
	return 1776;
}

#define SAMPLE_COMPLETIONS 3

static inline void sample_completions(struct brp_completion *c)
{
	c[0] = (struct brp_completion){0x00010000, BRP_ST_OK};
	c[1] = (struct brp_completion){0x0002007f, BRP_ST_NO_SPACE};
	c[2] = (struct brp_completion){0xffff0001, 0xbeef};
}

static inline size_t sample_response(uint8_t *buf)
{
	struct brp_completion c[SAMPLE_COMPLETIONS];

	sample_completions(c);
	for (size_t i = 0; i < SAMPLE_COMPLETIONS; i++)
		brp_encode_completion(buf + BRP_HEADER_BYTES + i * BRP_COMPLETION_BYTES, &c[i]);
	brp_encode_response_header(buf, SAMPLE_EPOCH_LOW, SAMPLE_COMPLETIONS, 0);
	return 64;
}

/* sample_limits() with BRP_FEATURE_READ_DATA. */
static inline struct brp_limits sample_read_data_limits(void)
{
	struct brp_limits lim = sample_limits();

	lim.has_read_data = true;
	return lim;
}

#define SAMPLE_DATA_COMPLETIONS 4

static inline void sample_data_completions(struct brp_completion *c)
{
	c[0] = (struct brp_completion){0x00010000, BRP_ST_OK, 512, 80};
	c[1] = (struct brp_completion){0x0002007f, BRP_ST_IO_ERROR};
	c[2] = (struct brp_completion){0x00030003, BRP_ST_OK};
	c[3] = (struct brp_completion){0xffff0001, BRP_ST_OK, 1024, 592};
}

/* The whole of golden/response_data.hex; buf has room for 1616 bytes. */
static inline size_t sample_response_data(uint8_t *buf)
{
	struct brp_completion c[SAMPLE_DATA_COMPLETIONS];

	sample_data_completions(c);
	for (size_t i = 0; i < SAMPLE_DATA_COMPLETIONS; i++)
		brp_encode_completion(buf + BRP_HEADER_BYTES + i * BRP_COMPLETION_BYTES, &c[i]);
	memset(buf + 80, 0xcc, 512);
	memset(buf + 592, 0xdd, 1024);
	brp_encode_response_header(buf, SAMPLE_EPOCH_LOW, SAMPLE_DATA_COMPLETIONS, 1536);
	return 1616;
}

static inline struct brp_event_msg sample_event(void)
{
	return (struct brp_event_msg){BRP_EV_RESIZED, SAMPLE_SIZE, 0x4142434445464748};
}

static inline struct brp_goodbye sample_goodbye(void)
{
	return (struct brp_goodbye){BRP_ST_PROTOCOL, "tag in flight"};
}

#define SAME(field)      (a->field == b->field)
#define SAME_UUID(field) (memcmp(a->field.b, b->field.b, 16) == 0)
#define SAME_TEXT(field) (memcmp(a->field, b->field, sizeof(a->field)) == 0)

static inline bool same_hello(const struct brp_hello *a, const struct brp_hello *b)
{
	return SAME(version_min) && SAME(version_max) && SAME(features_offered) &&
	       SAME(features_required);
}

static inline bool same_hello_reply(const struct brp_hello_reply *a,
				    const struct brp_hello_reply *b)
{
	return SAME(status) && SAME(version) && SAME(max_message_bytes) && SAME(features) &&
	       SAME_UUID(boot_id);
}

static inline bool same_login(const struct brp_login *a, const struct brp_login *b)
{
	return SAME_UUID(host_uuid) && SAME_UUID(session_uuid) && SAME(epoch) &&
	       SAME(queue_index) && SAME(queue_count) && SAME(queue_depth) && SAME(keepalive_ms) &&
	       SAME(flags) && SAME_UUID(volume_uuid) && SAME_TEXT(volume_name) &&
	       SAME_TEXT(host_name);
}

static inline bool same_login_reply(const struct brp_login_reply *a,
				    const struct brp_login_reply *b)
{
	return SAME(status) && SAME(max_requests) && SAME(queue_depth) && SAME_UUID(volume_uuid) &&
	       SAME(generation) && SAME_UUID(boot_id) && SAME(size_blocks) && SAME(block_bytes) &&
	       SAME(max_transfer_bytes) && SAME(in_capsule_bytes) && SAME(volume_flags) &&
	       SAME(cache) && SAME(epoch) && SAME(keepalive_ms) && SAME(preferred_io_bytes) &&
	       SAME_TEXT(reason);
}

static inline bool same_list_reply(const struct brp_list_reply *a, const struct brp_list_reply *b)
{
	return SAME(status) && SAME(total) && SAME(first) && SAME(count);
}

static inline bool same_list_entry(const struct brp_list_entry *a, const struct brp_list_entry *b)
{
	return SAME_UUID(uuid) && SAME(size_blocks) && SAME(block_bytes) && SAME(volume_flags) &&
	       SAME(generation) && SAME(cache) && SAME_TEXT(name);
}

static inline bool same_request(const struct brp_request *a, const struct brp_request *b)
{
	return SAME(op) && SAME(flags) && SAME(tag) && SAME(lba) && SAME(blocks) && SAME(key) &&
	       SAME(addr);
}

static inline bool same_completion(const struct brp_completion *a, const struct brp_completion *b)
{
	return SAME(tag) && SAME(status) && SAME(data_bytes) && SAME(data_offset);
}

static inline bool same_event(const struct brp_event_msg *a, const struct brp_event_msg *b)
{
	return SAME(kind) && SAME(size_blocks) && SAME(generation);
}

static inline bool same_goodbye(const struct brp_goodbye *a, const struct brp_goodbye *b)
{
	return SAME(status) && SAME_TEXT(text);
}

static inline bool same_frame(const struct brp_frame *a, const struct brp_frame *b)
{
	return SAME(type) && SAME(flags) && SAME(length_bytes) && SAME(key) && SAME(offset);
}

static inline bool same_cm_data(const struct brp_cm_data *a, const struct brp_cm_data *b)
{
	return SAME(recv_count) && SAME(recv_bytes);
}

#undef SAME
#undef SAME_UUID
#undef SAME_TEXT

#endif
