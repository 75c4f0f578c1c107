/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volumes connect-all connects: INI files, one section a volume, its label the section's name.
 *
 *	[scratch]
 *	uri = brp+tcp://storage1/vol1
 *	queues = 4
 *
 * FOLDER/NAME.conf in the order of names, then FOLDER/conf.d/NAME.conf likewise; what a later file
 *says about a label replaces what an earlier one said. All mistakes are told with file and line.
 */
#ifndef INITIATOR_CTL_CONFIG_H
#define INITIATOR_CTL_CONFIG_H

#include "initiator/ctl/volume_options.h"

#define CONFIG_DIR        "/etc/brp"
#define CONFIG_MAX        1024 /* volumes */
#define CONFIG_MAX_VALUES 32   /* of one */

/* One line "name = value". */
struct config_value {
	const struct option_spec *spec;
	char *value;
	unsigned int file; /* which one said it, in the order of reading */
};

struct config_volume {
	char *label;
	char *place; /* "FILE:LINE" of its first section, for messages */
	char *uri;   /* NULL: nobody said it */
	unsigned int uri_file;
	bool is_off; /* enabled = no */
	struct config_value values[CONFIG_MAX_VALUES];
	unsigned int nr_values;
	struct volume_options opt; /* after config_read() */
};

struct config {
	struct config_volume *volumes[CONFIG_MAX];
	unsigned int n;
	unsigned int nr_files;
	unsigned int nr_errors; /* all said */
};

/* path: a folder or one file. Errors are said on the log; returns 0, or -EINVAL when there was one.
 * A folder that is not there is one without volumes. */
int config_read(struct config *c, const char *path);
void config_finish(struct config *c);

#endif
