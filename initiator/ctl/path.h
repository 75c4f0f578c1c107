/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths made of parts. */
#ifndef INITIATOR_CTL_PATH_H
#define INITIATOR_CTL_PATH_H

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/util.h"

/* One that does not fit is empty: no file has that name. */
PRINTF_LIKE(2, 3) static inline void path_format(char path[PATH_MAX], const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(path, PATH_MAX, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= PATH_MAX)
		path[0] = '\0';
}

#endif
