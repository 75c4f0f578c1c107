/* SPDX-License-Identifier: BSD-2-Clause */
/* See histogram.h. Bucket = (exponent, next SUB_BITS bits); values below 2^(SUB_BITS + 1) have a
 * bucket each. */
#include "common/histogram.h"

#include "common/util.h"

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

void histogram_init(struct histogram *h)
{
	*h = (struct histogram){.min = UINT64_MAX};
}

unsigned int histogram_bucket(uint64_t value)
{
	unsigned int shift;

	if (value < SUB_COUNT)
		return (unsigned int)value;
	shift = 63u - (unsigned int)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned int)((value >> shift) - SUB_COUNT);
}

uint64_t histogram_bucket_end(unsigned int bucket)
{
	unsigned int shift = bucket >> HISTOGRAM_SUB_BITS;
	uint64_t sub = bucket & (SUB_COUNT - 1);

	if (shift == 0)
		return sub;
	shift--;
	return ((SUB_COUNT + sub) << shift) + ((1ull << shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->buckets[histogram_bucket(value)]++;
	h->count++;
	h->sum += value;
	h->min = MIN(h->min, value);
	h->max = MAX(h->max, value);
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
	to->count += from->count;
	to->sum += from->sum;
	to->min = MIN(to->min, from->min);
	to->max = MAX(to->max, from->max);
}

uint64_t histogram_quantile(const struct histogram *h, double fraction)
{
	double target = fraction * (double)h->count;
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > 0 && (double)seen >= target)
			return MIN(histogram_bucket_end(i), h->max);
	}
	return h->max;
}

double histogram_mean(const struct histogram *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}
