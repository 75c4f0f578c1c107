/* SPDX-License-Identifier: BSD-2-Clause */
/* What a session tells its owner: events as they happen, and the state it is in. */
#include "initiator/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void ini_event(const struct brp_session *s, enum brp_event_kind kind, int err, const char *fmt, ...)
{
	const struct brp_queue *q = s->queues[0];
	char text[INI_ERROR_BYTES];
	struct brp_event ev = {
		.size = sizeof(ev),
		.kind = kind,
		.size_bytes = atomic_load(&s->size_blocks) << q->block_shift,
		.error = err,
		.text = text,
	};
	va_list ap;

	if (!s->opt.on_event)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->opt.on_event(s->opt.event_arg, &ev);
}

/* The queue that has been down longest, or NULL. */
static const struct ini_link *worst_link(const struct brp_session *s)
{
	const struct ini_link *worst = NULL;

	for (unsigned int i = 0; i < s->opt.queues; i++) {
		const struct ini_link *l = &s->queues[i]->link;

		if (l->state != INI_LINK_WAITING && l->state != INI_LINK_TRYING)
			continue;
		if (!worst || l->lost_ns < worst->lost_ns)
			worst = l;
	}
	return worst;
}

static int64_t left_ms(int limit_ms, uint64_t down_ms)
{
	if (limit_ms < 0)
		return -1;
	return down_ms >= (uint64_t)limit_ms ? 0 : limit_ms - (int64_t)down_ms;
}

static void seconds_text(int64_t ms, const char *never, char buf[32])
{
	if (ms < 0)
		snprintf(buf, 32, "%s", never);
	else
		snprintf(buf, 32, "in %lld s", (long long)(ms + 999) / 1000);
}

static void fill_down(const struct brp_session *s, const struct ini_link *l, struct brp_status *st)
{
	uint64_t now = now_ns();
	char gives_up[32];

	st->state = BRP_STATE_RECONNECTING;
	st->attempt = l->failed + 1;
	st->down_ms = (now - MIN(now, l->lost_ns)) / NS_PER_MS;
	if (l->state == INI_LINK_WAITING && l->next_ns > now)
		st->next_attempt_ms = (l->next_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	st->gives_up_ms = left_ms(s->opt.ctrl_loss_tmo_ms, st->down_ms);
	st->fails_io_ms = left_ms(s->opt.fast_io_fail_tmo_ms, st->down_ms);
	seconds_text(st->gives_up_ms, "never", gives_up);
	snprintf(st->text, sizeof(st->text),
		 "reconnecting, attempt %u, I/O %s, gives up %s: %.150s", st->attempt,
		 st->fails_io_ms == 0 ? "fails" : "waits", gives_up, s->why_down);
}

static void fill_locked(const struct brp_session *s, struct brp_status *st)
{
	const struct ini_link *l = worst_link(s);

	st->reconnects = s->nr_reconnects;
	st->retried_requests = s->nr_retried;
	st->digest_errors = s->nr_digest_errors;
	st->error = ini_error_code(&s->error);
	if (st->error) {
		st->state = BRP_STATE_FAILED;
		snprintf(st->text, sizeof(st->text), "%s", ini_error_text(&s->error));
	} else if (!atomic_load(&s->is_connected)) {
		st->state = BRP_STATE_CONNECTING;
		snprintf(st->text, sizeof(st->text), "connecting");
	} else if (l) {
		fill_down(s, l, st);
	} else {
		st->state = BRP_STATE_LIVE;
		snprintf(st->text, sizeof(st->text), "connected");
	}
}

int brp_session_status(const struct brp_session *s, struct brp_status *ret_status)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&s->lock; /* const for the caller */
	struct brp_status st = {
		.gives_up_ms = -1,
		.fails_io_ms = -1,
		.epoch = atomic_load(&s->epoch),
	};

	pthread_mutex_lock(lock);
	fill_locked(s, &st);
	pthread_mutex_unlock(lock);
	return ini_copy_out(ret_status, ret_status->size, &st, sizeof(st));
}
