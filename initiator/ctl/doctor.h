/* SPDX-License-Identifier: BSD-2-Clause */
/* Findings of `doctor`. A check looks at one subject and adds what it finds; it changes nothing. */
#ifndef INITIATOR_CTL_DOCTOR_H
#define INITIATOR_CTL_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>

#include "common/util.h"

enum finding {
	FINDING_OK,
	FINDING_WARN, /* something does not work, or works less well; there is another way */
	FINDING_BAD,  /* no device can be connected like this */
};

struct doctor {
	json_t *findings; /* {"subject", "result", "text", "fix"} */
	enum finding worst;
	const char *uri; /* of a target to try; NULL: none */
};

/* fix: the command or the change that mends it; NULL for FINDING_OK. */
void doctor_add(struct doctor *d, const char *subject, enum finding result, const char *fix,
		const char *fmt, ...) PRINTF_LIKE(5, 6);

/* The first line of a file of sysfs or procfs, without its line feed. False: not there. */
bool doctor_read(char *text, size_t bytes, const char *fmt, ...) PRINTF_LIKE(3, 4);

void doctor_check_permissions(struct doctor *d);
void doctor_check_memlock(struct doctor *d);
void doctor_check_kernel(struct doctor *d);
void doctor_check_fronts(struct doctor *d);
void doctor_check_devices(struct doctor *d);
void doctor_check_rdma(struct doctor *d);   /* doctor_rdma.c */
void doctor_check_target(struct doctor *d); /* doctor_target.c */

#endif
