/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "common/histogram.h"

static struct histogram h, other;

Test(histogram, empty)
{
	histogram_init(&h);
	cr_assert_eq(histogram_quantile(&h, 0.5), 0);
	cr_assert_eq(histogram_mean(&h), 0);
}

/* Every value is in a bucket that ends at or above it and less than 1.6 % away; buckets are in
 * order. */
Test(histogram, buckets_are_tight_over_the_whole_range)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		for (int delta = -1; delta <= 1; delta++) {
			uint64_t v = (1ull << bit) + (uint64_t)delta;
			unsigned int b = histogram_bucket(v);
			uint64_t end = histogram_bucket_end(b);

			cr_assert(b < HISTOGRAM_BUCKETS);
			cr_assert(end >= v);
			cr_assert(end - v <= v / 64, "%lu is told as %lu", v, end);
			if (b > 0)
				cr_assert(histogram_bucket_end(b - 1) < v);
		}
	}
	cr_assert_eq(histogram_bucket_end(HISTOGRAM_BUCKETS - 1), UINT64_MAX);
}

Test(histogram, quantiles)
{
	histogram_init(&h);
	for (uint64_t v = 1; v <= 1000; v++)
		histogram_add(&h, v);
	cr_assert_eq(h.min, 1);
	cr_assert_eq(h.max, 1000);
	cr_assert_float_eq(histogram_mean(&h), 500.5, 0.001);
	cr_assert_eq(histogram_quantile(&h, 0), 1);
	cr_assert_eq(histogram_quantile(&h, 1), 1000);
	cr_assert(histogram_quantile(&h, 0.5) >= 500 && histogram_quantile(&h, 0.5) <= 508);
	cr_assert(histogram_quantile(&h, 0.99) >= 990 && histogram_quantile(&h, 0.99) <= 1000);
}

Test(histogram, merge_is_the_same_as_adding_all)
{
	static struct histogram all;

	histogram_init(&h);
	histogram_init(&other);
	histogram_init(&all);
	for (int i = 0; i < 10000; i++) {
		uint64_t v = (uint64_t)rand() >> (rand() % 20);

		histogram_add(i % 3 ? &h : &other, v);
		histogram_add(&all, v);
	}
	histogram_merge(&h, &other);
	cr_assert_arr_eq(&h, &all, sizeof(h));
}
