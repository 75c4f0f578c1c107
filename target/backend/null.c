/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * null:SIZE stores nothing: it is there to measure everything around it. Writes are thrown away.
 * Reads give zeroes, not whatever the buffer held: buffers are shared by all sessions, and another
 * host's data must not come out of them. That costs a memset: about 0.1 us for 4 KiB. No mapping
 * either: it takes the way through the buffers that devices take.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/backend/ops.h"

static void null_close(struct bk_volume *v)
{
	free(v);
}

static int null_queue_create(struct bk_volume *v, unsigned int depth, struct bk_queue **ret_queue)
{
	(void)v;
	(void)depth;
	*ret_queue = calloc(1, sizeof(**ret_queue));
	return *ret_queue ? 0 : -ENOMEM;
}

static void null_queue_destroy(struct bk_queue *q)
{
	free(q);
}

static void null_submit(struct bk_queue *q, struct bk_req *r)
{
	if (r->op == BRP_OP_READ)
		memset(r->buf, 0, r->bytes);
	bk_finish(q, r, 0);
}

static const struct bk_ops null_ops = {
	.close = null_close,
	.queue_create = null_queue_create,
	.queue_destroy = null_queue_destroy,
	.submit = null_submit,
};

int null_open(const struct bk_spec *spec, const char *size, struct bk_volume **ret_volume)
{
	struct bk_volume *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->ops = &null_ops;
	v->kind = "null";
	r = bk_info_volatile(spec, size, &v->info);
	if (r < 0) {
		null_close(v);
		return r;
	}
	*ret_volume = v;
	return 0;
}
