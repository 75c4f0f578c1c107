/* SPDX-License-Identifier: BSD-2-Clause */
/* All pairs of the tables of protocol.md 8, and the negotiation of 4.1. */
#include <criterion/criterion.h>

#include <string.h>

#include "brp/fsm.h"

#define N BRP_CONN_NEW
#define G BRP_CONN_GREETED
#define A BRP_CONN_ADMITTING
#define R BRP_CONN_READY
#define C BRP_CONN_CLOSING
#define D BRP_CONN_CLOSED

Test(fsm, moves)
{
	static const bool want[BRP_CONN_COUNT][BRP_CONN_COUNT] = {
		[N] = {[G] = true, [C] = true},
		[G] = {[A] = true, [R] = true, [C] = true},
		[A] = {[R] = true, [C] = true},
		[R] = {[C] = true},
		[C] = {[D] = true},
	};

	for (int from = 0; from < BRP_CONN_COUNT; from++) {
		for (int to = 0; to < BRP_CONN_COUNT; to++)
			cr_expect_eq(brp_conn_may_move(from, to), want[from][to], "%s -> %s",
				     brp_conn_state_name(from), brp_conn_state_name(to));
	}
	cr_expect_not(brp_conn_may_move(BRP_CONN_COUNT, C));
	cr_expect_not(brp_conn_may_move(C, BRP_CONN_COUNT));
}

/* A row per state: the letters of the accepted types, in the order of their codes. */
Test(fsm, accepts)
{
	static const char letters[] = "-HhLlVvJRKkEG"; /* HELLO, its reply, LOGIN, ... */
	static const char *const want[2][BRP_CONN_COUNT] = {
		[BRP_ROLE_TARGET] = {"H", "LVKkG", "KkG", "JKkG", "", ""},
		[BRP_ROLE_INITIATOR] = {"h", "lvKkG", "", "RKkEG", "", ""},
	};

	for (int role = 0; role < 2; role++) {
		for (int s = 0; s < BRP_CONN_COUNT; s++) {
			for (int type = 0; type < 256; type++) {
				bool yes = type >= 1 && type <= 12 &&
					   strchr(want[role][s], letters[type]);

				cr_expect_eq(brp_conn_accepts(role, s, type), yes,
					     "role %d, %s, type %d", role, brp_conn_state_name(s),
					     type);
			}
		}
	}
	cr_expect_not(brp_conn_accepts(BRP_ROLE_TARGET, BRP_CONN_COUNT, BRP_MSG_HELLO));
}

Test(fsm, names)
{
	for (int s = 0; s < BRP_CONN_COUNT; s++) {
		cr_assert_not_null(brp_conn_state_name(s));
		for (int t = 0; t < s; t++)
			cr_expect_str_neq(brp_conn_state_name(s), brp_conn_state_name(t));
	}
	cr_expect_str_eq(brp_conn_state_name(BRP_CONN_COUNT), "unknown");
}

Test(fsm, negotiation)
{
	static const struct {
		uint16_t min, max;
		uint64_t offered, required, supported;
		uint16_t status;
		uint64_t features;
		uint64_t demanded;
	} all[] = {
		{1, 1, 0, 0, 0, BRP_ST_OK, 0},
		{0, 9, 0, 0, 0, BRP_ST_OK, 0},
		{1, UINT16_MAX, 0, 0, 0, BRP_ST_OK, 0},
		{2, 9, 0, 0, 0, BRP_ST_BAD_VERSION, 0},
		{0, 0, 0, 0, 0, BRP_ST_BAD_VERSION, 0},
		{9, 0, 0, 0, 0, BRP_ST_BAD_VERSION, 0},
		{1, 0, 0, 0, 0, BRP_ST_BAD_VERSION, 0},
		{1, 1, UINT64_MAX, 0, 0, BRP_ST_OK, 0},
		{1, 1, 0xf0, 0, 0x3c, BRP_ST_OK, 0x30},
		{1, 1, 0xf0, 0x10, 0x3c, BRP_ST_OK, 0x30},
		{1, 1, 0xf0, 0x40, 0x3c, BRP_ST_BAD_VERSION, 0},
		{1, 1, 0, 0x8000000000000000, 0, BRP_ST_BAD_VERSION, 0},
		{1, 1, 0, 4, 0x3c, BRP_ST_OK, 4}, /* insisting is offering */
		{2, 2, 0xf0, 0, 0x3c, BRP_ST_BAD_VERSION, 0},
		{1, 1, 0xf0, 0, 0x3c, BRP_ST_OK, 0x30, .demanded = 0x10},
		{1, 1, 0, 0x10, 0x3c, BRP_ST_OK, 0x10, .demanded = 0x10},
		{1, 1, 0xf0, 0, 0x3c, BRP_ST_BAD_VERSION, 0, .demanded = 0x04},
		{1, 1, 0, 0, 0x3c, BRP_ST_BAD_VERSION, 0, .demanded = 0x30},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct brp_hello h = {all[i].min, all[i].max, all[i].offered, all[i].required};
		struct brp_hello_reply reply = {.status = 99, .version = 99, .features = 99};

		brp_negotiate(&h, all[i].supported, all[i].demanded, &reply);
		cr_expect_eq(reply.status, all[i].status, "row %zu", i);
		cr_expect_eq(reply.version, BRP_VERSION, "row %zu", i);
		cr_expect_eq(reply.features, all[i].features, "row %zu", i);
	}
}
