/* SPDX-License-Identifier: BSD-2-Clause */
/* One line, one write(2): lines of several threads do not mix, and there is no lock. */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 1024 /* longer ones are cut */

typedef void log_sink_fn(int priority, const char *text);

static const struct {
	const char *name;
	int priority; /* sd-daemon(3) */
} levels[] = {
	[LOG_ERROR] = {"error", 3}, [LOG_WARNING] = {"warning", 4}, [LOG_NOTICE] = {"notice", 5},
	[LOG_INFO] = {"info", 6},   [LOG_DEBUG] = {"debug", 7},
};

/* Atomic because a configuration file may raise the level when threads already run. */
static _Atomic(const char *) program = "brp";
static _Atomic int level_limit = -1; /* nothing, before log_init() */
static atomic_bool has_journal;
static _Atomic(log_sink_fn *) sink_fn;
static _Thread_local struct log_capture *capture;
static _Thread_local bool is_tee;

/* systemd tells the journal's socket as "device:inode"; stderr may have been redirected since. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *name, enum log_level max_level)
{
	atomic_store_explicit(&program, name, memory_order_relaxed);
	atomic_store_explicit(&level_limit, (int)max_level, memory_order_relaxed);
	atomic_store_explicit(&has_journal, stderr_is_journal(), memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&level_limit, memory_order_relaxed);
}

void log_set_sink(log_sink_fn *sink)
{
	atomic_store_explicit(&sink_fn, sink, memory_order_release);
}

/* snprintf() returns what it would have written; errors count as nothing. */
static size_t clamp(int n, size_t cap)
{
	if (n < 0)
		return 0;
	return MIN((size_t)n, cap - 1);
}

static size_t put_prefix(char *line, size_t cap, enum log_level level)
{
	const char *name = atomic_load_explicit(&program, memory_order_relaxed);
	size_t n = 0;

	if (atomic_load_explicit(&has_journal, memory_order_relaxed))
		n = clamp(snprintf(line, cap, "<%d>", levels[level].priority), cap);
	return n +
	       clamp(snprintf(line + n, cap - n, "%s: %s: ", name, levels[level].name), cap - n);
}

/* A text may come from a peer: it must not forge lines or move a terminal's cursor. */
static void mask_controls(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	}
}

PRINTF_LIKE(2, 0)
static void write_line(enum log_level level, const char *fmt, va_list args)
{
	char line[LINE_BYTES];
	size_t room = sizeof(line) - 1; /* but for the line feed */
	size_t n = put_prefix(line, room, level);

	n += clamp(vsnprintf(line + n, room - n, fmt, args), room - n);
	mask_controls(line);
	line[n++] = '\n';
	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		;
}

PRINTF_LIKE(3, 0)
static void sink_line(log_sink_fn *sink, enum log_level level, const char *fmt, va_list args)
{
	char line[LINE_BYTES];

	vsnprintf(line, sizeof(line), fmt, args);
	mask_controls(line);
	sink(levels[level].priority, line);
}

PRINTF_LIKE(2, 0)
static void put_line(enum log_level level, const char *fmt, va_list args)
{
	log_sink_fn *sink = atomic_load_explicit(&sink_fn, memory_order_acquire);

	if (sink)
		sink_line(sink, level, fmt, args);
	else
		write_line(level, fmt, args);
}

void log_capture(struct log_capture *c)
{
	if (c)
		c->text[0] = '\0';
	capture = c;
	is_tee = false;
}

void log_tee(struct log_capture *c)
{
	log_capture(c);
	is_tee = true;
}

PRINTF_LIKE(2, 0)
static void put_capture(enum log_level level, const char *fmt, va_list args)
{
	if (level != LOG_ERROR || capture->text[0])
		return;
	vsnprintf(capture->text, sizeof(capture->text), fmt, args);
	mask_controls(capture->text);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	int saved_errno = errno; /* callers log between a failure and its errno */
	va_list args;

	if (unlikely(capture)) {
		va_start(args, fmt);
		put_capture(level, fmt, args);
		va_end(args);
	}
	if ((!capture || is_tee) && log_enabled(level)) {
		va_start(args, fmt);
		put_line(level, fmt, args);
		va_end(args);
	}
	errno = saved_errno;
}

bool log_ratelimit_ok(struct log_ratelimit *rl, unsigned int burst, unsigned int *ret_dropped)
{
	uint64_t now = now_ns();

	if (rl->window_start_ns == 0 || now - rl->window_start_ns >= NS_PER_S) {
		rl->window_start_ns = now;
		rl->used = 0;
	}
	if (rl->used >= burst) {
		rl->dropped++;
		return false;
	}
	rl->used++;
	*ret_dropped = rl->dropped;
	rl->dropped = 0;
	return true;
}
