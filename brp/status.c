/* SPDX-License-Identifier: BSD-2-Clause */
/* errno <-> wire status, names for logs, UUID texts. protocol.md 7. */
#include "brp/status.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define NR(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *name;
	int err;
} statuses[BRP_ST_COUNT] = {
	[BRP_ST_OK] = {"ok", 0},
	[BRP_ST_IO_ERROR] = {"I/O error", EIO},
	[BRP_ST_OUT_OF_RANGE] = {"out of range", ERANGE},
	[BRP_ST_INVALID] = {"invalid request", EINVAL},
	[BRP_ST_NOT_SUPPORTED] = {"not supported", EOPNOTSUPP},
	[BRP_ST_READ_ONLY] = {"read-only", EROFS},
	[BRP_ST_NO_SPACE] = {"no space", ENOSPC},
	[BRP_ST_NO_RESOURCES] = {"no resources", ENOBUFS},
	[BRP_ST_NO_VOLUME] = {"no such volume", ENOENT},
	[BRP_ST_BAD_VERSION] = {"no common version or features", EPROTONOSUPPORT},
	[BRP_ST_STALE_EPOCH] = {"stale epoch", ESTALE},
	[BRP_ST_DENIED] = {"denied", EACCES},
	[BRP_ST_GONE] = {"volume removed", ENODEV},
	[BRP_ST_BUSY] = {"busy", EBUSY},
	[BRP_ST_SHUTTING_DOWN] = {"shutting down", ESHUTDOWN},
	[BRP_ST_PROTOCOL] = {"protocol error", EPROTO},
};

/* Further errnos of back ends; the table above has one for each status. */
static const struct {
	int err;
	enum brp_status_code status;
} aliases[] = {
	{EPERM, BRP_ST_DENIED},
	{ENOMEM, BRP_ST_NO_RESOURCES},
	{EDQUOT, BRP_ST_NO_SPACE},
};

int brp_status_to_errno(uint16_t status)
{
	return status < BRP_ST_COUNT ? -statuses[status].err : -EIO;
}

enum brp_status_code brp_status_from_errno(int err)
{
	for (unsigned int i = 0; i < BRP_ST_COUNT; i++) {
		if (-statuses[i].err == err)
			return (enum brp_status_code)i;
	}
	for (size_t i = 0; i < NR(aliases); i++) {
		if (-aliases[i].err == err)
			return aliases[i].status;
	}
	return BRP_ST_IO_ERROR;
}

const char *brp_status_name(uint16_t status)
{
	return status < BRP_ST_COUNT ? statuses[status].name : "unknown";
}

const char *brp_msg_name(uint8_t type)
{
	static const char *const names[] = {
		[BRP_MSG_HELLO] = "HELLO",         [BRP_MSG_HELLO_REPLY] = "HELLO_REPLY",
		[BRP_MSG_LOGIN] = "LOGIN",         [BRP_MSG_LOGIN_REPLY] = "LOGIN_REPLY",
		[BRP_MSG_LIST] = "LIST",           [BRP_MSG_LIST_REPLY] = "LIST_REPLY",
		[BRP_MSG_JUMBO] = "JUMBO",         [BRP_MSG_RESPONSE] = "RESPONSE",
		[BRP_MSG_KEEPALIVE] = "KEEPALIVE", [BRP_MSG_KEEPALIVE_REPLY] = "KEEPALIVE_REPLY",
		[BRP_MSG_EVENT] = "EVENT",         [BRP_MSG_GOODBYE] = "GOODBYE",
	};

	return type < NR(names) && names[type] ? names[type] : "unknown";
}

const char *brp_op_name(uint8_t op)
{
	static const char *const names[] = {
		[BRP_OP_READ] = "READ",
		[BRP_OP_WRITE] = "WRITE",
		[BRP_OP_WRITE_ZEROES] = "WRITE_ZEROES",
		[BRP_OP_DISCARD] = "DISCARD",
		[BRP_OP_FLUSH] = "FLUSH",
	};

	return op < NR(names) && names[op] ? names[op] : "unknown";
}

/* Bytes of a UUID in front of which its text has a dash. */
static bool dash_before(unsigned int i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void brp_uuid_format(const struct brp_uuid *u, char *buf)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned int i = 0; i < sizeof(u->b); i++) {
		if (dash_before(i))
			*buf++ = '-';
		*buf++ = digits[u->b[i] >> 4];
		*buf++ = digits[u->b[i] & 15];
	}
	*buf = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int brp_uuid_parse(const char *s, struct brp_uuid *ret_u)
{
	struct brp_uuid u;

	for (unsigned int i = 0; i < sizeof(u.b); i++) {
		int high, low;

		if (dash_before(i) && *s++ != '-')
			return -EINVAL;
		high = hex_digit(s[0]);
		low = high < 0 ? -1 : hex_digit(s[1]);
		if (low < 0)
			return -EINVAL;
		u.b[i] = (uint8_t)(high << 4 | low);
		s += 2;
	}
	if (*s != '\0')
		return -EINVAL;
	*ret_u = u;
	return 0;
}

bool brp_uuid_is_zero(const struct brp_uuid *u)
{
	static const struct brp_uuid zero;

	return brp_uuid_equal(u, &zero);
}

bool brp_uuid_equal(const struct brp_uuid *a, const struct brp_uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}
