/* SPDX-License-Identifier: BSD-2-Clause */
/* doctor: whether a target can be reached, step by step. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "brp/brp.h"
#include "brp/uri.h"
#include "initiator/ctl/doctor.h"

#define SUBJECT    "target"
#define CONNECT_MS 5000
#define MAX_LIST   1024

/* NULL: no address, said. freeaddrinfo(). */
static struct addrinfo *resolve(struct doctor *d, const struct brp_uri *u)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *all = NULL;
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%u", u->port);
	rc = getaddrinfo(u->host, port, &hints, &all);
	if (rc == 0)
		return all;
	doctor_add(d, SUBJECT, FINDING_BAD, "check the name, /etc/hosts and /etc/resolv.conf",
		   "%s has no address: %s", u->host, gai_strerror(rc));
	return NULL;
}

static int try_tcp(const struct addrinfo *ai)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t bytes = sizeof(int);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		err = -errno;
	if (err == -EINPROGRESS) {
		if (poll(&p, 1, CONNECT_MS) == 0)
			err = -ETIMEDOUT;
		else
			err = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &bytes) ? -errno : -err;
	}
	close(fd);
	return err;
}

static const char *fix_of(int err)
{
	if (err == -ECONNREFUSED)
		return "start brp-target there, or give the port it listens on; or its firewall "
		       "rejects: "
		       "allow TCP port 10277";
	if (err == -ETIMEDOUT)
		return "a firewall drops it, or the host is down: allow TCP port 10277 there";
	return "check address, route and cable: ip route get ADDRESS";
}

static bool reach(struct doctor *d, const struct brp_uri *u)
{
	struct addrinfo *all = resolve(d, u);
	int err = -EADDRNOTAVAIL;

	if (!all)
		return false;
	for (struct addrinfo *ai = all; ai && err; ai = ai->ai_next)
		err = try_tcp(ai);
	freeaddrinfo(all);
	if (err)
		doctor_add(d, SUBJECT, FINDING_BAD, fix_of(err), "%s port %u: %s", u->host, u->port,
			   strerror(-err));
	else
		doctor_add(d, SUBJECT, FINDING_OK, NULL, "%s port %u takes TCP connections",
			   u->host, u->port);
	return !err;
}

static void check_volume(struct doctor *d, const struct brp_uri *u,
			 const struct brp_list_item *items, int n)
{
	bool found = false;

	for (int i = 0; i < n && !found; i++)
		found = u->by_uuid ? !memcmp(items[i].uuid, u->volume_uuid.b, sizeof(items[i].uuid))
				   : !strcmp(items[i].name, u->volume_name);
	if (found)
		doctor_add(d, SUBJECT, FINDING_OK, NULL, "it offers this volume");
	else
		doctor_add(d, SUBJECT, FINDING_BAD, "brp-initiator discover shows the names",
			   "it does not offer this volume");
}

/* HELLO and the list, as every client does it. */
static void ask(struct doctor *d, const struct brp_uri *u)
{
	static struct brp_list_item items[MAX_LIST];
	struct brp_options opt = BRP_OPTIONS_INIT;
	char uri[BRP_URI_HOST_BYTES + 64];
	bool is_v6 = strchr(u->host, ':');
	int n;

	opt.connect_timeout_ms = CONNECT_MS;
	snprintf(uri, sizeof(uri), "%s://%s%s%s:%u",
		 u->transport == BRP_TRANSPORT_TCP ? "brp+tcp" : "brp", is_v6 ? "[" : "", u->host,
		 is_v6 ? "]" : "", u->port);
	n = brp_list(uri, &opt, items, MAX_LIST);
	if (n < 0) {
		doctor_add(d, SUBJECT, FINDING_BAD,
			   "is it a brp-target, of a version that fits? Its log "
			   "says more",
			   "%s: %s", uri, brp_last_error());
		return;
	}
	doctor_add(d, SUBJECT, FINDING_OK, NULL, "%s speaks BRP and offers %d volumes", uri, n);
	if (u->has_volume)
		check_volume(d, u, items, MIN(n, MAX_LIST));
}

void doctor_check_target(struct doctor *d)
{
	struct brp_uri u;
	const char *why;

	if (!d->uri || brp_uri_parse(d->uri, &u, &why))
		return; /* the command line was checked */
	if (u.transport == BRP_TRANSPORT_TCP && !reach(d, &u))
		return;
	ask(d, &u);
}
