/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel asks over /dev/fuse and what it means for a volume. */
#include <criterion/criterion.h>

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "initiator/dev/fuse_proto.h"

static const struct fuse_volume volume = {
	.image = "vol",
	.size_bytes = 64u << 20,
	.block_bytes = 4096,
	.max_background = 256,
	.is_write_back = true,
	.has_write_zeroes = true,
};

static union {
	struct fuse_in_header head;
	char bytes[4096];
} message;

static struct fuse_decision ask_of(const struct fuse_volume *v, uint32_t opcode, uint64_t nodeid,
				   const void *body, size_t body_bytes)
{
	struct fuse_decision d;

	message.head = (struct fuse_in_header){
		.len = (uint32_t)(sizeof(message.head) + body_bytes),
		.opcode = opcode,
		.unique = 42,
		.nodeid = nodeid,
	};
	memcpy(message.bytes + sizeof(message.head), body, body_bytes);
	cr_assert_eq(fuse_decode(&message, message.head.len, v, &d), 0);
	cr_assert_eq(d.unique, 42);
	return d;
}

static struct fuse_decision ask(uint32_t opcode, uint64_t nodeid, const void *body,
				size_t body_bytes)
{
	return ask_of(&volume, opcode, nodeid, body, body_bytes);
}

Test(fuse_proto, init_takes_what_both_have)
{
	const struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION + 5,
		.flags = ~(uint32_t)FUSE_BIG_WRITES,
	};
	struct fuse_decision d = ask(FUSE_INIT, 0, &in, sizeof(in));

	cr_assert_eq(d.action, FUSE_ACT_ANSWER);
	cr_assert_eq(d.error, 0);
	cr_assert_eq(d.out_bytes, sizeof(struct fuse_init_out));
	cr_assert_eq(d.out.init.minor, FUSE_KERNEL_MINOR_VERSION);
	cr_assert_eq(d.out.init.flags, FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_MAX_PAGES);
	cr_assert_eq(d.out.init.max_write, FUSE_MAX_IO_BYTES);
	cr_assert_eq(d.out.init.max_background, 256);
}

/* The fields up to flags are all that Linux 5.2 sends. */
Test(fuse_proto, init_of_an_older_kernel)
{
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = 31};
	struct fuse_decision d = ask(FUSE_INIT, 0, &in, 16);

	cr_assert_eq(d.error, 0);
	cr_assert_eq(d.out.init.minor, 31);
	in.minor = 30;
	cr_assert_eq(ask(FUSE_INIT, 0, &in, 16).error, -EPROTO);
	cr_assert_eq(ask(FUSE_INIT, 0, &in, 12).error, -EINVAL);
}

/* loop takes its size from what the look-up told: it must be there from the first answer on. */
Test(fuse_proto, lookup_tells_the_size)
{
	struct fuse_decision d = ask(FUSE_LOOKUP, FUSE_ROOT_ID, "vol", 4);

	cr_assert_eq(d.error, 0);
	cr_assert_eq(d.out.entry.nodeid, FUSE_IMAGE_INODE);
	cr_assert_eq(d.out.entry.attr.size, volume.size_bytes);
	cr_assert(S_ISREG(d.out.entry.attr.mode));
	cr_assert_eq(ask(FUSE_LOOKUP, FUSE_ROOT_ID, "other", 6).error, -ENOENT);
	cr_assert_eq(ask(FUSE_LOOKUP, FUSE_IMAGE_INODE, "vol", 4).error, -ENOENT);
	cr_assert_eq(ask(FUSE_LOOKUP, FUSE_ROOT_ID, "vol", 3).error, -ENOENT, "no end");
	cr_assert_eq(ask(FUSE_LOOKUP, FUSE_ROOT_ID, "", 0).error, -ENOENT);
}

Test(fuse_proto, attributes)
{
	struct fuse_volume read_only = volume;
	struct fuse_decision d = ask(FUSE_GETATTR, FUSE_ROOT_ID, "", 0);

	cr_assert(S_ISDIR(d.out.attr.attr.mode));
	d = ask(FUSE_GETATTR, FUSE_IMAGE_INODE, "", 0);
	cr_assert_eq(d.out.attr.attr.size, volume.size_bytes);
	cr_assert_eq(d.out.attr.attr.mode & 0777, 0600);
	read_only.is_read_only = true;
	d = ask_of(&read_only, FUSE_GETATTR, FUSE_IMAGE_INODE, "", 0);
	cr_assert_eq(d.out.attr.attr.mode & 0777, 0400);
}

Test(fuse_proto, open_goes_around_the_page_cache)
{
	struct fuse_decision d = ask(FUSE_OPEN, FUSE_IMAGE_INODE, "", 0);

	cr_assert_eq(d.error, 0);
	cr_assert(d.out.open.open_flags & FOPEN_DIRECT_IO);
}

Test(fuse_proto, read)
{
	struct fuse_read_in in = {.offset = 8192, .size = 4096};
	struct fuse_decision d = ask(FUSE_READ, FUSE_IMAGE_INODE, &in, sizeof(in));

	cr_assert_eq(d.action, FUSE_ACT_IO);
	cr_assert_eq(d.op, BRP_READ);
	cr_assert_eq(d.offset, 8192);
	cr_assert_eq(d.bytes, 4096);
	in.size = FUSE_MAX_IO_BYTES + 1;
	cr_assert_eq(ask(FUSE_READ, FUSE_IMAGE_INODE, &in, sizeof(in)).error, -EINVAL);
	cr_assert_eq(ask(FUSE_READ, FUSE_IMAGE_INODE, &in, sizeof(in) - 1).error, -EINVAL);
	in.size = 0;
	d = ask(FUSE_READ, FUSE_IMAGE_INODE, &in, sizeof(in));
	cr_assert_eq(d.action, FUSE_ACT_ANSWER);
	cr_assert_eq(d.error, 0);
}

Test(fuse_proto, write_carries_as_much_as_it_says)
{
	struct {
		struct fuse_write_in in;
		char data[512];
	} body = {.in = {.offset = 4096, .size = 512}};
	struct fuse_decision d = ask(FUSE_WRITE, FUSE_IMAGE_INODE, &body, sizeof(body));

	cr_assert_eq(d.action, FUSE_ACT_IO);
	cr_assert_eq(d.op, BRP_WRITE);
	cr_assert_eq(d.offset, 4096);
	cr_assert_eq(d.bytes, 512);
	cr_assert_eq(ask(FUSE_WRITE, FUSE_IMAGE_INODE, &body, sizeof(body) - 1).error, -EINVAL);
	body.in.size = 511;
	cr_assert_eq(ask(FUSE_WRITE, FUSE_IMAGE_INODE, &body, sizeof(body)).error, -EINVAL);
}

Test(fuse_proto, fsync_is_a_flush_where_there_is_a_cache)
{
	const struct fuse_fsync_in in = {0};
	struct fuse_volume through = volume;
	struct fuse_decision d = ask(FUSE_FSYNC, FUSE_IMAGE_INODE, &in, sizeof(in));

	cr_assert_eq(d.action, FUSE_ACT_IO);
	cr_assert_eq(d.op, BRP_FLUSH);
	cr_assert_eq(d.bytes, 0);
	through.is_write_back = false;
	d = ask_of(&through, FUSE_FSYNC, FUSE_IMAGE_INODE, &in, sizeof(in));
	cr_assert_eq(d.action, FUSE_ACT_ANSWER);
	cr_assert_eq(d.error, 0);
}

/* A hole reads as zeroes, a discarded block as anything. */
Test(fuse_proto, holes_are_zeroes)
{
	struct fuse_fallocate_in in = {.offset = 4096, .length = 1ull << 32};
	struct fuse_volume plain = volume;
	const uint32_t modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
				  FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};

	for (unsigned int i = 0; i < 3; i++) {
		struct fuse_decision d;

		in.mode = modes[i];
		d = ask(FUSE_FALLOCATE, FUSE_IMAGE_INODE, &in, sizeof(in));
		cr_assert_eq(d.action, FUSE_ACT_IO);
		cr_assert_eq(d.op, BRP_WRITE_ZEROES);
		cr_assert_eq(d.offset, 4096);
		cr_assert_eq(d.bytes, 1ull << 32);
	}
	plain.has_write_zeroes = false;
	cr_assert_eq(ask_of(&plain, FUSE_FALLOCATE, FUSE_IMAGE_INODE, &in, sizeof(in)).error,
		     -EOPNOTSUPP);
	in.mode = 0;
	cr_assert_eq(ask(FUSE_FALLOCATE, FUSE_IMAGE_INODE, &in, sizeof(in)).error, -EOPNOTSUPP);
	in.mode = FALLOC_FL_COLLAPSE_RANGE;
	cr_assert_eq(ask(FUSE_FALLOCATE, FUSE_IMAGE_INODE, &in, sizeof(in)).error, -EOPNOTSUPP);
	cr_assert_eq(ask(FUSE_FALLOCATE, FUSE_IMAGE_INODE, &in, 8).error, -EINVAL);
}

/* -ENOSYS to FLUSH keeps a dying process from waiting for its own answer. */
Test(fuse_proto, what_is_never_to_be_asked_again)
{
	const uint32_t opcodes[] = {FUSE_FLUSH, FUSE_INTERRUPT, FUSE_GETXATTR, 4000, UINT32_MAX};

	for (unsigned int i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		struct fuse_decision d = ask(opcodes[i], FUSE_IMAGE_INODE, "", 0);

		cr_assert_eq(d.action, FUSE_ACT_ANSWER);
		cr_assert_eq(d.error, -ENOSYS);
	}
	cr_assert_eq(ask(FUSE_FORGET, FUSE_IMAGE_INODE, "", 0).action, FUSE_ACT_NOTHING);
}

Test(fuse_proto, no_message)
{
	struct fuse_decision d;

	message.head = (struct fuse_in_header){.len = sizeof(message.head), .opcode = FUSE_GETATTR};
	cr_assert_eq(fuse_decode(&message, sizeof(message.head) - 1, &volume, &d), -EPROTO);
	cr_assert_eq(fuse_decode(&message, sizeof(message.head) + 1, &volume, &d), -EPROTO);
	cr_assert_eq(fuse_decode(&message, sizeof(message.head), &volume, &d), 0);
}
