/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A front end alone, without brp-initiator around it: connects, makes the block device, prints
 * "device PATH id N" and serves it until SIGTERM or SIGINT, or until the device is gone. A volume
 * that changes its size is followed. At the end it prints what the queues did.
 *
 *	front-rig --front NAME [--queues N] [--queue-size N] [--recover ID] [--uuid HEX] URI
 *	front-rig --front NAME --probe
 *	front-rig --front NAME --cleanup ID
 *
 * Exit status: 0, 1 failure, 2 wrong usage, 3 the device ended by itself, 77 this machine cannot.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brp/brp.h"
#include "common/log.h"
#include "common/options.h"
#include "common/strparse.h"
#include "initiator/dev/front.h"

enum {
	OPT_FRONT = 1,
	OPT_QUEUES,
	OPT_QUEUE_SIZE,
	OPT_RECOVER,
	OPT_UUID,
	OPT_READ_ONLY,
	OPT_POLL_US,
	OPT_PROBE,
	OPT_CLEANUP,
	OPT_HELP,
};

static const struct option_spec specs[] = {
	{"front", 0, "NAME", "ublk, nbd or fuse", OPT_FRONT},
	{"queues", 0, "N", "connections and threads (1)", OPT_QUEUES},
	{"queue-size", 0, "N", "requests at once per queue", OPT_QUEUE_SIZE},
	{"recover", 0, "ID", "take over the device of a killed rig", OPT_RECOVER},
	{"uuid", 0, "HEX", "session UUID, 32 digits", OPT_UUID},
	{"read-only", 0, NULL, "connect for reading", OPT_READ_ONLY},
	{"poll-us", 0, "N", "as in brp.h", OPT_POLL_US},
	{"probe", 0, NULL, "tell whether this machine can", OPT_PROBE},
	{"cleanup", 0, "ID", "remove what a killed rig left", OPT_CLEANUP},
	{"help", 'h', NULL, "print this text", OPT_HELP},
};

struct rig {
	const struct front_ops *ops;
	const char *uri;
	struct brp_options options;
	uint8_t uuid[16];
	int recover_id;
	int cleanup_id;
	bool is_probe;
};

static pthread_t main_thread;

/* ---- events ---------------------------------------------------------------------------------- */

static void on_gone(void *arg, int error)
{
	(void)arg;
	log_notice("the device ended by itself: %s", strerror(-error));
	pthread_kill(main_thread, SIGUSR2);
}

static void on_event(void *arg, const struct brp_event *ev)
{
	(void)arg;
	log_notice("session: %s", ev->text);
	if (ev->kind == BRP_EVENT_RESIZED)
		pthread_kill(main_thread, SIGUSR1);
}

static void follow_size(struct brp_session *s, struct front *f)
{
	struct brp_info info = {.size = sizeof(info)};
	int r = brp_session_info(s, &info);

	if (r == 0)
		r = front_resize(f, info.size_bytes);
	log_notice("size now %llu: %s", (unsigned long long)info.size_bytes, strerror(-r));
}

/* Status of the program. */
static int serve(struct brp_session *s, struct front *f, const sigset_t *signals)
{
	for (;;) {
		int sig = sigwaitinfo(signals, NULL);

		if (sig == SIGTERM || sig == SIGINT)
			return 0;
		if (sig == SIGUSR2)
			return 3;
		if (sig == SIGUSR1)
			follow_size(s, f);
	}
}

static void print_stats(struct brp_session *s, unsigned int nr_queues)
{
	for (unsigned int i = 0; i < nr_queues; i++) {
		struct brp_stats st = {.size = sizeof(st)};

		if (brp_queue_stats(brp_session_queue(s, i), &st) < 0)
			continue;
		printf("queue %u requests %llu messages %llu errors %llu\n", i,
		       (unsigned long long)st.requests, (unsigned long long)st.messages,
		       (unsigned long long)st.errors);
	}
	fflush(stdout);
}

/* ---- main ------------------------------------------------------------------------------------ */

static int run_session(const struct rig *rig, struct brp_session *s, const sigset_t *signals)
{
	struct front_config config = {
		.session = s,
		.info = {.size = sizeof(config.info)},
		.name = "rig",
		.recover_id = rig->recover_id,
		.gone = on_gone,
	};
	struct front *f;
	int r, status = 1;

	if (brp_session_info(s, &config.info) < 0)
		return 1;
	config.nr_queues = config.info.queues;
	config.queue_depth = config.info.queue_depth;
	if (front_create(rig->ops, &config, &f) < 0)
		return 1;
	printf("device %s id %d\n", f->path, f->id);
	fflush(stdout);
	status = serve(s, f, signals);
	r = front_stop(f);
	front_destroy(f);
	print_stats(s, config.nr_queues);
	return r < 0 ? 1 : status;
}

static int run(struct rig *rig)
{
	struct brp_session *s;
	sigset_t signals;
	int status;

	main_thread = pthread_self();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (brp_connect(rig->uri, &rig->options, &s) < 0) {
		log_error("%s", brp_last_error());
		return 1;
	}
	status = run_session(rig, s, &signals);
	brp_disconnect(s);
	return status;
}

static int probe(const struct rig *rig)
{
	char why[256];

	if (front_probe(rig->ops, why, sizeof(why)) == 0)
		return 0;
	printf("%s\n", why);
	return 77;
}

static int parse_uuid(const char *text, uint8_t uuid[16])
{
	if (strlen(text) != 32)
		return -EINVAL;
	for (int i = 0; i < 16; i++) {
		unsigned int byte;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return -EINVAL;
		uuid[i] = (uint8_t)byte;
	}
	return 0;
}

static int parse_number(const struct options_iter *it, int *ret_number)
{
	char *end;
	long v = strtol(it->value, &end, 10);

	if (*end || end == it->value || v < -1 || v > 65535)
		return options_bad_value(it, "not a number");
	*ret_number = (int)v;
	return 0;
}

static int parse_option(struct rig *rig, const struct options_iter *it, int id)
{
	int n = 0;
	int r = 0;

	if (id == OPT_QUEUES || id == OPT_QUEUE_SIZE || id == OPT_RECOVER || id == OPT_CLEANUP ||
	    id == OPT_POLL_US)
		r = parse_number(it, &n);
	if (r)
		return r;
	switch (id) {
	case OPT_FRONT:
		rig->ops = front_find(it->value);
		return rig->ops ? 0 : options_bad_value(it, "no such front end in this build");
	case OPT_QUEUES:
		rig->options.queues = (unsigned int)n;
		return 0;
	case OPT_QUEUE_SIZE:
		rig->options.queue_depth = (unsigned int)n;
		return 0;
	case OPT_RECOVER:
		rig->recover_id = n;
		return 0;
	case OPT_CLEANUP:
		rig->cleanup_id = n;
		return 0;
	case OPT_POLL_US:
		rig->options.poll_us = n;
		return 0;
	case OPT_UUID:
		rig->options.session_uuid = rig->uuid;
		return parse_uuid(it->value, rig->uuid) == 0 ? 0 : options_bad_value(it, "no UUID");
	case OPT_READ_ONLY:
		rig->options.read_only = true;
		return 0;
	case OPT_PROBE:
		rig->is_probe = true;
		return 0;
	case OPTIONS_ARG:
		rig->uri = it->value;
		return 0;
	default:
		return OPTIONS_EXIT_USAGE;
	}
}

int main(int argc, char **argv)
{
	struct rig rig = {
		.options = BRP_OPTIONS_INIT, .recover_id = FRONT_NO_ID, .cleanup_id = FRONT_NO_ID};
	struct options_iter it;
	int id;

	log_init("front-rig", LOG_DEBUG);
	rig.options.on_event = on_event;
	options_begin(&it, "front-rig", argc, argv, specs, ARRAY_SIZE(specs));
	while ((id = options_next(&it)) != OPTIONS_END) {
		int r;

		if (id == OPT_HELP) {
			options_help(stdout, "usage: front-rig [options] [URI]\n", specs,
				     ARRAY_SIZE(specs));
			return 0;
		}
		r = parse_option(&rig, &it, id);
		if (r)
			return r;
	}
	if (!rig.ops)
		return options_usage_error("front-rig", "no --front");
	if (rig.is_probe)
		return probe(&rig);
	if (rig.cleanup_id != FRONT_NO_ID)
		return front_cleanup(rig.ops, rig.cleanup_id) < 0;
	if (!rig.uri)
		return options_usage_error("front-rig", "no URI");
	return run(&rig);
}
