/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: one line of JSON asks, one line answers, then the connection ends.
 *
 *	{"command": "volumes"}                          -> {"ok": true, "volumes": [...]}
 *	{"command": "add", "spec": "ram:1G,name=x"}     -> {"ok": true}
 *	{"command": "remove", "name": "x"}              -> {"ok": false, "errno": 2, "error": "..."}
 *	{"command": "resize", "name": "x", "size_bytes": N, "force": true}
 *	status, sessions, stats, reload, drain          no more words
 *
 * Root's alone (mode 0600), and served by the control thread, one request at a time.
 */
#ifndef TARGET_CONTROL_H
#define TARGET_CONTROL_H

#include <stdbool.h>

#include "target/server.h"

struct control;

/* What a request may want of the program itself. */
struct control_hooks {
	int (*reload)(void *arg);
	void (*drain)(void *arg); /* returns at once */
	void *arg;
};

/*
 * path: an absolute path, "none", or NULL for the default place. There the socket of another target
 * is left alone: ours gets a name with our process id, and that is said; such sockets of killed
 * targets are removed. 0 with *ret_control NULL:
 * none, or none possible in the default place (said). Otherwise an error of a path that was asked
 * for, logged.
 */
int control_open(const char *path, struct server *s, const struct control_hooks *hooks,
		 struct control **ret_control);
void control_close(struct control *c);   /* NULL is fine */
int control_fd(const struct control *c); /* readable: call control_serve(); NULL: -1 */
void control_serve(struct control *c);

#endif
