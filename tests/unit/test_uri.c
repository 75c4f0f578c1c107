/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "brp/status.h"
#include "brp/uri.h"

#define UUID_TEXT "00112233-4455-6677-8899-aabbccddeeff"
#define X50       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X250      X50 X50 X50 X50 X50

Test(uri, good)
{
	static const struct {
		const char *s;
		enum brp_transport transport;
		const char *host;
		uint16_t port;
		const char *volume; /* NULL: none */
	} all[] = {
		{"brp+tcp://host", BRP_TRANSPORT_TCP, "host", 10277, NULL},
		{"brp://host", BRP_TRANSPORT_RDMA, "host", 10277, NULL},
		{"brp://host:1", BRP_TRANSPORT_RDMA, "host", 1, NULL},
		{"brp://host:65535/v", BRP_TRANSPORT_RDMA, "host", 65535, "v"},
		{"brp+tcp://10.0.0.1/vol.1_a-b", BRP_TRANSPORT_TCP, "10.0.0.1", 10277, "vol.1_a-b"},
		{"brp+tcp://a-b.c_d.example:20000/V", BRP_TRANSPORT_TCP, "a-b.c_d.example", 20000,
		 "V"},
		{"brp+tcp://[::1]/v", BRP_TRANSPORT_TCP, "::1", 10277, "v"},
		{"brp+tcp://[fe80::1%eth0.5]:7/v", BRP_TRANSPORT_TCP, "fe80::1%eth0.5", 7, "v"},
		{"brp+tcp://[::ffff:10.0.0.1]", BRP_TRANSPORT_TCP, "::ffff:10.0.0.1", 10277, NULL},
		{"brp://h/%76%6F%6c", BRP_TRANSPORT_RDMA, "h", 10277, "vol"},
		{"brp://" X250 "/" X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxx", BRP_TRANSPORT_RDMA, X250,
		 10277, X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxx"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *why = NULL;
		struct brp_uri u;

		cr_assert_eq(brp_uri_parse(all[i].s, &u, &why), 0, "%s: %s", all[i].s, why);
		cr_expect_eq(u.transport, all[i].transport, "%s", all[i].s);
		cr_expect_str_eq(u.host, all[i].host);
		cr_expect_eq(u.port, all[i].port, "%s", all[i].s);
		cr_expect_eq(u.has_volume, all[i].volume != NULL, "%s", all[i].s);
		cr_expect_not(u.by_uuid);
		cr_expect_str_eq(u.volume_name, all[i].volume ? all[i].volume : "");
		cr_expect(brp_uuid_is_zero(&u.volume_uuid));
	}
}

Test(uri, by_uuid)
{
	const char *why = NULL;
	struct brp_uri u;
	char text[37];

	cr_assert_eq(brp_uri_parse("brp://h/uuid:" UUID_TEXT, &u, &why), 0);
	cr_expect(u.has_volume);
	cr_expect(u.by_uuid);
	brp_uuid_format(&u.volume_uuid, text);
	cr_expect_str_eq(text, UUID_TEXT);
	cr_expect_str_eq(u.volume_name, "");
}

Test(uri, bad)
{
	static const char *const all[] = {
		"",
		"host",
		"brp:/host",
		"BRP://host",
		"tcp://host",
		"rdma://host",
		"http://host/v",
		" brp://host",
		"brp://",
		"brp:///v",
		"brp://:1/v",
		"brp://host:",
		"brp://host:/v",
		"brp://host:0/v",
		"brp://host:65536/v",
		"brp://host:4294967297/v",
		"brp://host:18446744073709551617/v",
		"brp://host:-1/v",
		"brp://host:+1/v",
		"brp://host: 1/v",
		"brp://host:1x/v",
		"brp://host:1:2/v",
		"brp://user@host/v",
		"brp://ho st/v",
		"brp://::1/v",
		"brp://[::1",
		"brp://[]/v",
		"brp://[host]/v",
		"brp://[1:2]x/v",
		"brp://[::1]x/v",
		"brp://[::1%]/v",
		"brp://[::1%a b]/v",
		"brp://[:1]/v",
		"brp://host/",
		"brp://host/-v",
		"brp://host/a/b",
		"brp://host/a b",
		"brp://host/v?x=1",
		"brp://host/v#x",
		"brp://host/%",
		"brp://host/%7",
		"brp://host/%7g",
		"brp://host/%00v",
		"brp://host/v%00",
		"brp://host/%2fv",
		"brp://host/%2dv",
		"brp://host/\xc3\xa9",
		"brp://host?x",
		"brp://host/uuid:",
		"brp://host/uuid:" UUID_TEXT "0",
		"brp://host/uuid:vol",
		"brp://host/UUID:" UUID_TEXT,
		"brp://" X250 "xxxxxx",
		"brp://h/" X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"brp://h/" X250 X250,
	};
	struct brp_uri u, before;

	memset(&u, 0x5a, sizeof(u));
	memset(&before, 0x5a, sizeof(before));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *why = NULL;

		cr_expect_eq(brp_uri_parse(all[i], &u, &why), -EINVAL, "'%s'", all[i]);
		cr_expect_not_null(why, "'%s'", all[i]);
		cr_expect_arr_eq(&u, &before, sizeof(u), "'%s'", all[i]);
	}
}

Test(uri, listen)
{
	const char *why = NULL;
	struct brp_uri u;

	cr_assert_eq(brp_listen_parse("tcp://0.0.0.0", &u, &why), 0);
	cr_expect_eq(u.transport, BRP_TRANSPORT_TCP);
	cr_expect_str_eq(u.host, "0.0.0.0");
	cr_expect_eq(u.port, 10277);
	cr_assert_eq(brp_listen_parse("rdma://[::]:20000", &u, &why), 0);
	cr_expect_eq(u.transport, BRP_TRANSPORT_RDMA);
	cr_expect_str_eq(u.host, "::");
	cr_expect_eq(u.port, 20000);
	cr_assert_eq(brp_listen_parse("tcp://localhost:0", &u, &why), 0);
	cr_expect_eq(u.port, 0);
	cr_expect_not(u.has_volume);
}

Test(uri, bad_listen)
{
	static const char *const all[] = {
		"",         "tcp://",       "tcp://:1",    "tcp://h/v",
		"tcp://h/", "brp://h",      "brp+tcp://h", "tcp://h:65536",
		"tcp://h:", "tcp://[::1]]", "rdma://h:1 ",
	};
	struct brp_uri u;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *why = NULL;

		cr_expect_eq(brp_listen_parse(all[i], &u, &why), -EINVAL, "'%s'", all[i]);
		cr_expect_not_null(why, "'%s'", all[i]);
	}
}

Test(uri, volume_names)
{
	char name[129];

	cr_expect(brp_volume_name_ok("a"));
	cr_expect(brp_volume_name_ok("A-Z_az.09"));
	cr_expect(brp_volume_name_ok(".."));
	cr_expect_not(brp_volume_name_ok(""));
	cr_expect_not(brp_volume_name_ok("-a"));
	cr_expect_not(brp_volume_name_ok("a/b"));
	cr_expect_not(brp_volume_name_ok("a b"));
	cr_expect_not(brp_volume_name_ok("a:b"));
	cr_expect_not(brp_volume_name_ok("a\n"));
	cr_expect_not(brp_volume_name_ok("\xc3\xa9"));

	memset(name, 'x', sizeof(name));
	name[128] = '\0';
	cr_expect_not(brp_volume_name_ok(name));
	name[127] = '\0';
	cr_expect(brp_volume_name_ok(name));
}
