/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Failure sweep of the verbs fabric on a soft device: each library call below is made to fail the
 * 1st, 2nd, 3rd ... time (linker option --wrap, or the device's table of operations) during one
 * small session. Whatever the session makes of it, it must end, and leave no descriptor and no
 * object in the kernel.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "tests/rdma/rig.h"

/* Little, as all memory is registered anew for every session. */
#define AREA_BYTES (2u << 20)
#define MSG_BYTES  1024u

static const char *failing; /* function */
static unsigned int countdown;

static bool must_fail(const char *name)
{
	if (!failing || strcmp(failing, name) || !countdown || --countdown)
		return false;
	errno = ENOMEM;
	return true;
}

/* fails as: value of the failing call */
#define WRAP(type, name, fails_as, args, call)                             \
	type __real_##name args;                                           \
	type __wrap_##name args;                                           \
	type __wrap_##name args                                            \
	{                                                                  \
		return must_fail(#name) ? (fails_as) : __real_##name call; \
	}

WRAP(struct ibv_pd *, ibv_alloc_pd, NULL, (struct ibv_context * a), (a))
WRAP(struct ibv_comp_channel *, ibv_create_comp_channel, NULL, (struct ibv_context * a), (a))
WRAP(struct ibv_cq *, ibv_create_cq, NULL,
     (struct ibv_context * a, int b, void *c, struct ibv_comp_channel *d, int e), (a, b, c, d, e))
WRAP(struct ibv_srq *, ibv_create_srq, NULL, (struct ibv_pd * a, struct ibv_srq_init_attr *b),
     (a, b))
WRAP(int, ibv_modify_qp, ENOMEM, (struct ibv_qp * a, struct ibv_qp_attr *b, int c), (a, b, c))
WRAP(int, ibv_get_cq_event, -1, (struct ibv_comp_channel * a, struct ibv_cq **b, void **c),
     (a, b, c))
#undef ibv_reg_mr
WRAP(struct ibv_mr *, ibv_reg_mr, NULL, (struct ibv_pd * a, void *b, size_t c, int d), (a, b, c, d))
WRAP(struct ibv_mr *, ibv_reg_mr_iova2, NULL,
     (struct ibv_pd * a, void *b, size_t c, uint64_t d, unsigned int e), (a, b, c, d, e))
WRAP(struct rdma_event_channel *, rdma_create_event_channel, NULL, (void), ())
WRAP(int, rdma_create_id, -1,
     (struct rdma_event_channel * a, struct rdma_cm_id **b, void *c, enum rdma_port_space d),
     (a, b, c, d))
WRAP(int, rdma_create_qp, -1, (struct rdma_cm_id * a, struct ibv_pd *b, struct ibv_qp_init_attr *c),
     (a, b, c))
WRAP(int, rdma_bind_addr, -1, (struct rdma_cm_id * a, struct sockaddr *b), (a, b))
WRAP(int, rdma_listen, -1, (struct rdma_cm_id * a, int b), (a, b))
WRAP(int, rdma_resolve_addr, -1,
     (struct rdma_cm_id * a, struct sockaddr *b, struct sockaddr *c, int d), (a, b, c, d))
WRAP(int, rdma_resolve_route, -1, (struct rdma_cm_id * a, int b), (a, b))
WRAP(int, rdma_connect, -1, (struct rdma_cm_id * a, struct rdma_conn_param *b), (a, b))
WRAP(int, rdma_accept, -1, (struct rdma_cm_id * a, struct rdma_conn_param *b), (a, b))
WRAP(int, rdma_migrate_id, -1, (struct rdma_cm_id * a, struct rdma_event_channel *b), (a, b))
WRAP(int, rdma_disconnect, -1, (struct rdma_cm_id * a), (a))

/* The data path goes through a table, not through symbols. */
static struct ibv_context_ops real;
static struct ibv_context **devices;

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	*bad = wr;
	return must_fail("post_send") ? ENOMEM : real.post_send(qp, wr, bad);
}

/* All but the first of the chain is refused: what bad_wr is for. */
static int post_send_cut(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct ibv_send_wr *next = wr->next;
	int rc;

	if (!next || !must_fail("post_send_cut"))
		return post_send(qp, wr, bad);
	wr->next = NULL;
	rc = real.post_send(qp, wr, bad);
	wr->next = next;
	*bad = next;
	return rc ? rc : ENOMEM;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	*bad = wr;
	return must_fail("post_recv") ? ENOMEM : real.post_recv(qp, wr, bad);
}

static unsigned int nr_shared; /* receives posted */

static int post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	for (const struct ibv_recv_wr *i = wr; i; i = i->next)
		nr_shared++;
	*bad = wr;
	return must_fail("post_srq_recv") ? ENOMEM : real.post_srq_recv(srq, wr, bad);
}

static int req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	return must_fail("req_notify_cq") ? ENOMEM : real.req_notify_cq(cq, solicited_only);
}

static int poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
	return must_fail("poll_cq") ? -1 : real.poll_cq(cq, n, wc);
}

/* The contexts are librdmacm's and stay for the life of the process. */
static void hook_devices(void)
{
	struct ibv_context **list = devices = rdma_get_devices(NULL);

	for (int i = 0; list && list[i]; i++) {
		real = list[i]->ops;
		list[i]->ops.post_send = post_send_cut;
		list[i]->ops.post_recv = post_recv;
		list[i]->ops.post_srq_recv = post_srq_recv;
		list[i]->ops.req_notify_cq = req_notify_cq;
		list[i]->ops.poll_cq = poll_cq;
	}
}

static const char *const functions[] = {
	"ibv_alloc_pd",
	"ibv_create_comp_channel",
	"ibv_create_cq",
	"ibv_create_srq",
	"ibv_modify_qp",
	"ibv_get_cq_event",
	"ibv_reg_mr",
	"ibv_reg_mr_iova2",
	"rdma_create_event_channel",
	"rdma_create_id",
	"rdma_create_qp",
	"rdma_bind_addr",
	"rdma_listen",
	"rdma_resolve_addr",
	"rdma_resolve_route",
	"rdma_connect",
	"rdma_accept",
	"rdma_migrate_id",
	"rdma_disconnect",
	"post_send",
	"post_send_cut",
	"post_recv",
	"post_srq_recv",
	"req_notify_cq",
	"poll_cq",
};

struct wait {
	struct rig *rig;
	struct rig_end *end;
	unsigned int want;
};

static bool has_answers(void *arg)
{
	struct wait *w = arg;

	for (unsigned int i = 0; i < w->rig->nr_ends; i++)
		if (w->rig->ends[i]->is_closed)
			return true;
	return w->end->messages + w->end->notices >= w->want;
}

static void ask_all(struct rig *r, struct rig_end *e)
{
	for (uint32_t i = 0; i < 30 && !e->is_closed; i++) {
		static const enum rig_op ops[] = {RIG_ECHO, RIG_PUSH, RIG_PULL};
		struct rig_msg m = {.op = ops[i % 3], .tag = i, .bytes = 4096, .offset = i * 4096};

		if (fabric_expose(e->conn, i, r->initiator_area + m.offset, 4096, r->initiator_mem,
				  m.op == RIG_PUSH ? FABRIC_MEM_REMOTE_WRITE
						   : FABRIC_MEM_REMOTE_READ,
				  &m.key, &m.addr))
			break;
		rig_send_wait(e, &m, NULL, 0);
	}
	if (!e->is_closed)
		fabric_flush(e->conn);
}

/* Sleeps, so that events are asked for and come. */
static bool rest_and_go_on(struct wait *w)
{
	struct rig_msg m = {.op = RIG_ECHO, .tag = 30};

	for (int i = 0; i < 3; i++)
		rig_turn(w->rig);
	if (w->end->is_closed || !rig_send(w->end, &m, NULL, 0))
		return true;
	fabric_flush(w->end->conn);
	w->want++;
	return rig_until(w->rig, has_answers, w);
}

/* Returns false when something hangs. */
static bool session(void)
{
	struct rig r = {.area_bytes = AREA_BYTES, .msg_bytes = MSG_BYTES, .sleep_ms = 20};
	struct rig_end *e = NULL;
	struct wait w = {.rig = &r, .want = 30};
	bool good = true;

	if (!rig_start(&r, "verbs", "10.0.0.1"))
		e = rig_connect(&r);
	if (e && rig_connected(e)) {
		w.end = e;
		ask_all(&r, e);
		good = rig_until(&r, has_answers, &w);
		good = rest_and_go_on(&w) && good;
	}
	for (unsigned int i = 0; i < r.nr_ends; i++)
		fabric_close(r.ends[i]->conn, i & 1);
	good = rig_wait_all_closed(&r) && good;
	rig_stop(&r);
	return good;
}

/* ---- many connections ------------------------------------------------------------------------ */

static bool echo(struct rig *r, struct rig_end *e)
{
	struct rig_msg m = {.op = RIG_ECHO};
	struct wait w = {.rig = r, .end = e, .want = 1};

	rig_send_wait(e, &m, NULL, 0);
	if (e->is_closed)
		return false;
	fabric_flush(e->conn);
	return rig_until(r, has_answers, &w) && e->messages == 1;
}

/* Connects until there are nr connections, all of which work. */
static bool connect_up_to(struct rig *r, unsigned int nr)
{
	while (r->nr_ends < 2 * nr) {
		struct rig_end *e = rig_connect(r);

		if (!e || !rig_connected(e) || !echo(r, e))
			return false;
	}
	return true;
}

static void leave(struct rig *r)
{
	failing = NULL;
	for (unsigned int i = 0; i < r->nr_ends; i++)
		fabric_close(r->ends[i]->conn, false);
	rig_wait_all_closed(r);
	rig_stop(r);
}

/* The shared receives grow with the connections, up to their bound; each echo posts one again. */
static bool grows(void)
{
	static const struct {
		unsigned int conns, posted;
	} steps[] = {{1, 256}, {16, 256}, {17, 320}, {20, 320}, {21, 384}, {64, 1024}, {70, 1024}};
	struct rig r = {.area_bytes = AREA_BYTES};
	bool good;

	nr_shared = 0;
	good = !rig_start(&r, "verbs", "10.0.0.1");
	for (size_t i = 0; good && i < ARRAY_SIZE(steps); i++) {
		good = connect_up_to(&r, steps[i].conns);
		if (nr_shared - steps[i].conns > steps[i].posted ||
		    nr_shared - steps[i].conns + 1 < steps[i].posted) {
			printf("# %u connections: %u receives posted\n", steps[i].conns, nr_shared);
			good = false;
		}
	}
	leave(&r);
	return good;
}

/* Without memory for more of them the seventeenth connection works, and so do those that follow. */
static bool goes_on_with_fewer(const char *function, unsigned int call)
{
	struct rig r = {.area_bytes = AREA_BYTES};
	bool good;

	good = !rig_start(&r, "verbs", "10.0.0.1") && connect_up_to(&r, 16);
	nr_shared = 0;
	failing = function;
	countdown = call;
	good = good && connect_up_to(&r, 22) && !countdown;
	if (good && nr_shared >= 70) {
		printf("# %u receives posted\n", nr_shared);
		good = false;
	}
	leave(&r);
	return good;
}

static unsigned int check_crowds(unsigned int fds, unsigned int objects)
{
	bool good[] = {
		grows(),
		goes_on_with_fewer("ibv_reg_mr", 2), /* after the initiator's own memory */
		goes_on_with_fewer("post_srq_recv", 1),
		goes_on_with_fewer("post_srq_recv", 20),
	};
	unsigned int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		failed += !good[i];
	if (rig_open_fds() != fds || rig_kernel_objects() != objects) {
		printf("# left behind: descriptors %u of %u, objects %u of %u\n", rig_open_fds(),
		       fds, rig_kernel_objects(), objects);
		failed++;
	}
	printf("%s - shared receives: %d %d %d %d\n", failed ? "not ok" : "ok", good[0], good[1],
	       good[2], good[3]);
	return failed;
}

int main(int argc, char **argv)
{
	unsigned int failed = 0, runs = 0, fds, objects;

	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init("fabric-faults", LOG_ERROR - 1); /* the messages are expected */
	hook_devices();
	if (!session()) {
		printf("not ok - the session without failures\n");
		return 1;
	}
	fds = rig_open_fds();
	objects = rig_kernel_objects();
	if (argc < 2 || !strcmp(argv[1], "crowds"))
		failed += check_crowds(fds, objects);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		unsigned int n = 0;

		if (argc > 1 && strcmp(argv[1], functions[i]))
			continue;
		for (failing = functions[i]; n < 8; runs++) {
			bool good;

			countdown = ++n;
			good = session();
			if (!good || rig_open_fds() != fds || rig_kernel_objects() != objects) {
				printf("not ok - %s, call %u: %s, descriptors %u of %u, objects %u "
				       "of %u\n",
				       failing, n, good ? "ended" : "hangs", rig_open_fds(), fds,
				       rig_kernel_objects(), objects);
				failed++;
			}
			if (countdown)
				break; /* there were not so many calls */
		}
		printf("%s - %s: %u calls\n", failed ? "# so far not ok" : "ok", functions[i],
		       n - 1);
	}
	rdma_free_devices(devices);
	printf("%u runs, %u failed\n", runs, failed);
	return failed ? 1 : 0;
}
