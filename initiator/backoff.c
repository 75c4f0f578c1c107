/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a reconnect waits between two attempts. */
#include "initiator/internal.h"

/* A host that says no at once costs nothing to ask, and a target that restarts says so until it
 * listens: the ceiling while that goes on. It bounds what a restart costs beyond its own time. */
#define REFUSED_MAX_MS 500u

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t v = *state += 0x9e3779b97f4a7c15ull;

	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return v ^ v >> 31;
}

uint64_t ini_backoff_ms(const struct brp_options *opt, unsigned int nr_failed, enum ini_failure how,
			uint64_t *jitter)
{
	uint64_t base = opt->reconnect_delay_ms;
	uint64_t max = opt->reconnect_delay_max_ms;
	uint64_t ms;

	if (how == INI_FAILED_REFUSED)
		max = MAX(base, MIN(max, REFUSED_MAX_MS));
	ms = nr_failed > 20 ? max : MIN(base << (nr_failed - 1), max);
	/* A quarter less to a quarter more, so that many initiators do not come back in step. */
	return ms - ms / 4 + next_random(jitter) % (ms / 2 + 1);
}
