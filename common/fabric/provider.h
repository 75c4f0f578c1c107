/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a fabric implements. Private to common/fabric/. One const table per fabric; every op is set
 * (enable_digest only where fabric.has_digest may be); only the checked wrappers in fabric.c call
 * them. Contracts are those of the function of the same name in fabric.h; arguments have been
 * checked.
 */
#ifndef FABRIC_PROVIDER_H
#define FABRIC_PROVIDER_H

#include "common/fabric/fabric.h"

struct fabric_ops {
	const char *name;

	int (*create)(const struct fabric_ops *ops, struct fabric **ret_fabric);
	void (*destroy)(struct fabric *f);

	int (*mem_register)(struct fabric *f, struct fabric_mem **ret_mem, void *base, size_t bytes,
			    unsigned int access);
	void (*mem_unregister)(struct fabric_mem *mem);

	int (*connect)(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		       const struct fabric_params *params, struct fabric_conn **ret_conn);
	int (*fds)(const struct fabric_conn *c, int ret_fds[FABRIC_MAX_FDS]);
	int (*poll)(struct fabric_conn *c);
	int (*arm)(struct fabric_conn *c);
	void (*look)(struct fabric_conn *c); /* may be NULL */
	void (*close)(struct fabric_conn *c, bool is_abort);
	void (*conn_destroy)(struct fabric_conn *c);
	int (*enable_digest)(struct fabric_conn *c);

	void *(*msg_begin)(struct fabric_conn *c, uint32_t head_bytes);
	int (*msg_commit)(struct fabric_conn *c, uint32_t head_bytes, const struct iovec *data,
			  unsigned int nr_data);
	void (*flush)(struct fabric_conn *c);
	void (*resume)(struct fabric_conn *c);

	int (*expose)(struct fabric_conn *c, uint32_t tag, void *base, uint32_t bytes,
		      struct fabric_mem *mem, unsigned int access, uint32_t *ret_key,
		      uint64_t *ret_addr);
	void (*unexpose)(struct fabric_conn *c, uint32_t tag);
	int (*pull)(struct fabric_conn *c, struct fabric_xfer *x);
	void (*pull_ready)(struct fabric_conn *c, struct fabric_xfer *x);
	int (*push)(struct fabric_conn *c, struct fabric_xfer *x);

	int (*listen)(struct fabric *f, const struct sockaddr *addr, socklen_t addr_bytes,
		      struct fabric_listener **ret_l);
	int (*listener_fd)(const struct fabric_listener *l);
	int (*listener_poll)(struct fabric_listener *l);
	void (*listener_destroy)(struct fabric_listener *l);
	int (*accept)(struct fabric_conn *c, const struct fabric_params *params);
	void (*reject)(struct fabric_conn *c);
};

/* Base objects; implementations embed them first and fill what is marked. */
struct fabric {
	const struct fabric_ops *ops;
	bool has_digest; /* by the implementation */
	bool is_stream;  /* likewise; see fabric_conn_is_stream() */
};

struct fabric_mem {
	struct fabric *fabric;
	char *base;
	size_t bytes;
	unsigned int access;
};

#define FABRIC_ADDR_TEXT 64

struct fabric_listener {
	struct fabric *fabric;
	const struct fabric_listen_handler *handler; /* by fabric.c */
	void *ctx;                                   /* by fabric.c */
	uint16_t port;                               /* by the implementation */
	char name[FABRIC_ADDR_TEXT];                 /* by the implementation */
};

struct fabric_conn {
	struct fabric *fabric;
	const struct fabric_handler
		*handler;            /* by fabric.c in connect/accept, before the op runs */
	void *ctx;                   /* likewise */
	bool is_closed;              /* closed() was called */
	bool was_busy;               /* by fabric.c: the last poll handled something */
	const char *why;             /* by the implementation; see fabric_conn_why() */
	char peer[FABRIC_ADDR_TEXT]; /* by the implementation */
	struct fabric_stats stats;   /* by the implementation */
};

/* Whether the owner waits for push_done(). */
static inline bool fabric_push_is_awaited(const struct fabric_params *p,
					  const struct fabric_xfer *x)
{
	return !p->is_lazy || x->bytes > FABRIC_LAZY_BYTES;
}

extern const struct fabric_ops fabric_tcp_ops;
extern const struct fabric_ops fabric_verbs_ops;
extern const struct fabric_ops fabric_loopback_ops;

/* "1.2.3.4:5" or "[::1]:5" into buf. */
void fabric_format_addr(const struct sockaddr *addr, char *buf, size_t bytes);
uint16_t fabric_addr_port(const struct sockaddr *addr);

#endif
