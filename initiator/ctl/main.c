/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator: finds the verb and runs it. */
#include <signal.h>
#include <string.h>

#include "common/log.h"
#include "initiator/ctl/ctl.h"

int main(int argc, char **argv)
{
	const struct verb *v;

	signal(SIGPIPE, SIG_IGN);
	log_init(CTL_PROGRAM, LOG_WARNING);
	if (argc < 2) {
		return options_usage_error(CTL_PROGRAM,
					   "what to do? For example: connect, list, disconnect");
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return verb_help.run(&verb_help, 1, argv + 1);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return verb_version.run(&verb_version, 1, argv + 1);
	v = ctl_verb_find(argv[1]);
	if (!v)
		return options_usage_error(CTL_PROGRAM, "'%s': no such verb", argv[1]);
	return v->run(v, argc - 1, argv + 1);
}
