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
