/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/json_line.h"
#include "common/log.h"
#include "target/commands.h"
#include "target/stale.h"

#define MAX_REQUEST_BYTES (64u << 10)
#define REQUEST_MS        1000 /* for a client to say what it wants */

struct control {
	int fd;
	struct sockaddr_un addr;
	struct server *server;
	struct control_hooks hooks;
};

/* ---- the socket's place ---------------------------------------------------------------------- */

static int set_path(struct control *c, const char *path)
{
	c->addr.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(c->addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(c->addr.sun_path, path, strlen(path) + 1);
	return 0;
}

/* Somebody answers there. */
static bool is_alive(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool is_there = fd >= 0 && (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ||
				    errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return is_there;
}

/* What a killed target left is removed, another file is not. */
static int bind_socket(struct control *c)
{
	struct stat st;

	if (is_alive(&c->addr))
		return -EADDRINUSE;
	if (!lstat(c->addr.sun_path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		unlink(c->addr.sun_path);
	}
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of an unbound socket becomes that of its file. */
	if (c->fd < 0 || fchmod(c->fd, 0600) < 0 ||
	    bind(c->fd, (struct sockaddr *)&c->addr, sizeof(c->addr)) < 0 || listen(c->fd, 16) < 0)
		return -errno;
	return 0;
}

/* Under a lock on the folder: between looking and binding nobody else binds. */
static int bind_locked(struct control *c)
{
	char dir[sizeof(c->addr.sun_path)];
	int dir_fd;
	int err;

	snprintf(dir, sizeof(dir), "%s", c->addr.sun_path);
	*strrchr(dir, '/') = '\0';
	dir_fd = open(dir[0] ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || flock(dir_fd, LOCK_EX) < 0)
		err = -errno;
	else
		err = bind_socket(c);
	if (err && c->fd >= 0) {
		close(c->fd);
		c->fd = -1;
	}
	if (dir_fd >= 0)
		close(dir_fd);
	return err;
}

static int open_named(struct control *c, const char *path)
{
	int err = set_path(c, path);

	if (!err)
		err = bind_locked(c);
	if (err)
		log_error("--control %s: %s%s", path, strerror(-err),
			  err == -EADDRINUSE ? ": another brp-target answers there"
			  : err == -EEXIST   ? " and is no socket"
					     : "");
	return err;
}

/* False: there is no default place. */
static bool default_dir(char *dir, size_t bytes)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(dir, bytes, "/run/brp");
	else if (runtime && runtime[0] == '/')
		snprintf(dir, bytes, "%s/brp", runtime);
	else
		return false;
	return mkdir(dir, 0755) == 0 || errno == EEXIST;
}

/* What cannot be had here is no reason not to serve volumes. */
static int open_default(struct control *c)
{
	char path[sizeof(c->addr.sun_path)];
	char dir[sizeof(path) - 32];
	int err = -ENOENT;

	if (default_dir(dir, sizeof(dir))) {
		unsigned int nr_stale = stale_sweep(dir);

		if (nr_stale > 0)
			log_info("%s: removed %u control sockets of killed targets", dir, nr_stale);
		snprintf(path, sizeof(path), "%s/target.sock", dir);
		set_path(c, path);
		err = bind_locked(c);
	}
	if (err == -EADDRINUSE) {
		snprintf(path, sizeof(path), "%s/target-%d.sock", dir, (int)getpid());
		log_notice("%s/target.sock belongs to another brp-target; this one answers at %s "
			   "(--control chooses)",
			   dir, path);
		set_path(c, path);
		err = bind_locked(c);
	}
	if (err)
		log_info("no control socket: %s (--control PATH makes one)", strerror(-err));
	return err;
}

int control_open(const char *path, struct server *s, const struct control_hooks *hooks,
		 struct control **ret_control)
{
	struct control *c;
	int err;

	*ret_control = NULL;
	if (path && !strcmp(path, "none"))
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->fd = -1;
	c->server = s;
	c->hooks = *hooks;
	err = path ? open_named(c, path) : open_default(c);
	if (err) {
		free(c);
		return path ? err : 0;
	}
	log_info("control socket: %s", c->addr.sun_path);
	*ret_control = c;
	return 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	unlink(c->addr.sun_path);
	close(c->fd);
	free(c);
}

int control_fd(const struct control *c)
{
	return c ? c->fd : -1;
}

/* ---- requests -------------------------------------------------------------------------------- */

static json_t *answer_to(struct control *c, json_t *request, int err)
{
	json_t *reply;

	if (request)
		reply = commands_run(c->server, &c->hooks, request);
	else
		reply = json_pack("{sb si ss}", "ok", 0, "errno", -err, "error",
				  "no request was understood: one line with a JSON object is");
	json_decref(request);
	return reply;
}

void control_serve(struct control *c)
{
	/* An answer that nobody reads must not stop us. */
	static const struct timeval patience = {.tv_sec = 1};
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
	json_t *request;
	int err;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	request = json_line_read(fd, REQUEST_MS, MAX_REQUEST_BYTES, &err);
	json_line_write(fd, answer_to(c, request, err));
	close(fd);
}
