/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * brp-step: one session, told what to do line by line, for tests that need an exact order. Each
 * line on stdin is answered by one on stdout; a request that waits for the target is answered when
 * it is. Blocks are named by number and filled with one letter.
 *
 *	write BLOCK LETTER [fua]	ok, or the name of an error
 *	flush				ok, or the name of an error
 *	read BLOCK			the letter, "mixed", or the name of an error
 *	quit				ends
 *	status				live, reconnecting or failed; how many reconnects
 *
 * SESSION, a number, makes the session's UUID: of two processes with the same one the later takes
 * the session over.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brp/brp.h"

#define BUFFER_BYTES 65536u /* the largest block */
#define POLL_MS      20
#define CONNECT_MS   30000 /* a target may have to wait for a predecessor's requests first */

struct step {
	struct brp_session *session;
	struct brp_queue *queue;
	struct brp_info info;
	struct brp_mem *mem;
	char *buf;
	int result;
	bool is_done;
};

static void say(const char *text)
{
	puts(text);
	fflush(stdout);
}

static void say_result(int result)
{
	say(result == 0 ? "ok" : strerrorname_np(-result));
}

static void on_done(void *arg, int result)
{
	struct step *s = arg;

	s->result = result;
	s->is_done = true;
}

static int request(struct step *s, struct brp_io io)
{
	int r;

	io.done = on_done;
	io.arg = s;
	s->is_done = false;
	r = brp_submit(s->queue, &io);
	if (r < 0)
		return r;
	while (!s->is_done) {
		r = brp_wait(s->queue, POLL_MS);
		if (r < 0 && !s->is_done)
			return r;
	}
	return s->result;
}

static void do_write(struct step *s, const char *args)
{
	unsigned int block;
	char letter;
	char flag[8] = "";

	if (sscanf(args, "%u %c %7s", &block, &letter, flag) < 2) {
		say("EINVAL");
		return;
	}
	memset(s->buf, letter, s->info.block_bytes);
	say_result(request(s, (struct brp_io){
				      .op = BRP_WRITE,
				      .flags = strcmp(flag, "fua") ? 0 : BRP_FUA,
				      .offset = (uint64_t)block * s->info.block_bytes,
				      .bytes = s->info.block_bytes,
				      .buf = s->buf,
				      .mem = s->mem,
			      }));
}

static void do_read(struct step *s, const char *args)
{
	unsigned int block;
	int r;

	if (sscanf(args, "%u", &block) != 1) {
		say("EINVAL");
		return;
	}
	r = request(s, (struct brp_io){
			       .op = BRP_READ,
			       .offset = (uint64_t)block * s->info.block_bytes,
			       .bytes = s->info.block_bytes,
			       .buf = s->buf,
			       .mem = s->mem,
		       });
	if (r < 0)
		say_result(r);
	else if (memcmp(s->buf, s->buf + 1, s->info.block_bytes - 1) != 0)
		say("mixed");
	else
		say((char[2]){s->buf[0] ? s->buf[0] : '0', '\0'});
}

static void do_status(struct step *s)
{
	static const char *const names[] = {
		[BRP_STATE_CONNECTING] = "connecting",
		[BRP_STATE_LIVE] = "live",
		[BRP_STATE_RECONNECTING] = "reconnecting",
		[BRP_STATE_FAILED] = "failed",
	};
	struct brp_status st = {.size = sizeof(st)};

	brp_session_status(s->session, &st);
	printf("%s %llu %s\n", names[st.state], (unsigned long long)st.reconnects, st.text);
	fflush(stdout);
}

static void obey(struct step *s, const char *line)
{
	if (!strncmp(line, "write ", 6))
		do_write(s, line + 6);
	else if (!strncmp(line, "read ", 5))
		do_read(s, line + 5);
	else if (!strcmp(line, "flush"))
		say_result(request(s, (struct brp_io){.op = BRP_FLUSH}));
	else if (!strcmp(line, "status"))
		do_status(s);
	else
		say("EINVAL");
}

/* Reads a line without stdio's buffer, which poll() cannot see into. False: no more. */
static bool next_line(struct step *s, char *line, size_t bytes)
{
	size_t n = 0;

	while (n + 1 < bytes) {
		struct pollfd pfd = {.fd = STDIN_FILENO, .events = POLLIN};

		brp_poll(s->queue); /* the session lives while nobody asks for anything */
		if (poll(&pfd, 1, POLL_MS) <= 0)
			continue;
		if (read(STDIN_FILENO, line + n, 1) != 1)
			return false;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	return true;
}

static void name_session(struct brp_options *opt, uint8_t uuid[16], const char *session)
{
	uint32_t number = (uint32_t)strtoul(session, NULL, 10);

	/* Machines without a machine-id would be another host each time. */
	memcpy(uuid, "brp-step", 8);
	memcpy(uuid + 12, &number, sizeof(number));
	opt->session_uuid = uuid;
	opt->host_uuid = uuid;
}

static int open_session(struct step *s, const char *uri, const char *session)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	uint8_t uuid[16] = {0};
	int r;

	opt.connect_timeout_ms = CONNECT_MS;
	opt.keepalive_ms = 200;
	opt.reconnect_delay_ms = 50;
	opt.reconnect_delay_max_ms = 200;
	if (session)
		name_session(&opt, uuid, session);
	r = brp_connect(uri, &opt, &s->session);
	if (r < 0)
		return r;
	s->queue = brp_session_queue(s->session, 0);
	s->info.size = sizeof(s->info);
	brp_session_info(s->session, &s->info);
	return brp_mem_register(s->session, s->buf, BUFFER_BYTES, &s->mem);
}

int main(int argc, char **argv)
{
	struct step s = {0};
	char line[64];
	int r;

	if (argc < 2 || argc > 3) {
		fputs("usage: brp-step URI [SESSION]\n", stderr);
		return 2;
	}
	s.buf = aligned_alloc(4096, BUFFER_BYTES);
	r = s.buf ? open_session(&s, argv[1], argv[2]) : -ENOMEM;
	if (r < 0) {
		fprintf(stderr, "brp-step: %s: %s\n", argv[1], brp_last_error());
	} else {
		say("ready");
		while (next_line(&s, line, sizeof(line)) && strcmp(line, "quit"))
			obey(&s, line);
	}
	brp_disconnect(s.session);
	free(s.buf);
	return r < 0;
}
