/* SPDX-License-Identifier: BSD-2-Clause */
/* The rate limit, and what a line on stderr looks like. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

/* As if the window had begun a second ago: no test sleeps. */
static void let_a_second_pass(struct log_ratelimit *rl)
{
	rl->window_start_ns = now_ns() - NS_PER_S;
}

Test(log_ratelimit, burst_then_silence)
{
	struct log_ratelimit rl = {0};
	unsigned int dropped = 99;

	for (int i = 0; i < 3; i++) {
		cr_assert(log_ratelimit_ok(&rl, 3, &dropped));
		cr_assert_eq(dropped, 0);
	}
	for (int i = 0; i < 5; i++)
		cr_assert_not(log_ratelimit_ok(&rl, 3, &dropped));
	cr_assert_eq(dropped, 0, "written only with true");

	let_a_second_pass(&rl);
	cr_assert(log_ratelimit_ok(&rl, 3, &dropped));
	cr_assert_eq(dropped, 5);
	cr_assert(log_ratelimit_ok(&rl, 3, &dropped));
	cr_assert_eq(dropped, 0, "told once");
	cr_assert(log_ratelimit_ok(&rl, 3, &dropped));
	cr_assert_not(log_ratelimit_ok(&rl, 3, &dropped));
}

Test(log_ratelimit, the_window_is_a_second)
{
	struct log_ratelimit rl = {0};
	unsigned int dropped;

	cr_assert(log_ratelimit_ok(&rl, 1, &dropped));
	rl.window_start_ns = now_ns() - NS_PER_S / 2;
	cr_assert_not(log_ratelimit_ok(&rl, 1, &dropped));
	let_a_second_pass(&rl);
	cr_assert(log_ratelimit_ok(&rl, 1, &dropped));
}

Test(log_ratelimit, log_peer, .init = cr_redirect_stderr)
{
	log_init("t", LOG_NOTICE);
	for (int i = 0; i < 1000; i++)
		log_peer(LOG_WARNING, "x");
	fflush(stderr);
	cr_assert_stderr_eq_str("t: warning: x\nt: warning: x\nt: warning: x\nt: warning: x\n"
				"t: warning: x\nt: warning: x\nt: warning: x\nt: warning: x\n"
				"t: warning: x\nt: warning: x\n");
}

Test(log, levels, .init = cr_redirect_stderr)
{
	unsetenv("JOURNAL_STREAM");
	log_init("prog", LOG_INFO);
	cr_assert(log_enabled(LOG_INFO));
	cr_assert_not(log_enabled(LOG_DEBUG));
	log_error("number %d", 1);
	log_warning("2");
	log_notice("3");
	log_info("4");
	log_debug("5");
	cr_assert_stderr_eq_str("prog: error: number 1\nprog: warning: 2\nprog: notice: 3\n"
				"prog: info: 4\n");
}

/* What a peer sent cannot forge a line. */
Test(log, control_characters, .init = cr_redirect_stderr)
{
	log_init("p", LOG_NOTICE);
	log_error("a%sb", "\n<0>p: fake\033[31m\x7f");
	cr_assert_stderr_eq_str("p: error: a?<0>p: fake?[31m?b\n");
}

/* LINE_BYTES of log.c, one of them for the terminating zero that is not written. */
Test(log, long_lines_are_cut, .init = cr_redirect_stderr)
{
	char text[3000], want[1025];

	log_init("p", LOG_NOTICE);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_error("%s", text);
	memset(want, 'x', sizeof(want));
	memcpy(want, "p: error: ", 10);
	want[1022] = '\n';
	want[1023] = '\0';
	cr_assert_stderr_eq_str(want);
}

Test(log, keeps_errno, .init = cr_redirect_stderr)
{
	log_init("p", LOG_NOTICE);
	errno = EXDEV;
	log_error("x");
	cr_assert_eq(errno, EXDEV);
}

/* JOURNAL_STREAM of another file: stderr was redirected, no prefix. */
Test(log, other_journal, .init = cr_redirect_stderr)
{
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("p", LOG_NOTICE);
	log_error("x");
	cr_assert_stderr_eq_str("p: error: x\n");
}

Test(log, journal, .init = cr_redirect_stderr)
{
	struct stat st;
	char stream[64];

	cr_assert_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("p", LOG_DEBUG);
	log_error("x");
	log_debug("y");
	cr_assert_stderr_eq_str("<3>p: error: x\n<7>p: debug: y\n");
}
