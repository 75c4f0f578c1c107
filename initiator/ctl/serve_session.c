/* SPDX-License-Identifier: BSD-2-Clause */
/* The session of a serving process: connecting to the volume, and what happens to it later. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"
#include "initiator/ctl/serve.h"

#define STEP_MS            100  /* brp.h: brp_connect_step() at least so often */
#define RETRY_MS           1000 /* a restarted server tries again after so long */
#define WATCH_MS           1000 /* how often an outage is looked at */
#define FIRST_TOLD_ATTEMPT 3u

/* ---- events ---------------------------------------------------------------------------------- */

static const struct {
	enum log_level level;
	const char *what;
} kinds[] = {
	[BRP_EVENT_LOST] = {LOG_WARNING, "connection lost"},
	[BRP_EVENT_RECONNECTED] = {LOG_NOTICE, "reconnected"},
	[BRP_EVENT_RESIZED] = {LOG_NOTICE, "the volume has another size"},
	[BRP_EVENT_REMOVED] = {LOG_ERROR, "the volume was removed at the target"},
	[BRP_EVENT_GOING_DOWN] = {LOG_NOTICE, "the target is going down"},
	[BRP_EVENT_FAILED] = {LOG_ERROR, "the session has failed"},
};

/* Any queue's thread. */
static void on_event(void *arg, const struct brp_event *ev)
{
	struct server *s = arg;

	if ((unsigned int)ev->kind >= ARRAY_SIZE(kinds))
		return; /* a newer library's */
	log_at(kinds[ev->kind].level, "%s: %s%s%s", s->opt.uri, kinds[ev->kind].what,
	       ev->text[0] ? ": " : "", ev->text);
	if (ev->kind == BRP_EVENT_RESIZED)
		atomic_store(&s->new_size_bytes, ev->size_bytes);
	atomic_fetch_or(&s->news, 1u << ev->kind);
	eventfd_write(s->event_fd, 1);
}

/* The device stays for those who use it, and fails their I/O; unused it goes. */
static void on_lost_for_good(struct server *s)
{
	char why[256];

	if (s->is_lost)
		return;
	s->is_lost = true;
	if (!s->front || !serve_in_use(s, why, sizeof(why))) {
		serve_fail(s, -ENODEV,
			   "%s: the device is removed: its volume is gone, and nobody uses it",
			   s->entry.name);
		s->is_ending = true;
		return;
	}
	log_error("all I/O on %s fails from now on; %s; then 'brp-initiator disconnect %s'",
		  s->entry.name, why, s->entry.name);
}

void serve_news(struct server *s)
{
	unsigned int news = atomic_exchange(&s->news, 0);

	if (news & 1u << BRP_EVENT_RESIZED)
		serve_resize(s, atomic_load(&s->new_size_bytes));
	if (news & (1u << BRP_EVENT_REMOVED | 1u << BRP_EVENT_FAILED))
		on_lost_for_good(s);
}

/* An outage that lasts is in the log too, at fewer and fewer of its attempts. */
int serve_watch(struct server *s)
{
	struct brp_status st = {.size = sizeof(st)};

	if (brp_session_status(s->session, &st) < 0 || st.state != BRP_STATE_RECONNECTING) {
		s->next_told_attempt = FIRST_TOLD_ATTEMPT;
		return -1;
	}
	if (st.attempt >= s->next_told_attempt) {
		log_notice("%s: %s", s->opt.uri, st.text);
		s->next_told_attempt = 2 * st.attempt;
	}
	return WATCH_MS;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void set_options(struct server *s)
{
	s->brp = s->opt.brp;
	s->brp.queues = volume_options_queues(&s->opt);
	s->brp.session_uuid = s->session_uuid;
	s->brp.on_event = on_event;
	s->brp.event_arg = s;
}

/* One attempt. -ECANCELED: the process shall end. */
static int connect_once(struct server *s)
{
	int err = brp_connect_start(s->opt.uri, &s->brp, &s->session);

	if (err) {
		s->session = NULL;
		return err;
	}
	while ((err = brp_connect_step(s->session)) == -EAGAIN) {
		serve_pass(s, brp_connect_fd(s->session), STEP_MS);
		if (s->is_ending) {
			err = -ECANCELED;
			break;
		}
	}
	if (!err) {
		s->info.size = sizeof(s->info);
		err = brp_session_info(s->session, &s->info);
	}
	return err;
}

static void drop(struct server *s)
{
	brp_disconnect(s->session);
	s->session = NULL;
}

/* A target that is away comes back; one that refuses will refuse again. */
static bool is_passing(int err)
{
	return err == -ECONNREFUSED || err == -ECONNRESET || err == -ETIMEDOUT ||
	       err == -EHOSTUNREACH || err == -ENETUNREACH || err == -ENOTCONN || err == -EBUSY;
}

int serve_connect(struct server *s)
{
	uint64_t start = now_ns();
	bool has_said = false;
	int err;

	set_options(s);
	while ((err = connect_once(s))) {
		const char *why = brp_last_error();
		int limit_ms = s->opt.brp.ctrl_loss_tmo_ms;

		if (err == -ECANCELED) {
			drop(s);
			return serve_fail(s, err, "%s: ended while connecting", s->opt.uri);
		}
		if (s->session && brp_session_error(s->session)[0])
			why = brp_session_error(s->session);
		if (s->recover_id == FRONT_NO_ID || !is_passing(err) ||
		    (limit_ms >= 0 && now_ns() - start > (uint64_t)limit_ms * NS_PER_MS)) {
			serve_fail(s, err, "%s: %s", s->opt.uri, why);
			drop(s);
			return err;
		}
		if (!has_said)
			log_warning("%s: %s; I/O on %s waits, trying again", s->opt.uri, why,
				    s->entry.name);
		has_said = true;
		drop(s);
		serve_pass(s, -1, RETRY_MS);
		if (s->is_ending)
			return serve_fail(s, -ECANCELED, "%s: ended while connecting", s->opt.uri);
	}
	return 0;
}
