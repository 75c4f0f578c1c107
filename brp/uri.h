/* SPDX-License-Identifier: BSD-2-Clause */
/* URIs that name a target or a volume, protocol.md 1: brp+tcp://host[:port][/volume],
 * brp://host[:port][/volume] (RDMA), and listen addresses tcp://addr[:port], rdma://addr[:port]. */
#ifndef BRP_URI_H
#define BRP_URI_H

#include "brp/proto.h"

enum brp_transport {
	BRP_TRANSPORT_TCP,
	BRP_TRANSPORT_RDMA,
};

#define BRP_URI_HOST_BYTES 256

struct brp_uri {
	enum brp_transport transport;
	char host[BRP_URI_HOST_BYTES]; /* without brackets */
	uint16_t port;                 /* BRP_DEFAULT_PORT when absent */
	bool has_volume;
	bool by_uuid;
	struct brp_uuid volume_uuid;
	char volume_name[BRP_VOLUME_NAME_BYTES]; /* percent-decoded */
};

/* 0, or -EINVAL with *ret_why set to a constant text for people. */
int brp_uri_parse(const char *s, struct brp_uri *ret_uri, const char **ret_why);
int brp_listen_parse(const char *s, struct brp_uri *ret_uri, const char **ret_why);

/* A volume name: 1...127 characters out of A-Z a-z 0-9 . _ - and not starting with '-'. */
bool brp_volume_name_ok(const char *name);

#endif
