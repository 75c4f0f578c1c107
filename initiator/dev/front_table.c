/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of front ends; see front.h. Alone in its file, so that tests can bring another one. */
#include "common/util.h"
#include "initiator/dev/front.h"

/* The order of --device auto: the least work per request first. */
static const struct front_ops *const fronts[] = {
#ifdef BRP_HAVE_UBLK
	&ublk_front,
#endif
#ifdef BRP_HAVE_NBD
	&nbd_front,
#endif
#ifdef BRP_HAVE_FUSE
	&fuse_front,
#endif
	NULL,
};

const struct front_ops *front_at(unsigned int index)
{
	return index < ARRAY_SIZE(fronts) ? fronts[index] : NULL;
}
