/* SPDX-License-Identifier: BSD-2-Clause */
/* Built without a JSON library: there is no control socket. Signals do the rest. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "target/control.h"

int control_open(const char *path, struct server *s, const struct control_hooks *hooks,
		 struct control **ret_control)
{
	(void)s;
	(void)hooks;
	*ret_control = NULL;
	if (!path || !strcmp(path, "none"))
		return 0;
	log_error("--control %s: this brp-target was built without it (meson: -Dcontrol=enabled, "
		  "jansson)",
		  path);
	return -EOPNOTSUPP;
}

void control_close(struct control *c)
{
	(void)c;
}

int control_fd(const struct control *c)
{
	(void)c;
	return -1;
}

void control_serve(struct control *c)
{
	(void)c;
}
