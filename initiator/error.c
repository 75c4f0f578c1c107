/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors in words: one per session (the first one counts) and the last one of a thread. */
#include "initiator/internal.h"

#include <stdarg.h>
#include <stdio.h>

enum {
	ERROR_NONE,
	ERROR_WRITING,
	ERROR_THERE,
};

static _Thread_local char last_error[INI_ERROR_BYTES];

int ini_error_set(struct ini_error *e, int err, const char *fmt, ...)
{
	int none = ERROR_NONE;
	va_list ap;

	if (!atomic_compare_exchange_strong(&e->state, &none, ERROR_WRITING))
		return err;
	e->err = err;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	/* Pairs with the acquire in ini_error_text(): who sees THERE sees the text. */
	atomic_store_explicit(&e->state, ERROR_THERE, memory_order_release);
	return err;
}

void ini_error_reset(struct ini_error *e)
{
	atomic_store(&e->state, ERROR_NONE);
}

static bool is_there(const struct ini_error *e)
{
	return atomic_load_explicit(&e->state, memory_order_acquire) == ERROR_THERE;
}

const char *ini_error_text(const struct ini_error *e)
{
	return is_there(e) ? e->text : "";
}

int ini_error_code(const struct ini_error *e)
{
	return is_there(e) ? e->err : 0;
}

int ini_last_error_set(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(last_error, sizeof(last_error), fmt, ap);
	va_end(ap);
	return err;
}

const char *brp_last_error(void)
{
	return last_error;
}

const char *brp_session_error(const struct brp_session *s)
{
	return ini_error_text(&s->error);
}
