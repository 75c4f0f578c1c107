/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How finished requests are told to the initiator (protocol.md 2, 5.2). Whatever is ready in one
 * pass leaves with it, under one doorbell, and nothing waits for what is not ready.
 *
 *	READ		pushed with its notice: data and answer in one
 *	small READs	where that is agreed on (BRP_FEATURE_READ_DATA): several in one RESPONSE
 *	the rest	one RESPONSE for all
 */
#ifndef TARGET_ANSWER_H
#define TARGET_ANSWER_H

#include "target/request.h"

/* The request ended with this status; a READ did not succeed. */
void answer_status(struct request *r, enum brp_status_code status);

/* A READ succeeded: its data lies in `data`, inside mem, until the request is released. */
void answer_data(struct request *r, void *data, struct fabric_mem *mem);

/* The end of a pass: everything that was answered and finds a send slot. */
void answers_send(struct conn *c);

#endif
