/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/json_line.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"

#define FIRST_BYTES 4096u

static int wait_readable(int fd, uint64_t end_ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int ms = -1;
	int n;

	if (end_ns) {
		uint64_t now = now_ns();

		ms = end_ns > now ? (int)((end_ns - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
	}
	n = poll(&p, 1, ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n ? 0 : -ETIMEDOUT;
}

struct line {
	char *text;
	size_t room;
	size_t bytes;
};

/* Room for one more byte and the zero at the end. */
static int grow(struct line *l, size_t max_bytes)
{
	size_t room = MIN(MAX(2 * l->room, FIRST_BYTES), max_bytes + 1);
	char *text;

	if (l->bytes + 1 < l->room)
		return 0;
	if (room <= l->room)
		return -EMSGSIZE;
	text = realloc(l->text, room);
	if (!text)
		return -ENOMEM;
	l->text = text;
	l->room = room;
	return 0;
}

static int read_line(int fd, uint64_t end_ns, size_t max_bytes, struct line *l)
{
	while (!l->bytes || l->text[l->bytes - 1] != '\n') {
		int err = grow(l, max_bytes);
		ssize_t n;

		if (!err)
			err = wait_readable(fd, end_ns);
		if (err)
			return err;
		n = read(fd, l->text + l->bytes, l->room - 1 - l->bytes);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n == 0)
			return -ENODATA;
		l->bytes += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

json_t *json_line_read(int fd, int timeout_ms, size_t max_bytes, int *ret_err)
{
	uint64_t end = timeout_ms < 0 ? 0 : now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	struct line l = {0};
	json_t *j = NULL;

	*ret_err = read_line(fd, end, max_bytes, &l);
	if (!*ret_err) {
		j = json_loadb(l.text, l.bytes, 0, NULL);
		if (!json_is_object(j)) {
			json_decref(j);
			j = NULL;
			*ret_err = -EBADMSG;
		}
	}
	free(l.text);
	return j;
}

static int write_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, text, bytes);

		if (n < 0 && errno != EINTR)
			return -errno;
		text += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int json_line_write(int fd, json_t *root)
{
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	size_t bytes = text ? strlen(text) : 0;
	int err;

	json_decref(root);
	if (!text)
		return -ENOMEM;
	text[bytes] = '\n'; /* instead of the zero */
	err = write_all(fd, text, bytes + 1);
	free(text);
	return err;
}
