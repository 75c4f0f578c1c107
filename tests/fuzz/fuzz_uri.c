/* SPDX-License-Identifier: BSD-2-Clause */
/* URIs, listen addresses and UUID texts. */
#include "tests/fuzz/fuzz.h"

#include "brp/status.h"
#include "brp/uri.h"

static void check_uri(const struct brp_uri *u)
{
	CHECK(u->host[0] && strnlen(u->host, sizeof(u->host)) < sizeof(u->host));
	CHECK(u->port != 0);
	if (u->has_volume && !u->by_uuid)
		CHECK(brp_volume_name_ok(u->volume_name));
	else
		CHECK(u->volume_name[0] == '\0');
	if (!u->by_uuid)
		CHECK(brp_uuid_is_zero(&u->volume_uuid));
}

/* Printed and parsed again it is the same. */
static void check_again(const struct brp_uri *u)
{
	const char *scheme = u->transport == BRP_TRANSPORT_TCP ? "brp+tcp" : "brp";
	bool is_v6 = strchr(u->host, ':') != NULL;
	const char *why = NULL;
	struct brp_uri again;
	char text[1024], uuid[37];

	brp_uuid_format(&u->volume_uuid, uuid);
	snprintf(text, sizeof(text), "%s://%s%s%s:%u%s%s%s", scheme, is_v6 ? "[" : "", u->host,
		 is_v6 ? "]" : "", u->port, u->has_volume ? "/" : "", u->by_uuid ? "uuid:" : "",
		 u->by_uuid ? uuid : u->volume_name);
	CHECK(brp_uri_parse(text, &again, &why) == 0);
	CHECK(strcmp(u->host, again.host) == 0 && u->port == again.port);
	CHECK(u->transport == again.transport && u->by_uuid == again.by_uuid);
	CHECK(strcmp(u->volume_name, again.volume_name) == 0);
	CHECK(brp_uuid_equal(&u->volume_uuid, &again.volume_uuid));
}

static void fuzz_text(const char *s)
{
	const char *why = NULL;
	struct brp_uri u;

	if (brp_uri_parse(s, &u, &why) == 0) {
		check_uri(&u);
		check_again(&u);
	} else {
		CHECK(why);
	}
	why = NULL;
	if (brp_listen_parse(s, &u, &why) == 0)
		CHECK(!u.has_volume);
	else
		CHECK(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *s = malloc(len + 1);
	struct brp_uuid uuid;

	CHECK(s);
	memcpy(s, data, len);
	s[len] = '\0';
	fuzz_text(s);
	if (brp_uuid_parse(s, &uuid) == 0)
		CHECK(strlen(s) == 36);
	free(s);
	return 0;
}
