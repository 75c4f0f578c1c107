/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/fuse_proto.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "common/util.h"

#define VALID_S   3600u /* how long the kernel may keep what never changes by itself */
#define MIN_MINOR 31u   /* Linux 5.2, the first that fuse.c can mount on */

/* One message, taken apart. */
struct message {
	const struct fuse_in_header *head;
	const void *body;
	size_t body_bytes;
	const struct fuse_volume *volume;
	struct fuse_decision *d;
};

static void answer(const struct message *m, size_t out_bytes)
{
	m->d->out_bytes = (uint32_t)out_bytes;
}

static void refuse(const struct message *m, int error)
{
	m->d->error = error;
}

static void nothing(const struct message *m)
{
	m->d->action = FUSE_ACT_NOTHING;
}

static void io(const struct message *m, enum brp_io_op op, uint64_t offset, uint64_t bytes)
{
	m->d->action = FUSE_ACT_IO;
	m->d->op = op;
	m->d->offset = offset;
	m->d->bytes = bytes;
}

/* ---- the connection -------------------------------------------------------------------------- */

static void on_init(const struct message *m)
{
	const uint32_t wanted = FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_BIG_WRITES | FUSE_MAX_PAGES;
	/* Older kernels send less than the struct has; we use what all of them send. */
	const size_t least = offsetof(struct fuse_init_in, flags) + sizeof(uint32_t);
	struct fuse_init_in in = {0};
	struct fuse_init_out *out = &m->d->out.init;

	if (m->body_bytes < least) {
		refuse(m, -EINVAL);
		return;
	}
	memcpy(&in, m->body, MIN(m->body_bytes, sizeof(in)));
	if (in.major != FUSE_KERNEL_VERSION || in.minor < MIN_MINOR) {
		refuse(m, -EPROTO);
		return;
	}
	out->major = FUSE_KERNEL_VERSION;
	out->minor = MIN(in.minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION);
	out->flags = in.flags & wanted;
	out->max_background = m->volume->max_background;
	out->congestion_threshold = m->volume->max_background;
	out->max_write = FUSE_MAX_IO_BYTES;
	out->max_pages = FUSE_MAX_IO_BYTES / 4096u;
	out->time_gran = 1;
	answer(m, sizeof(*out));
}

/* ---- inodes ---------------------------------------------------------------------------------- */

static void fill_attr(const struct message *m, uint64_t inode, struct fuse_attr *attr)
{
	attr->ino = inode;
	attr->nlink = 1;
	attr->blksize = m->volume->block_bytes;
	if (inode == FUSE_ROOT_ID) {
		attr->mode = S_IFDIR | 0500;
		return;
	}
	attr->mode = S_IFREG | (m->volume->is_read_only ? 0400 : 0600);
	attr->size = m->volume->size_bytes;
	attr->blocks = m->volume->size_bytes / 512;
}

static void on_lookup(const struct message *m)
{
	const char *name = m->body;
	struct fuse_entry_out *out = &m->d->out.entry;

	if (m->head->nodeid != FUSE_ROOT_ID || m->body_bytes == 0 ||
	    name[m->body_bytes - 1] != '\0' || strcmp(name, m->volume->image) != 0) {
		refuse(m, -ENOENT);
		return;
	}
	out->nodeid = FUSE_IMAGE_INODE;
	out->entry_valid = VALID_S;
	out->attr_valid = VALID_S;
	fill_attr(m, FUSE_IMAGE_INODE, &out->attr);
	answer(m, sizeof(*out));
}

static void on_getattr(const struct message *m)
{
	struct fuse_attr_out *out = &m->d->out.attr;

	out->attr_valid = VALID_S;
	fill_attr(m, m->head->nodeid, &out->attr);
	answer(m, sizeof(*out));
}

static void on_open(const struct message *m)
{
	struct fuse_open_out *out = &m->d->out.open;

	/* No page cache in between, and writes beside each other. */
	out->open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH;
	answer(m, sizeof(*out));
}

/* loop takes the granularity of discards from here. */
static void on_statfs(const struct message *m)
{
	struct fuse_kstatfs *st = &m->d->out.statfs.st;

	st->bsize = m->volume->block_bytes;
	st->frsize = m->volume->block_bytes;
	st->blocks = m->volume->size_bytes / m->volume->block_bytes;
	st->files = 1;
	st->namelen = 255;
	answer(m, sizeof(m->d->out.statfs));
}

static void on_release(const struct message *m)
{
	answer(m, 0);
}

/* ---- I/O ------------------------------------------------------------------------------------- */

static void on_read(const struct message *m)
{
	const struct fuse_read_in *in = m->body;

	if (m->body_bytes < sizeof(*in) || in->size > FUSE_MAX_IO_BYTES)
		refuse(m, -EINVAL);
	else if (in->size == 0)
		answer(m, 0);
	else
		io(m, BRP_READ, in->offset, in->size);
}

static void on_write(const struct message *m)
{
	const struct fuse_write_in *in = m->body;

	if (m->body_bytes < sizeof(*in) || in->size > FUSE_MAX_IO_BYTES || in->size == 0 ||
	    in->size != m->body_bytes - sizeof(*in))
		refuse(m, -EINVAL);
	else
		io(m, BRP_WRITE, in->offset, in->size);
}

/* A write-through volume has nothing to flush. */
static void on_fsync(const struct message *m)
{
	if (m->volume->is_write_back)
		io(m, BRP_FLUSH, 0, 0);
	else
		answer(m, 0);
}

/*
 * loop punches a hole for a discard, and also for zeroing where it need not keep the space
 * allocated. The two look the same here, and what a discarded block reads as is not defined
 * (protocol.md 5.1): so a hole is zeroes that are written.
 */
static void on_fallocate(const struct message *m)
{
	const struct fuse_fallocate_in *in = m->body;
	const uint32_t mode = m->body_bytes < sizeof(*in) ? 0 : in->mode & ~FALLOC_FL_KEEP_SIZE;

	if (m->body_bytes < sizeof(*in) || in->length == 0)
		refuse(m, -EINVAL);
	else if (!m->volume->has_write_zeroes ||
		 (mode != FALLOC_FL_PUNCH_HOLE && mode != FALLOC_FL_ZERO_RANGE))
		refuse(m, -EOPNOTSUPP);
	else
		io(m, BRP_WRITE_ZEROES, in->offset, in->length);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void (*const handlers[])(const struct message *m) = {
	[FUSE_INIT] = on_init,           [FUSE_LOOKUP] = on_lookup, [FUSE_GETATTR] = on_getattr,
	[FUSE_STATFS] = on_statfs,       [FUSE_OPEN] = on_open,     [FUSE_RELEASE] = on_release,
	[FUSE_READ] = on_read,           [FUSE_WRITE] = on_write,   [FUSE_FSYNC] = on_fsync,
	[FUSE_FALLOCATE] = on_fallocate, [FUSE_FORGET] = nothing,   [FUSE_BATCH_FORGET] = nothing,
	[FUSE_DESTROY] = on_release,
	/*
	 * Not here and so refused with -ENOSYS, which the kernel takes as "never ask again": FLUSH,
	 * so that a dying process can close the image without an answer from itself; INTERRUPT, as
	 * nothing can be taken back.
	 */
};

int fuse_decode(const void *buf, size_t bytes, const struct fuse_volume *v,
		struct fuse_decision *ret_decision)
{
	const struct fuse_in_header *head = buf;
	struct message m = {
		.head = head,
		.body = head + 1,
		.body_bytes = bytes - sizeof(*head),
		.volume = v,
		.d = ret_decision,
	};

	if (bytes < sizeof(*head) || head->len != bytes)
		return -EPROTO;
	*ret_decision = (struct fuse_decision){.unique = head->unique};
	if (head->opcode < ARRAY_SIZE(handlers) && handlers[head->opcode])
		handlers[head->opcode](&m);
	else
		refuse(&m, -ENOSYS);
	return 0;
}
