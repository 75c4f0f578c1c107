/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/backend/fault_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/log.h"
#include "target/backend/ops.h"

#define BOUNCE_BYTES (1u << 20)
#define LOWER_DEPTH  16u

/* One block that is newer here than below. */
struct entry {
	struct entry *next; /* in its bucket */
	uint64_t block;
	uint64_t version; /* of fault_cache.version when it was written */
	unsigned char data[];
};

struct fault_cache {
	/* constant */
	struct bk_volume *lower;
	uint32_t block_bytes;
	size_t max_entries;
	size_t nr_buckets; /* a power of two */
	pthread_t thread;
	bool is_started;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* lock */
	struct entry **buckets;
	size_t nr_entries;
	uint64_t version; /* grows with every write */
	struct list todo; /* struct bk_req */
	bool is_stopping;

	/* the thread's own */
	struct bk_queue *queue;
	int epoll_fd;
	unsigned char *bounce;
};

/* In the request's scratch while the thread has it. */
struct cache_work {
	struct fault_cache_port *port;
	uint64_t is_fua;
};
static_assert(sizeof(struct cache_work) <= sizeof(((struct bk_req *)0)->scratch),
	      "a request carries its work");

static struct cache_work *work_of(struct bk_req *r)
{
	void *scratch = r->scratch;

	return scratch;
}

/* ---- the table; the lock is held ------------------------------------------------------------- */

static struct entry **bucket_of(struct fault_cache *c, uint64_t block)
{
	return &c->buckets[(block * 0x9e3779b97f4a7c15ull >> 20) & (c->nr_buckets - 1)];
}

static struct entry *find(struct fault_cache *c, uint64_t block)
{
	struct entry *e = *bucket_of(c, block);

	while (e && e->block != block)
		e = e->next;
	return e;
}

static void drop(struct fault_cache *c, struct entry *victim)
{
	struct entry **at = bucket_of(c, victim->block);

	while (*at != victim)
		at = &(*at)->next;
	*at = victim->next;
	free(victim);
	c->nr_entries--;
}

static bool has_any(struct fault_cache *c, uint64_t first, uint64_t nr)
{
	for (uint64_t i = 0; c->nr_entries && i < nr; i++) {
		if (find(c, first + i))
			return true;
	}
	return false;
}

static struct entry *add(struct fault_cache *c, uint64_t block)
{
	struct entry **at = bucket_of(c, block);
	struct entry *e = calloc(1, sizeof(*e) + c->block_bytes);

	if (!e)
		return NULL;
	e->block = block;
	e->next = *at;
	*at = e;
	c->nr_entries++;
	return e;
}

/* All of the request or nothing of it. False: no room. */
static bool insert(struct fault_cache *c, const struct bk_req *r)
{
	uint64_t first = r->offset / c->block_bytes;
	uint64_t nr = r->bytes / c->block_bytes;
	uint64_t nr_new = 0;

	for (uint64_t i = 0; i < nr; i++)
		nr_new += !find(c, first + i);
	if (nr_new > c->max_entries - c->nr_entries)
		return false;
	c->version++;
	for (uint64_t i = 0; i < nr; i++) {
		struct entry *e = find(c, first + i);

		if (!e && !(e = add(c, first + i)))
			return false; /* older blocks of it stay: it is not answered yet */
		e->version = c->version;
		memcpy(e->data, (const char *)r->buf + i * c->block_bytes, c->block_bytes);
	}
	return true;
}

/* Forgets what is not newer than `version`. */
static void forget(struct fault_cache *c, uint64_t first, uint64_t nr, uint64_t version)
{
	for (uint64_t i = 0; nr <= c->nr_entries && i < nr; i++) {
		struct entry *e = find(c, first + i);

		if (e && e->version <= version)
			drop(c, e);
	}
	for (size_t i = 0; nr > c->nr_entries && i < c->nr_buckets; i++) {
		struct entry *next;

		for (struct entry *e = c->buckets[i]; e; e = next) {
			next = e->next;
			if (e->block >= first && e->block - first < nr && e->version <= version)
				drop(c, e);
		}
	}
}

/* ---- the lower back end, by the thread; no lock is held -------------------------------------- */

static void wait_lower(struct fault_cache *c)
{
	struct bk_req *done[LOWER_DEPTH];
	struct epoll_event ev;

	int timeout_ms = bk_queue_fd(c->queue) < 0 ? 0 : -1;

	bk_flush(c->queue);
	while (bk_in_flight(c->queue)) {
		if (!bk_poll(c->queue, done, LOWER_DEPTH))
			epoll_wait(c->epoll_fd, &ev, 1, timeout_ms);
	}
}

/* What r asks for, done by the lower back end. */
static int do_lower(struct fault_cache *c, const struct bk_req *r, bool is_fua)
{
	struct bk_req lower = {
		.op = r->op,
		.is_fua = is_fua,
		.offset = r->offset,
		.bytes = r->bytes,
		.buf = r->buf,
	};

	bk_submit(c->queue, &lower);
	wait_lower(c);
	return lower.result;
}

/* Neighbouring blocks on their way down, copied to their part of the bounce buffer. */
struct run {
	struct bk_req req;
	uint64_t first;
	uint64_t nr;
	uint64_t version;
};

/* The next run of the sorted `blocks`, from *at on. Only this thread takes entries out, so all of
 * them are there. */
static void copy_run(struct fault_cache *c, const uint64_t *blocks, size_t nr_blocks, size_t *at,
		     struct run *run, unsigned char *buf)
{
	uint64_t max = BOUNCE_BYTES / LOWER_DEPTH / c->block_bytes;

	pthread_mutex_lock(&c->lock);
	run->first = blocks[*at];
	run->version = c->version;
	for (run->nr = 0; *at < nr_blocks && run->nr < max; run->nr++, ++*at) {
		if (blocks[*at] != run->first + run->nr)
			break;
		memcpy(buf + run->nr * c->block_bytes, find(c, blocks[*at])->data, c->block_bytes);
	}
	pthread_mutex_unlock(&c->lock);
	run->req = (struct bk_req){
		.op = BRP_OP_WRITE,
		.offset = run->first * c->block_bytes,
		.bytes = run->nr * c->block_bytes,
		.buf = buf,
	};
}

/* 0 or the first error: what was not written stays. */
static int finish_runs(struct fault_cache *c, const struct run *runs, unsigned int nr)
{
	int err = 0;

	wait_lower(c);
	pthread_mutex_lock(&c->lock);
	for (unsigned int i = 0; i < nr; i++) {
		if (!runs[i].req.result)
			forget(c, runs[i].first, runs[i].nr, runs[i].version);
		else if (!err)
			err = runs[i].req.result;
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

static int write_down(struct fault_cache *c, const uint64_t *blocks, size_t nr_blocks)
{
	struct run runs[LOWER_DEPTH];
	size_t at = 0;
	int err = 0;

	while (at < nr_blocks) {
		unsigned int n = 0;
		int e;

		for (; n < LOWER_DEPTH && at < nr_blocks; n++) {
			copy_run(c, blocks, nr_blocks, &at, &runs[n],
				 c->bounce + n * (BOUNCE_BYTES / LOWER_DEPTH));
			bk_submit(c->queue, &runs[n].req);
		}
		e = finish_runs(c, runs, n);
		err = err ? err : e;
	}
	return err;
}

static int compare_blocks(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

/* Writes down all that is here now. */
static int write_down_all(struct fault_cache *c)
{
	uint64_t *blocks = NULL;
	size_t n = 0;
	size_t nr;
	int err;

	pthread_mutex_lock(&c->lock);
	nr = c->nr_entries;
	if (nr)
		blocks = malloc(nr * sizeof(*blocks));
	for (size_t i = 0; blocks && i < c->nr_buckets; i++) {
		for (struct entry *e = c->buckets[i]; e; e = e->next)
			blocks[n++] = e->block;
	}
	pthread_mutex_unlock(&c->lock);
	if (!nr)
		return 0;
	if (!blocks)
		return -ENOMEM;
	qsort(blocks, n, sizeof(*blocks), compare_blocks);
	err = write_down(c, blocks, n);
	free(blocks);
	return err;
}

/* ---- requests, by the thread ----------------------------------------------------------------- */

static int read_both(struct fault_cache *c, struct bk_req *r)
{
	uint64_t first = r->offset / c->block_bytes;
	int err = do_lower(c, r, false);

	pthread_mutex_lock(&c->lock);
	for (uint64_t i = 0; !err && i < r->bytes / c->block_bytes; i++) {
		const struct entry *e = find(c, first + i);

		if (e)
			memcpy((char *)r->buf + i * c->block_bytes, e->data, c->block_bytes);
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* Straight down; what is cached of the same blocks is older then, except what came meanwhile. */
static int change_lower(struct fault_cache *c, const struct bk_req *r, bool is_fua)
{
	uint64_t version;
	int err;

	pthread_mutex_lock(&c->lock);
	version = c->version;
	pthread_mutex_unlock(&c->lock);
	err = do_lower(c, r, is_fua);
	if (err)
		return err;
	pthread_mutex_lock(&c->lock);
	forget(c, r->offset / c->block_bytes, r->bytes / c->block_bytes, version);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int write_when_full(struct fault_cache *c, const struct bk_req *r)
{
	int err = write_down_all(c);
	bool is_in;

	if (err)
		return err;
	pthread_mutex_lock(&c->lock);
	is_in = insert(c, r);
	pthread_mutex_unlock(&c->lock);
	return is_in ? 0 : change_lower(c, r, false);
}

static int work(struct fault_cache *c, struct bk_req *r)
{
	bool is_fua = work_of(r)->is_fua;
	int err;

	switch (r->op) {
	case BRP_OP_READ:
		return read_both(c, r);
	case BRP_OP_FLUSH:
		err = write_down_all(c);
		return err ? err : do_lower(c, r, false);
	case BRP_OP_WRITE:
		return is_fua ? change_lower(c, r, true) : write_when_full(c, r);
	default:
		return change_lower(c, r, is_fua);
	}
}

/* The owner may finish the port as soon as it has the request back: nothing of it is touched after
 * the unlock. */
static void give_back(struct fault_cache_port *p, struct bk_req *r)
{
	uint64_t one = 1;
	ssize_t n;

	pthread_mutex_lock(&p->lock);
	list_add_tail(&p->done, &r->link);
	n = write(p->event_fd, &one, sizeof(one));
	(void)n; /* EAGAIN: the counter is full, then it is signalled anyway */
	pthread_mutex_unlock(&p->lock);
}

static void *cache_thread(void *arg)
{
	struct fault_cache *c = arg;
	struct list *node;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		node = list_pop(&c->todo);
		if (node) {
			struct bk_req *r = list_entry(node, struct bk_req, link);
			struct fault_cache_port *p = work_of(r)->port;

			pthread_mutex_unlock(&c->lock);
			r->result = work(c, r);
			give_back(p, r);
			pthread_mutex_lock(&c->lock);
		} else if (c->is_stopping) {
			break;
		} else {
			pthread_cond_wait(&c->wake, &c->lock);
		}
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* ---- requests, by their owners --------------------------------------------------------------- */

static void hand_over(struct fault_cache *c, struct fault_cache_port *p, struct bk_req *r,
		      bool is_fua)
{
	*work_of(r) = (struct cache_work){.port = p, .is_fua = is_fua};
	list_add_tail(&c->todo, &r->link);
	pthread_cond_signal(&c->wake);
}

enum fault_cache_verdict fault_cache_submit(struct fault_cache *c, struct fault_cache_port *p,
					    struct bk_req *r, bool is_fua)
{
	enum fault_cache_verdict verdict = FAULT_CACHE_TAKEN;

	pthread_mutex_lock(&c->lock);
	if (r->op == BRP_OP_READ &&
	    !has_any(c, r->offset / c->block_bytes, r->bytes / c->block_bytes))
		verdict = FAULT_CACHE_LOWER;
	else if (r->op == BRP_OP_WRITE && !is_fua && insert(c, r))
		verdict = FAULT_CACHE_DONE;
	else
		hand_over(c, p, r, is_fua);
	pthread_mutex_unlock(&c->lock);
	return verdict;
}

struct bk_req *fault_cache_reap(struct fault_cache_port *p)
{
	struct list *node;

	pthread_mutex_lock(&p->lock);
	node = list_pop(&p->done);
	pthread_mutex_unlock(&p->lock);
	return node ? list_entry(node, struct bk_req, link) : NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

int fault_cache_port_init(struct fault_cache_port *p)
{
	pthread_mutex_init(&p->lock, NULL);
	list_init(&p->done);
	p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return p->event_fd < 0 ? -errno : 0;
}

void fault_cache_port_finish(struct fault_cache_port *p)
{
	if (p->event_fd >= 0)
		close(p->event_fd);
	pthread_mutex_destroy(&p->lock);
}

static int open_lower_queue(struct fault_cache *c)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int err = bk_queue_create(c->lower, LOWER_DEPTH, &c->queue);

	if (err)
		return err;
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll_fd < 0)
		return -errno;
	if (bk_queue_fd(c->queue) < 0)
		return 0;
	return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, bk_queue_fd(c->queue), &ev) < 0 ? -errno : 0;
}

static int init(struct fault_cache *c, uint64_t max_bytes)
{
	void *bounce;
	int err;

	c->max_entries = max_bytes / c->block_bytes;
	c->nr_buckets = 1;
	while (c->nr_buckets < c->max_entries)
		c->nr_buckets *= 2;
	c->buckets = calloc(c->nr_buckets, sizeof(struct entry *));
	if (!c->buckets)
		return -ENOMEM;
	err = arena_map_pages(BOUNCE_BYTES, -1, &bounce);
	if (err)
		return err;
	c->bounce = bounce;
	err = open_lower_queue(c);
	if (!err)
		err = bk_start_thread(&c->thread, cache_thread, c);
	c->is_started = !err;
	return err;
}

int fault_cache_create(struct bk_volume *lower, uint64_t max_bytes, struct fault_cache **ret_cache)
{
	struct fault_cache *c = calloc(1, sizeof(*c));
	struct bk_info info;
	int err;

	if (!c)
		return -ENOMEM;
	bk_get_info(lower, &info);
	c->lower = lower;
	c->block_bytes = info.block_bytes;
	c->epoll_fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->wake, NULL);
	list_init(&c->todo);
	err = init(c, max_bytes);
	if (err) {
		log_error("a volatile cache of %llu KiB cannot be made: %s",
			  (unsigned long long)(max_bytes >> 10), strerror(-err));
		fault_cache_destroy(c);
		return err;
	}
	*ret_cache = c;
	return 0;
}

static void stop_thread(struct fault_cache *c)
{
	pthread_mutex_lock(&c->lock);
	assert(list_empty(&c->todo));
	c->is_stopping = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
}

/* The thread has ended: its things are ours. */
static void empty(struct fault_cache *c)
{
	struct bk_req flush = {.op = BRP_OP_FLUSH};
	int err = write_down_all(c);

	if (!err)
		err = do_lower(c, &flush, false);
	if (err)
		log_error("volatile cache: %zu blocks of %u bytes are lost: %s", c->nr_entries,
			  c->block_bytes, strerror(-err));
	forget(c, 0, UINT64_MAX, UINT64_MAX);
}

void fault_cache_destroy(struct fault_cache *c)
{
	if (!c)
		return;
	if (c->is_started) {
		stop_thread(c);
		empty(c);
	}
	bk_queue_destroy(c->queue);
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	if (c->bounce)
		arena_unmap_pages(c->bounce, BOUNCE_BYTES);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c->buckets);
	free(c);
}
