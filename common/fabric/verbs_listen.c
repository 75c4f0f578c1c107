/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening, connection requests, accepting and rejecting. */
#include "common/fabric/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "brp/codec.h"
#include "common/log.h"

#define BACKLOG         128
#define EVENTS_PER_POLL 16

struct verbs_listener {
	struct fabric_listener base;
	struct rdma_event_channel *cm;
	struct rdma_cm_id *id;
};

static struct verbs_listener *to_listener(struct fabric_listener *l)
{
	return container_of(l, struct verbs_listener, base);
}

int verbs_listener_fd(const struct fabric_listener *l)
{
	return container_of(l, struct verbs_listener, base)->cm->fd;
}

void verbs_listener_destroy(struct fabric_listener *base)
{
	struct verbs_listener *l = to_listener(base);

	if (l->id)
		rdma_destroy_id(l->id);
	if (l->cm)
		rdma_destroy_event_channel(l->cm);
	free(l);
}

static int start_listening(struct verbs_listener *l, const struct sockaddr *addr,
			   socklen_t addr_bytes)
{
	struct sockaddr_storage at = {0};
	int rc, on = 1;

	memcpy(&at, addr, MIN((size_t)addr_bytes, sizeof(at)));
	errno = 0;
	l->cm = rdma_create_event_channel();
	if (!l->cm)
		return errno ? -errno : -ENODEV;
	rc = verbs_set_nonblock(l->cm->fd);
	if (rc)
		return rc;
	if (rdma_create_id(l->cm, &l->id, NULL, RDMA_PS_TCP))
		return -errno;
	rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &on, sizeof(on));
	if (rdma_bind_addr(l->id, (struct sockaddr *)&at) || rdma_listen(l->id, BACKLOG))
		return -errno;
	l->base.port = ntohs(rdma_get_src_port(l->id));
	fabric_format_addr(rdma_get_local_addr(l->id), l->base.name, sizeof(l->base.name));
	return 0;
}

int verbs_listen(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		 struct fabric_listener **ret_l)
{
	struct verbs_listener *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return -ENOMEM;
	l->base.fabric = f;
	rc = start_listening(l, addr, addr_bytes);
	if (rc) {
		char text[FABRIC_ADDR_TEXT];

		fabric_format_addr(addr, text, sizeof(text));
		log_error("verbs: cannot listen on %s: %s%s", text, strerror(-rc),
			  rc == -ENODEV || rc == -EADDRNOTAVAIL
				  ? " (an address of an RDMA device is needed)"
				  : "");
		verbs_listener_destroy(&l->base);
		return rc;
	}
	*ret_l = &l->base;
	return 0;
}

/* ---- requests ---- */

/* Our turn to read from the peer is limited by what both devices can do; the event tells it from
 * the peer's side. */
static void take_depths(struct verbs_conn *c, const struct rdma_conn_param *p)
{
	const struct ibv_device_attr *attr = &c->dev->attr;
	uint32_t ours = MIN((uint32_t)attr->max_qp_init_rd_atom, VERBS_MAX_READS);

	c->read_depth = MIN((uint32_t)p->initiator_depth, ours);
	c->peer_reads = MIN((uint32_t)p->responder_resources, (uint32_t)attr->max_qp_rd_atom);
}

static const char *check_request(struct verbs_conn *c, const struct rdma_conn_param *p)
{
	if (!p->private_data || brp_decode_cm_data(p->private_data, p->private_data_len, &c->peer))
		return "not a BRP initiator";
	c->dev = verbs_find_dev(to_verbs(c->base.fabric), c->id->verbs);
	if (!c->dev)
		return "its device came after the start";
	take_depths(c, p);
	if (!c->read_depth)
		return "it allows no RDMA READ";
	return NULL;
}

/* From here on the connection's events come on its own channel; those that came already are moved
 * along. */
static void on_request(struct verbs_listener *l, struct rdma_cm_event *ev)
{
	struct rdma_cm_id *id = ev->id;
	const char *why = "no memory";
	struct verbs_conn *c = NULL;

	if (!verbs_conn_alloc(to_verbs(l->base.fabric), &c)) {
		c->id = id;
		c->is_passive = true;
		c->state = VERBS_ASKED;
		fabric_format_addr(rdma_get_peer_addr(id), c->base.peer, sizeof(c->base.peer));
		why = check_request(c, &ev->param.conn);
	}
	rdma_ack_cm_event(ev); /* first: moving and destroying an id wait for it */
	if (!why && rdma_migrate_id(id, c->cm))
		why = "cannot move to an event channel of its own";
	if (!why) {
		id->context = c;
		l->base.handler->incoming(&l->base, &c->base, l->base.ctx);
		return;
	}
	log_peer(LOG_WARNING, "verbs: %s: refused: %s", c ? c->base.peer : "?", why);
	if (c) {
		verbs_conn_destroy(&c->base);
	} else {
		rdma_reject(id, NULL, 0);
		rdma_destroy_id(id);
	}
}

/* An id that names the device must not outlive it; one that names none (a wildcard address) gets no
 * such event. */
static void give_up(struct verbs_listener *l)
{
	log_error("verbs: %s: the RDMA device was removed: nobody can connect here until the "
		  "program is started again",
		  l->base.name);
	rdma_destroy_id(l->id);
	l->id = NULL;
}

int verbs_listener_poll(struct fabric_listener *base)
{
	struct verbs_listener *l = to_listener(base);
	struct rdma_cm_event *ev;
	bool is_removed;
	int n = 0;

	for (; n < EVENTS_PER_POLL && !rdma_get_cm_event(l->cm, &ev); n++) {
		if (ev->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
			on_request(l, ev);
			continue;
		}
		is_removed = ev->event == RDMA_CM_EVENT_DEVICE_REMOVAL;
		rdma_ack_cm_event(ev);
		if (is_removed)
			give_up(l);
	}
	return n;
}

/* ---- answers ---- */

int verbs_accept(struct fabric_conn *base, const struct fabric_params *params)
{
	struct verbs_conn *c = to_conn(base);
	uint8_t data[BRP_CM_DATA_BYTES], timeout = VERBS_ACK_TIMEOUT;
	struct rdma_conn_param param;
	int rc;

	if (c->peer.recv_bytes < params->send_bytes) {
		log_peer(LOG_WARNING, "verbs: %s: refused: receives at most %u bytes, %u needed",
			 c->base.peer, c->peer.recv_bytes, params->send_bytes);
		return -EPROTO;
	}
	c->params = *params;
	rc = verbs_srq_get(c->dev, params, &c->srq);
	if (!rc)
		rc = verbs_qp_create(c);
	if (rc)
		return rc;
	rdma_set_option(c->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
			sizeof(timeout));
	verbs_cm_param(c, &param, data);
	param.responder_resources = (uint8_t)c->peer_reads;
	param.initiator_depth = (uint8_t)c->read_depth;
	if (rdma_accept(c->id, &param)) {
		rc = -errno;
		log_peer(LOG_WARNING, "verbs: %s: cannot accept: %s", c->base.peer, strerror(-rc));
		return rc;
	}
	c->state = VERBS_CONNECTING;
	return 0;
}

void verbs_reject(struct fabric_conn *base)
{
	verbs_conn_destroy(base);
}
