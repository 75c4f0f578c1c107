/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/history/shared.h"

#include <string.h>
#include <sys/mman.h>

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct shared *shared_create(unsigned int nr_clients, size_t max_recs)
{
	struct shared *sh = map(sizeof(*sh));

	if (!sh)
		return NULL;
	sh->max_recs = max_recs;
	for (unsigned int i = 0; i < nr_clients; i++) {
		sh->clients[i].recs = map(max_recs * sizeof(struct hist_rec));
		if (!sh->clients[i].recs) {
			shared_destroy(sh, i);
			return NULL;
		}
	}
	return sh;
}

void shared_destroy(struct shared *sh, unsigned int nr_clients)
{
	for (unsigned int i = 0; i < nr_clients; i++)
		munmap(sh->clients[i].recs, sh->max_recs * sizeof(struct hist_rec));
	munmap(sh, sizeof(*sh));
}

struct hist_rec *shared_begin(struct shared *sh, unsigned int client)
{
	struct client_log *log = &sh->clients[client];
	size_t n = atomic_load_explicit(&log->nr_recs, memory_order_relaxed);
	struct hist_rec *r;

	if (n == sh->max_recs)
		return NULL;
	r = &log->recs[n];
	memset(r, 0, sizeof(*r));
	r->client = (uint16_t)client;
	r->session = log->session;
	return r;
}

void shared_commit(struct shared *sh, unsigned int client)
{
	atomic_fetch_add(&sh->clients[client].nr_recs, 1);
}

void shared_take_back(struct shared *sh, unsigned int client)
{
	atomic_fetch_sub(&sh->clients[client].nr_recs, 1);
}
