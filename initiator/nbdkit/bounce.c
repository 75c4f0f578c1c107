/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/nbdkit/bounce.h"

#include <stdlib.h>
#include <sys/mman.h>

static void destroy(struct bounce *b)
{
	brp_mem_unregister(b->mem);
	munmap(b->buf, BOUNCE_BYTES);
	free(b);
}

static struct bounce *create(struct bounce_pool *p)
{
	struct bounce *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->buf = mmap(NULL, BOUNCE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (b->buf == MAP_FAILED) {
		free(b);
		return NULL;
	}
	if (brp_mem_register(p->session, b->buf, BOUNCE_BYTES, &b->mem) < 0) {
		destroy(b);
		return NULL;
	}
	return b;
}

struct bounce *bounce_get(struct bounce_pool *p)
{
	struct bounce *b;

	pthread_mutex_lock(&p->lock);
	b = p->free;
	if (b)
		p->free = b->next;
	else
		b = create(p);
	pthread_mutex_unlock(&p->lock);
	return b;
}

void bounce_put(struct bounce_pool *p, struct bounce *b)
{
	pthread_mutex_lock(&p->lock);
	b->next = p->free;
	p->free = b;
	pthread_mutex_unlock(&p->lock);
}

void bounce_pool_init(struct bounce_pool *p, struct brp_session *session)
{
	p->session = session;
	p->free = NULL;
	pthread_mutex_init(&p->lock, NULL);
}

void bounce_pool_finish(struct bounce_pool *p)
{
	while (p->free) {
		struct bounce *b = p->free;

		p->free = b->next;
		destroy(b);
	}
	pthread_mutex_destroy(&p->lock);
}
