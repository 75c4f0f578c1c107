/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-target: exports block storage over RDMA and TCP. */
#include <stdlib.h>

#include "common/log.h"
#include "target/config.h"
#include "target/daemon.h"

int main(int argc, char **argv)
{
	struct target_config *c = malloc(sizeof(*c));
	int rc;

	log_init("brp-target", LOG_NOTICE);
	if (!c)
		return EXIT_FAILURE;
	rc = config_parse(c, argc, argv);
	if (rc == CONFIG_RUN)
		rc = daemon_run(c, argc, argv);
	config_finish(c);
	free(c);
	return rc;
}
