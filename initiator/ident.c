/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who we are: host UUID, session UUID, host name (protocol.md 4.2).
 *
 * machine-id(5) asks not to show the id itself to others, so the host UUID is a one-way hash of it,
 * made with a fixed application name, in the shape of a version 8 UUID (RFC 9562). The hash need
 * not resist attackers, only hide the id from a casual look and stay the same for ever: two rounds
 * of 64-bit FNV-1a with splitmix64 finalisers.
 */
#include "initiator/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ID_CHARS 32

static uint64_t mix(uint64_t v)
{
	v ^= v >> 30;
	v *= 0xbf58476d1ce4e5b9ull;
	v ^= v >> 27;
	v *= 0x94d049bb133111ebull;
	return v ^ v >> 31;
}

static uint64_t hash(uint64_t seed, const char *text, size_t bytes)
{
	uint64_t h = 0xcbf29ce484222325ull ^ seed;

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3ull;
	return mix(h);
}

static void set_uuid_version(struct brp_uuid *u, uint8_t version)
{
	u->b[6] = (uint8_t)((u->b[6] & 0x0f) | version << 4);
	u->b[8] = (uint8_t)((u->b[8] & 0x3f) | 0x80);
}

static bool read_id(const char *path, char id[ID_CHARS])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, id, ID_CHARS);
	close(fd);
	return n == ID_CHARS;
}

/* Where a system has no machine-id (some containers, an initramfs), all processes of one boot are
 * at least the same host: a server's successor has to be. */
static bool read_machine_id(char id[ID_CHARS])
{
	static const char *const files[] = {"/etc/machine-id", "/proc/sys/kernel/random/boot_id"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (read_id(files[i], id))
			return true;
	}
	return false;
}

int ini_ident_random(struct brp_uuid *ret_uuid)
{
	struct brp_uuid u;
	ssize_t n;

	do
		n = getrandom(u.b, sizeof(u.b), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(u.b))
		return n < 0 ? -errno : -EIO;
	set_uuid_version(&u, 4);
	*ret_uuid = u;
	return 0;
}

int ini_ident_host(const struct brp_options *opt, struct brp_uuid *ret_uuid)
{
	char id[ID_CHARS];
	uint64_t h[2];

	if (opt->host_uuid) {
		memcpy(ret_uuid->b, opt->host_uuid, sizeof(ret_uuid->b));
		return 0;
	}
	if (!read_machine_id(id))
		return ini_ident_random(ret_uuid);
	h[0] = hash(0x62727020686f7374ull /* "brp host" */, id, sizeof(id));
	h[1] = hash(h[0], id, sizeof(id));
	memcpy(ret_uuid->b, h, sizeof(ret_uuid->b));
	set_uuid_version(ret_uuid, 8);
	return 0;
}

/* The codec refuses control characters and cuts nothing in our favour: keep only what is plain. */
void ini_ident_host_name(const struct brp_options *opt, char name[BRP_HOST_NAME_BYTES])
{
	char own[256] = "";
	const char *from = opt->host_name;

	if (!from) {
		gethostname(own, sizeof(own) - 1);
		from = own;
	}
	memset(name, 0, BRP_HOST_NAME_BYTES);
	memcpy(name, from, strnlen(from, BRP_HOST_NAME_BYTES - 1));
	for (char *p = name; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
}
