/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The serving process of one device: its main thread keeps the control socket, signals and what the
 * session tells; the front end's threads do the I/O.
 *
 *	serve.c          command line, order of start and end, the loop
 *	serve_session.c  the session: connecting, events
 *	serve_device.c   the front end: choice, start, resize, removal
 *	serve_status.c   the answer to "status"
 */
#ifndef INITIATOR_CTL_SERVE_H
#define INITIATOR_CTL_SERVE_H

#include <jansson.h>
#include <stdatomic.h>

#include "brp/brp.h"
#include "initiator/ctl/registry.h"
#include "initiator/ctl/volume_options.h"
#include "initiator/dev/front.h"

/* How it ended; exit status that the supervisor sees. */
enum serve_end {
	SERVE_CLEAN = 0,  /* the device is gone, as asked */
	SERVE_FAILED = 1, /* it never was, or it went; reported and logged */
};

struct server {
	/* constant after start */
	struct volume_options opt;
	struct brp_options brp; /* as given to libbrp */
	uint8_t session_uuid[16];
	int recover_id;         /* of the device a killed predecessor left, or FRONT_NO_ID */
	char recover_front[16]; /* its front end */
	int signal_fd, listen_fd;
	int event_fd; /* readable: look at `news` and `gone_error` */

	/* main thread */
	struct reg_entry entry;
	struct brp_session *session;
	struct brp_info info;
	const struct front_ops *ops;
	struct front *front;
	uint32_t next_told_attempt; /* of an outage, the next one that goes into the log */
	bool is_orphan;             /* the supervisor is gone */
	bool is_lost;               /* the session failed for good; the device only fails I/O */
	bool is_ending;             /* leave the loop */
	int asker;                  /* connection of who asked for the end, or -1 */
	char error[512];            /* why it does not start, or ended */

	/* any thread */
	atomic_uint news;      /* 1 << enum brp_event_kind */
	atomic_int gone_error; /* the front end ended by itself; 0: it did not */
	atomic_uint_least64_t new_size_bytes;
};

/* The reason goes into s->error and into the log, once. Returns err. */
int serve_fail(struct server *s, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Also while connecting: signals, the control socket, the end of the supervisor. timeout_ms as
 * poll(); extra_fd -1: none. */
void serve_pass(struct server *s, int extra_fd, int timeout_ms);

/* serve_session.c. A predecessor's session is taken over, for as long as the options say. */
int serve_connect(struct server *s);
/* What on_event() has put down. */
void serve_news(struct server *s);
/* Says in the log how an outage stands. Returns when it must be called again at the latest, in ms
 * as for poll(). */
int serve_watch(struct server *s);

/* serve_device.c */
int serve_create(struct server *s);
void serve_resize(struct server *s, uint64_t size_bytes);
/* 0, or -EBUSY with why. */
int serve_in_use(const struct server *s, char *why, size_t why_bytes);
void serve_remove(struct server *s);

/* serve_status.c; NULL: no memory. */
json_t *serve_status(const struct server *s);

#endif
