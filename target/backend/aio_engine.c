/* SPDX-License-Identifier: BSD-2-Clause */
/* Which engine drives devices and files: io_uring where the kernel lets us, else libaio. */
#include <stdatomic.h>

#include "common/log.h"
#include "target/backend/aio.h"

void aio_say_engine(const struct aio_volume *v)
{
	static atomic_bool was_said;
	const char *why = v->why_not_uring;

	if (!atomic_exchange(&was_said, true))
		log_notice("devices and files by %s%s%s", v->engine->name,
			   why ? "; no io_uring: " : "", why ? why : "");
}

int aio_choose_engine(struct aio_volume *v, const struct bk_spec *spec)
{
	int err = 0;

	v->engine = &aio_engine_libaio;
	v->is_engine_given = spec->engine != BK_ENGINE_AUTO;
	if (spec->engine != BK_ENGINE_AIO)
		err = aio_uring_probe(&v->why_not_uring);
	if (spec->engine == BK_ENGINE_URING && err < 0) {
		log_error("%s: io_uring was asked for (--io-engine) and cannot be used: %s",
			  v->path, v->why_not_uring);
		return err;
	}
	if (spec->engine != BK_ENGINE_AIO && !err)
		v->engine = &aio_engine_uring;
	return 0;
}
