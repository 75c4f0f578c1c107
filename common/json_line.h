/* SPDX-License-Identifier: BSD-2-Clause */
/* One JSON object, one line, over a socket or pipe: how the programs of BRP talk to each other on
 * one machine. */
#ifndef COMMON_JSON_LINE_H
#define COMMON_JSON_LINE_H

#include <jansson.h>
#include <stddef.h>

/*
 * An object and its line feed, of at most max_bytes, within timeout_ms (-1: for ever). The other
 * end sends nothing behind its line. json_decref() it. NULL with a negative errno in *ret_err:
 * -ENODATA the other end closed, -EBADMSG no JSON object, -EMSGSIZE too long, -ETIMEDOUT.
 */
json_t *json_line_read(int fd, int timeout_ms, size_t max_bytes, int *ret_err);
/* Takes root; NULL is -ENOMEM. 0 or a negative errno. */
int json_line_write(int fd, json_t *root);

#endif
