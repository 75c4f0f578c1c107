/* SPDX-License-Identifier: BSD-2-Clause */
/* What was measured, for people or as one JSON object. */
#include "bench/perf.h"

#include <string.h>
#include <sys/utsname.h>

static void add_stats(struct brp_stats *to, const struct brp_stats *from)
{
	to->requests += from->requests;
	to->messages += from->messages;
	to->completions += from->completions;
	to->responses += from->responses;
	to->sent_idle += from->sent_idle;
	to->sent_full += from->sent_full;
	to->sent_completion += from->sent_completion;
	to->sent_kick += from->sent_kick;
	to->sent_window += from->sent_window;
	to->sent_large += from->sent_large;
	to->sleeps += from->sleeps;
	for (unsigned int i = 0; i < 7; i++)
		to->requests_per_message[i] += from->requests_per_message[i];
}

void perf_report_add(struct perf_report *r, const struct perf_result *job)
{
	struct perf_result *sum = &r->sum;

	histogram_merge(&sum->latency_ns, &job->latency_ns);
	sum->reads += job->reads;
	sum->writes += job->writes;
	sum->errors += job->errors;
	sum->mismatches += job->mismatches;
	sum->verified += job->verified;
	add_stats(&sum->stats, &job->stats);
}

static double quantile_us(const struct perf_report *r, double fraction)
{
	return (double)histogram_quantile(&r->sum.latency_ns, fraction) / 1000;
}

static double per_second(const struct perf_report *r, double v)
{
	return r->seconds > 0 ? v / r->seconds : 0;
}

static uint64_t ios(const struct perf_report *r)
{
	return r->sum.reads + r->sum.writes;
}

static double cpu_per_io(const struct perf_report *r)
{
	return ios(r) ? (r->user_us + r->system_us) / (double)ios(r) : 0;
}

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

static void default_rig(char *buf, size_t bytes)
{
	struct utsname u;

	uname(&u);
	snprintf(buf, bytes, "%.64s, %.32s %.64s %.32s", u.nodename, u.sysname, u.release,
		 u.machine);
}

void perf_report_text(FILE *f, const struct perf_report *r)
{
	const struct brp_stats *s = &r->sum.stats;
	double iops = per_second(r, (double)ios(r));

	fprintf(f, "%s %u bytes, depth %u, %u job%s, %s, merge %s, %.1f s\n",
		perf_rw_name(r->opt->rw), r->opt->bs, r->opt->iodepth, r->opt->jobs,
		r->opt->jobs == 1 ? "" : "s", r->info->transport, perf_merge_name(r->opt->merge),
		r->seconds);
	fprintf(f, "  %-10s %.0f /s   %.1f MB/s   %llu errors\n", "requests", iops,
		iops * r->opt->bs / 1e6, (unsigned long long)r->sum.errors);
	fprintf(f, "  %-10s mean %.1f   p50 %.1f   p99 %.1f   p99.9 %.1f   max %.1f us\n",
		"latency", histogram_mean(&r->sum.latency_ns) / 1000, quantile_us(r, 0.5),
		quantile_us(r, 0.99), quantile_us(r, 0.999), (double)r->sum.latency_ns.max / 1000);
	fprintf(f, "  %-10s %.2f us per request (%.2f user, %.2f system)\n", "CPU here",
		cpu_per_io(r), ios(r) ? r->user_us / (double)ios(r) : 0,
		ios(r) ? r->system_us / (double)ios(r) : 0);
	fprintf(f,
		"  %-10s %llu messages, %.1f requests each; %.1f completions per answer; %llu "
		"sleeps\n",
		"jumbo", (unsigned long long)s->messages, ratio(s->requests, s->messages),
		ratio(s->completions, s->responses), (unsigned long long)s->sleeps);
	if (r->reconnects)
		fprintf(f,
			"  %-10s %llu reconnects, %llu requests sent again, %llu digest errors\n",
			"recovery", (unsigned long long)r->reconnects,
			(unsigned long long)r->retried_requests,
			(unsigned long long)r->digest_errors);
	if (r->opt->is_verify)
		fprintf(f, "  %-10s %llu requests right, %llu wrong\n", "verify",
			(unsigned long long)r->sum.verified, (unsigned long long)r->sum.mismatches);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_text(FILE *f, const char *name, const char *s)
{
	fprintf(f, "  \"%s\": \"", name);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			fprintf(f, "\\u%04x", (unsigned int)*s);
		else
			fputc(*s, f);
	}
	fputs("\",\n", f);
}

static void json_u64(FILE *f, const char *name, uint64_t v)
{
	fprintf(f, "  \"%s\": %llu,\n", name, (unsigned long long)v);
}

static void json_double(FILE *f, const char *name, double v)
{
	fprintf(f, "  \"%s\": %.3f,\n", name, v);
}

static void json_what(FILE *f, const struct perf_report *r)
{
	char rig[256];

	default_rig(rig, sizeof(rig));
	json_text(f, "rig", r->opt->rig ? r->opt->rig : rig);
	json_text(f, "version", brp_version());
	json_text(f, "uri", r->opt->uri);
	json_text(f, "transport", r->info->transport);
	json_text(f, "merge", perf_merge_name(r->opt->merge));
	json_text(f, "rw", perf_rw_name(r->opt->rw));
	json_u64(f, "bs", r->opt->bs);
	json_u64(f, "iodepth", r->opt->iodepth);
	json_u64(f, "jobs", r->opt->jobs);
	fprintf(f, "  \"poll_us\": %d,\n", r->opt->poll_us);
	fprintf(f, "  \"digest\": %s,\n", r->info->has_digest ? "true" : "false");
	json_double(f, "seconds", r->seconds);
}

static void json_latency(FILE *f, const struct perf_report *r)
{
	const struct histogram *h = &r->sum.latency_ns;

	fprintf(f,
		"  \"lat_us\": { \"mean\": %.3f, \"min\": %.3f, \"p50\": %.3f, \"p90\": %.3f, "
		"\"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f },\n",
		histogram_mean(h) / 1000, h->count ? (double)h->min / 1000 : 0, quantile_us(r, 0.5),
		quantile_us(r, 0.9), quantile_us(r, 0.99), quantile_us(r, 0.999),
		(double)h->max / 1000);
}

static void json_jumbo(FILE *f, const struct brp_stats *s)
{
	fprintf(f,
		"  \"jumbo\": { \"messages\": %llu, \"requests\": %llu, \"responses\": %llu, "
		"\"idle\": %llu, \"full\": %llu, \"completion\": %llu, \"kick\": %llu, "
		"\"window\": %llu, \"large\": %llu, \"sizes\": [",
		(unsigned long long)s->messages, (unsigned long long)s->requests,
		(unsigned long long)s->responses, (unsigned long long)s->sent_idle,
		(unsigned long long)s->sent_full, (unsigned long long)s->sent_completion,
		(unsigned long long)s->sent_kick, (unsigned long long)s->sent_window,
		(unsigned long long)s->sent_large);
	for (unsigned int i = 0; i < 7; i++)
		fprintf(f, "%s%llu", i ? ", " : "", (unsigned long long)s->requests_per_message[i]);
	fputs("] },\n", f);
}

void perf_report_json(FILE *f, const struct perf_report *r)
{
	double iops = per_second(r, (double)ios(r));

	fputs("{\n", f);
	json_what(f, r);
	json_double(f, "iops", iops);
	json_double(f, "read_iops", per_second(r, (double)r->sum.reads));
	json_double(f, "write_iops", per_second(r, (double)r->sum.writes));
	json_double(f, "bw_bytes", iops * r->opt->bs);
	json_u64(f, "errors", r->sum.errors);
	json_latency(f, r);
	json_double(f, "cpu_us_per_io", cpu_per_io(r));
	json_jumbo(f, &r->sum.stats);
	json_u64(f, "sleeps", r->sum.stats.sleeps);
	json_u64(f, "reconnects", r->reconnects);
	json_u64(f, "retried_requests", r->retried_requests);
	json_u64(f, "digest_errors", r->digest_errors);
	fprintf(f, "  \"verify\": { \"enabled\": %s, \"right\": %llu, \"wrong\": %llu }\n}\n",
		r->opt->is_verify ? "true" : "false", (unsigned long long)r->sum.verified,
		(unsigned long long)r->sum.mismatches);
}
