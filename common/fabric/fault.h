/* SPDX-License-Identifier: BSD-2-Clause */
/* A fabric around another one that fails as told; for tests. Everything that the plan does not name
 * passes through. */
#ifndef FABRIC_FAULT_H
#define FABRIC_FAULT_H

#include "common/fabric/fabric.h"

enum fabric_fault_call {
	FABRIC_FAULT_CONNECT,
	FABRIC_FAULT_LISTEN,
	FABRIC_FAULT_ACCEPT,
	FABRIC_FAULT_MEM_REGISTER,
	FABRIC_FAULT_MSG_COMMIT,
	FABRIC_FAULT_EXPOSE,
	FABRIC_FAULT_PUSH,
	FABRIC_FAULT_PULL,
	FABRIC_FAULT_CALL_COUNT
};

enum fabric_fault_action {
	FABRIC_FAULT_CLOSE, /* orderly */
	FABRIC_FAULT_ABORT,
	FABRIC_FAULT_STALL, /* nothing moves any more, and nobody is told; only an abort ends it */
};

/* Counts are over all connections of the fabric, begin with 1, and 0 means never. */
struct fabric_fault_plan {
	/* The call with this number returns fail_error (a negative errno) and has no effect. */
	unsigned int fail_nth[FABRIC_FAULT_CALL_COUNT];
	int fail_error;

	/* The connection that has this message (sent or received), finished push or finished pull
	 * suffers `action`. */
	unsigned int after_messages;
	unsigned int after_pushes;
	unsigned int after_pulls;
	enum fabric_fault_action action;

	/* So many polls of a connection do nothing before one does. */
	unsigned int delay_polls;
};

/*
 * inner becomes part of the new fabric and is destroyed with it; the plan is copied. Memory is
 * registered with either of the two for both.
 */
int fabric_fault_create(struct fabric *inner, const struct fabric_fault_plan *plan,
			struct fabric **ret_fabric);

/* From now on. Not while another thread uses the fabric. */
void fabric_fault_set_plan(struct fabric *f, const struct fabric_fault_plan *plan);

#endif
