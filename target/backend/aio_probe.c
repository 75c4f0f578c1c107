/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an open device or file can do: size, block and alignment, cache, discard; what the kernel
 * takes asynchronously the engine asks. Asks, reads, and punches a hole behind the end of a file;
 * never touches data.
 */
#include "target/backend/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/log.h"

#define MAX_PREFERRED_BYTES (1u << 20)

int aio_read_sysfs(dev_t dev, const char *name, char *buf, size_t bytes)
{
	static const char *const places[] = {"", "../"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char path[256];
		FILE *f;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s%s", major(dev), minor(dev),
			 places[i], name);
		f = fopen(path, "re");
		if (!f)
			continue;
		buf[0] = '\0';
		if (!fgets(buf, (int)bytes, f))
			buf[0] = '\0';
		fclose(f);
		buf[strcspn(buf, "\n")] = '\0';
		if (buf[0])
			return 0;
	}
	return -ENOENT;
}

/* ---- alignment ------------------------------------------------------------------------------- */

/* The smallest direct read from the start of the file that works: kernels before 6.1 do not tell.
 * 0: none does. */
static uint32_t try_reads(const struct aio_volume *v)
{
	uint32_t found = 0;
	void *buf;

	if (posix_memalign(&buf, BRP_MAX_BLOCK_BYTES, BRP_MAX_BLOCK_BYTES))
		return 0;
	for (uint32_t b = BRP_MIN_BLOCK_BYTES; !found && b <= BRP_MAX_BLOCK_BYTES; b *= 2) {
		if (pread(v->fd, buf, b, 0) >= 0 || errno != EINVAL)
			found = b;
	}
	free(buf);
	return found;
}

/* *ret_block: offsets and lengths; *ret_memory: buffers. */
static int probe_alignment(struct aio_volume *v, uint32_t *ret_block, uint32_t *ret_memory)
{
	int sector = 0;
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (!statx(v->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN &&
	    sx.stx_dio_offset_align) {
		*ret_block = MAX(sx.stx_dio_offset_align, BRP_MIN_BLOCK_BYTES);
		*ret_memory = MAX(sx.stx_dio_mem_align, 1u);
		return 0;
	}
#endif
	if (v->is_device && !ioctl(v->fd, BLKSSZGET, &sector) && sector > 0)
		*ret_block = MAX((uint32_t)sector, BRP_MIN_BLOCK_BYTES);
	else
		*ret_block = try_reads(v);
	*ret_memory = *ret_block;
	if (*ret_block && *ret_block <= BRP_MAX_BLOCK_BYTES)
		return 0;
	log_error("%s: direct I/O (O_DIRECT) does not work here; use another file system (ext4, "
		  "xfs), or ram:SIZE "
		  "for a volume in memory",
		  v->path);
	return -EOPNOTSUPP;
}

/* ---- geometry -------------------------------------------------------------------------------- */

int aio_probe_size(const struct aio_volume *v, uint64_t *ret_bytes)
{
	struct stat st;
	int r = v->is_device ? ioctl(v->fd, BLKGETSIZE64, ret_bytes) : fstat(v->fd, &st);

	if (r < 0) {
		int err = -errno;

		log_error("%s: cannot find out its size: %s", v->path, strerror(-err));
		return err;
	}
	if (!v->is_device)
		*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int choose_block(const struct aio_volume *v, const struct bk_spec *spec, uint32_t needed,
			uint32_t *ret_block)
{
	if (spec->block_bytes && spec->block_bytes < needed) {
		log_error("%s: a block size of %u bytes was asked for, but direct I/O here works "
			  "in units of %u; "
			  "ask for %u or more",
			  v->path, spec->block_bytes, needed, needed);
		return -EINVAL;
	}
	*ret_block = spec->block_bytes ? spec->block_bytes : needed;
	return 0;
}

static uint32_t preferred_bytes(const struct aio_volume *v, const struct stat *st, uint32_t block)
{
	unsigned int best = (unsigned int)st->st_blksize;

	if (v->is_device && (ioctl(v->fd, BLKIOOPT, &best) < 0 || best == 0) &&
	    ioctl(v->fd, BLKPBSZGET, &best) < 0)
		best = 0;
	if (best > MAX_PREFERRED_BYTES || best % block)
		best = 0;
	best = MAX(best, 4096u);
	return MAX(best, block);
}

static int probe_geometry(struct aio_volume *v, const struct bk_spec *spec, const struct stat *st)
{
	struct bk_info *info = &v->volume.info;
	uint32_t needed;
	uint64_t bytes;
	int err;

	err = aio_probe_size(v, &bytes);
	if (!err)
		err = probe_alignment(v, &needed, &info->align_bytes);
	if (!err)
		err = choose_block(v, spec, needed, &info->block_bytes);
	if (err < 0)
		return err;
	if (bytes < info->block_bytes) {
		log_error("%s: its size is %llu bytes, less than one block of %u; make it larger: "
			  "truncate -s SIZE",
			  v->path, (unsigned long long)bytes, info->block_bytes);
		return -EINVAL;
	}
	if (bytes % info->block_bytes)
		log_notice("%s: the last %u bytes are not a whole block of %u and are not exported",
			   v->path, (unsigned int)(bytes % info->block_bytes), info->block_bytes);
	info->size_bytes = bytes - bytes % info->block_bytes;
	info->preferred_io_bytes = preferred_bytes(v, st, info->block_bytes);
	return 0;
}

/* ---- capabilities ---------------------------------------------------------------------------- */

/* A finished direct write is on the medium only if no volatile cache is behind; of a file, its
 * metadata never is. */
static bool probe_cache(const struct aio_volume *v, const struct stat *st)
{
	char mode[32];

	if (!v->is_device ||
	    aio_read_sysfs(st->st_rdev, "queue/write_cache", mode, sizeof(mode)) < 0)
		return true;
	return strcmp(mode, "write through") != 0;
}

static bool probe_discard(const struct aio_volume *v, const struct stat *st)
{
	char max[32];
	off_t behind = (off_t)align_up((uint64_t)st->st_size, 1u << 20);

	if (v->is_device)
		return !aio_read_sysfs(st->st_rdev, "queue/discard_max_bytes", max, sizeof(max)) &&
		       strcmp(max, "0") != 0;
	/* A hole behind the end changes nothing that can be read. */
	return !fallocate(v->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, 4096);
}

int aio_probe(struct aio_volume *v, const struct bk_spec *spec)
{
	struct bk_info *info = &v->volume.info;
	struct stat st;
	int err;

	if (fstat(v->fd, &st) < 0)
		return -errno;
	err = probe_geometry(v, spec, &st);
	if (err < 0)
		return err;
	v->has_cache = probe_cache(v, &st);
	v->is_sync = spec->is_write_through;
	info->cache = v->has_cache && !v->is_sync ? BRP_CACHE_WRITE_BACK : BRP_CACHE_WRITE_THROUGH;
	info->volume_flags = BRP_VOL_FUA;
	if (spec->is_read_only) {
		info->volume_flags |= BRP_VOL_READ_ONLY;
		return 0;
	}
	err = v->engine->probe(v);
	if (err < 0)
		return err;
	info->volume_flags |= BRP_VOL_WRITE_ZEROES;
	if (probe_discard(v, &st))
		info->volume_flags |= BRP_VOL_DISCARD;
	return 0;
}
