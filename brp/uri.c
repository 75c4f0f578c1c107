/* SPDX-License-Identifier: BSD-2-Clause */
/* URIs and listen addresses. Strict: what is not in the grammar of uri.h is refused with a reason.
 */
#include "brp/uri.h"

#include <errno.h>
#include <string.h>

#include "brp/status.h"

struct scheme {
	const char *prefix;
	enum brp_transport transport;
};

static const struct scheme uri_schemes[] = {
	{"brp+tcp://", BRP_TRANSPORT_TCP},
	{"brp://", BRP_TRANSPORT_RDMA},
	{NULL, 0},
};

static const struct scheme listen_schemes[] = {
	{"tcp://", BRP_TRANSPORT_TCP},
	{"rdma://", BRP_TRANSPORT_RDMA},
	{NULL, 0},
};

/* Each step takes the text from s on and returns where it ended, or NULL with *ret_why set. */
static const char *fail(const char **ret_why, const char *why)
{
	*ret_why = why;
	return NULL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name_char(char c)
{
	return is_alnum(c) || c == '.' || c == '_' || c == '-';
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *take_scheme(const char *s, const struct scheme *schemes, struct brp_uri *u)
{
	for (; schemes->prefix; schemes++) {
		size_t n = strlen(schemes->prefix);

		if (strncmp(s, schemes->prefix, n) == 0) {
			u->transport = schemes->transport;
			return s + n;
		}
	}
	return NULL;
}

static const char *take_host_text(const char *s, size_t n, struct brp_uri *u, const char **ret_why)
{
	if (n == 0)
		return fail(ret_why, "the host is missing");
	if (n >= sizeof(u->host))
		return fail(ret_why, "the host is too long");
	memcpy(u->host, s, n);
	u->host[n] = '\0';
	return s + n;
}

/* Hexadecimal groups with two colons at least, and a zone. The resolver has the last word. */
static bool ipv6_like(const char *s, size_t n)
{
	size_t colons = 0;
	size_t i;

	for (i = 0; i < n && s[i] != '%'; i++) {
		if (hex_value(s[i]) < 0 && s[i] != ':' && s[i] != '.')
			return false;
		colons += s[i] == ':';
	}
	if (i == n)
		return colons >= 2;
	for (i++; i < n; i++) {
		if (!is_name_char(s[i]))
			return false;
	}
	return colons >= 2 && s[n - 1] != '%';
}

static const char *take_bracketed(const char *s, struct brp_uri *u, const char **ret_why)
{
	const char *end = strchr(s, ']');

	if (!end)
		return fail(ret_why, "']' is missing");
	if (!ipv6_like(s, (size_t)(end - s)))
		return fail(ret_why, "only an IPv6 address may stand in brackets");
	s = take_host_text(s, (size_t)(end - s), u, ret_why);
	return s ? s + 1 : NULL;
}

static const char *take_host(const char *s, struct brp_uri *u, const char **ret_why)
{
	size_t n = 0;

	if (*s == '[')
		return take_bracketed(s + 1, u, ret_why);
	while (is_name_char(s[n]))
		n++;
	return take_host_text(s, n, u, ret_why);
}

static const char *take_port(const char *s, uint32_t min, struct brp_uri *u, const char **ret_why)
{
	const char *start;
	uint32_t port = 0;

	u->port = BRP_DEFAULT_PORT;
	if (*s != ':')
		return s;
	start = ++s;
	for (; is_digit(*s) && port <= UINT16_MAX; s++)
		port = port * 10 + (uint32_t)(*s - '0');
	if (s == start || port < min || port > UINT16_MAX)
		return fail(ret_why, "the port is not a number in range");
	u->port = (uint16_t)port;
	return s;
}

/* Percent-decodes all of s into buf. False: bad escape, or too long. */
static bool percent_decode(const char *s, char *buf, size_t cap)
{
	size_t n = 0;

	for (; *s; s++) {
		char c = *s;

		if (n + 1 >= cap)
			return false;
		if (c == '%') {
			int high = hex_value(s[1]);
			int low = high < 0 ? -1 : hex_value(s[2]);

			if (low < 0 || (high | low) == 0)
				return false;
			c = (char)(high << 4 | low);
			s += 2;
		}
		buf[n++] = c;
	}
	buf[n] = '\0';
	return true;
}

static const char *take_volume(const char *s, struct brp_uri *u, const char **ret_why)
{
	char name[BRP_VOLUME_NAME_BYTES];

	if (*s != '/')
		return s;
	if (!percent_decode(s + 1, name, sizeof(name)))
		return fail(ret_why, "the volume is too long or has a bad % escape");
	u->has_volume = true;
	if (strncmp(name, "uuid:", 5) == 0) {
		u->by_uuid = true;
		if (brp_uuid_parse(name + 5, &u->volume_uuid) < 0)
			return fail(ret_why, "what follows 'uuid:' is not a UUID");
	} else {
		if (!brp_volume_name_ok(name))
			return fail(ret_why, "not a volume name");
		memcpy(u->volume_name, name, sizeof(name));
	}
	return s + strlen(s);
}

static int finish(const char *s, const struct brp_uri *u, struct brp_uri *ret_uri,
		  const char **ret_why)
{
	if (!s)
		return -EINVAL;
	if (*s != '\0') {
		*ret_why = "unexpected character behind the host";
		return -EINVAL;
	}
	*ret_uri = *u;
	return 0;
}

int brp_uri_parse(const char *s, struct brp_uri *ret_uri, const char **ret_why)
{
	struct brp_uri u = {0};

	s = take_scheme(s, uri_schemes, &u);
	if (!s)
		*ret_why = "a volume's URI begins with brp+tcp:// or brp://";
	if (s)
		s = take_host(s, &u, ret_why);
	if (s)
		s = take_port(s, 1, &u, ret_why);
	if (s)
		s = take_volume(s, &u, ret_why);
	return finish(s, &u, ret_uri, ret_why);
}

/* Port 0 lets the kernel choose. */
int brp_listen_parse(const char *s, struct brp_uri *ret_uri, const char **ret_why)
{
	struct brp_uri u = {0};

	s = take_scheme(s, listen_schemes, &u);
	if (!s)
		*ret_why = "a listen address begins with tcp:// or rdma://";
	if (s)
		s = take_host(s, &u, ret_why);
	if (s)
		s = take_port(s, 0, &u, ret_why);
	return finish(s, &u, ret_uri, ret_why);
}

bool brp_volume_name_ok(const char *name)
{
	size_t n = 0;

	if (name[0] == '-')
		return false;
	while (is_name_char(name[n]))
		n++;
	return n > 0 && n < BRP_VOLUME_NAME_BYTES && name[n] == '\0';
}
