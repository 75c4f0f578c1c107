/* SPDX-License-Identifier: BSD-2-Clause */
/* Built without liburing: the engine io_uring is never chosen. */
#include <errno.h>

#include "target/backend/aio.h"

const struct aio_engine aio_engine_uring = {.name = "io_uring"};

int aio_uring_probe(const char **ret_why)
{
	*ret_why = "this program was built without liburing";
	return -EOPNOTSUPP;
}
