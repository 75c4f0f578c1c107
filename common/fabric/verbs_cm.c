/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connecting, and the connection manager's events. Each connection has an event channel of its own,
 * so that its owner alone handles them.
 */
#include "common/fabric/verbs.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brp/codec.h"
#include "common/log.h"

#define EVENTS_PER_POLL 8
/* The field has 3 bits; for rnr_retry 7 means for ever (rdma_connect(3)). To rxe it means that for
 * both: over rxe only keep-alive notices a peer that is silent. */
#define RETRIES 7

int verbs_conn_alloc(struct verbs_fabric *vf, struct verbs_conn **ret_conn)
{
	struct verbs_conn *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->base.fabric = &vf->base;
	list_init(&c->free_slots);
	list_init(&c->tx);
	list_init(&c->pulls);
	list_init(&c->late);
	list_init(&c->over);
	errno = 0;
	c->cm = rdma_create_event_channel();
	rc = c->cm ? verbs_set_nonblock(c->cm->fd) : errno ? -errno : -ENODEV;
	if (rc) {
		log_error("verbs: no CM event channel: %s", strerror(-rc));
		verbs_conn_destroy(&c->base);
		return rc;
	}
	*ret_conn = c;
	return 0;
}

int verbs_fds(const struct fabric_conn *base, int ret_fds[FABRIC_MAX_FDS])
{
	const struct verbs_conn *c = container_of(base, struct verbs_conn, base);

	if (!c->chan)
		return 0;
	ret_fds[0] = c->chan->fd;
	ret_fds[1] = c->cm->fd;
	return 2;
}

/* ---- connecting ---- */

/*
 * The completion channel's descriptor must be known from now on, so the device must be; but
 * rdma_resolve_addr() tells it later. Ask the routing table for our address (connecting a datagram
 * socket sends nothing) and bind to that.
 */
static int bind_to_device(struct verbs_conn *c, const struct sockaddr *to, socklen_t to_bytes)
{
	struct sockaddr_storage from = {0};
	socklen_t bytes = sizeof(from);
	int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, to, to_bytes) < 0 || getsockname(fd, (struct sockaddr *)&from, &bytes) < 0)
		rc = -errno;
	close(fd);
	if (rc)
		return rc;
	if (from.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&from)->sin6_port = 0;
	else
		((struct sockaddr_in *)&from)->sin_port = 0;
	if (rdma_bind_addr(c->id, (struct sockaddr *)&from))
		return -errno;
	c->dev = verbs_find_dev(to_verbs(c->base.fabric), c->id->verbs);
	return c->dev ? 0 : -ENODEV;
}

static int start_connect(struct verbs_conn *c, const struct sockaddr *addr, socklen_t addr_bytes)
{
	uint8_t timeout = VERBS_ACK_TIMEOUT;
	struct sockaddr_storage to = {0};
	int rc;

	memcpy(&to, addr, MIN((size_t)addr_bytes, sizeof(to)));
	if (rdma_create_id(c->cm, &c->id, c, RDMA_PS_TCP))
		return -errno;
	rc = bind_to_device(c, addr, addr_bytes);
	if (rc == -ENODEV)
		log_error("verbs: no RDMA device leads to %s: use an address of its network, not "
			  "of the loopback; "
			  "in a container the device must be in the same network namespace",
			  c->base.peer);
	if (rc)
		return rc;
	rdma_set_option(c->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
			sizeof(timeout));
	rc = verbs_qp_create(c);
	if (rc)
		return rc;
	if (rdma_resolve_addr(c->id, NULL, (struct sockaddr *)&to, VERBS_RESOLVE_MS))
		return -errno;
	return 0;
}

int verbs_connect(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		  const struct fabric_params *params, struct fabric_conn **ret_conn)
{
	struct verbs_conn *c;
	int rc = verbs_conn_alloc(to_verbs(f), &c);

	if (rc)
		return rc;
	c->params = *params;
	c->state = VERBS_RESOLVING;
	fabric_format_addr(addr, c->base.peer, sizeof(c->base.peer));
	rc = start_connect(c, addr, addr_bytes);
	if (rc) {
		verbs_conn_destroy(&c->base);
		return rc;
	}
	*ret_conn = &c->base;
	return 0;
}

/* data is where the private data goes; it lives as long as the parameters are used. */
void verbs_cm_param(const struct verbs_conn *c, struct rdma_conn_param *ret_param,
		    uint8_t data[BRP_CM_DATA_BYTES])
{
	struct brp_cm_data d = {.recv_count = c->params.recv_count,
				.recv_bytes = c->params.recv_bytes};

	brp_encode_cm_data(data, &d);
	*ret_param = (struct rdma_conn_param){
		.private_data = data,
		.private_data_len = BRP_CM_DATA_BYTES,
		.retry_count = RETRIES,
		.rnr_retry_count = RETRIES,
	};
}

static void on_addr_resolved(struct verbs_conn *c)
{
	if (rdma_resolve_route(c->id, VERBS_RESOLVE_MS))
		verbs_fail(c, -errno);
}

/* The target reads from us, so we lend it what the device has; we read from it only for one-sided
 * volumes. */
static void on_route_resolved(struct verbs_conn *c)
{
	uint8_t data[BRP_CM_DATA_BYTES];
	struct rdma_conn_param param;

	verbs_cm_param(c, &param, data);
	param.responder_resources =
		(uint8_t)MIN((uint32_t)c->dev->attr.max_qp_rd_atom, VERBS_MAX_READS);
	param.initiator_depth =
		(uint8_t)MIN((uint32_t)c->dev->attr.max_qp_init_rd_atom, VERBS_MAX_READS);
	c->state = VERBS_CONNECTING;
	if (rdma_connect(c->id, &param))
		verbs_fail(c, -errno);
}

/* ---- events ---- */

/* What is used of an event; copied so that it is acknowledged before anything is called. */
struct cm_event {
	enum rdma_cm_event_type type;
	int status;
	uint32_t read_depth;
	bool is_brp;
	struct brp_cm_data peer;
};

void verbs_cm_connected(struct verbs_conn *c)
{
	if (c->state != VERBS_CONNECTING)
		return;
	c->state = VERBS_OPEN;
	c->was_open = true;
	verbs_qp_established(c);
	c->base.handler->connected(&c->base);
}

static void on_established(struct verbs_conn *c, const struct cm_event *ev)
{
	if (c->is_passive) { /* its private data came with the request */
		verbs_cm_connected(c);
		return;
	}
	if (!ev->is_brp || ev->peer.recv_bytes < c->params.send_bytes) {
		verbs_say_why(c, ev->is_brp ? "its receive buffers are too small for us"
					    : "not a BRP target");
		verbs_fail(c, -EPROTO);
		return;
	}
	c->peer = ev->peer;
	c->read_depth = ev->read_depth;
	verbs_cm_connected(c);
}

/* status is a negative errno for failures of ours and the CM's code (IBTA 12.6.7.2) for a refusal
 * of the peer. */
static int event_error(const struct cm_event *ev, int otherwise)
{
	return ev->status < 0 && ev->status > -4096 ? ev->status : otherwise;
}

static void on_failure(struct verbs_conn *c, const struct cm_event *ev, int error)
{
	if (c->state < VERBS_DRAINING && c->is_passive)
		log_peer(LOG_NOTICE, "verbs: %s: %s: %s (status %d)", c->base.peer,
			 rdma_event_str(ev->type), strerror(-error), ev->status);
	else
		log_debug("verbs: %s: %s: %s (status %d)", c->base.peer, rdma_event_str(ev->type),
			  strerror(-error), ev->status);
	verbs_fail(c, error);
}

static void on_event(struct verbs_conn *c, const struct cm_event *ev)
{
	switch (ev->type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		if (c->state == VERBS_RESOLVING)
			on_addr_resolved(c);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		if (c->state == VERBS_RESOLVING)
			on_route_resolved(c);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		if (c->state == VERBS_CONNECTING)
			on_established(c, ev);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		c->is_peer_gone = true;
		if (c->state == VERBS_CONNECTING)
			verbs_fail(c, -ECONNRESET);
		break;
	case RDMA_CM_EVENT_REJECTED:
		on_failure(c, ev, -ECONNREFUSED);
		break;
	case RDMA_CM_EVENT_UNREACHABLE:
		on_failure(c, ev, event_error(ev, c->is_passive ? -ETIMEDOUT : -EHOSTUNREACH));
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
		on_failure(c, ev, event_error(ev, -EHOSTUNREACH));
		break;
	case RDMA_CM_EVENT_CONNECT_ERROR:
		on_failure(c, ev, event_error(ev, -ECONNABORTED));
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		on_failure(c, ev, -ENODEV);
		c->error = -ENODEV; /* also when it was draining: nothing more will be flushed */
		break;
	default: /* TIMEWAIT_EXIT, ADDR_CHANGE and what is to come */
		break;
	}
}

bool verbs_cm_peek(struct verbs_conn *c)
{
	if (!c->event && rdma_get_cm_event(c->cm, &c->event))
		c->event = NULL;
	return c->event;
}

int verbs_cm_poll(struct verbs_conn *c)
{
	int n = 0;

	while (n < EVENTS_PER_POLL && verbs_cm_peek(c)) {
		const struct rdma_conn_param *p = &c->event->param.conn;
		struct cm_event ev = {.type = c->event->event, .status = c->event->status};

		if (ev.type == RDMA_CM_EVENT_ESTABLISHED) {
			ev.read_depth = MIN((uint32_t)p->initiator_depth, VERBS_MAX_READS);
			ev.is_brp =
				p->private_data &&
				!brp_decode_cm_data(p->private_data, p->private_data_len, &ev.peer);
		}
		rdma_ack_cm_event(c->event);
		c->event = NULL;
		on_event(c, &ev);
		n++;
	}
	c->is_cm_due = n == EVENTS_PER_POLL; /* there may be more */
	return n;
}
