/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The protocol as the rest of BRP sees it: limits, codes and messages in host form. Nothing here
 * has wire layout; brp/wire.h has that and only brp/codec*.c include it. Pure: no I/O, no threads,
 * no allocation.
 */
#ifndef BRP_PROTO_H
#define BRP_PROTO_H

#include <stdbool.h>
#include <stdint.h>

/* protocol.md 1 */
#define BRP_DEFAULT_PORT             10277
#define BRP_VERSION                  1
#define BRP_MAX_TARGET_MSG_BYTES     69632u /* towards the target    */
#define BRP_MAX_INITIATOR_MSG_BYTES  4096u  /* towards the initiator */
#define BRP_MAX_JUMBO_REQUESTS       64u
#define BRP_MAX_CAPSULE_BYTES        65536u /* in-capsule data of one message */
#define BRP_DEFAULT_IN_CAPSULE_BYTES 4096u  /* in-capsule data of one request */
#define BRP_DEFAULT_TRANSFER_BYTES   (1u << 20)
#define BRP_MAX_QUEUE_DEPTH          4096u
#define BRP_MAX_QUEUES               256u
#define BRP_MIN_BLOCK_BYTES          512u
#define BRP_MAX_BLOCK_BYTES          65536u
#define BRP_MAX_RESPONSES            64u /* completions in one RESPONSE */
#define BRP_MAX_LIST_ENTRIES         20u
#define BRP_SETUP_TIMEOUT_MS         10000u

/* Sizes of text fields, terminating zero included. */
#define BRP_VOLUME_NAME_BYTES 128
#define BRP_HOST_NAME_BYTES   64
#define BRP_REASON_BYTES      128
#define BRP_GOODBYE_BYTES     104

#define BRP_HEADER_BYTES     16u /* also: what a message has at least */
#define BRP_REQUEST_BYTES    32u
#define BRP_COMPLETION_BYTES 16u
#define BRP_FRAME_BYTES      16u /* TCP frame header, 2.1 */
#define BRP_DIGESTS_BYTES    8u  /* behind it with BRP_FEATURE_DIGEST, 2.1 */
#define BRP_CM_DATA_BYTES    24u /* RDMA private data, 2.2 */

struct brp_uuid {
	uint8_t b[16];
};

enum brp_msg_type {
	BRP_MSG_HELLO = 1,
	BRP_MSG_HELLO_REPLY = 2,
	BRP_MSG_LOGIN = 3,
	BRP_MSG_LOGIN_REPLY = 4,
	BRP_MSG_LIST = 5,
	BRP_MSG_LIST_REPLY = 6,
	BRP_MSG_JUMBO = 7,
	BRP_MSG_RESPONSE = 8,
	BRP_MSG_KEEPALIVE = 9,
	BRP_MSG_KEEPALIVE_REPLY = 10,
	BRP_MSG_EVENT = 11,
	BRP_MSG_GOODBYE = 12,
};

enum brp_op {
	BRP_OP_READ = 1,
	BRP_OP_WRITE = 2,
	BRP_OP_WRITE_ZEROES = 3,
	BRP_OP_DISCARD = 4,
	BRP_OP_FLUSH = 5,
};

/* Feature bits of HELLO, 4.1. */
#define BRP_FEATURE_DIGEST    0x01u
#define BRP_FEATURE_READ_DATA 0x02u

/* Request flags, 5.1. */
#define BRP_REQ_FUA        0x01u
#define BRP_REQ_IN_CAPSULE 0x02u

/* Login flags, 4.2. */
#define BRP_LOGIN_READ_ONLY 0x01u
#define BRP_LOGIN_BY_UUID   0x02u

/* Volume flags, 4.2. */
#define BRP_VOL_READ_ONLY    0x01u
#define BRP_VOL_DISCARD      0x02u
#define BRP_VOL_WRITE_ZEROES 0x04u
#define BRP_VOL_FUA          0x08u

enum brp_cache_mode {
	BRP_CACHE_WRITE_THROUGH = 0, /* acknowledged is stable */
	BRP_CACHE_WRITE_BACK = 1,    /* stable after FLUSH or FUA */
};

enum brp_event_code {
	BRP_EV_RESIZED = 1,
	BRP_EV_REMOVED = 2,
	BRP_EV_GOING_DOWN = 3,
};

/* Status codes, 7. */
enum brp_status_code {
	BRP_ST_OK = 0,
	BRP_ST_IO_ERROR = 1,
	BRP_ST_OUT_OF_RANGE = 2,
	BRP_ST_INVALID = 3,
	BRP_ST_NOT_SUPPORTED = 4,
	BRP_ST_READ_ONLY = 5,
	BRP_ST_NO_SPACE = 6,
	BRP_ST_NO_RESOURCES = 7,
	BRP_ST_NO_VOLUME = 8,
	BRP_ST_BAD_VERSION = 9,
	BRP_ST_STALE_EPOCH = 10,
	BRP_ST_DENIED = 11,
	BRP_ST_GONE = 12,
	BRP_ST_BUSY = 13,
	BRP_ST_SHUTTING_DOWN = 14,
	BRP_ST_PROTOCOL = 15,
	BRP_ST_COUNT
};

/* Tag = generation << 16 | index, 5.1. */
static inline uint32_t brp_tag(uint16_t generation, uint16_t index)
{
	return (uint32_t)generation << 16 | index;
}

static inline uint16_t brp_tag_index(uint32_t tag)
{
	return (uint16_t)tag;
}

/* One that may have been sent before its sender knew of the login's end: its epoch says nothing,
 * 6.1. */
static inline bool brp_is_keepalive(enum brp_msg_type type)
{
	return type == BRP_MSG_KEEPALIVE || type == BRP_MSG_KEEPALIVE_REPLY;
}

struct brp_header {
	enum brp_msg_type type;
	uint16_t count;
	uint32_t length_bytes;
	uint32_t epoch; /* low 32 bits */
};

struct brp_hello {
	uint16_t version_min;
	uint16_t version_max;
	uint64_t features_offered;
	uint64_t features_required;
};

struct brp_hello_reply {
	uint16_t status;
	uint16_t version;
	uint32_t max_message_bytes;
	uint64_t features;
	struct brp_uuid boot_id;
};

struct brp_login {
	struct brp_uuid host_uuid;
	struct brp_uuid session_uuid;
	uint64_t epoch;
	uint16_t queue_index;
	uint16_t queue_count;
	uint32_t queue_depth;
	uint32_t keepalive_ms;
	uint32_t flags; /* BRP_LOGIN_* */
	struct brp_uuid volume_uuid;
	char volume_name[BRP_VOLUME_NAME_BYTES];
	char host_name[BRP_HOST_NAME_BYTES];
};

struct brp_login_reply {
	uint16_t status;
	uint16_t max_requests; /* per jumbo command */
	uint32_t queue_depth;
	struct brp_uuid volume_uuid;
	uint64_t generation;
	struct brp_uuid boot_id;
	uint64_t size_blocks;
	uint32_t block_bytes;
	uint32_t max_transfer_bytes;
	uint32_t in_capsule_bytes;
	uint32_t volume_flags; /* BRP_VOL_* */
	enum brp_cache_mode cache;
	uint64_t epoch;
	uint32_t keepalive_ms;
	uint32_t preferred_io_bytes;
	char reason[BRP_REASON_BYTES];
};

struct brp_list {
	uint32_t first;
};

struct brp_list_entry {
	struct brp_uuid uuid;
	uint64_t size_blocks;
	uint32_t block_bytes;
	uint32_t volume_flags;
	uint64_t generation;
	enum brp_cache_mode cache;
	char name[BRP_VOLUME_NAME_BYTES];
};

struct brp_list_reply {
	uint16_t status;
	uint32_t total;
	uint32_t first;
	uint32_t count; /* entries in this message */
};

struct brp_request {
	uint8_t op;    /* as received; brp_check_request() knows which are valid */
	uint8_t flags; /* BRP_REQ_* */
	uint32_t tag;
	uint64_t lba;
	uint32_t blocks;
	uint32_t key;
	uint64_t addr;
};

struct brp_completion {
	uint32_t tag;
	uint16_t status;
	uint32_t data_bytes;  /* of a READ, inside the message; 0: none */
	uint32_t data_offset; /* of them from the start of the message; 0 without */
};

struct brp_keepalive {
	uint64_t sequence;
};

struct brp_event_msg {
	uint16_t kind;
	uint64_t size_blocks;
	uint64_t generation;
};

struct brp_goodbye {
	uint16_t status;
	char text[BRP_GOODBYE_BYTES];
};

/* TCP frame, 2.1. */
enum brp_frame_type {
	BRP_FRAME_MESSAGE = 1,
	BRP_FRAME_DATA = 2,
};
#define BRP_FRAME_NOTICE 0x01u

struct brp_frame {
	enum brp_frame_type type;
	uint8_t flags;
	uint32_t length_bytes;
	uint32_t key;
	uint32_t offset;
};

/* CRC32C each, 2.1. */
struct brp_digests {
	uint32_t header;  /* of the frame header */
	uint32_t payload; /* of the length_bytes behind the digests */
};

/* RDMA connection manager private data, 2.2. */
struct brp_cm_data {
	uint32_t recv_count;
	uint32_t recv_bytes;
};

#endif
