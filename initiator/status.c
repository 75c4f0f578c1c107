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

static enum brp_state state(const struct brp_session *s)
{
	if (ini_error_code(&s->error))
		return BRP_STATE_FAILED;
	return s->is_connected ? BRP_STATE_LIVE : BRP_STATE_CONNECTING;
}

int brp_session_status(const struct brp_session *s, struct brp_status *ret_status)
{
	struct brp_status st = {
		.state = state(s),
		.gives_up_ms = -1,
		.fails_io_ms = -1,
		.epoch = s->epoch,
		.error = ini_error_code(&s->error),
	};

	snprintf(st.text, sizeof(st.text), "%s",
		 st.error ? ini_error_text(&s->error)
			  : (st.state == BRP_STATE_LIVE ? "connected" : "connecting"));
	return ini_copy_out(ret_status, ret_status->size, &st, sizeof(st));
}
