/* SPDX-License-Identifier: BSD-2-Clause */
/* What brp-target is told: the command line, and a file with the same words. */
#ifndef TARGET_CONFIG_H
#define TARGET_CONFIG_H

#include "common/log.h"
#include "target/server.h"

struct target_config {
	struct server_options server;
	enum log_level log_level;
	unsigned int grace_ms;
	char *control; /* owned: the socket's path or "none"; NULL: the default place */
	bool has_file;
};

/* What to do after config_parse(). */
#define CONFIG_RUN -1
/* Defaults, then argv. CONFIG_RUN, or the exit status to end with (0 after --help and --version, 2
 * after an error, which has been said on stderr). config_finish() in every case. */
int config_parse(struct target_config *c, int argc, char **argv);
void config_finish(struct target_config *c);

#endif
