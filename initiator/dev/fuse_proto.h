/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel asks over /dev/fuse (linux/fuse.h) and what it means for a volume. Pure: bytes
 * in, a decision out.
 *
 * The file system has two inodes: the root folder and in it one regular file, the image, which is
 * as long as the volume. Looking it up tells its size, so the kernel never sees it with another.
 */
#ifndef INITIATOR_DEV_FUSE_PROTO_H
#define INITIATOR_DEV_FUSE_PROTO_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "brp/brp.h"

/* What stands before the data of a WRITE. */
#define FUSE_HEAD_BYTES (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

#define FUSE_MAX_IO_BYTES (1u << 20) /* 256 pages: the most that kernels take unasked */
#define FUSE_IMAGE_INODE  2u

struct fuse_volume {
	const char *image; /* name of the file */
	uint64_t size_bytes;
	uint32_t block_bytes;
	uint16_t max_background; /* requests of asynchronous I/O the kernel may send at once */
	bool is_read_only;
	bool is_write_back;
	bool has_write_zeroes;
};

enum fuse_action {
	FUSE_ACT_ANSWER, /* `error`, or out_bytes of the answer */
	FUSE_ACT_IO,     /* then `error`, or the data of a READ */
	FUSE_ACT_NOTHING,
};

union fuse_answer {
	struct fuse_init_out init;
	struct fuse_entry_out entry;
	struct fuse_attr_out attr;
	struct fuse_open_out open;
	struct fuse_statfs_out statfs;
};

struct fuse_decision {
	enum fuse_action action;
	int error; /* 0 or negative errno */
	uint64_t unique;

	/* FUSE_ACT_ANSWER */
	uint32_t out_bytes;
	union fuse_answer out;

	/* FUSE_ACT_IO */
	enum brp_io_op op;
	uint64_t offset;
	uint64_t bytes; /* of a WRITE: they follow the first FUSE_HEAD_BYTES */
};

/*
 * buf: one message of the kernel, `bytes` long, of which at least FUSE_HEAD_BYTES and everything
 * but a WRITE's data is there. Negative: not a message (the connection makes no sense any more).
 */
int fuse_decode(const void *buf, size_t bytes, const struct fuse_volume *v,
		struct fuse_decision *ret_decision);

#endif
