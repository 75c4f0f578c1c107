/* SPDX-License-Identifier: BSD-2-Clause */
/* Host names to addresses. */
#include "initiator/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int resolve_errno(int eai)
{
	switch (eai) {
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno ? -errno : -EIO;
	default:
		return -EHOSTUNREACH;
	}
}

int ini_address_resolve(const struct brp_uri *uri, struct addrinfo **ret_addrs)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	char port[8];
	int eai;

	snprintf(port, sizeof(port), "%u", uri->port);
	eai = getaddrinfo(uri->host, port, &hints, ret_addrs);
	if (eai == 0)
		return 0;
	return ini_last_error_set(resolve_errno(eai), "cannot resolve host '%s': %s", uri->host,
				  gai_strerror(eai));
}
