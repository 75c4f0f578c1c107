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
 * Hashes become UUIDs of version 8 (RFC 9562, "custom"): like version 5, but the hash is ours and
 * not cryptographic. Nothing is protected by it; it tells volumes apart.
 */
#include "target/backend/aio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void uuid_from_path(const struct aio_volume *v, struct brp_uuid *ret_uuid)
{
	char *resolved = realpath(v->path, NULL);
	FILE *f = fopen("/etc/machine-id", "re");
	char machine[64] = "";
	char name[4096 + 128];

	if (f) {
		if (!fgets(machine, sizeof(machine), f))
			machine[0] = '\0';
		fclose(f);
	}
	machine[strcspn(machine, "\n")] = '\0';
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

void aio_identify(const struct aio_volume *v, struct brp_uuid *ret_uuid)
{
	struct stat st;
	int err;

	if (v->is_device)
		err = fstat(v->fd, &st) < 0 ? -errno : uuid_from_device(st.st_rdev, ret_uuid);
	else
		err = uuid_from_attribute(v, ret_uuid);
	if (!err)
		return;
	uuid_from_path(v, ret_uuid);
	log_info(
		"%s: carries no identity of its own; its UUID comes from its path and this machine",
		v->path);
}
