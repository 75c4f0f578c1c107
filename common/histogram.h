/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log-linear histogram of latencies (or other non-negative figures): 64 linear buckets per power of
 * two, so a value is known to 1.6 % over the whole range of 64 bits. Adding is a few instructions.
 * Not thread-safe: one per thread, merged for the report.
 */
#ifndef COMMON_HISTOGRAM_H
#define COMMON_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6u
#define HISTOGRAM_BUCKETS  ((64u - HISTOGRAM_SUB_BITS + 1u) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t min; /* UINT64_MAX when empty */
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *to, const struct histogram *from);

/* Value below or at which `fraction` (0...1) of all lie: the upper end of its bucket, at most max.
 * 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double fraction);
double histogram_mean(const struct histogram *h);

/* For exports: which bucket a value is in, and the largest value of a bucket. */
unsigned int histogram_bucket(uint64_t value);
uint64_t histogram_bucket_end(unsigned int bucket);

#endif
