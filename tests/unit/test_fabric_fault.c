/* SPDX-License-Identifier: BSD-2-Clause */
/* The fault fabric itself: what the plan names happens, the rest passes through. Over loopback. */
#include <criterion/criterion.h>
#include <errno.h>

#include "common/fabric/fault.h"
#include "common/log.h"
#include "tests/unit/fabric_rig.h"

static struct rig rig;
static struct rig_end *i, *t;

static void open_with(const struct fabric_fault_plan *plan)
{
	const char *wrong;

	log_init("test", LOG_ERROR);
	rig_set_plan(plan);
	wrong = rig_open(&rig, "loopback", "127.0.0.1");
	cr_assert(wrong == NULL, "%s", wrong);
	wrong = rig_pair(&rig, &i, &t);
	cr_assert(wrong == NULL, "%s", wrong);
}

static bool is_over(void *arg)
{
	(void)arg;
	return i->is_closed && t->is_closed;
}

static bool has_answers(void *arg)
{
	return i->messages + i->notices >= *(unsigned int *)arg || i->is_closed;
}

static void close_rig(void)
{
	rig_close(&rig);
	cr_assert(rig.wrong == NULL, "%s", rig.wrong);
}

static void request_all(enum rig_op op, unsigned int nr)
{
	for (unsigned int k = 0; k < nr; k++)
		cr_assert(rig_request(i, op, k, k, 4096) == 0);
	fabric_flush(i->conn);
}

Test(fabric_fault, passes_through_late)
{
	struct fabric_fault_plan plan = {.delay_polls = 5};
	unsigned int want = 16;

	open_with(&plan);
	request_all(RIG_PUSH, 8);
	request_all(RIG_PULL, 0);
	for (unsigned int k = 8; k < 16; k++)
		cr_assert(rig_request(i, RIG_PULL, k, k, 4096) == 0);
	fabric_flush(i->conn);
	cr_assert(rig_pump(&rig, has_answers, &want), "%s", rig.wrong);
	cr_assert(i->notices == 8 && t->pulls_done == 8);
	close_rig();
}

Test(fabric_fault, aborts_after_pushes)
{
	struct fabric_fault_plan plan = {.after_pushes = 3, .action = FABRIC_FAULT_ABORT};

	open_with(&plan);
	request_all(RIG_PUSH, 8);
	cr_assert(rig_pump(&rig, is_over, NULL), "%s", rig.wrong);
	cr_assert(t->error == -ECONNABORTED && i->error == -ECONNRESET);
	close_rig();
}

Test(fabric_fault, closes_after_pulls)
{
	struct fabric_fault_plan plan = {.after_pulls = 2, .action = FABRIC_FAULT_CLOSE};

	open_with(&plan);
	request_all(RIG_PULL_DISCARD, 8);
	cr_assert(rig_pump(&rig, is_over, NULL), "%s", rig.wrong);
	cr_assert(t->error == 0 && i->error == 0 && t->pulls_done == 2);
	close_rig();
}

Test(fabric_fault, stalls_until_aborted)
{
	struct fabric_fault_plan plan = {.after_messages = 4, .action = FABRIC_FAULT_STALL};

	open_with(&plan);
	request_all(RIG_PUSH, 8);
	rig_spin(&rig, 100);
	cr_assert(i->notices == 0 && !i->is_closed && !t->is_closed);
	cr_assert(fabric_poll(i->conn) == 0 && fabric_arm(i->conn) == 0);
	fabric_close(i->conn, true);
	cr_assert(rig_pump(&rig, is_over, NULL), "%s", rig.wrong);
	close_rig();
}

Test(fabric_fault, fails_calls)
{
	struct fabric_fault_plan plan = {.fail_error = -ENOBUFS};
	unsigned int want = 1;

	plan.fail_nth[FABRIC_FAULT_MSG_COMMIT] = 2;
	plan.fail_nth[FABRIC_FAULT_EXPOSE] = 3;
	open_with(&plan);
	cr_assert(rig_request(i, RIG_PUSH, 0, 0, 512) == 0);
	cr_assert(rig_request(i, RIG_PUSH, 1, 1, 512) == -ENOBUFS);
	cr_assert(rig_request(i, RIG_PUSH, 2, 2, 512) == -ENOBUFS);
	fabric_flush(i->conn);
	cr_assert(rig_pump(&rig, has_answers, &want), "%s", rig.wrong);
	cr_assert(i->notices == 1);
	close_rig();
}
