/* SPDX-License-Identifier: BSD-2-Clause */
/* brp-initiator doctor: what is in the way, and the command that mends it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "brp/uri.h"
#include "initiator/ctl/ctl.h"
#include "initiator/ctl/doctor.h"

static const struct option_spec specs[] = {
	CTL_COMMON_OPTIONS,
};

static const char *const results[] = {
	[FINDING_OK] = "ok",
	[FINDING_WARN] = "warn",
	[FINDING_BAD] = "bad",
};

static void (*const checks[])(struct doctor *d) = {
	doctor_check_permissions, doctor_check_memlock, doctor_check_kernel, doctor_check_fronts,
	doctor_check_rdma,        doctor_check_devices, doctor_check_target,
};

void doctor_add(struct doctor *d, const char *subject, enum finding result, const char *fix,
		const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(d->findings, json_pack("{ss ss ss ss*}", "subject", subject, "result",
						     results[result], "text", text, "fix", fix));
	d->worst = MAX(d->worst, result);
}

bool doctor_read(char *text, size_t bytes, const char *fmt, ...)
{
	char path[512];
	va_list ap;
	FILE *f;
	bool ok;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(text, (int)bytes, f);
	fclose(f);
	if (ok)
		text[strcspn(text, "\n")] = '\0';
	return ok;
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

static void print_findings(const struct doctor *d)
{
	json_t *f;
	size_t i;

	json_array_foreach(d->findings, i, f)
	{
		printf("%-5s %-12s %s\n", text_of(f, "result"), text_of(f, "subject"),
		       text_of(f, "text"));
		if (json_object_get(f, "fix"))
			printf("%-18s -> %s\n", "", text_of(f, "fix"));
	}
}

static int run(const struct verb *v, int argc, char **argv)
{
	struct doctor d = {0};
	struct ctl_common common;
	struct brp_uri u;
	const char *why;
	int rc = ctl_parse(v, argc, argv, &common, ctl_take_one_argument, &d.uri);

	if (rc != CTL_RUN)
		return rc;
	if (d.uri && brp_uri_parse(d.uri, &u, &why))
		return options_usage_error(CTL_PROGRAM, "doctor: '%s': %s", d.uri, why);
	d.findings = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&d);
	if (common.is_json) {
		rc = ctl_print_json(
			json_pack("{ss so}", "result", results[d.worst], "findings", d.findings));
	} else {
		print_findings(&d);
		json_decref(d.findings);
		rc = ctl_finish_output(CTL_OK);
	}
	return rc ? rc : d.worst == FINDING_BAD ? CTL_FAILED : CTL_OK;
}

const struct verb verb_doctor = {
	.name = "doctor",
	.summary = "what is in the way on this machine, and how to mend it",
	.usage = "usage: brp-initiator doctor [URI] [options]\n"
		 "\n"
		 "Checks this machine and, when URI is given, the way to that target. Every "
		 "finding that\n"
		 "is not ok comes with what mends it. Exit status 1: something keeps devices from "
		 "being\n"
		 "connected.\n",
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.run = run,
};
