/* SPDX-License-Identifier: BSD-2-Clause */
/* Connecting: what is sent, what is refused and in which words, time-outs, failing allocations. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "tests/fakes/fake_session.h"

TestSuite(session, .init = fake_reset);

#define URI "brp+tcp://127.0.0.1/vol"

/* ---- malloc that fails, by --wrap ------------------------------------------------------------ */

static int fail_after = -1; /* allocations of libbrp until one fails; -1: never */

void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);

static bool is_to_fail(void)
{
	return fail_after >= 0 && fail_after-- == 0;
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return is_to_fail() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_malloc(size_t bytes)
{
	return is_to_fail() ? NULL : __real_malloc(bytes);
}

/* ---- going well ------------------------------------------------------------------------------ */

Test(session, says_who_it_is)
{
	static const uint8_t host[16] = {9, 8, 7};
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_login m;
	struct fake_rig rig;

	opt.host_uuid = host;
	opt.host_name = "my\nhost";
	opt.queue_depth = 33;
	opt.keepalive_ms = 500;
	opt.read_only = true;
	rig = fake_rig_up(&opt);
	cr_assert_eq(brp_decode_login(rig.c->sent[1].bytes, rig.c->sent[1].length, &m), 0);
	cr_assert_arr_eq(m.host_uuid.b, host, 16);
	cr_assert_str_eq(m.host_name, "my?host");
	cr_assert_str_eq(m.volume_name, "vol");
	cr_assert_eq(m.epoch, 1);
	cr_assert_eq(m.queue_depth, 33);
	cr_assert_eq(m.keepalive_ms, 500);
	cr_assert_eq(m.flags, BRP_LOGIN_READ_ONLY);
	fake_rig_down(&rig);
}

Test(session, host_uuid_is_the_same_every_time_and_session_uuid_is_not)
{
	struct brp_login m[2];

	for (int i = 0; i < 2; i++) {
		struct fake_rig rig = fake_rig_up(NULL);

		cr_assert_eq(brp_decode_login(rig.c->sent[1].bytes, rig.c->sent[1].length, &m[i]),
			     0);
		fake_rig_down(&rig);
		fake_nr_conns = 0;
	}
	if (m[0].host_uuid.b[6] >> 4 == 8) /* else this machine has no machine-id */
		cr_assert_arr_eq(m[0].host_uuid.b, m[1].host_uuid.b, 16);
	cr_assert_arr_neq(m[0].session_uuid.b, m[1].session_uuid.b, 16);
}

Test(session, all_queues_are_one_session)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct fake_rig rig;
	struct brp_login first, m;

	opt.queues = 4;
	rig = fake_rig_up(&opt);
	cr_assert_eq(fake_nr_conns, 4);
	cr_assert_eq(brp_decode_login(fake_conns[0]->sent[1].bytes, 288, &first), 0);
	for (unsigned int i = 1; i < 4; i++) {
		cr_assert_eq(brp_decode_login(fake_conns[i]->sent[1].bytes, 288, &m), 0);
		cr_assert_eq(m.queue_index, i);
		cr_assert_eq(m.queue_count, 4);
		cr_assert_arr_eq(m.session_uuid.b, first.session_uuid.b, 16);
		cr_assert(brp_session_queue(rig.s, i) != NULL);
	}
	cr_assert_null(brp_session_queue(rig.s, 4));
	fake_rig_down(&rig);
}

Test(session, info_tells_what_was_granted)
{
	struct brp_info info = {.size = sizeof(info)};
	struct fake_rig rig;

	fake_config.login.queue_depth = 17;
	rig = fake_rig_up(NULL);
	cr_assert_eq(brp_session_info(rig.s, &info), 0);
	cr_assert_eq(info.queue_depth, 17);
	cr_assert_eq(info.block_bytes, 512);
	cr_assert_eq(info.size_bytes, 512ull << 20);
	cr_assert_eq(info.max_transfer_bytes, 65536);
	cr_assert_str_eq(info.volume_name, "vol");
	cr_assert_str_eq(info.transport, "fake");
	fake_rig_down(&rig);
}

Test(session, older_callers_have_shorter_structs)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_info info = {.size = offsetof(struct brp_info, queues)};
	struct fake_rig rig;

	opt.size = offsetof(struct brp_options, queue_depth);
	opt.queue_depth = 77777; /* behind the end: does not count */
	rig = fake_rig_up(&opt);
	info.queues = 4711;
	cr_assert_eq(brp_session_info(rig.s, &info), 0);
	cr_assert_eq(info.queues, 4711);
	fake_rig_down(&rig);
}

Test(session, goodbye_on_disconnect)
{
	struct fake_rig rig = fake_rig_up(NULL);

	fake_config.holds_close = true; /* or the connection is gone before we look */
	brp_mem_unregister(rig.mem);
	cr_assert_eq(fake_nr_objects, 2);
	fake_config.holds_close = false;
	fake_rig_down(&rig);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void expect_refusal(int err, const char *words)
{
	struct brp_session *s = NULL;
	int r = brp_connect(URI, NULL, &s);

	cr_assert_eq(r, err, "%d, not %d (%s)", r, err, brp_last_error());
	cr_assert_null(s);
	cr_assert(strstr(brp_last_error(), words), "'%s' lacks '%s'", brp_last_error(), words);
	cr_assert_eq(fake_nr_objects, 0);
}

Test(session, no_volume)
{
	fake_config.login.status = BRP_ST_NO_VOLUME;
	snprintf(fake_config.login.reason, sizeof(fake_config.login.reason), "%s",
		 "there is vol1 and vol2");
	expect_refusal(-ENOENT, "there is vol1 and vol2");
	expect_refusal(-ENOENT, "refused volume vol");
}

Test(session, no_resources)
{
	fake_config.login.status = BRP_ST_NO_RESOURCES;
	expect_refusal(-ENOBUFS, "vol");
}

Test(session, bad_version)
{
	fake_config.hello.status = BRP_ST_BAD_VERSION;
	fake_config.hello.version = 9;
	expect_refusal(-EPROTONOSUPPORT, "version 9");
}

Test(session, features_not_offered)
{
	fake_config.hello.features = 1;
	expect_refusal(-EPROTO, "other features");
}

/* ---- features -------------------------------------------------------------------------------- */

static struct brp_hello sent_hello(void)
{
	const struct fake_message *m = &fake_conns[0]->sent[0];
	struct brp_hello h;

	cr_assert_eq(brp_decode_hello(m->bytes, m->length, &h), 0);
	return h;
}

/* What the option makes of HELLO, and what the target's answer makes of the connection. */
static void try_digest(int option, uint64_t granted, uint64_t offered, uint64_t required)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_session *s = NULL;
	struct brp_info info = {.size = sizeof(info)};
	struct brp_hello h;

	fake_config.hello.features = granted;
	opt.digest = option;
	cr_assert_eq(brp_connect(URI, &opt, &s), 0);
	h = sent_hello();
	cr_expect_eq(h.features_offered, offered);
	cr_expect_eq(h.features_required, required);
	cr_expect_eq(fake_conns[0]->has_digest, granted);
	cr_assert_eq(brp_session_info(s, &info), 0);
	cr_expect_eq(info.has_digest, granted);
	brp_disconnect(s);
}

static void refuse_digest(int option, uint64_t granted)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_session *s = NULL;

	fake_config.hello.features = granted;
	opt.digest = option;
	cr_assert_eq(brp_connect(URI, &opt, &s), -EPROTO);
	cr_expect(strstr(brp_last_error(), "other features"), "%s", brp_last_error());
}

Test(session, digest_by_default)
{
	fake_config.has_digest = true;
	try_digest(-1, 1, 1, 0);
}

/* Read data in the RESPONSE: offered where bulk data is no part of the stream, insisted on never.
 */
Test(session, read_data_by_default)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_session *s = NULL;

	fake_config.is_stream = false;
	fake_config.hello.features = BRP_FEATURE_READ_DATA;
	cr_assert_eq(brp_connect(URI, &opt, &s), 0, "%s", brp_last_error());
	cr_expect_eq(sent_hello().features_offered, BRP_FEATURE_READ_DATA);
	cr_expect_eq(sent_hello().features_required, 0);
	brp_disconnect(s);
}

Test(session, read_data_not_granted)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_session *s = NULL;

	fake_config.is_stream = false;
	cr_assert_eq(brp_connect(URI, &opt, &s), 0, "%s", brp_last_error());
	brp_disconnect(s);
}

Test(session, read_data_on_a_stream)
{
	fake_config.hello.features = BRP_FEATURE_READ_DATA;
	expect_refusal(-EPROTO, "other features");
}

Test(session, digest_not_granted)
{
	fake_config.has_digest = true;
	try_digest(-1, 0, 1, 0);
}

Test(session, digest_insisted_on)
{
	fake_config.has_digest = true;
	try_digest(1, 1, 1, 1);
}

Test(session, digest_insisted_on_and_ignored)
{
	fake_config.has_digest = true;
	refuse_digest(1, 0);
}

Test(session, digest_off)
{
	fake_config.has_digest = true;
	try_digest(0, 0, 0, 0);
}

Test(session, digest_off_and_granted)
{
	fake_config.has_digest = true;
	refuse_digest(0, 1);
}

Test(session, digest_of_the_transport_itself)
{
	try_digest(1, 0, 0, 0);
}

Test(session, digest_refused)
{
	fake_config.has_digest = true;
	fake_config.hello.status = BRP_ST_BAD_VERSION;
	expect_refusal(-EPROTONOSUPPORT, "digests");
}

Test(session, impossible_message_size)
{
	fake_config.hello.max_message_bytes = 100;
	expect_refusal(-EPROTO, "");
}

Test(session, another_epoch)
{
	fake_config.login.epoch = 5;
	expect_refusal(-EPROTO, "epoch");
}

Test(session, size_that_overflows)
{
	fake_config.login.size_blocks = UINT64_MAX / 512 + 1;
	expect_refusal(-EPROTO, "");
}

static void insane_block_size(struct brp_login_reply *m)
{
	m->block_bytes = 513;
}
static void insane_requests(struct brp_login_reply *m)
{
	m->max_requests = 65;
}
static void insane_no_requests(struct brp_login_reply *m)
{
	m->max_requests = 0;
}
static void insane_depth(struct brp_login_reply *m)
{
	m->queue_depth = 0;
}
static void insane_transfer(struct brp_login_reply *m)
{
	m->max_transfer_bytes = 513;
}
static void insane_capsule(struct brp_login_reply *m)
{
	m->in_capsule_bytes = 1 << 20;
}

Test(session, insane_limits)
{
	void (*const insane[])(struct brp_login_reply * m) = {
		insane_block_size, insane_requests, insane_no_requests,
		insane_depth,      insane_transfer, insane_capsule,
	};

	for (size_t i = 0; i < ARRAY_SIZE(insane); i++) {
		fake_reset();
		fake_nr_conns = 0;
		insane[i](&fake_config.login);
		expect_refusal(-EPROTO, "LOGIN_REPLY");
	}
}

Test(session, transfers_beyond_our_own_limit_are_split)
{
	struct brp_info info = {.size = sizeof(info)};
	struct fake_rig rig;

	fake_config.login.max_transfer_bytes = 4u << 20;
	rig = fake_rig_up(NULL);
	cr_assert_eq(brp_session_info(rig.s, &info), 0);
	cr_assert_eq(info.max_transfer_bytes, BRP_DEFAULT_TRANSFER_BYTES);
	fake_rig_down(&rig);
}

Test(session, refused_by_the_network)
{
	fake_config.refuse_first = 100;
	expect_refusal(-ECONNREFUSED, "refused");
}

Test(session, no_fabric)
{
	fake_config.create_error = -ENODEV;
	expect_refusal(-ENODEV, "RDMA device");
}

Test(session, bad_arguments)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_session *s;

	cr_assert_eq(brp_connect("http://x/y", NULL, &s), -EINVAL);
	cr_assert(strstr(brp_last_error(), "http://x/y"));
	cr_assert_eq(brp_connect("brp+tcp://127.0.0.1", NULL, &s), -EINVAL);
	cr_assert(strstr(brp_last_error(), "names no volume"));
	opt.queues = 257;
	cr_assert_eq(brp_connect(URI, &opt, &s), -EINVAL);
	opt = (struct brp_options)BRP_OPTIONS_INIT;
	opt.size = 0;
	cr_assert_eq(brp_connect(URI, &opt, &s), -EINVAL);
	cr_assert_eq(fake_nr_objects, 0);
}

/* ---- time ------------------------------------------------------------------------------------ */

Test(session, silence_times_out)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_session *s;

	opt.connect_timeout_ms = 50;
	fake_config.is_auto = false; /* never even connects */
	cr_assert_eq(brp_connect(URI, &opt, &s), -ETIMEDOUT);
	cr_assert(strstr(brp_last_error(), "50 ms"), "%s", brp_last_error());
	cr_assert_eq(fake_nr_objects, 0);
}

Test(session, without_blocking)
{
	struct brp_session *s;

	fake_config.is_auto = false;
	cr_assert_eq(brp_connect_start(URI, NULL, &s), 0);
	cr_assert_eq(brp_connect_step(s), -EAGAIN);
	cr_assert_null(brp_session_queue(s, 0));
	fake_config.is_auto = true;
	fake_deliver_connected(fake_conns[0]);
	for (int i = 0; i < 5 && brp_connect_step(s) == -EAGAIN; i++)
		;
	cr_assert_eq(brp_connect_step(s), 0);
	brp_disconnect(s);
	cr_assert_eq(fake_nr_objects, 0);
}

static struct brp_session *asked;
static unsigned int nr_asked;

static void ask_status(void *arg, int result)
{
	struct brp_status st = {.size = sizeof(st)};

	(void)arg;
	cr_expect_eq(result, -ECANCELED);
	cr_expect_eq(brp_session_status(asked, &st), 0);
	nr_asked++;
}

/* What the last callbacks may look at is still there, whichever queue they come from (a use after
 * free under ASan otherwise). */
Test(session, status_is_told_until_the_last_callback)
{
	struct brp_options opt = BRP_OPTIONS_INIT;

	opt.queues = 3;
	cr_assert_eq(brp_connect(URI, &opt, &asked), 0, "%s", brp_last_error());
	for (unsigned int i = 0; i < opt.queues; i++)
		cr_assert_eq(brp_submit(brp_session_queue(asked, i),
					&(struct brp_io){.op = BRP_FLUSH, .done = ask_status}),
			     0);
	brp_disconnect(asked);
	cr_assert_eq(nr_asked, 3);
}

Test(session, disconnect_while_connecting)
{
	struct brp_session *s;

	fake_config.is_auto = false;
	cr_assert_eq(brp_connect_start(URI, NULL, &s), 0);
	brp_disconnect(s);
	brp_disconnect(NULL);
	cr_assert_eq(fake_nr_objects, 0);
}

Test(session, a_queue_that_is_refused_ends_it_all)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	struct brp_session *s;
	int r = -EAGAIN;

	opt.queues = 3;
	cr_assert_eq(brp_connect_start(URI, &opt, &s), 0);
	while (fake_nr_conns < 3)
		cr_assert_eq(brp_connect_step(s), -EAGAIN);
	fake_config.login.boot_id.b[3] = 0x77;
	while (r == -EAGAIN)
		r = brp_connect_step(s);
	cr_assert_eq(r, -EPROTO);
	cr_assert_eq(brp_connect_step(s), -EPROTO, "it stays failed");
	brp_disconnect(s);
	cr_assert_eq(fake_nr_objects, 0);
}

/* ---- brp_list() ------------------------------------------------------------------------------ */

Test(session, list_continues_and_counts)
{
	struct brp_list_item items[30];

	fake_config.list_total = 50;
	cr_assert_eq(brp_list("brp+tcp://127.0.0.1", NULL, items, 30), 50);
	cr_assert_str_eq(items[29].name, "vol29");
	cr_assert_eq(items[29].size_bytes, 129 * 512);
	fake_nr_conns = 0;
	fake_config.list_total = 0;
	cr_assert_eq(brp_list("brp+tcp://127.0.0.1", NULL, NULL, 0), 0);
	cr_assert_eq(fake_nr_objects, 0);
}

/* ---- memory ---------------------------------------------------------------------------------- */

Test(session, survives_every_failing_allocation)
{
	struct brp_options opt = BRP_OPTIONS_INIT;
	int r = -1;

	opt.queues = 2;
	for (int n = 0; r != 0; n++) {
		struct brp_session *s;

		cr_assert_lt(n, 1000);
		fake_nr_conns = 0;
		fail_after = n;
		r = brp_connect(URI, &opt, &s);
		fail_after = -1;
		if (r == 0)
			brp_disconnect(s);
		else
			cr_assert(brp_last_error()[0], "no words for allocation %d", n);
		cr_assert_eq(fake_nr_objects, 0, "leak after allocation %d", n);
	}
}
