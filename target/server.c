/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "brp/status.h"
#include "common/log.h"
#include "common/place.h"
#include "target/conn.h"
#include "target/listener.h"
#include "target/session.h"
#include "target/ticker.h"

/* Regions of the buffer arena: large enough to be few, small enough that a small target pins
 * little. */
#define REGION_BYTES (16u << 20)
#define DEFAULT_NICE (-5) /* of the pool; -10 and -15 gain no more */
/* At the end: what devices get at least to answer. */
#define MIN_DEVICE_GRACE_MS 2000u

/* ---- fabrics --------------------------------------------------------------------------------- */

static bool wants(const struct server *s, enum brp_transport transport)
{
	for (unsigned int i = 0; i < s->opt.nr_listen; i++) {
		if (s->opt.listen[i].transport == transport)
			return true;
	}
	return false;
}

static int add_fabric(struct server *s, const char *name)
{
	int err = fabric_create(name, &s->fabrics[s->nr_fabrics]);

	if (!err)
		s->nr_fabrics++;
	return err;
}

/* Nobody asked for it: its absence is worth a notice, not an error. */
static void add_rdma_if_there(struct server *s)
{
	struct log_capture why;
	int err;

	log_capture(&why);
	err = add_fabric(s, "verbs");
	log_capture(NULL);
	if (err)
		log_notice("serving TCP only: %s", why.text);
}

/*
 * Asked for by --listen: must be there. Not asked for at all: TCP always, RDMA if the machine has a
 * device, and it is said when it has none.
 */
static int open_fabrics(struct server *s)
{
	bool is_default = !s->opt.nr_listen;
	int err = 0;

	if (is_default || wants(s, BRP_TRANSPORT_TCP))
		err = add_fabric(s, "tcp");
	if (err)
		return err;
	if (wants(s, BRP_TRANSPORT_RDMA))
		return add_fabric(s, "verbs");
	if (is_default)
		add_rdma_if_there(s);
	return 0;
}

/* ---- where to run ---------------------------------------------------------------------------- */

static bool has_rdma(const struct server *s)
{
	for (unsigned int i = 0; i < s->nr_fabrics; i++) {
		if (!strcmp(fabric_name(s->fabrics[i]), "verbs"))
			return true;
	}
	return false;
}

/* Of the disks among the volumes, if they share one. */
static int node_of_disks(const struct server *s)
{
	int node = -1;

	for (unsigned int i = 0; i < s->opt.nr_volumes; i++) {
		struct stat st;
		int other;

		if (stat(s->opt.volumes[i].spec.path, &st) < 0 || !S_ISBLK(st.st_mode))
			continue;
		other = place_of_block("/sys", st.st_rdev);
		if (other < 0)
			continue;
		if (node >= 0 && other != node)
			return -1;
		node = other;
	}
	return node;
}

static int choose_node(const struct server *s)
{
	int node = s->opt.numa_node;

	if (node != SERVER_NODE_AUTO)
		return MAX(node, -1);
	if (has_rdma(s))
		node = place_of_rdma("/sys");
	if (node < 0)
		node = node_of_disks(s);
	if (node >= 0)
		log_notice("threads and buffers on NUMA node %d, where the devices are "
			   "(--numa-node)",
			   node);
	return node;
}

/*
 * What the pool's threads run at. At the default priority one is put off in the middle of its pass
 * by the thread that its doorbell has just woken, and switched to twice for one request
 * (docs/results/path.md); the kernel's targets complete in a work queue of high priority.
 */
static int choose_nice(const struct server *s)
{
	int now = getpriority(PRIO_PROCESS, 0);

	if (s->opt.nice != SERVER_NICE_AUTO)
		return s->opt.nice;
	return now == 0 ? DEFAULT_NICE : now;
}

/* Of the calling thread alone, on Linux. */
static void set_nice(const struct server *s)
{
	int nice = choose_nice(s);

	if (setpriority(PRIO_PROCESS, 0, nice) < 0)
		log_at(s->opt.nice == SERVER_NICE_AUTO ? LOG_INFO : LOG_WARNING,
		       "the threads stay at the priority of this process: nice %d: %s", nice,
		       strerror(errno));
}

struct starter {
	struct server *server;
	int err;
};

static void *start_pool_main(void *arg)
{
	struct starter *starter = arg;
	struct server *s = starter->server;

	(void)place_enter_node(s->numa_node);
	set_nice(s);
	starter->err = pool_start(s->pool);
	return NULL;
}

/* By a thread of its own: threads inherit from the one that starts them where they may run, and how
 * soon, and a normal user's could not take a lower priority back. */
static int start_pool(struct server *s)
{
	struct starter starter = {.server = s};
	pthread_t thread;
	int err = pthread_create(&thread, NULL, start_pool_main, &starter);

	if (err)
		return -err;
	pthread_join(thread, NULL);
	return starter.err;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static int add_volumes(struct server *s)
{
	int err = 0;

	for (unsigned int i = 0; i < s->opt.nr_volumes && !err; i++)
		err = volumes_add(s, &s->opt.volumes[i], true);
	return err;
}

static int listen_all(struct server *s)
{
	int err = 0;

	if (!s->opt.nr_listen)
		return listener_add_default(s);
	for (unsigned int i = 0; i < s->opt.nr_listen && !err; i++)
		err = listener_add(s, &s->opt.listen[i]);
	return err;
}

static void make_run_id(struct server *s)
{
	while (getrandom(&s->run_id, sizeof(s->run_id), 0) != sizeof(s->run_id))
		;
}

static int start(struct server *s)
{
	const struct pool_options pool = {.threads = s->opt.threads, .poll_us = s->opt.poll_us};
	int err = open_fabrics(s);

	s->control_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!err && s->control_fd < 0)
		err = -errno;
	if (!err) {
		s->numa_node = choose_node(s);
		err = add_volumes(s);
	}
	if (!err)
		err = buffers_init(&s->buffers, s->fabrics, s->nr_fabrics, REGION_BYTES,
				   s->opt.buffer_bytes, s->numa_node);
	if (!err)
		err = pool_create(&pool, &s->pool);
	if (!err)
		err = ticker_create(s, &s->ticker);
	if (!err)
		err = listen_all(s);
	if (!err)
		err = start_pool(s);
	return err;
}

static void free_everything(struct server *s)
{
	pool_destroy(s->pool);
	ticker_destroy(s->ticker);
	sessions_finish(s);
	if (s->buffers.arena)
		buffers_finish(&s->buffers);
	volumes_close_all(s);
	for (unsigned int f = 0; f < s->nr_fabrics; f++)
		fabric_destroy(s->fabrics[f]);
	if (s->control_fd >= 0)
		close(s->control_fd);
	pthread_cond_destroy(&s->conn_left);
	pthread_mutex_destroy(&s->lock);
}

int server_start(struct server *s, const struct server_options *opt)
{
	pthread_condattr_t attr;
	int err;

	memset(s, 0, sizeof(*s));
	s->opt = *opt;
	list_init(&s->volumes);
	list_init(&s->removed);
	list_init(&s->conns);
	list_init(&s->sessions);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->conn_left, &attr);
	pthread_condattr_destroy(&attr);
	make_run_id(s);
	s->started_ns = now_ns();
	if (opt->is_unsafe_no_fence)
		log_warning("--unsafe-no-fence: late writes of old sessions are let through on "
			    "purpose: this target damages data");
	err = start(s);
	if (err)
		free_everything(s);
	return err;
}

static void order_all(struct server *s, unsigned int order)
{
	struct list *pos;

	list_for_each (pos, &s->conns)
		conn_order(list_entry(pos, struct conn, server_link), order);
}

/* server.lock is held. True when all connections have left before the deadline. */
static bool wait_for_conns(struct server *s, unsigned int ms)
{
	struct timespec until;
	uint64_t at = now_ns() + ms * NS_PER_MS;

	until.tv_sec = (time_t)(at / NS_PER_S);
	until.tv_nsec = (long)(at % NS_PER_S);
	while (s->nr_conns) {
		if (pthread_cond_timedwait(&s->conn_left, &s->lock, &until) == ETIMEDOUT)
			break;
	}
	return !s->nr_conns;
}

int server_stop(struct server *s, unsigned int grace_ms)
{
	bool is_done;

	listeners_stop(s);
	pthread_mutex_lock(&s->lock);
	s->is_stopping = true;
	order_all(s, CONN_ORDER_DRAIN);
	is_done = wait_for_conns(s, grace_ms);
	if (!is_done) {
		log_warning("cutting off %u connections that did not end within %u ms", s->nr_conns,
			    grace_ms);
		order_all(s, CONN_ORDER_ABORT);
		/* What is left waits for its device only. */
		is_done = wait_for_conns(s, MAX(grace_ms, MIN_DEVICE_GRACE_MS));
	}
	pthread_mutex_unlock(&s->lock);
	if (!is_done) {
		volumes_close_all(s);
		log_error("ending although a device does not answer; the kernel keeps it for this "
			  "process until it has, so no late write can meet a successor");
		return -EBUSY;
	}
	free_everything(s);
	return 0;
}
