/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket of a serving process: one line of JSON asks, one line answers, then the
 * connection ends.
 *
 *	{"command": "status"}                        -> {"ok": true, "state": "live", ...}
 *	{"command": "disconnect", "force": false}    -> {"ok": true} once the device is gone
 *	                                             -> {"ok": false, "errno": 16, "error": "..."}
 */
#ifndef INITIATOR_CTL_CONTROL_H
#define INITIATOR_CTL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

/* A line, its line feed included, within timeout_ms (-1: for ever). NULL with a negative errno in
 * *ret_err; -ENODATA: the other end closed. */
json_t *control_read(int fd, int timeout_ms, int *ret_err);
/* Takes root. */
int control_write(int fd, json_t *root);

/* ---- asking ---------------------------------------------------------------------------------- */

/* Asks device `name` and frees request. An answer that is not "ok" is the error it carries, with
 * its words in why. ret_reply may be NULL; else json_decref(). */
int control_ask(const char *name, json_t *request, int timeout_ms, json_t **ret_reply, char *why,
		size_t why_bytes);

/* ---- answering ------------------------------------------------------------------------------- */

/* Makes the socket of device `name`. A descriptor, or a negative errno (said). */
int control_listen(const char *name);
/* Accepts one connection and reads its request. *ret_fd stays open for the answer. */
json_t *control_accept(int listen_fd, int *ret_fd);
/* Answers with an error, and closes. */
void control_refuse(int fd, int err, const char *why);
/* Answers with root (taken) and "ok", and closes. */
void control_answer(int fd, json_t *root);

#endif
