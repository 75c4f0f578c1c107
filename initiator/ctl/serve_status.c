/* SPDX-License-Identifier: BSD-2-Clause */
/* What a serving process tells about itself. */
#include <unistd.h>

#include "initiator/ctl/serve.h"

static const char *const states[] = {
	[BRP_STATE_CONNECTING] = "connecting",
	[BRP_STATE_LIVE] = "live",
	[BRP_STATE_RECONNECTING] = "reconnecting",
	[BRP_STATE_FAILED] = "failed",
};

static json_t *queue_json(const struct brp_queue *q)
{
	struct brp_stats st = {.size = sizeof(st)};
	json_t *sizes = json_array();

	if (brp_queue_stats(q, &st)) {
		json_decref(sizes);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(st.requests_per_message); i++)
		json_array_append_new(sizes, json_integer((json_int_t)st.requests_per_message[i]));
	return json_pack(
		"{sI sI sI sI sI sI sI sI sI sI sI sI sI so sI}", "requests",
		(json_int_t)st.requests, "messages", (json_int_t)st.messages, "completions",
		(json_int_t)st.completions, "responses", (json_int_t)st.responses, "errors",
		(json_int_t)st.errors, "bytes_read", (json_int_t)st.bytes_read, "bytes_written",
		(json_int_t)st.bytes_written, "sent_idle", (json_int_t)st.sent_idle, "sent_full",
		(json_int_t)st.sent_full, "sent_completion", (json_int_t)st.sent_completion,
		"sent_kick", (json_int_t)st.sent_kick, "sent_window", (json_int_t)st.sent_window,
		"sent_large", (json_int_t)st.sent_large, "requests_per_message", sizes, "sleeps",
		(json_int_t)st.sleeps);
}

static json_t *queues_json(const struct server *s)
{
	json_t *queues = json_array();

	for (unsigned int i = 0; i < s->info.queues; i++)
		json_array_append_new(queues, queue_json(brp_session_queue(s->session, i)));
	return queues;
}

static void add_info(const struct server *s, json_t *root)
{
	const struct brp_info *in = &s->info;

	json_object_update_new(
		root, json_pack("{sI si ss si si sb sb sb sb sb sb so}", "size_bytes",
				(json_int_t)in->size_bytes, "block_bytes", (int)in->block_bytes,
				"transport", in->transport, "queues", (int)in->queues, "queue_size",
				(int)in->queue_depth, "read_only", in->read_only, "discard",
				in->has_discard, "write_zeroes", in->has_write_zeroes, "fua",
				in->has_fua, "write_back", in->is_write_back, "digest",
				in->has_digest, "queue_stats", queues_json(s)));
}

static void add_session(const struct brp_status *st, json_t *root)
{
	json_object_update_new(root, json_pack("{ss si sI sI sI sI sI sI sI sI ss}", "state",
					       states[st->state], "attempt", (int)st->attempt,
					       "down_ms", (json_int_t)st->down_ms,
					       "next_attempt_ms", (json_int_t)st->next_attempt_ms,
					       "gives_up_ms", (json_int_t)st->gives_up_ms,
					       "fails_io_ms", (json_int_t)st->fails_io_ms,
					       "reconnects", (json_int_t)st->reconnects,
					       "retried_requests", (json_int_t)st->retried_requests,
					       "digest_errors", (json_int_t)st->digest_errors,
					       "epoch", (json_int_t)st->epoch, "text", st->text));
}

json_t *serve_status(const struct server *s)
{
	struct brp_status st = {.size = sizeof(st)};
	json_t *root = json_pack("{si ss}", "server_pid", (int)getpid(), "state",
				 states[BRP_STATE_CONNECTING]);

	if (!root || !s->session)
		return root;
	if (brp_session_status(s->session, &st) == 0 && (size_t)st.state < ARRAY_SIZE(states))
		add_session(&st, root);
	if (s->front)
		add_info(s, root);
	return root;
}
