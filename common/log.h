/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages for people, on stderr: "brp-target: warning: text". Under systemd (JOURNAL_STREAM names
 * stderr) lines carry the journal's <N> priority prefix. The function that decides an error logs
 * it, once; what a peer can trigger at will is rate-limited. Thread-safe; never blocks on a lock
 * that an I/O path holds.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

#include "common/util.h"

enum log_level {
	LOG_ERROR,
	LOG_WARNING,
	LOG_NOTICE,
	LOG_INFO,
	LOG_DEBUG,
};

/*
 * name is kept, not copied: the program's name in front of every line. Without log_init() nothing
 * is written: a library is silent in other people's programs.
 */
void log_init(const char *name, enum log_level max_level);
bool log_enabled(enum log_level level);

/* Lines go to sink() instead of stderr, without the program's name; priority is syslog(3)'s. NULL:
 * stderr again. Any thread calls it. */
void log_set_sink(void (*sink)(int priority, const char *text));
void log_at(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...)   log_at(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_at(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                  \
	do {                                            \
		if (unlikely(log_enabled(LOG_DEBUG)))   \
			log_at(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

/*
 * While a capture is set, this thread's first error line goes into its text instead of to stderr: a
 * library says it through its own interface. Later ones of the same mistake and warnings are
 * dropped. NULL ends it.
 */
struct log_capture {
	char text[512]; /* empty: no error */
};
void log_capture(struct log_capture *c);
/* The same, but every line is written to stderr as well. log_capture(NULL) or log_tee(NULL) ends
 * it. */
void log_tee(struct log_capture *c);

/* A call site that a peer drives: at most `burst` lines per second; what was left out is counted on
 * the next line. */
struct log_ratelimit {
	uint64_t window_start_ns;
	unsigned int used;
	unsigned int dropped;
};
bool log_ratelimit_ok(struct log_ratelimit *rl, unsigned int burst, unsigned int *ret_dropped);

#define log_peer(level, ...)                                                            \
	do {                                                                            \
		static _Thread_local struct log_ratelimit rl_;                          \
		unsigned int dropped_ = 0;                                              \
		if (log_ratelimit_ok(&rl_, 10, &dropped_)) {                            \
			if (dropped_)                                                   \
				log_at(level, "(%u similar lines left out)", dropped_); \
			log_at(level, __VA_ARGS__);                                     \
		}                                                                       \
	} while (0)

#endif
