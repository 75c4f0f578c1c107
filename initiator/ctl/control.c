/* SPDX-License-Identifier: BSD-2-Clause */
/* Control sockets; see control.h. */
#include "initiator/ctl/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/json_line.h"
#include "common/log.h"
#include "common/util.h"
#include "initiator/ctl/registry.h"

#define LINE_BYTES (256u << 10) /* the status of 256 queues */
#define REQUEST_MS 1000         /* for a client to say what it wants */

json_t *control_read(int fd, int timeout_ms, int *ret_err)
{
	return json_line_read(fd, timeout_ms, LINE_BYTES, ret_err);
}

int control_write(int fd, json_t *root)
{
	return json_line_write(fd, root);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int address_of(const char *name, struct sockaddr_un *ret_addr)
{
	char path[PATH_MAX];

	*ret_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	registry_path(path, name, ".sock");
	if (strlen(path) >= sizeof(ret_addr->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_addr->sun_path, path, strlen(path) + 1);
	return 0;
}

static int connect_to(const char *name)
{
	struct sockaddr_un addr;
	int err = address_of(name, &addr);
	int fd;

	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int error_of(const json_t *reply, char *why, size_t why_bytes)
{
	const char *text = json_string_value(json_object_get(reply, "error"));
	json_int_t err = json_integer_value(json_object_get(reply, "errno"));

	if (json_is_true(json_object_get(reply, "ok")))
		return 0;
	snprintf(why, why_bytes, "%s", text ? text : "no reason given");
	return err > 0 && err < 4096 ? -(int)err : -EIO;
}

int control_ask(const char *name, json_t *request, int timeout_ms, json_t **ret_reply, char *why,
		size_t why_bytes)
{
	json_t *reply = NULL;
	int fd = connect_to(name);
	int err = fd < 0 ? fd : control_write(fd, request);

	if (fd < 0)
		json_decref(request);
	if (!err)
		reply = control_read(fd, timeout_ms, &err);
	if (fd >= 0)
		close(fd);
	if (reply)
		err = error_of(reply, why, why_bytes);
	else
		snprintf(why, why_bytes, "its serving process does not answer: %s", strerror(-err));
	if (!err && ret_reply)
		*ret_reply = reply;
	else
		json_decref(reply);
	return err;
}

/* ---- answering ------------------------------------------------------------------------------- */

int control_listen(const char *name)
{
	struct sockaddr_un addr;
	int err = address_of(name, &addr);
	mode_t mask;
	int fd = -1;

	if (!err) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		err = fd < 0 ? -errno : 0;
	}
	if (!err) {
		unlink(addr.sun_path); /* a predecessor's; the device's lock is ours */
		mask = umask(0177);
		if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 16) < 0)
			err = -errno;
		umask(mask);
	}
	if (!err)
		return fd;
	log_error("the control socket in %s cannot be made: %s", registry_dir(), strerror(-err));
	if (fd >= 0)
		close(fd);
	return err;
}

json_t *control_accept(int listen_fd, int *ret_fd)
{
	/* An answer that nobody reads must not stop us; what fits into the socket is enough. */
	static const struct timeval patience = {.tv_sec = 1};
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	json_t *request;
	int err;

	if (fd < 0)
		return NULL;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	request = control_read(fd, REQUEST_MS, &err);
	if (!request) {
		control_refuse(fd, err, "no request was understood");
		return NULL;
	}
	*ret_fd = fd;
	return request;
}

void control_refuse(int fd, int err, const char *why)
{
	control_write(fd, json_pack("{sb si ss}", "ok", 0, "errno", -err, "error", why));
	close(fd);
}

void control_answer(int fd, json_t *root)
{
	if (root)
		json_object_set_new(root, "ok", json_true());
	control_write(fd, root);
	close(fd);
}
