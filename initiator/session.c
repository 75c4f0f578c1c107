/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session from URI to disconnect. Connecting is one state machine over all queues:
 *
 *	queue 0 to the first address ──failed──▶ next address ... none left: failed
 *	   │ logged in
 *	queues 1...n-1 at once, same address ──one failed──▶ failed
 *	   │ all logged in
 *	connected
 *
 * The time allowed is for everything; an address that does not answer gets an equal share of what
 * is left, so that one dead address does not use up the others' time. Once a target has answered,
 * its refusal is final.
 */
#include "initiator/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STEP_MS    100
#define EPOCH_STEP 0x1000000u /* for a session UUID that others may have used before */

/* ---- making ---------------------------------------------------------------------------------- */

static int parse_uri(struct brp_session *s, const char *uri)
{
	const char *why = "";
	int r = brp_uri_parse(uri, &s->uri, &why);

	if (r < 0)
		return ini_last_error_set(r, "bad URI '%s': %s", uri, why);
	if (!s->listing && !s->uri.has_volume)
		return ini_last_error_set(-EINVAL, "URI '%s' names no volume", uri);
	return 0;
}

static int make_fabric(struct brp_session *s)
{
	const char *name = s->uri.transport == BRP_TRANSPORT_TCP ? "tcp" : "verbs";
	struct log_capture why;
	int r;

	log_capture(&why);
	r = fabric_create(name, &s->fabric);
	log_capture(NULL);
	if (r == -EOPNOTSUPP)
		return ini_last_error_set(r, "this build has no RDMA; use brp+tcp://");
	if (r < 0 && why.text[0])
		return ini_last_error_set(r, "%s", why.text);
	if (r == -ENODEV)
		return ini_last_error_set(r, "no RDMA device on this machine; brp+tcp:// works "
					     "without");
	if (r < 0)
		return ini_last_error_set(r, "cannot set up %s: %s", name, strerror(-r));
	return 0;
}

static int make_queues(struct brp_session *s)
{
	s->queues = calloc(s->opt.queues, sizeof(*s->queues));
	if (!s->queues)
		return ini_last_error_set(-ENOMEM, "out of memory");
	for (unsigned int i = 0; i < s->opt.queues; i++) {
		struct epoll_event ev = {.events = EPOLLIN};
		struct epoll_event failed = {.events = EPOLLIN | EPOLLET, .data.fd = s->failed_fd};
		int r = ini_queue_create(s, i, &s->queues[i]);

		if (r == 0 && epoll_ctl(s->fd, EPOLL_CTL_ADD, s->queues[i]->epoll_fd, &ev) < 0)
			r = -errno;
		if (r == 0 &&
		    epoll_ctl(s->queues[i]->epoll_fd, EPOLL_CTL_ADD, s->failed_fd, &failed) < 0)
			r = -errno;
		if (r < 0)
			return ini_last_error_set(r, "cannot make queue %u: %s", i, strerror(-r));
	}
	return 0;
}

static int random_step(uint32_t *ret_step)
{
	struct brp_uuid random;
	int r = ini_ident_random(&random);

	memcpy(ret_step, random.b, sizeof(*ret_step)); /* before the bits of the UUID's version */
	*ret_step %= EPOCH_STEP;
	return r;
}

/*
 * A session UUID that was given may be in use by a predecessor that is believed dead. Its epochs
 * began at the time of its start and grow by one for each loss, so ours, from now on, are newer,
 * whether or not the target has been restarted and knows none. At random within the second: two
 * that start at once must not meet.
 */
static int first_epoch(const struct brp_session *s, uint64_t *ret_epoch)
{
	struct timespec ts;
	uint32_t step;
	int r;

	*ret_epoch = 1;
	if (!s->is_heir)
		return 0;
	clock_gettime(CLOCK_REALTIME, &ts);
	r = random_step(&step);
	*ret_epoch = (uint64_t)ts.tv_sec * EPOCH_STEP + step + 1;
	return r;
}

static int make_identity(struct brp_session *s)
{
	uint64_t epoch = 1;
	int r = ini_ident_host(&s->opt, &s->host_uuid);

	s->is_heir = s->opt.session_uuid != NULL;
	if (s->is_heir)
		memcpy(s->session_uuid.b, s->opt.session_uuid, sizeof(s->session_uuid.b));
	else if (r == 0)
		r = ini_ident_random(&s->session_uuid);
	if (r == 0)
		r = first_epoch(s, &epoch);
	if (r < 0)
		return ini_last_error_set(r, "no random numbers: %s", strerror(-r));
	ini_ident_host_name(&s->opt, s->host_name);
	atomic_store(&s->epoch, epoch);
	atomic_store(&s->round, 1);
	atomic_store(&s->clean_round, 1);
	s->opt.host_name = NULL; /* the caller's, not kept */
	s->opt.host_uuid = NULL;
	s->opt.session_uuid = NULL;
	return 0;
}

static int session_init(struct brp_session *s, const char *uri, const struct brp_options *opt)
{
	int r;

	list_init(&s->mems);
	s->fd = epoll_create1(EPOLL_CLOEXEC);
	s->failed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0 || s->failed_fd < 0)
		return ini_last_error_set(-errno, "no descriptor: %s", strerror(errno));
	r = ini_options_resolve(opt, &s->opt);
	if (s->listing)
		s->opt.queues = 1;
	if (r == 0)
		r = parse_uri(s, uri);
	if (r == 0)
		r = make_identity(s);
	if (r == 0)
		r = make_fabric(s);
	if (r == 0)
		r = make_queues(s);
	if (r == 0)
		r = ini_address_resolve(&s->uri, &s->addrs);
	return r;
}

/* ---- connecting ------------------------------------------------------------------------------ */

/*
 * The longest message we could want to send: on verbs every send slot has that much memory. Without
 * merging that is one request with its data.
 */
static void set_params(const struct brp_session *s, struct fabric_params *p)
{
	bool is_off = s->opt.merge == BRP_MERGE_OFF;
	uint32_t requests = is_off ? 1 : s->opt.merge_max_requests;
	uint32_t data = requests * MAX(s->opt.merge_max_bytes, BRP_DEFAULT_IN_CAPSULE_BYTES);
	uint32_t depth = s->opt.queue_depth;

	if (s->opt.merge_max_bytes > BRP_MAX_CAPSULE_BYTES)
		data = BRP_MAX_CAPSULE_BYTES;
	*p = (struct fabric_params){
		.recv_bytes = BRP_MAX_INITIATOR_MSG_BYTES,
		.recv_count = depth + 8, /* protocol.md 2.2 */
		.send_bytes = MAX(512u, BRP_HEADER_BYTES + requests * BRP_REQUEST_BYTES +
						MIN(data, BRP_MAX_CAPSULE_BYTES)),
		.send_count = MAX(4u, MIN(depth, is_off ? 64u : 16u)),
		.max_data_bytes = BRP_DEFAULT_TRANSFER_BYTES,
		.depth = depth,
		.is_looking = true,
	};
}

static int start_queue(struct brp_session *s, struct brp_queue *q)
{
	int r;

	set_params(s, &q->params);
	r = ini_conn_create(q, s->addr->ai_addr, s->addr->ai_addrlen, &q->params, &q->conn);
	if (r < 0)
		return ini_error_set(&s->error, r, "%s", brp_last_error());
	r = ini_wait_attach(q);
	if (r < 0)
		ini_conn_close(q->conn,
			       ini_error_set(&q->conn->why, r, "cannot wait for a connection: %s",
					     strerror(-r)),
			       true);
	return 0;
}

static void set_attempt_deadline(struct brp_session *s)
{
	uint64_t now = now_ns();
	unsigned int nr_left = 0;

	for (const struct addrinfo *a = s->addr; a; a = a->ai_next)
		nr_left++;
	s->attempt_deadline_ns = s->deadline_ns;
	if (nr_left > 1 && now < s->deadline_ns)
		s->attempt_deadline_ns = now + (s->deadline_ns - now) / nr_left;
}

/* Tries s->addr and those behind it until one gets as far as a connection. */
static int start_first_queue(struct brp_session *s)
{
	int r = -EHOSTUNREACH;

	for (; s->addr; s->addr = s->addr->ai_next) {
		set_attempt_deadline(s);
		ini_error_reset(&s->error);
		r = start_queue(s, s->queues[0]);
		if (r == 0)
			break;
	}
	s->nr_started = r == 0;
	return r;
}

static int connect_failed(struct brp_session *s, const struct brp_queue *q)
{
	return ini_error_set(&s->error, q->conn->error, "%s", ini_error_text(&q->conn->why));
}

static int restart_first_queue(struct brp_session *s, const struct addrinfo *addr)
{
	struct brp_queue *q = s->queues[0];

	ini_conn_destroy(q->conn);
	q->conn = NULL;
	s->addr = addr;
	return start_first_queue(s);
}

/*
 * A process before us used our session UUID and got to a newer epoch than ours, which only a clock
 * set back can bring about, or the queue is connected still. So we ask once more, beyond what is
 * known. The next epoch would be what the predecessor itself takes next, should it live, and then
 * both would be one session: ours lies far ahead, at a random place.
 */
static bool may_take_over(struct brp_session *s, const struct ini_conn *c)
{
	uint64_t known = MAX(c->refusal_epoch, c->login_epoch);
	uint32_t more;

	if (!s->is_heir || s->has_taken_over || now_ns() >= s->deadline_ns)
		return false;
	if (c->refusal != BRP_ST_STALE_EPOCH && c->refusal != BRP_ST_BUSY)
		return false;
	if (known > UINT64_MAX - 2 * EPOCH_STEP || random_step(&more) < 0)
		return false;
	s->has_taken_over = true;
	atomic_store(&s->epoch, known + EPOCH_STEP + more);
	return true;
}

/* Queue 0 has failed to connect. An address that never answered may have a better neighbour. */
static int retry_first_queue(struct brp_session *s)
{
	struct brp_queue *q = s->queues[0];

	if (may_take_over(s, q->conn))
		return restart_first_queue(s, s->addr);
	if (q->conn->has_answer || !s->addr->ai_next || now_ns() >= s->deadline_ns)
		return connect_failed(s, q);
	return restart_first_queue(s, s->addr->ai_next);
}

static int start_other_queues(struct brp_session *s)
{
	s->attempt_deadline_ns = s->deadline_ns;
	for (; s->nr_started < s->opt.queues; s->nr_started++) {
		int r = start_queue(s, s->queues[s->nr_started]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void check_deadline(struct brp_session *s, struct brp_queue *q)
{
	if (ini_conn_is_over(q->conn) || now_ns() < s->attempt_deadline_ns)
		return;
	ini_error_set(&q->conn->why, -ETIMEDOUT, "%s: no %s within %u ms",
		      fabric_conn_peer(q->conn->fabric),
		      q->conn->state == BRP_CONN_NEW ? "answer" : "login",
		      s->opt.connect_timeout_ms);
	ini_conn_close(q->conn, -ETIMEDOUT, true);
}

/* Everything that is ready on one queue that is being connected. */
static void step_queue(struct brp_session *s, struct brp_queue *q)
{
	if (q->conn->state == BRP_CONN_CLOSED)
		return;
	(void)ini_wait_sleep(q, 0); /* takes the events off the list */
	do {
		while (ini_wait_pass(q) > 0 && q->conn->state != BRP_CONN_CLOSED)
			;
	} while (q->conn->state != BRP_CONN_CLOSED && !ini_wait_arm(q));
	check_deadline(s, q);
	ini_conn_check_close(q->conn);
}

static bool is_queue_ready(const struct brp_session *s, const struct brp_queue *q)
{
	return s->listing ? s->listing->is_done : q->is_up;
}

static int step(struct brp_session *s)
{
	unsigned int nr_ready = 0;
	int r;

	for (unsigned int i = 0; i < s->nr_started; i++) {
		struct brp_queue *q = s->queues[i];

		step_queue(s, q);
		if (q->conn->state != BRP_CONN_CLOSED) {
			nr_ready += is_queue_ready(s, q);
			continue;
		}
		if (s->nr_started > 1)
			return connect_failed(s, q);
		r = retry_first_queue(s);
		return r < 0 ? r : -EAGAIN;
	}
	if (nr_ready < s->nr_started)
		return -EAGAIN;
	if (s->nr_started == s->opt.queues)
		return 0;
	return start_other_queues(s) < 0 ? ini_error_code(&s->error) : -EAGAIN;
}

int brp_connect_step(struct brp_session *s)
{
	if (s->result != -EAGAIN)
		return s->result;
	s->result = step(s);
	if (s->result == -EAGAIN)
		return -EAGAIN;
	if (s->result < 0)
		return ini_last_error_set(s->result, "%s", ini_error_text(&s->error));
	/* From here on each queue's descriptors are its user's. */
	for (unsigned int i = 0; i < s->opt.queues; i++)
		epoll_ctl(s->fd, EPOLL_CTL_DEL, s->queues[i]->epoll_fd, NULL);
	if (!s->listing)
		ini_recover_begin(s);
	atomic_store(&s->is_connected, true);
	return 0;
}

int brp_connect_fd(const struct brp_session *s)
{
	return s->fd;
}

int ini_session_start(const char *uri, const struct brp_options *opt, struct ini_listing *listing,
		      struct brp_session **ret_session)
{
	struct brp_session *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return ini_last_error_set(-ENOMEM, "out of memory");
	s->listing = listing;
	s->fd = -1;
	s->failed_fd = -1;
	s->result = -EAGAIN;
	pthread_mutex_init(&s->lock, NULL);
	r = session_init(s, uri, opt);
	if (r == 0) {
		s->deadline_ns = now_ns() + s->opt.connect_timeout_ms * NS_PER_MS;
		s->addr = s->addrs;
		r = start_first_queue(s);
		if (r < 0)
			ini_last_error_set(r, "%s", ini_error_text(&s->error));
	}
	if (r < 0) {
		brp_disconnect(s);
		return r;
	}
	*ret_session = s;
	return 0;
}

int ini_session_connect(struct brp_session *s)
{
	int r;

	while ((r = brp_connect_step(s)) == -EAGAIN) {
		struct pollfd pfd = {.fd = s->fd, .events = POLLIN};

		(void)poll(&pfd, 1, STEP_MS);
	}
	return r;
}

int brp_connect_start(const char *uri, const struct brp_options *opt,
		      struct brp_session **ret_session)
{
	return ini_session_start(uri, opt, NULL, ret_session);
}

int brp_connect(const char *uri, const struct brp_options *opt, struct brp_session **ret_session)
{
	struct brp_session *s;
	int r = ini_session_start(uri, opt, NULL, &s);

	if (r < 0)
		return r;
	r = ini_session_connect(s);
	if (r < 0)
		brp_disconnect(s);
	else
		*ret_session = s;
	return r;
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* Until the fabric lets go of our memory. An orderly close has INI_CLOSE_TIMEOUT_MS for it, then it
 * is aborted. */
static void wait_closed(struct brp_queue *q)
{
	ini_wait_set_edge(q, false); /* nobody watches its descriptors any more */
	while (q->conn && q->conn->state != BRP_CONN_CLOSED) {
		if (ini_wait_pass(q) > 0)
			continue;
		ini_conn_check_close(q->conn);
		if (ini_wait_arm(q))
			(void)ini_wait_sleep(q, STEP_MS * NS_PER_MS);
	}
	ini_recover_step(q); /* between two connections: completes what waits */
}

static void end_queues(struct brp_session *s)
{
	s->is_ending = true;
	for (unsigned int i = 0; i < s->opt.queues; i++) {
		if (s->queues[i] && s->queues[i]->conn)
			ini_conn_goodbye(s->queues[i]->conn);
	}
	for (unsigned int i = 0; i < s->opt.queues; i++) {
		if (s->queues[i])
			wait_closed(s->queues[i]);
	}
	/* The last callbacks may still have asked for the status, which looks at every queue. */
	for (unsigned int i = 0; i < s->opt.queues; i++)
		ini_queue_destroy(s->queues[i]);
	free(s->queues);
}

void brp_disconnect(struct brp_session *s)
{
	if (!s)
		return;
	if (s->queues)
		end_queues(s);
	ini_session_free_mems(s);
	fabric_destroy(s->fabric);
	if (s->addrs)
		freeaddrinfo(s->addrs);
	if (s->fd >= 0)
		close(s->fd);
	if (s->failed_fd >= 0)
		close(s->failed_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
