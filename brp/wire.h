/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of protocol.md as byte arrays; the comment in front of a struct names its section.
 * Only brp/codec*.c include this. A field named reserved* is sent as zero and refused when it is
 * not.
 */
#ifndef BRP_WIRE_H
#define BRP_WIRE_H

#include <assert.h>
#include <stddef.h>

#include "brp/byteorder.h"
#include "brp/proto.h"

#define BRP_WIRE_SIZE(type, size) static_assert(sizeof(type) == (size), #type " has another size")
#define BRP_WIRE_AT(type, field, offset) \
	static_assert(offsetof(type, field) == (offset), #type "." #field " is elsewhere")

#define BRP_WIRE_HELLO_MAGIC "BRPHELLO" /* 4.1 */
#define BRP_WIRE_CM_MAGIC    "BRPc"     /* 2.2 */
#define BRP_WIRE_CM_VERSION  1

/* Every message begins with this. 3. */
struct brp_wire_header {
	uint8_t type;
	uint8_t flags;
	brp_le16 count;
	brp_le32 length;
	brp_le32 epoch;
	uint8_t reserved[4];
};
BRP_WIRE_SIZE(struct brp_wire_header, 16);
BRP_WIRE_AT(struct brp_wire_header, type, 0);
BRP_WIRE_AT(struct brp_wire_header, flags, 1);
BRP_WIRE_AT(struct brp_wire_header, count, 2);
BRP_WIRE_AT(struct brp_wire_header, length, 4);
BRP_WIRE_AT(struct brp_wire_header, epoch, 8);
BRP_WIRE_AT(struct brp_wire_header, reserved, 12);
static_assert(BRP_HEADER_BYTES == 16, "proto.h and wire.h agree");

/* 4.1 */
struct brp_wire_hello {
	struct brp_wire_header h;
	uint8_t magic[8];
	brp_le16 version_min;
	brp_le16 version_max;
	uint8_t reserved1[4];
	brp_le64 features_offered;
	brp_le64 features_required;
	uint8_t reserved2[16];
};
BRP_WIRE_SIZE(struct brp_wire_hello, 64);
BRP_WIRE_AT(struct brp_wire_hello, magic, 16);
BRP_WIRE_AT(struct brp_wire_hello, version_min, 24);
BRP_WIRE_AT(struct brp_wire_hello, version_max, 26);
BRP_WIRE_AT(struct brp_wire_hello, reserved1, 28);
BRP_WIRE_AT(struct brp_wire_hello, features_offered, 32);
BRP_WIRE_AT(struct brp_wire_hello, features_required, 40);
BRP_WIRE_AT(struct brp_wire_hello, reserved2, 48);

/* 4.1 */
struct brp_wire_hello_reply {
	struct brp_wire_header h;
	uint8_t magic[8];
	brp_le16 status;
	brp_le16 version;
	brp_le32 max_message;
	brp_le64 features;
	uint8_t boot_id[16];
	uint8_t reserved[8];
};
BRP_WIRE_SIZE(struct brp_wire_hello_reply, 64);
BRP_WIRE_AT(struct brp_wire_hello_reply, magic, 16);
BRP_WIRE_AT(struct brp_wire_hello_reply, status, 24);
BRP_WIRE_AT(struct brp_wire_hello_reply, version, 26);
BRP_WIRE_AT(struct brp_wire_hello_reply, max_message, 28);
BRP_WIRE_AT(struct brp_wire_hello_reply, features, 32);
BRP_WIRE_AT(struct brp_wire_hello_reply, boot_id, 40);
BRP_WIRE_AT(struct brp_wire_hello_reply, reserved, 56);

/* 4.2 */
struct brp_wire_login {
	struct brp_wire_header h;
	uint8_t host_uuid[16];
	uint8_t session_uuid[16];
	brp_le64 epoch;
	brp_le16 queue_index;
	brp_le16 queue_count;
	brp_le32 queue_depth;
	brp_le32 keepalive_ms;
	brp_le32 flags;
	uint8_t volume_uuid[16];
	char volume_name[BRP_VOLUME_NAME_BYTES];
	char host_name[BRP_HOST_NAME_BYTES];
	uint8_t reserved[8];
};
BRP_WIRE_SIZE(struct brp_wire_login, 288);
BRP_WIRE_AT(struct brp_wire_login, host_uuid, 16);
BRP_WIRE_AT(struct brp_wire_login, session_uuid, 32);
BRP_WIRE_AT(struct brp_wire_login, epoch, 48);
BRP_WIRE_AT(struct brp_wire_login, queue_index, 56);
BRP_WIRE_AT(struct brp_wire_login, queue_count, 58);
BRP_WIRE_AT(struct brp_wire_login, queue_depth, 60);
BRP_WIRE_AT(struct brp_wire_login, keepalive_ms, 64);
BRP_WIRE_AT(struct brp_wire_login, flags, 68);
BRP_WIRE_AT(struct brp_wire_login, volume_uuid, 72);
BRP_WIRE_AT(struct brp_wire_login, volume_name, 88);
BRP_WIRE_AT(struct brp_wire_login, host_name, 216);
BRP_WIRE_AT(struct brp_wire_login, reserved, 280);

/* 4.2 */
struct brp_wire_login_reply {
	struct brp_wire_header h;
	brp_le16 status;
	brp_le16 max_requests;
	brp_le32 queue_depth;
	uint8_t volume_uuid[16];
	brp_le64 generation;
	uint8_t boot_id[16];
	brp_le64 size_blocks;
	brp_le32 block_bytes;
	brp_le32 max_transfer_bytes;
	brp_le32 in_capsule_bytes;
	brp_le32 volume_flags;
	uint8_t cache;
	uint8_t reserved1[7];
	brp_le64 epoch;
	brp_le32 keepalive_ms;
	brp_le32 preferred_io_bytes;
	uint8_t one_sided_base[8];
	uint8_t one_sided_key[4];
	uint8_t reserved2[4];
	char reason[BRP_REASON_BYTES];
};
BRP_WIRE_SIZE(struct brp_wire_login_reply, 256);
BRP_WIRE_AT(struct brp_wire_login_reply, status, 16);
BRP_WIRE_AT(struct brp_wire_login_reply, max_requests, 18);
BRP_WIRE_AT(struct brp_wire_login_reply, queue_depth, 20);
BRP_WIRE_AT(struct brp_wire_login_reply, volume_uuid, 24);
BRP_WIRE_AT(struct brp_wire_login_reply, generation, 40);
BRP_WIRE_AT(struct brp_wire_login_reply, boot_id, 48);
BRP_WIRE_AT(struct brp_wire_login_reply, size_blocks, 64);
BRP_WIRE_AT(struct brp_wire_login_reply, block_bytes, 72);
BRP_WIRE_AT(struct brp_wire_login_reply, max_transfer_bytes, 76);
BRP_WIRE_AT(struct brp_wire_login_reply, in_capsule_bytes, 80);
BRP_WIRE_AT(struct brp_wire_login_reply, volume_flags, 84);
BRP_WIRE_AT(struct brp_wire_login_reply, cache, 88);
BRP_WIRE_AT(struct brp_wire_login_reply, reserved1, 89);
BRP_WIRE_AT(struct brp_wire_login_reply, epoch, 96);
BRP_WIRE_AT(struct brp_wire_login_reply, keepalive_ms, 104);
BRP_WIRE_AT(struct brp_wire_login_reply, preferred_io_bytes, 108);
BRP_WIRE_AT(struct brp_wire_login_reply, one_sided_base, 112);
BRP_WIRE_AT(struct brp_wire_login_reply, one_sided_key, 120);
BRP_WIRE_AT(struct brp_wire_login_reply, reserved2, 124);
BRP_WIRE_AT(struct brp_wire_login_reply, reason, 128);

/* 4.3 */
struct brp_wire_list {
	struct brp_wire_header h;
	brp_le32 first;
	uint8_t reserved[12];
};
BRP_WIRE_SIZE(struct brp_wire_list, 32);
BRP_WIRE_AT(struct brp_wire_list, first, 16);
BRP_WIRE_AT(struct brp_wire_list, reserved, 20);

/* 4.3; the entries follow */
struct brp_wire_list_reply {
	struct brp_wire_header h;
	brp_le16 status;
	uint8_t reserved1[2];
	brp_le32 total;
	brp_le32 first;
	uint8_t reserved2[4];
};
BRP_WIRE_SIZE(struct brp_wire_list_reply, 32);
BRP_WIRE_AT(struct brp_wire_list_reply, status, 16);
BRP_WIRE_AT(struct brp_wire_list_reply, reserved1, 18);
BRP_WIRE_AT(struct brp_wire_list_reply, total, 20);
BRP_WIRE_AT(struct brp_wire_list_reply, first, 24);
BRP_WIRE_AT(struct brp_wire_list_reply, reserved2, 28);

/* 4.3 */
struct brp_wire_list_entry {
	uint8_t uuid[16];
	brp_le64 size_blocks;
	brp_le32 block_bytes;
	brp_le32 volume_flags;
	brp_le64 generation;
	uint8_t cache;
	uint8_t reserved[23];
	char name[BRP_VOLUME_NAME_BYTES];
};
BRP_WIRE_SIZE(struct brp_wire_list_entry, 192);
BRP_WIRE_AT(struct brp_wire_list_entry, uuid, 0);
BRP_WIRE_AT(struct brp_wire_list_entry, size_blocks, 16);
BRP_WIRE_AT(struct brp_wire_list_entry, block_bytes, 24);
BRP_WIRE_AT(struct brp_wire_list_entry, volume_flags, 28);
BRP_WIRE_AT(struct brp_wire_list_entry, generation, 32);
BRP_WIRE_AT(struct brp_wire_list_entry, cache, 40);
BRP_WIRE_AT(struct brp_wire_list_entry, reserved, 41);
BRP_WIRE_AT(struct brp_wire_list_entry, name, 64);

/* One request of a JUMBO. 5.1 */
struct brp_wire_request {
	uint8_t op;
	uint8_t flags;
	uint8_t reserved[2];
	brp_le32 tag;
	brp_le64 lba;
	brp_le32 blocks;
	brp_le32 key;
	brp_le64 addr;
};
BRP_WIRE_SIZE(struct brp_wire_request, 32);
BRP_WIRE_AT(struct brp_wire_request, op, 0);
BRP_WIRE_AT(struct brp_wire_request, flags, 1);
BRP_WIRE_AT(struct brp_wire_request, reserved, 2);
BRP_WIRE_AT(struct brp_wire_request, tag, 4);
BRP_WIRE_AT(struct brp_wire_request, lba, 8);
BRP_WIRE_AT(struct brp_wire_request, blocks, 16);
BRP_WIRE_AT(struct brp_wire_request, key, 20);
BRP_WIRE_AT(struct brp_wire_request, addr, 24);
static_assert(BRP_REQUEST_BYTES == 32, "proto.h and wire.h agree");

/* One completion of a RESPONSE. 5.2 */
struct brp_wire_completion {
	brp_le32 tag;
	brp_le16 status;
	uint8_t reserved[2];
	brp_le32 data_bytes;
	brp_le32 data_offset;
};
BRP_WIRE_SIZE(struct brp_wire_completion, 16);
BRP_WIRE_AT(struct brp_wire_completion, tag, 0);
BRP_WIRE_AT(struct brp_wire_completion, status, 4);
BRP_WIRE_AT(struct brp_wire_completion, reserved, 6);
BRP_WIRE_AT(struct brp_wire_completion, data_bytes, 8);
BRP_WIRE_AT(struct brp_wire_completion, data_offset, 12);
static_assert(BRP_COMPLETION_BYTES == 16, "proto.h and wire.h agree");

/* 6.1 */
struct brp_wire_keepalive {
	struct brp_wire_header h;
	brp_le64 sequence;
};
BRP_WIRE_SIZE(struct brp_wire_keepalive, 24);
BRP_WIRE_AT(struct brp_wire_keepalive, sequence, 16);

/* 6.2 */
struct brp_wire_event {
	struct brp_wire_header h;
	brp_le16 kind;
	uint8_t reserved1[6];
	brp_le64 size_blocks;
	brp_le64 generation;
	uint8_t reserved2[8];
};
BRP_WIRE_SIZE(struct brp_wire_event, 48);
BRP_WIRE_AT(struct brp_wire_event, kind, 16);
BRP_WIRE_AT(struct brp_wire_event, reserved1, 18);
BRP_WIRE_AT(struct brp_wire_event, size_blocks, 24);
BRP_WIRE_AT(struct brp_wire_event, generation, 32);
BRP_WIRE_AT(struct brp_wire_event, reserved2, 40);

/* 6.3 */
struct brp_wire_goodbye {
	struct brp_wire_header h;
	brp_le16 status;
	uint8_t reserved[6];
	char text[BRP_GOODBYE_BYTES];
};
BRP_WIRE_SIZE(struct brp_wire_goodbye, 128);
BRP_WIRE_AT(struct brp_wire_goodbye, status, 16);
BRP_WIRE_AT(struct brp_wire_goodbye, reserved, 18);
BRP_WIRE_AT(struct brp_wire_goodbye, text, 24);

/* TCP frame header. 2.1 */
struct brp_wire_frame {
	uint8_t type;
	uint8_t flags;
	uint8_t reserved[2];
	brp_le32 length;
	brp_le32 key;
	brp_le32 offset;
};
BRP_WIRE_SIZE(struct brp_wire_frame, 16);
BRP_WIRE_AT(struct brp_wire_frame, type, 0);
BRP_WIRE_AT(struct brp_wire_frame, flags, 1);
BRP_WIRE_AT(struct brp_wire_frame, reserved, 2);
BRP_WIRE_AT(struct brp_wire_frame, length, 4);
BRP_WIRE_AT(struct brp_wire_frame, key, 8);
BRP_WIRE_AT(struct brp_wire_frame, offset, 12);
static_assert(BRP_FRAME_BYTES == 16, "proto.h and wire.h agree");

/* Between a frame's header and its payload. 2.1 */
struct brp_wire_digests {
	brp_le32 header;
	brp_le32 payload;
};
BRP_WIRE_SIZE(struct brp_wire_digests, 8);
BRP_WIRE_AT(struct brp_wire_digests, header, 0);
BRP_WIRE_AT(struct brp_wire_digests, payload, 4);
static_assert(BRP_DIGESTS_BYTES == 8, "proto.h and wire.h agree");

/* RDMA private data. 2.2 */
struct brp_wire_cm_data {
	uint8_t magic[4];
	brp_le16 version;
	uint8_t reserved1[2];
	brp_le32 recv_count;
	brp_le32 recv_bytes;
	uint8_t reserved2[8];
};
BRP_WIRE_SIZE(struct brp_wire_cm_data, 24);
BRP_WIRE_AT(struct brp_wire_cm_data, magic, 0);
BRP_WIRE_AT(struct brp_wire_cm_data, version, 4);
BRP_WIRE_AT(struct brp_wire_cm_data, reserved1, 6);
BRP_WIRE_AT(struct brp_wire_cm_data, recv_count, 8);
BRP_WIRE_AT(struct brp_wire_cm_data, recv_bytes, 12);
BRP_WIRE_AT(struct brp_wire_cm_data, reserved2, 16);
static_assert(BRP_CM_DATA_BYTES == 24, "proto.h and wire.h agree");

#endif
