/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asynchronous events of the verbs fabric on a soft device: what the connection manager says when a
 * network, a peer or a device goes away, which a soft device never says by itself, and a queue pair
 * that fails behind our back. An event is made up, or takes the place of a real one (linker option
 * --wrap); all else is real. At either end the connection must end once, with the right error and
 * every transfer given back, leave nothing, and not be in the way of the next connection.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "tests/rdma/rig.h"

enum role {
	INITIATOR,
	TARGET,
	LISTENER,
};

/* When the event comes. */
enum moment {
	RESOLVED, /* instead of ADDR_RESOLVED */
	ROUTED,   /* instead of ROUTE_RESOLVED */
	OPENED,   /* instead of ESTABLISHED */
	IDLE,
	BUSY, /* requests and transfers under way */
};

#define QP_FAILS (-1) /* instead of an event's type */
#define SURVIVES 1    /* instead of an error */
#define ANY_LOSS 2    /* whatever is noticed first */

static const struct scenario {
	enum role victim;
	enum moment moment;
	int event;
	int status; /* of the event */
	int error;  /* told by closed() at the victim */
} scenarios[] = {
	{INITIATOR, RESOLVED, RDMA_CM_EVENT_ADDR_ERROR, -ETIMEDOUT, -ETIMEDOUT},
	{INITIATOR, RESOLVED, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{INITIATOR, ROUTED, RDMA_CM_EVENT_ROUTE_ERROR, 0, -EHOSTUNREACH},
	{INITIATOR, ROUTED, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{INITIATOR, OPENED, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, -ETIMEDOUT},
	{INITIATOR, OPENED, RDMA_CM_EVENT_UNREACHABLE, 0, -EHOSTUNREACH},
	{INITIATOR, OPENED, RDMA_CM_EVENT_CONNECT_ERROR, 0, -ECONNABORTED},
	{INITIATOR, OPENED, RDMA_CM_EVENT_REJECTED, 28, -ECONNREFUSED},
	{INITIATOR, OPENED, RDMA_CM_EVENT_DISCONNECTED, 0, -ECONNRESET},
	{INITIATOR, OPENED, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{TARGET, OPENED, RDMA_CM_EVENT_UNREACHABLE, 0, -ETIMEDOUT},
	{TARGET, OPENED, RDMA_CM_EVENT_CONNECT_ERROR, 0, -ECONNABORTED},
	{TARGET, OPENED, RDMA_CM_EVENT_DISCONNECTED, 0, -ECONNRESET},
	{TARGET, OPENED, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{INITIATOR, IDLE, RDMA_CM_EVENT_DISCONNECTED, 0, 0},
	{INITIATOR, IDLE, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{INITIATOR, IDLE, QP_FAILS, 0, -ECONNRESET},
	{TARGET, IDLE, RDMA_CM_EVENT_DISCONNECTED, 0, 0},
	{TARGET, IDLE, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{TARGET, IDLE, QP_FAILS, 0, ANY_LOSS},
	{INITIATOR, BUSY, RDMA_CM_EVENT_DISCONNECTED, 0, ANY_LOSS},
	{INITIATOR, BUSY, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{INITIATOR, BUSY, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, SURVIVES},
	{INITIATOR, BUSY, RDMA_CM_EVENT_ADDR_CHANGE, 0, SURVIVES},
	{INITIATOR, BUSY, QP_FAILS, 0, -ECONNRESET},
	{TARGET, BUSY, RDMA_CM_EVENT_DISCONNECTED, 0, ANY_LOSS},
	{TARGET, BUSY, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, -ENODEV},
	{TARGET, BUSY, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, SURVIVES},
	{TARGET, BUSY, RDMA_CM_EVENT_ADDR_CHANGE, 0, SURVIVES},
	{TARGET, BUSY, QP_FAILS, 0, -ECONNRESET},
};

static const char *const roles[] = {"initiator", "target", "listener"};
static const char *const moments[] = {"address resolved", "route resolved", "established", "idle",
				      "busy"};

/* ---- the connection manager ------------------------------------------------------------------ */

static struct rdma_cm_id *ids[3];      /* by role, of the last connection */
static const struct scenario *waiting; /* its event has not come yet */
static struct rdma_cm_event made_up;

int __real_rdma_get_cm_event(struct rdma_event_channel *cm, struct rdma_cm_event **ret_ev);
int __wrap_rdma_get_cm_event(struct rdma_event_channel *cm, struct rdma_cm_event **ret_ev);
int __real_rdma_ack_cm_event(struct rdma_cm_event *ev);
int __wrap_rdma_ack_cm_event(struct rdma_cm_event *ev);
int __real_rdma_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *cm);
int __wrap_rdma_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *cm);
int __real_rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to,
			     int timeout_ms);
int __wrap_rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to,
			     int timeout_ms);
int __real_rdma_listen(struct rdma_cm_id *id, int backlog);
int __wrap_rdma_listen(struct rdma_cm_id *id, int backlog);

int __wrap_rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to,
			     int timeout_ms)
{
	ids[INITIATOR] = id;
	return __real_rdma_resolve_addr(id, from, to, timeout_ms);
}

int __wrap_rdma_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *cm)
{
	ids[TARGET] = id;
	return __real_rdma_migrate_id(id, cm);
}

int __wrap_rdma_listen(struct rdma_cm_id *id, int backlog)
{
	ids[LISTENER] = id;
	return __real_rdma_listen(id, backlog);
}

static bool is_for_victim(const struct rdma_event_channel *cm)
{
	return waiting && ids[waiting->victim] && ids[waiting->victim]->channel == cm;
}

static int make_up(struct rdma_cm_event **ret_ev)
{
	made_up = (struct rdma_cm_event){
		.id = ids[waiting->victim],
		.event = (enum rdma_cm_event_type)waiting->event,
		.status = waiting->status,
	};
	waiting = NULL;
	*ret_ev = &made_up;
	return 0;
}

int __wrap_rdma_get_cm_event(struct rdma_event_channel *cm, struct rdma_cm_event **ret_ev)
{
	static const enum rdma_cm_event_type replaced[] = {
		[RESOLVED] = RDMA_CM_EVENT_ADDR_RESOLVED,
		[ROUTED] = RDMA_CM_EVENT_ROUTE_RESOLVED,
		[OPENED] = RDMA_CM_EVENT_ESTABLISHED,
	};
	int rc;

	if (is_for_victim(cm) && waiting->moment >= IDLE)
		return make_up(ret_ev);
	rc = __real_rdma_get_cm_event(cm, ret_ev);
	if (rc || !is_for_victim(cm) || (*ret_ev)->event != replaced[waiting->moment])
		return rc;
	(*ret_ev)->event = (enum rdma_cm_event_type)waiting->event;
	(*ret_ev)->status = waiting->status;
	waiting = NULL;
	return 0;
}

int __wrap_rdma_ack_cm_event(struct rdma_cm_event *ev)
{
	return ev == &made_up ? 0 : __real_rdma_ack_cm_event(ev);
}

/* ---- one scenario ---------------------------------------------------------------------------- */

#define NR_REQUESTS 40u
/* Little, as all memory is registered anew for every scenario. */
#define AREA_BYTES ((NR_REQUESTS + 1) * 65536)
#define MSG_BYTES  1024u

struct run {
	const struct scenario *sc;
	struct rig rig;
	struct rig_end *ends[2]; /* by role */
	const char *wrong;       /* the first thing */
};

static void expect(struct run *run, bool is_good, const char *wrong)
{
	if (!is_good && !run->wrong)
		run->wrong = wrong;
}

static void send_echo(struct rig_end *e, uint32_t tag)
{
	struct rig_msg m = {.op = RIG_ECHO, .tag = tag};

	rig_send_wait(e, &m, NULL, 0);
	if (!e->is_closed)
		fabric_flush(e->conn);
}

static bool has_answer(void *arg)
{
	struct rig_end *e = arg;

	return e->is_closed || e->messages + e->notices > 0;
}

/* A connection that works: one answer has come. */
static bool greet(struct rig_end *e)
{
	if (!e || !rig_connected(e))
		return false;
	send_echo(e, 0);
	return rig_until(e->rig, has_answer, e) && !e->is_closed;
}

/* Requests of each kind, on their way or being served when it returns. */
static void ask(struct run *run)
{
	static const enum rig_op ops[] = {RIG_ECHO, RIG_PUSH, RIG_PULL, RIG_PULL_LATE, RIG_DISCARD};
	struct rig_end *e = run->ends[INITIATOR];
	struct rig *r = &run->rig;

	for (uint32_t i = 1; i <= NR_REQUESTS && !e->is_closed; i++) {
		struct rig_msg m = {
			.op = ops[i % ARRAY_SIZE(ops)],
			.tag = i,
			.bytes = 65536,
			.offset = i * 65536,
		};

		if (fabric_expose(
			    e->conn, i, r->initiator_area + m.offset, m.bytes, r->initiator_mem,
			    m.op == RIG_PUSH ? FABRIC_MEM_REMOTE_WRITE : FABRIC_MEM_REMOTE_READ,
			    &m.key, &m.addr)) {
			expect(run, false, "a request cannot be made");
			break;
		}
		rig_send_wait(e, &m, NULL, 0);
	}
	if (!e->is_closed)
		fabric_flush(e->conn);
}

static bool has_begun(void *arg)
{
	struct rig_end *target = arg;
	unsigned int n = target->done + target->cancelled;

	for (unsigned int i = 0; i < RIG_DEPTH; i++)
		n += target->busy[i];
	return target->is_closed || n >= NR_REQUESTS / 10;
}

static void fail_queue_pair(struct run *run)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

	expect(run, !ibv_modify_qp(ids[run->sc->victim]->qp, &attr, IBV_QP_STATE),
	       "the queue pair cannot be failed");
}

static bool has_come(void *arg)
{
	(void)arg;
	return !waiting;
}

static void connect_into_it(struct run *run)
{
	struct rig *r = &run->rig;

	waiting = run->sc;
	run->ends[INITIATOR] = rig_connect(r);
	expect(run, run->ends[INITIATOR], "cannot connect");
	expect(run, rig_until(r, has_come, NULL), "the event did not come to pass");
	run->ends[TARGET] = r->last_target;
}

/* An idle target has nothing posted of its own that could fail. Nobody but the keep-alive of its
 * peer notices: no answer comes, and it aborts (rxe tries again for ever). */
static void give_up_silent_target(struct run *run)
{
	struct rig_end *e = run->ends[INITIATOR];

	e->messages = 0;
	send_echo(e, 1);
	for (int i = 0; i < 5; i++)
		rig_turn(&run->rig);
	expect(run, !e->messages && !e->is_closed, "a failed queue pair answers");
	fabric_close(e->conn, true);
}

static void live_into_it(struct run *run)
{
	struct rig *r = &run->rig;

	run->ends[INITIATOR] = rig_connect(r);
	expect(run, greet(run->ends[INITIATOR]), "no connection to begin with");
	run->ends[TARGET] = r->last_target;
	if (run->wrong)
		return;
	if (run->sc->moment == BUSY) {
		ask(run);
		expect(run, rig_until(r, has_begun, run->ends[TARGET]), "no transfer begins");
	}
	if (run->sc->event == QP_FAILS)
		fail_queue_pair(run);
	else
		waiting = run->sc;
	expect(run, rig_until(r, has_come, NULL), "nobody asks for events");
	if (run->sc->event == QP_FAILS && run->sc->victim == TARGET && run->sc->moment == IDLE)
		give_up_silent_target(run);
}

static bool is_loss(int error)
{
	return error == 0 || error == -ECONNRESET || error == -ETIMEDOUT || error == -EIO;
}

static void check_end(struct run *run, const struct rig_end *e, int want)
{
	expect(run, e->is_closed, "not closed");
	expect(run, want == ANY_LOSS ? is_loss(e->error) : e->error == want, "another error");
	for (unsigned int i = 0; i < RIG_DEPTH; i++)
		expect(run, !e->busy[i], "a transfer did not come back");
	for (unsigned int i = 0; i < 8; i++) /* a second closed() aborts */
		expect(run, fabric_poll(e->conn) <= 0, "goes on behind closed()");
}

static void check_survivors(struct run *run)
{
	struct rig_end *e = run->ends[INITIATOR];

	e->messages = e->notices = 0;
	send_echo(e, NR_REQUESTS + 1);
	expect(run, rig_until(&run->rig, has_answer, e) && !e->is_closed, "lost without need");
}

static void check_ends(struct run *run)
{
	expect(run, rig_wait_all_closed(&run->rig), "hangs");
	for (unsigned int role = 0; role < 2; role++)
		if (run->ends[role])
			check_end(run, run->ends[role],
				  role == run->sc->victim ? run->sc->error : ANY_LOSS);
}

/* Returns what is wrong, or NULL. */
static const char *play(const struct scenario *sc)
{
	struct run run = {.sc = sc, .rig.area_bytes = AREA_BYTES, .rig.msg_bytes = MSG_BYTES};
	struct rig *r = &run.rig;

	ids[INITIATOR] = ids[TARGET] = NULL;
	expect(&run, !rig_start(r, "verbs", "10.0.0.1"), "cannot listen");
	if (!run.wrong && sc->moment < IDLE)
		connect_into_it(&run);
	else if (!run.wrong)
		live_into_it(&run);
	if (!run.wrong && sc->error == SURVIVES)
		check_survivors(&run);
	else if (!run.wrong)
		check_ends(&run);
	waiting = NULL;
	if (!run.wrong)
		expect(&run, greet(rig_connect(r)), "no new connection afterwards");
	for (unsigned int i = 0; i < r->nr_ends; i++)
		fabric_close(r->ends[i]->conn, false);
	expect(&run, rig_wait_all_closed(r), "does not end");
	rig_stop(r);
	return run.wrong;
}

/* The device of the listener's address goes away: what is connected stays, who comes is refused. */
static const char *play_listener(const struct scenario *sc)
{
	struct run run = {.sc = sc, .rig.area_bytes = AREA_BYTES, .rig.msg_bytes = MSG_BYTES};
	struct rig *r = &run.rig;
	struct rig_end *late;

	expect(&run, !rig_start(r, "verbs", "10.0.0.1"), "cannot listen");
	run.ends[INITIATOR] = rig_connect(r);
	expect(&run, greet(run.ends[INITIATOR]), "no connection to begin with");
	waiting = sc;
	expect(&run, rig_until(r, has_come, NULL), "nobody asks for events");
	waiting = NULL;
	if (!run.wrong)
		check_survivors(&run);
	late = rig_connect(r);
	expect(&run, late && rig_wait_closed(late), "a late one hangs");
	expect(&run, late && late->error == -ECONNREFUSED, "a late one is not refused");
	for (unsigned int i = 0; i < r->nr_ends; i++)
		fabric_close(r->ends[i]->conn, false);
	expect(&run, rig_wait_all_closed(r), "does not end");
	rig_stop(r);
	return run.wrong;
}

/* 1: something is wrong. */
static unsigned int report(const char *wrong, const struct scenario *sc, unsigned int fds,
			   unsigned int objects)
{
	if (!wrong && rig_open_fds() != fds)
		wrong = "leaves descriptors";
	if (!wrong && rig_kernel_objects() != objects)
		wrong = "leaves objects in the kernel";
	printf("%s - %s, %s: %s%s%s\n", wrong ? "not ok" : "ok", roles[sc->victim],
	       moments[sc->moment],
	       sc->event == QP_FAILS ? "queue pair fails"
				     : rdma_event_str((enum rdma_cm_event_type)sc->event),
	       wrong ? ": " : "", wrong ? wrong : "");
	return wrong ? 1 : 0;
}

int main(void)
{
	static const struct scenario calm = {INITIATOR, BUSY, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0,
					     SURVIVES};
	static const struct scenario deaf = {LISTENER, IDLE, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, 0};
	unsigned int failed = 0, fds, objects;

	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init("fabric-events", LOG_ERROR - 1); /* the messages are expected */
	play(&calm);                              /* libraries open what they keep */
	fds = rig_open_fds();
	objects = rig_kernel_objects();
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		failed += report(play(&scenarios[i]), &scenarios[i], fds, objects);
	failed += report(play_listener(&deaf), &deaf, fds, objects);
	printf("%zu scenarios, %u failed\n", ARRAY_SIZE(scenarios) + 1, failed);
	return failed ? 1 : 0;
}
