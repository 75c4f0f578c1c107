/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/nbd_netlink.h"

#include <errno.h>
#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

/*
 * With more than one socket the driver takes a request that is not answered for 30 s as a sign of
 * a dead connection, unless it is told another time; "0 = never" counts for one socket only. We
 * answer when the target does, however long that takes. The time is kept in 32 bits of ticks, of
 * which a second has up to 1000: 23 days fit.
 */
#define TIMEOUT_S 2000000ull

struct call {
	struct nl_sock *sock;
	struct nl_msg *msg;
	int result; /* of the kernel: 0 or negative errno */
	int number; /* of the answer; -1: none came */
};

/* ---- one call -------------------------------------------------------------------------------- */

/* The kernel's own errno, which libnl would translate. */
static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *arg)
{
	struct call *c = arg;

	(void)from;
	c->result = e->error;
	return NL_STOP;
}

static int on_answer(struct nl_msg *msg, void *arg)
{
	struct call *c = arg;
	struct nlattr *attrs[NBD_ATTR_MAX + 1];

	if (genlmsg_parse(nlmsg_hdr(msg), 0, attrs, NBD_ATTR_MAX, NULL) == 0 &&
	    attrs[NBD_ATTR_INDEX])
		c->number = (int)nla_get_u32(attrs[NBD_ATTR_INDEX]);
	return NL_OK;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	int *is_acked = arg;

	(void)msg;
	*is_acked = 1;
	return NL_STOP;
}

static void call_end(struct call *c)
{
	nlmsg_free(c->msg);
	nl_socket_free(c->sock);
}

/* Then attributes are added to c->msg. */
static int call_begin(struct call *c, uint8_t command)
{
	int family;

	*c = (struct call){.sock = nl_socket_alloc(), .msg = nlmsg_alloc(), .number = -1};
	if (!c->sock || !c->msg) {
		call_end(c);
		return -ENOMEM;
	}
	if (genl_connect(c->sock) < 0) {
		call_end(c);
		return -EPROTONOSUPPORT;
	}
	family = genl_ctrl_resolve(c->sock, NBD_GENL_FAMILY_NAME);
	if (family < 0) {
		call_end(c);
		return -ENOENT;
	}
	genlmsg_put(c->msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, command, NBD_GENL_VERSION);
	return 0;
}

static int call_run(struct call *c)
{
	int is_acked = 0;
	int r;

	nl_socket_modify_err_cb(c->sock, NL_CB_CUSTOM, on_error, c);
	nl_socket_modify_cb(c->sock, NL_CB_VALID, NL_CB_CUSTOM, on_answer, c);
	nl_socket_modify_cb(c->sock, NL_CB_ACK, NL_CB_CUSTOM, on_ack, &is_acked);
	r = nl_send_auto(c->sock, c->msg);
	while (r >= 0 && !is_acked && c->result == 0)
		r = nl_recvmsgs_default(c->sock);
	/* A message that is too long or has no room for an attribute would be our mistake. */
	if (c->result == 0 && r < 0)
		c->result = -EIO;
	call_end(c);
	return c->result;
}

/* ---- calls ----------------------------------------------------------------------------------- */

int nbd_netlink_probe(void)
{
	struct call c;
	int err = call_begin(&c, NBD_CMD_STATUS);

	return err ? err : call_run(&c);
}

static int put_sockets(struct nl_msg *msg, const struct nbd_setup *s)
{
	struct nlattr *list = nla_nest_start(msg, NBD_ATTR_SOCKETS);

	if (!list)
		return -EMSGSIZE;
	for (unsigned int i = 0; i < s->nr_fds; i++) {
		struct nlattr *item = nla_nest_start(msg, NBD_SOCK_ITEM);

		if (!item || nla_put_u32(msg, NBD_SOCK_FD, (uint32_t)s->fds[i]) < 0)
			return -EMSGSIZE;
		nla_nest_end(msg, item);
	}
	nla_nest_end(msg, list);
	return 0;
}

static int put_setup(struct nl_msg *msg, const struct nbd_setup *s)
{
	if (nla_put_u64(msg, NBD_ATTR_SIZE_BYTES, s->size_bytes) < 0 ||
	    nla_put_u64(msg, NBD_ATTR_BLOCK_SIZE_BYTES, s->block_bytes) < 0 ||
	    nla_put_u64(msg, NBD_ATTR_SERVER_FLAGS, s->flags) < 0 ||
	    nla_put_u64(msg, NBD_ATTR_TIMEOUT, s->nr_fds > 1 ? TIMEOUT_S : 0) < 0 ||
	    /* Nobody comes back with another socket: what is new fails at once. */
	    nla_put_u64(msg, NBD_ATTR_DEAD_CONN_TIMEOUT, 0) < 0 ||
	    nla_put_string(msg, NBD_ATTR_BACKEND_IDENTIFIER, s->mark) < 0)
		return -EMSGSIZE;
	return put_sockets(msg, s);
}

int nbd_netlink_connect(const struct nbd_setup *s)
{
	struct call c;
	int err = call_begin(&c, NBD_CMD_CONNECT);

	if (err)
		return err;
	err = put_setup(c.msg, s);
	if (err) {
		call_end(&c);
		return err;
	}
	err = call_run(&c);
	if (err)
		return err;
	return c.number < 0 ? -EPROTO : c.number;
}

int nbd_netlink_disconnect(int number)
{
	struct call c;
	int err = call_begin(&c, NBD_CMD_DISCONNECT);

	if (err)
		return err;
	if (nla_put_u32(c.msg, NBD_ATTR_INDEX, (uint32_t)number) < 0) {
		call_end(&c);
		return -EMSGSIZE;
	}
	return call_run(&c);
}

/* A device with a mark is changed only by who tells it (nbd_genl_reconfigure() in the kernel). */
int nbd_netlink_resize(int number, const char *mark, uint64_t size_bytes)
{
	struct call c;
	int err = call_begin(&c, NBD_CMD_RECONFIGURE);

	if (err)
		return err;
	if (nla_put_u32(c.msg, NBD_ATTR_INDEX, (uint32_t)number) < 0 ||
	    (mark && nla_put_string(c.msg, NBD_ATTR_BACKEND_IDENTIFIER, mark) < 0) ||
	    nla_put_u64(c.msg, NBD_ATTR_SIZE_BYTES, size_bytes) < 0) {
		call_end(&c);
		return -EMSGSIZE;
	}
	return call_run(&c);
}
