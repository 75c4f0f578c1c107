/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "tests/unit/fabric_rig.h"
#include "tests/unit/fabric_suite.h"

/* Indices: a test is a process of its own, where other pointers may hold. */
ParameterizedTestParameters(fabric_tcp, suite)
{
	static size_t index[64];

	cr_assert(fabric_suite_count <= sizeof(index) / sizeof(index[0]));
	for (size_t i = 0; i < fabric_suite_count; i++)
		index[i] = i;
	return cr_make_param_array(size_t, index, fabric_suite_count);
}

ParameterizedTest(const size_t *index, fabric_tcp, suite)
{
	const struct fabric_suite_check *check = &fabric_suite[*index];
	const char *wrong = check->run("tcp", "127.0.0.1");

	cr_assert(wrong == NULL, "%s: %s", check->name, wrong);
}

/* All of it again, in small pieces. */
ParameterizedTestParameters(fabric_tcp, tight)
{
	static size_t index[64];

	cr_assert(fabric_suite_count <= sizeof(index) / sizeof(index[0]));
	for (size_t i = 0; i < fabric_suite_count; i++)
		index[i] = i;
	return cr_make_param_array(size_t, index, fabric_suite_count);
}

ParameterizedTest(const size_t *index, fabric_tcp, tight)
{
	const struct fabric_suite_check *check = &fabric_suite[*index];
	const char *wrong;

	rig_set_tight(true);
	wrong = check->run("tcp", "127.0.0.1");

	cr_assert(wrong == NULL, "%s: %s", check->name, wrong);
}

/* And again, with digests, in small pieces. */
ParameterizedTestParameters(fabric_tcp, digest)
{
	static size_t index[64];

	cr_assert(fabric_suite_count <= sizeof(index) / sizeof(index[0]));
	for (size_t i = 0; i < fabric_suite_count; i++)
		index[i] = i;
	return cr_make_param_array(size_t, index, fabric_suite_count);
}

ParameterizedTest(const size_t *index, fabric_tcp, digest)
{
	const struct fabric_suite_check *check = &fabric_suite[*index];
	const char *wrong;

	rig_set_tight(true);
	rig_set_digest(true);
	wrong = check->run("tcp", "127.0.0.1");

	cr_assert(wrong == NULL, "%s: %s", check->name, wrong);
}

/* ---- lazy pushes ----------------------------------------------------------------------------- */

static bool has_notice(void *arg)
{
	return ((struct rig_end *)arg)->notices > 0;
}

/* push_done() of a small one waits for the next poll, that of a large one is ready at once. */
static void push_lazily(uint32_t bytes, bool is_awaited)
{
	struct rig_end *i, *t;
	struct rig rig = {0};

	rig_set_lazy(true);
	cr_assert(!rig_open(&rig, "tcp", "127.0.0.1") && !rig_pair(&rig, &i, &t));
	cr_assert(rig_request(i, RIG_PUSH, 0, 0, bytes) == 0);
	fabric_flush(i->conn);
	while (t->messages == 0)
		rig_poll(t);
	fabric_flush(t->conn);
	cr_assert(t->pushes_done == 0 && fabric_arm(t->conn) == is_awaited);
	cr_assert(rig_poll(t) > 0 && t->pushes_done == 1);
	cr_assert(fabric_arm(t->conn) == 0);
	cr_assert(rig_pump(&rig, has_notice, i), "%s", rig.wrong);
	rig_close(&rig);
}

Test(fabric_tcp, small_pushes_wake_nobody)
{
	push_lazily(FABRIC_LAZY_BYTES, false);
	push_lazily(FABRIC_LAZY_BYTES + 1, true);
}
