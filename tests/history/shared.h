/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all processes of a run share: the clock and what clients did. In shared memory, so that
 * nothing is lost of a client that is killed: a record is complete before its request is handed to
 * the library, and its answer is written down as the last thing.
 */
#ifndef HISTORY_SHARED_H
#define HISTORY_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "tests/history/history.h"

#define MAX_CLIENTS 64u

struct client_log {
	atomic_size_t nr_recs;
	uint64_t sequence;      /* of values; goes on with the client's next process */
	uint32_t session;       /* number of logins begun */
	atomic_uint reconnects; /* of all its sessions */
	atomic_uint losses;     /* sessions that ended by themselves */
	atomic_bool is_live;    /* logged in */
	atomic_ullong
		last_ok_ns; /* when the last request succeeded, and when that one had started */
	atomic_ullong last_ok_start_ns;
	struct hist_rec *recs; /* max_recs of the run */
};

struct shared {
	atomic_ullong clock;
	atomic_bool is_filled; /* every block has been written once */
	atomic_bool is_ending; /* clients finish what is in flight, and end */
	size_t max_recs;       /* of one client */
	struct client_log clients[MAX_CLIENTS];
};

/* NULL: no memory. */
struct shared *shared_create(unsigned int nr_clients, size_t max_recs);
void shared_destroy(struct shared *sh, unsigned int nr_clients);

static inline uint64_t tick(struct shared *sh)
{
	return atomic_fetch_add(&sh->clock, 1) + 1;
}

/* The client's next record, or NULL: its log is full. It counts only after shared_commit(). */
struct hist_rec *shared_begin(struct shared *sh, unsigned int client);
void shared_commit(struct shared *sh, unsigned int client);
/* The last one committed never happened. */
void shared_take_back(struct shared *sh, unsigned int client);

#endif
