/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of one connected volume: the same names on the command line of `connect`, in the files of
 * `connect-all`, and on the command line of the serving process. */
#ifndef INITIATOR_CTL_VOLUME_OPTIONS_H
#define INITIATOR_CTL_VOLUME_OPTIONS_H

#include <limits.h>
#include <stdbool.h>

#include "brp/brp.h"
#include "common/options.h"
#include "initiator/ctl/registry.h"

#define VOLUME_MAX_ARGS 32

enum volume_option_id {
	VOLUME_OPT_FIRST = 64,
	VOLUME_OPT_DEVICE = VOLUME_OPT_FIRST,
	VOLUME_OPT_MERGE,
	VOLUME_OPT_QUEUES,
	VOLUME_OPT_QUEUE_SIZE,
	VOLUME_OPT_RECONNECT_DELAY,
	VOLUME_OPT_CTRL_LOSS,
	VOLUME_OPT_FAST_IO_FAIL,
	VOLUME_OPT_KEEP_ALIVE,
	VOLUME_OPT_CONNECT_TIMEOUT,
	VOLUME_OPT_READ_ONLY,
	VOLUME_OPT_POLL_US,
	VOLUME_OPT_DIGEST,
	VOLUME_OPT_LOG_FILE,
};

/* clang-format off */
#define VOLUME_OPTIONS \
	{"device", 'd', "KIND", "front end: auto, ublk, nbd or fuse [auto]", VOLUME_OPT_DEVICE}, \
	{"merge", 0, "MODE", "merging of small requests: adaptive, always[:US] or off [adaptive]", \
	 VOLUME_OPT_MERGE}, \
	{"queues", 'i', "N", "connections, each served by a thread [one per processor, at most 8]", \
	 VOLUME_OPT_QUEUES}, \
	{"nr-io-queues", 0, "N", "the same, as nvme-cli calls it", VOLUME_OPT_QUEUES}, \
	{"queue-size", 'Q', "N", "requests in flight per queue [128]", VOLUME_OPT_QUEUE_SIZE}, \
	{"reconnect-delay", 'c', "S", \
	 "seconds before the second attempt to reconnect, then doubled [0.5]", \
	 VOLUME_OPT_RECONNECT_DELAY}, \
	{"ctrl-loss-tmo", 'l', "S", \
	 "give up reconnecting after S seconds: the device fails; -1 never [-1]", \
	 VOLUME_OPT_CTRL_LOSS}, \
	{"fast-io-fail-tmo", 0, "S", \
	 "I/O that waits for a reconnect fails after S seconds; -1 never [-1]", \
	 VOLUME_OPT_FAST_IO_FAIL}, \
	{"keep-alive-tmo", 'k', "S", \
	 "a target silent for S seconds is taken for dead; 0 never [4]", \
	 VOLUME_OPT_KEEP_ALIVE}, \
	{"connect-timeout", 0, "S", "seconds for the first connection [10]", \
	 VOLUME_OPT_CONNECT_TIMEOUT}, \
	{"read-only", 'r', NULL, "the device cannot be written", VOLUME_OPT_READ_ONLY}, \
	{"poll-us", 0, "N", "spin up to N us before sleeping; -1 adaptive [-1]", VOLUME_OPT_POLL_US}, \
	{"data-digest", 0, "MODE", "CRC32C on TCP: on, off, or auto: as the target wants it [auto]", \
	 VOLUME_OPT_DIGEST}, \
	{"log-file", 0, "FILE", "messages of the serving process go there [syslog]", \
	 VOLUME_OPT_LOG_FILE}
/* clang-format on */

struct volume_options {
	char uri[REG_URI_BYTES];
	char device[16];
	unsigned int queues;    /* 0: one per processor */
	struct brp_options brp; /* but for queues */
	char log_file[PATH_MAX];

	/* As given, "--name=value": what the serving process gets. Owned. */
	char *args[VOLUME_MAX_ARGS];
	unsigned int nr_args;
};

void volume_options_init(struct volume_options *o);
void volume_options_finish(struct volume_options *o);

/* -EINVAL with *ret_why: what is wrong. */
int volume_options_set_uri(struct volume_options *o, const char *uri, const char **ret_why);

/* NULL: no such option. */
const struct option_spec *volume_option_find(const char *name);

/* value: NULL for an option without one on a command line; in files it is yes or no. -EINVAL with
 * *ret_why: what is expected. */
int volume_options_apply(struct volume_options *o, const struct option_spec *spec,
			 const char *value, const char **ret_why);

/* The number of queues to ask the target for. */
unsigned int volume_options_queues(const struct volume_options *o);

#endif
