/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every fabric must do, written against fabric.h alone. Plain C: Criterion programs and
 * tests/rdma run the same checks.
 */
#ifndef FABRIC_SUITE_H
#define FABRIC_SUITE_H

#include <stddef.h>

struct fabric_suite_check {
	const char *name;
	/* NULL: good; else what is wrong. address: IPv4, of this host. */
	const char *(*run)(const char *fabric, const char *address);
};

extern const struct fabric_suite_check fabric_suite[];
extern const size_t fabric_suite_count;

#endif
