/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages, JSON and exit statuses; see ctl.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "initiator/ctl/ctl.h"

static const struct {
	int err;
	enum ctl_exit code;
} exits[] = {
	{0, CTL_OK},
	{-ENOENT, CTL_NOT_FOUND},
	{-ENODEV, CTL_NOT_FOUND},
	{-EBUSY, CTL_IN_USE},
	{-EEXIST, CTL_EXISTS},
	{-ECONNREFUSED, CTL_UNREACHABLE},
	{-ECONNRESET, CTL_UNREACHABLE},
	{-ENOTCONN, CTL_UNREACHABLE},
	{-ETIMEDOUT, CTL_UNREACHABLE},
	{-EHOSTUNREACH, CTL_UNREACHABLE},
	{-EHOSTDOWN, CTL_UNREACHABLE},
	{-ENETUNREACH, CTL_UNREACHABLE},
	{-EPERM, CTL_NOT_ALLOWED},
	{-EACCES, CTL_NOT_ALLOWED},
};

int ctl_exit_of(int err)
{
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		if (exits[i].err == err)
			return exits[i].code;
	}
	return CTL_FAILED;
}

int ctl_fail(int err, const char *fmt, ...)
{
	va_list ap;

	fputs(CTL_PROGRAM ": ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return ctl_exit_of(err);
}

int ctl_finish_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	ctl_fail(-EIO, "standard output cannot be written: %s", strerror(errno));
	return CTL_FAILED;
}

int ctl_print_json(json_t *root)
{
	json_t *all = json_object();
	int rc = -1;

	if (all && root &&
	    !json_object_set_new(all, "format_version", json_integer(CTL_FORMAT_VERSION)) &&
	    !json_object_update(all, root)) {
		rc = json_dumpf(all, stdout, JSON_INDENT(2));
		fputc('\n', stdout);
	}
	json_decref(all);
	json_decref(root);
	if (rc)
		return ctl_fail(-EIO, "the JSON cannot be written: %s",
				strerror(errno ? errno : ENOMEM));
	return ctl_finish_output(CTL_OK);
}

const char *ctl_size_text(uint64_t bytes, char buf[16])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	size_t i = 0;

	for (; v >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
		v /= 1024;
	snprintf(buf, 16, i ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}
