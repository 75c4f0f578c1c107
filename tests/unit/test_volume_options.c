/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "initiator/ctl/volume_options.h"

static struct volume_options opt;
static const char *why;

static int apply(const char *name, const char *value)
{
	const struct option_spec *spec = volume_option_find(name);

	cr_assert_not_null(spec, "%s", name);
	return volume_options_apply(&opt, spec, value, &why);
}

static void init(void)
{
	volume_options_init(&opt);
}

static void finish(void)
{
	volume_options_finish(&opt);
}

TestSuite(volume_options, .init = init, .fini = finish);

Test(volume_options, defaults_are_the_librarys)
{
	struct brp_options brp = BRP_OPTIONS_INIT;

	cr_expect_eq(memcmp(&opt.brp, &brp, sizeof(brp)), 0);
	cr_expect_str_eq(opt.device, "auto");
	cr_expect(volume_options_queues(&opt) >= 1 && volume_options_queues(&opt) <= 8);
}

Test(volume_options, values)
{
	cr_expect_eq(apply("merge", "always:30"), 0);
	cr_expect_eq(opt.brp.merge, BRP_MERGE_ALWAYS);
	cr_expect_eq(opt.brp.merge_window_us, 30);
	cr_expect_eq(apply("merge", "off"), 0);
	cr_expect_eq(opt.brp.merge, BRP_MERGE_OFF);
	cr_expect_eq(apply("nr-io-queues", "7"), 0);
	cr_expect_eq(volume_options_queues(&opt), 7);
	cr_expect_eq(apply("queue-size", "64"), 0);
	cr_expect_eq(opt.brp.queue_depth, 64);
	cr_expect_eq(apply("reconnect-delay", "0.25"), 0);
	cr_expect_eq(opt.brp.reconnect_delay_ms, 250);
	cr_expect_eq(apply("ctrl-loss-tmo", "600"), 0);
	cr_expect_eq(opt.brp.ctrl_loss_tmo_ms, 600000);
	cr_expect_eq(apply("ctrl-loss-tmo", "-1"), 0);
	cr_expect_eq(opt.brp.ctrl_loss_tmo_ms, -1);
	cr_expect_eq(apply("fast-io-fail-tmo", "0"), 0);
	cr_expect_eq(opt.brp.fast_io_fail_tmo_ms, 0);
	cr_expect_eq(apply("poll-us", "50"), 0);
	cr_expect_eq(opt.brp.poll_us, 50);
	cr_expect_eq(apply("data-digest", "on"), 0);
	cr_expect_eq(opt.brp.digest, 1);
	cr_expect_eq(apply("read-only", NULL), 0);
	cr_expect(opt.brp.read_only);
	cr_expect_eq(apply("read-only", "no"), 0);
	cr_expect_not(opt.brp.read_only);
}

/* brp.h takes how often to ask; people say how long silence may last. */
Test(volume_options, keep_alive)
{
	cr_expect_eq(apply("keep-alive-tmo", "8"), 0);
	cr_expect_eq(opt.brp.keepalive_ms, 2000);
	cr_expect_eq(apply("keep-alive-tmo", "0.001"), 0);
	cr_expect_eq(opt.brp.keepalive_ms, 1);
	cr_expect_eq(apply("keep-alive-tmo", "0"), 0);
	cr_expect_eq(opt.brp.keepalive_ms, BRP_KEEPALIVE_NEVER);
}

Test(volume_options, refused)
{
	static const char *const bad[][2] = {
		{"device", "floppy"},      {"device", ""},
		{"merge", "always:0"},     {"merge", "always:"},
		{"merge", "adaptive:5"},   {"queues", "0"},
		{"queues", "257"},         {"queue-size", "x"},
		{"reconnect-delay", "0"},  {"reconnect-delay", "-1"},
		{"ctrl-loss-tmo", "-2"},   {"fast-io-fail-tmo", "never"},
		{"keep-alive-tmo", "-1"},  {"connect-timeout", "0"},
		{"read-only", "perhaps"},  {"poll-us", "-2"},
		{"data-digest", "always"}, {"log-file", "relative"},
		{"log-file", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		why = NULL;
		cr_expect_eq(apply(bad[i][0], bad[i][1]), -EINVAL, "%s=%s", bad[i][0], bad[i][1]);
		cr_expect(why && !strncmp(why, "not ", 4), "%s=%s", bad[i][0], bad[i][1]);
	}
	cr_expect_eq(opt.nr_args, 0, "what was refused is not passed on");
	cr_expect_null(volume_option_find("colour"));
}

/* The serving process gets what was said, and nothing else. */
Test(volume_options, args_for_the_serving_process)
{
	apply("queues", "3");
	apply("read-only", NULL);
	apply("log-file", "/var/log/a b.log");
	cr_assert_eq(opt.nr_args, 3);
	cr_expect_str_eq(opt.args[0], "--queues=3");
	cr_expect_str_eq(opt.args[1], "--read-only");
	cr_expect_str_eq(opt.args[2], "--log-file=/var/log/a b.log");
	cr_expect_eq(apply("read-only", "no"), 0);
	cr_expect_eq(opt.nr_args, 3);
}

Test(volume_options, too_many)
{
	for (int i = 0; i < VOLUME_MAX_ARGS; i++)
		cr_expect_eq(apply("queues", "1"), 0);
	cr_expect_eq(apply("queues", "1"), -EINVAL);
}

Test(volume_options, uri)
{
	cr_expect_eq(volume_options_set_uri(&opt, "brp+tcp://h/v", &why), 0);
	cr_expect_str_eq(opt.uri, "brp+tcp://h/v");
	cr_expect_eq(volume_options_set_uri(&opt, "brp+tcp://h", &why), -EINVAL);
	cr_expect_eq(volume_options_set_uri(&opt, "nbd://h/v", &why), -EINVAL);
	cr_expect_str_eq(opt.uri, "brp+tcp://h/v");
}
