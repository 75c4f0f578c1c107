/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-ops: the client of the end-to-end tests. What its parts share. */
#ifndef E2E_OPS_H
#define E2E_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "brp/brp.h"

/* Exit status; scripts rely on them. */
enum ops_exit {
	OPS_OK = 0,
	OPS_BAD_DATA = 1, /* the volume holds something else than was written, or a wrong result */
	OPS_USAGE = 2,
	OPS_NO_CONNECT = 3,
	OPS_LOST = 4, /* the connection ended; every request was completed */
	OPS_HANG = 5, /* a request was not completed in time */
};

struct ops_options {
	const char *mode;
	const char *uri;
	const char *state; /* file to keep the shadow copy in */
	unsigned int queues;
	unsigned int depth;
	unsigned int sessions;
	unsigned int seconds; /* mixed: instead of a count of requests; hold: how long */
	uint64_t requests;
	uint64_t offset; /* part of the volume to use */
	uint64_t span;
	uint64_t max_bytes;
	unsigned int seed;
	unsigned int session; /* number in the session UUID; 0: a random UUID */
	enum brp_merge merge;
	bool is_read_only;
	bool no_discard;
	bool is_unattended;  /* nobody polls: the target must not take silence for death */
	bool does_reconnect; /* else a lost connection is the end */
};

#define OPS_SMALL_BYTES   16384u /* most requests are not larger */
#define OPS_UNALIGNED_MAX 4096u  /* buffers start anywhere within a page */

/* ---- shadow: what the volume must hold
 * ---------------------------------------------------------------------------------- */

struct shadow {
	uint64_t offset; /* in the volume */
	uint64_t span;
	uint32_t block;
	uint8_t *data;
	uint8_t *is_known; /* per block: 0 after a discard, or a write whose outcome is unknown */
};

int shadow_init(struct shadow *sh, uint64_t offset, uint64_t span, uint32_t block);
void shadow_finish(struct shadow *sh);
/* at, bytes: within the span, from its start */
void shadow_write(struct shadow *sh, uint64_t at, uint64_t bytes, const void *data);
void shadow_zero(struct shadow *sh, uint64_t at, uint64_t bytes);
void shadow_forget(struct shadow *sh, uint64_t at, uint64_t bytes);
/* True if data is what should be there; says what is not. */
bool shadow_matches(const struct shadow *sh, uint64_t at, uint64_t bytes, const void *data);
int shadow_save(const struct shadow *sh, const char *path);
int shadow_load(struct shadow *sh, const char *path);

/*
 * ---- session
 * ------------------------------------------------------------------------------------------------------------
 */

struct ops_session {
	struct brp_session *s;
	struct brp_info info;
	uint8_t *base; /* registered arena */
	size_t bytes;
	struct brp_mem *mem;
};

/* One line, with the time of day, for scripts. */
void ops_say(const char *event, const char *text);
/* After each answer: the first one on a new connection is said. For one session in a program. */
void ops_say_flowing(void);

/* arena_bytes 0: no memory. OPS_OK or an exit status; says what failed. */
int ops_connect(const struct ops_options *o, size_t arena_bytes, struct ops_session *ret);
void ops_disconnect(struct ops_session *os);
/* One request, waited for. 0 or negative errno, from submit or from the completion. */
int ops_sync(struct ops_session *os, enum brp_io_op op, uint64_t offset, uint64_t bytes, void *buf);
uint64_t ops_now_ms(void);
uint64_t ops_random(uint64_t *state);

/*
 * ---- modes
 * --------------------------------------------------------------------------------------------------------------
 */

int ops_mixed(const struct ops_options *o);   /* random mix, checked against a shadow copy */
int ops_check(const struct ops_options *o);   /* read everything back against a saved shadow copy */
int ops_shapes(const struct ops_options *o);  /* every size and operation, one by one */
int ops_refused(const struct ops_options *o); /* what the library must refuse */
int ops_hold(const struct ops_options *o);    /* idle sessions */

#endif
