/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The identity of devices and files: the same volume has the same UUID after a restart, and on
 * another path to it.
 *
 *  - A file carries a random one in its extended attribute user.brp.uuid, written the first time.
 * It moves with the file; a copy gets its own, unless the attributes were copied too (cp -a, rsync
 * -X): then remove the copy's with setfattr -x.
 *  - A device tells a world-wide or serial number, device mapper and md a UUID of their own; the
 * UUID is a hash of it and of the partition number.
 *  - What has neither is known by its resolved path and this machine's id.
 *
 * A file's generation is a hash of its inode number, the inode's own generation and its time of
 * birth: a file that was put in the place of another (a restored backup, a copy renamed over it) is
 * another one even if it brought its attributes along. Moving or renaming a file within its file
 * system changes nothing. A device's is 1.
 *
 * The boot id comes from the kernel's: what was answered is in the kernel's or the device's hands
 * and survives this process, whatever ends it. It also counts how often the disk was attached
 * (diskseq, Linux 5.15), because a disk that was pulled out may have lost its cache.
 *
 * Hashes become UUIDs of version 8 (RFC 9562, "custom"): like version 5, but the hash is ours and
 * not cryptographic. Nothing is protected by it; it tells volumes apart.
 */
#include "target/backend/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/log.h"

#define UUID_ATTRIBUTE "user.brp.uuid"
#define UUID_TEXT_LEN  36u

/* ---- text ------------------------------------------------------------------------------------ */

static void uuid_format(const struct brp_uuid *u, char text[UUID_TEXT_LEN + 1])
{
	char *at = text;

	for (unsigned int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += snprintf(at, 3, "%02x", u->b[i]);
	}
}

/* Exactly the form that uuid_format() writes. */
static int uuid_parse(const char *text, struct brp_uuid *ret_uuid)
{
	char again[UUID_TEXT_LEN + 1];
	const char *at = text;
	struct brp_uuid u;

	for (unsigned int i = 0; i < 16; i++, at += 2) {
		unsigned int v;

		at += *at == '-';
		if (sscanf(at, "%2x", &v) != 1)
			return -EINVAL;
		u.b[i] = (uint8_t)v;
	}
	uuid_format(&u, again);
	if (strcmp(text, again))
		return -EINVAL;
	*ret_uuid = u;
	return 0;
}

/* ---- by a name ------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits, and a final mix that spreads the last bytes over the whole word. */
static uint64_t hash_text(const char *s, uint64_t h)
{
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
	h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
	return h ^ (h >> 33);
}

static void uuid_from_name(const char *name, struct brp_uuid *ret_uuid)
{
	uint64_t a = hash_text(name, 0xcbf29ce484222325ull);
	uint64_t b = hash_text(name, 0x6272702d626b3031ull);

	for (unsigned int i = 0; i < 8; i++) {
		ret_uuid->b[i] = (uint8_t)(a >> (8 * i));
		ret_uuid->b[8 + i] = (uint8_t)(b >> (8 * i));
	}
	ret_uuid->b[6] = (ret_uuid->b[6] & 0x0f) | 0x80;
	ret_uuid->b[8] = (ret_uuid->b[8] & 0x3f) | 0x80;
}

/* The first line of a small file; empty when there is none. */
static void read_line(const char *path, char *buf, size_t bytes)
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(buf, (int)bytes, f))
		buf[0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (f)
		fclose(f);
}

static void uuid_from_path(const struct aio_volume *v, struct brp_uuid *ret_uuid)
{
	char *resolved = realpath(v->path, NULL);
	char machine[64];
	char name[4096 + 128];

	read_line("/etc/machine-id", machine, sizeof(machine));
	snprintf(name, sizeof(name), "path:%s:%s", machine, resolved ? resolved : v->path);
	free(resolved);
	uuid_from_name(name, ret_uuid);
}

/* ---- devices --------------------------------------------------------------------------------- */

static int uuid_from_device(dev_t dev, struct brp_uuid *ret_uuid)
{
	static const char *const places[] = {"dm/uuid",     "md/uuid", "wwid",
					     "device/wwid", "serial",  "device/serial"};
	char id[256];
	char part[16];
	char name[512];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (aio_read_sysfs(dev, places[i], id, sizeof(id)) < 0)
			continue;
		if (aio_read_sysfs(dev, "partition", part, sizeof(part)) < 0)
			snprintf(part, sizeof(part), "0");
		snprintf(name, sizeof(name), "%s:%s:%s", places[i], id, part);
		uuid_from_name(name, ret_uuid);
		return 0;
	}
	return -ENOENT;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int uuid_from_attribute(const struct aio_volume *v, struct brp_uuid *ret_uuid)
{
	char text[UUID_TEXT_LEN + 1] = "";
	ssize_t n = fgetxattr(v->fd, UUID_ATTRIBUTE, text, UUID_TEXT_LEN);

	if (n == UUID_TEXT_LEN && !uuid_parse(text, ret_uuid))
		return 0;
	if (n >= 0 || errno == ERANGE)
		log_warning("%s: its attribute " UUID_ATTRIBUTE " is not a UUID and is replaced",
			    v->path);
	else if (errno != ENODATA)
		return -errno;
	if (v->volume.info.volume_flags & BRP_VOL_READ_ONLY)
		return -EROFS;
	bk_uuid_random(ret_uuid);
	uuid_format(ret_uuid, text);
	return fsetxattr(v->fd, UUID_ATTRIBUTE, text, UUID_TEXT_LEN, 0) < 0 ? -errno : 0;
}

static uint64_t file_generation(const struct aio_volume *v, const struct stat *st)
{
	struct statx sx = {0};
	unsigned long inode_generation = 0; /* long by its number, int by what is written */
	char name[128];

	/* Not every file system tells; what it does not tell stays 0, always. */
	if (statx(v->fd, "", AT_EMPTY_PATH, STATX_BTIME, &sx) < 0 || !(sx.stx_mask & STATX_BTIME))
		sx = (struct statx){0};
	if (ioctl(v->fd, FS_IOC_GETVERSION, &inode_generation) < 0)
		inode_generation = 0;
	snprintf(name, sizeof(name), "inode:%llu:%lu:%lld.%u", (unsigned long long)st->st_ino,
		 inode_generation, (long long)sx.stx_btime.tv_sec, sx.stx_btime.tv_nsec);
	return hash_text(name, 0xcbf29ce484222325ull);
}

/* ---- boot ------------------------------------------------------------------------------------ */

static void boot_id_of_kernel(dev_t disk, struct brp_uuid *ret_boot_id)
{
	char boot[64];
	char seq[32] = "";
	char name[256];

	read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	if (!boot[0]) { /* no /proc: nothing is known, so it changes each time */
		bk_uuid_random(ret_boot_id);
		return;
	}
	if (aio_read_sysfs(disk, "diskseq", seq, sizeof(seq)) < 0)
		seq[0] = '\0';
	snprintf(name, sizeof(name), "brp-target boot id:%s:%s", boot, seq);
	uuid_from_name(name, ret_boot_id);
}

/* ---- all of it ------------------------------------------------------------------------------- */

void aio_identify(const struct aio_volume *v, struct bk_info *info)
{
	struct stat st = {0};
	int err = fstat(v->fd, &st) < 0 ? -errno : 0;

	boot_id_of_kernel(v->is_device ? st.st_rdev : st.st_dev, &info->boot_id);
	info->generation = v->is_device || err ? 1 : file_generation(v, &st);
	if (!err)
		err = v->is_device ? uuid_from_device(st.st_rdev, &info->uuid)
				   : uuid_from_attribute(v, &info->uuid);
	if (!err)
		return;
	uuid_from_path(v, &info->uuid);
	log_info(
		"%s: carries no identity of its own; its UUID comes from its path and this machine",
		v->path);
}
