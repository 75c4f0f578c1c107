/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fio engine over libbrp. Load it with --ioengine=external:<build>/bench/brp-fio.so and say which
 * volume with --uri=brp+tcp://host/volume.
 *
 * Every job has a session of its own with one queue, used by the job's thread only; jobs may be
 * threads or processes. fio calls in this order:
 *
 *	setup()      in the parent: the volume's size (in the job with create_serialize=0)
 *	init()       in the job: connects
 *	io_u_init()  for each unit of the depth; then fio allocates the data buffers
 *	post_init()  registers these buffers
 *	queue(), commit(), getevents(), event()
 *	io_u_free()  for each unit; then fio frees the buffers
 *	cleanup()    disconnects; also after a failed init()
 *
 * The hooks iomem_alloc and iomem_free are not used: with them fio refuses the user's iomem=
 * (huge pages, shared memory).
 *
 * errno is negative below, as everywhere in BRP, and positive where fio sees it: io_u->error,
 * td_verror().
 */
/* fio's own headers come first: its config-host.h, which says what the others contain, is included
 * by the compiler's command line. */
#include <fio.h>
#include <optgroup.h>

#include "brp/brp.h"
#include "common/strparse.h"

/* fio.h has macros of these names; we want none of its own. */
#undef MIN
#undef MAX

#define MAX_WINDOW_US 1000000u
#define MAX_POLL_US   1000000u
#define MAX_LIMIT_S   1000000u

struct engine_options {
	void *pad; /* fio takes an option at offset 0 for none */
	char *uri;
	char *merge;
	char *poll_us;
	char *data_digest;
	unsigned int queue_size;
	unsigned int merge_max_bytes;
	unsigned int merge_max_requests;
	unsigned int connect_timeout_ms;
	char *reconnect_delay;
	char *ctrl_loss_tmo;
	char *fast_io_fail_tmo;
	char *keep_alive_tmo;
};

struct engine {
	/* constant after init() */
	struct brp_session *session; /* owned */
	struct brp_queue *queue;
	bool may_discard;
	bool is_kicking; /* commit() sends, see there */

	/* the buffers registered as mem; mem is NULL without any */
	struct brp_mem *mem;
	const void *mem_base;
	size_t mem_bytes;

	bool has_said_lost;

	/* Completions fio has not been told of yet, a ring of mask + 1 >= depth: those from head on
	 * were announced by the last getevents() and are read by event(); the next one drops them.
	 */
	struct io_u **done;
	unsigned int mask;
	unsigned int head;
	unsigned int nr_done;
	unsigned int nr_announced;
};

static struct fio_option options[] = {
	{
		.name = "uri",
		.lname = "BRP volume",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct engine_options, uri),
		.help = "brp+tcp://host[:port]/volume (TCP) or brp://host[:port]/volume (RDMA)",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "merge",
		.lname = "Merging of small requests",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct engine_options, merge),
		.help = "adaptive, always, always:MICROSECONDS or off",
		.def = "adaptive",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "merge_max_bytes",
		.lname = "Largest request that is merged",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct engine_options, merge_max_bytes),
		.help = "Longer requests go in messages of their own; 0 = the library's default",
		.def = "0",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "merge_max_requests",
		.lname = "Most requests in a message",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct engine_options, merge_max_requests),
		.help = "0 = as many as the target allows",
		.def = "0",
		.maxval = 64,
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "queue_size",
		.lname = "Requests in flight the target shall grant",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct engine_options, queue_size),
		.help = "0 = as many as iodepth",
		.def = "0",
		.maxval = 4096,
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "poll_us",
		.lname = "Busy-polling before sleeping",
		.type = FIO_OPT_STR_STORE, /* numbers of fio are unsigned */
		.off1 = offsetof(struct engine_options, poll_us),
		.help = "Microseconds, 0 = never, adaptive (or -1) = where it pays",
		.def = "adaptive",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "connect_timeout_ms",
		.lname = "Time to connect",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct engine_options, connect_timeout_ms),
		.help = "Milliseconds; 0 = the library's default",
		.def = "0",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "reconnect_delay",
		.lname = "Time between attempts to reconnect",
		.type = FIO_OPT_STR_STORE, /* with decimals, or -1 */
		.off1 = offsetof(struct engine_options, reconnect_delay),
		.help = "Seconds before the second attempt, then doubled",
		.def = "0.5",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "ctrl_loss_tmo",
		.lname = "When to give up reconnecting",
		.type = FIO_OPT_STR_STORE, /* with decimals, or -1 */
		.off1 = offsetof(struct engine_options, ctrl_loss_tmo),
		.help = "Seconds; -1 = never, 0 = at once",
		.def = "-1",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "fast_io_fail_tmo",
		.lname = "When waiting requests fail",
		.type = FIO_OPT_STR_STORE, /* with decimals, or -1 */
		.off1 = offsetof(struct engine_options, fast_io_fail_tmo),
		.help = "Seconds a request waits for a reconnect; -1 = as long as it takes",
		.def = "-1",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "keep_alive_tmo",
		.lname = "Keep-alive",
		.type = FIO_OPT_STR_STORE, /* with decimals, or -1 */
		.off1 = offsetof(struct engine_options, keep_alive_tmo),
		.help = "A target silent for so many seconds is taken for dead; 0 = never",
		.def = "4",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "data_digest",
		.lname = "CRC32C of all that is sent, on TCP",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct engine_options, data_digest),
		.help = "on, off or auto (as the target wants it)",
		.def = "auto",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{},
};

/* ---- options ---------------------------------------------------------------------------- */

static int parse_merge(const char *s, struct brp_options *opt)
{
	uint32_t us;

	if (!strcmp(s, "adaptive")) {
		opt->merge = BRP_MERGE_ADAPTIVE;
	} else if (!strcmp(s, "off")) {
		opt->merge = BRP_MERGE_OFF;
	} else if (!strcmp(s, "always")) {
		opt->merge = BRP_MERGE_ALWAYS;
	} else if (!strncmp(s, "always:", 7) && !parse_u32(s + 7, 1, MAX_WINDOW_US, &us)) {
		opt->merge = BRP_MERGE_ALWAYS;
		opt->merge_window_us = us;
	} else {
		log_err("brp: merge=%s: want adaptive, always, always:MICROSECONDS (1...%u) or "
			"off\n",
			s, MAX_WINDOW_US);
		return -EINVAL;
	}
	return 0;
}

static int parse_digest(const char *s, struct brp_options *opt)
{
	opt->digest = !strcmp(s, "on") ? 1 : !strcmp(s, "off") ? 0 : -1;
	if (opt->digest >= 0 || !strcmp(s, "auto"))
		return 0;
	log_err("brp: data_digest=%s: want on, off or auto\n", s);
	return -EINVAL;
}

static int parse_poll(const char *s, struct brp_options *opt)
{
	uint32_t us;

	if (!strcmp(s, "adaptive") || !strcmp(s, "-1")) {
		opt->poll_us = -1;
	} else if (!parse_u32(s, 0, MAX_POLL_US, &us)) {
		opt->poll_us = (int)us;
	} else {
		log_err("brp: poll_us=%s: want adaptive, or microseconds 0...%u\n", s, MAX_POLL_US);
		return -EINVAL;
	}
	return 0;
}

static int parse_time(const char *name, const char *s, bool may_be_never, int *ret_ms)
{
	uint32_t ms;

	if (may_be_never && !strcmp(s, "-1")) {
		*ret_ms = -1;
		return 0;
	}
	if (parse_seconds(s, MAX_LIMIT_S, &ms) < 0) {
		log_err("brp: %s=%s: want seconds 0...%u%s\n", name, s, MAX_LIMIT_S,
			may_be_never ? ", or -1 for never" : "");
		return -EINVAL;
	}
	*ret_ms = (int)ms;
	return 0;
}

static int parse_times(const struct engine_options *eo, struct brp_options *opt)
{
	int delay_ms, alive_ms;

	if (parse_time("reconnect_delay", eo->reconnect_delay, false, &delay_ms) ||
	    parse_time("ctrl_loss_tmo", eo->ctrl_loss_tmo, true, &opt->ctrl_loss_tmo_ms) ||
	    parse_time("fast_io_fail_tmo", eo->fast_io_fail_tmo, true, &opt->fast_io_fail_tmo_ms) ||
	    parse_time("keep_alive_tmo", eo->keep_alive_tmo, false, &alive_ms))
		return -EINVAL;
	opt->reconnect_delay_ms = (unsigned int)delay_ms;
	if (delay_ms > 10000) /* the library's ceiling of the back-off */
		opt->reconnect_delay_max_ms = (unsigned int)delay_ms;
	/* A peer is dead when the fourth of its keep-alives is overdue. */
	opt->keepalive_ms = alive_ms == 0 ? BRP_KEEPALIVE_NEVER : (unsigned int)(alive_ms + 3) / 4;
	return 0;
}

/* From whatever thread runs the job. How the session ends is said by say_lost(). */
static void on_event(void *arg, const struct brp_event *ev)
{
	(void)arg;
	if (ev->kind != BRP_EVENT_FAILED)
		log_err("brp: %s\n", ev->text);
}

/* A job that only reads does not need the right to write. */
static int fill_options(const struct thread_data *td, struct brp_options *opt)
{
	const struct engine_options *eo = td->eo;
	int r;

	*opt = (struct brp_options)BRP_OPTIONS_INIT;
	opt->queue_depth = eo->queue_size ? eo->queue_size : td->o.iodepth;
	opt->merge_max_bytes = eo->merge_max_bytes;
	opt->merge_max_requests = eo->merge_max_requests;
	opt->connect_timeout_ms = eo->connect_timeout_ms;
	opt->on_event = on_event;
	opt->read_only = !td_write(td) && !td_trim(td) && !td->o.read_iolog_file;
	r = eo->merge ? parse_merge(eo->merge, opt) : 0;
	if (r < 0)
		return r;
	r = parse_times(eo, opt);
	if (r < 0)
		return r;
	if (eo->data_digest && parse_digest(eo->data_digest, opt))
		return -EINVAL;
	return eo->poll_us ? parse_poll(eo->poll_us, opt) : 0;
}

/* ---- connecting ------------------------------------------------------------------------- */

static int connect_volume(const struct thread_data *td, struct brp_session **ret_session,
			  struct brp_info *info)
{
	const struct engine_options *eo = td->eo;
	struct brp_options opt;
	int r;

	if (!eo->uri) {
		log_err("brp: no volume given: add uri=brp+tcp://host/volume\n");
		return -EINVAL;
	}
	r = fill_options(td, &opt);
	if (r < 0)
		return r;
	r = brp_connect(eo->uri, &opt, ret_session);
	if (r < 0) {
		log_err("brp: cannot connect to %s: %s\n", eo->uri, brp_last_error());
		return r;
	}
	info->size = sizeof(*info);
	r = brp_session_info(*ret_session, info);
	if (r < 0)
		brp_disconnect(*ret_session);
	return r;
}

/* fio's default for a direction a job does not use is 4 KiB too. */
static int check_block_size(const struct thread_data *td, uint32_t block_bytes)
{
	for (enum fio_ddir ddir = 0; ddir < DDIR_RWDIR_CNT; ddir++) {
		if (td->o.min_bs[ddir] % block_bytes) {
			log_err("brp: bs=%llu is no multiple of the volume's block, %u bytes\n",
				td->o.min_bs[ddir], block_bytes);
			return -EINVAL;
		}
	}
	return 0;
}

static int check_volume(const struct thread_data *td, const struct brp_info *info)
{
	const struct engine_options *eo = td->eo;

	if ((td_write(td) || td_trim(td)) && info->read_only) {
		log_err("brp: %s is read-only, and the job writes\n", eo->uri);
		return -EROFS;
	}
	if (td_trim(td) && !info->has_discard) {
		log_err("brp: %s does not support discard, which trim needs\n", eo->uri);
		return -EOPNOTSUPP;
	}
	return check_block_size(td, info->block_bytes);
}

/* A job has one "file", the volume; fio makes one up unless the user named some. */
static int set_size(struct thread_data *td, uint64_t size_bytes)
{
	if (!td->files_index) {
		add_file(td, "brp", 0, 0);
		if (!td->o.nr_files)
			td->o.nr_files = 1;
		td->o.open_files++;
	}
	if (td->files_index > 1) {
		log_err("brp: a job uses one volume: no nrfiles=, one filename= at most\n");
		return -EINVAL;
	}
	td->files[0]->real_file_size = size_bytes;
	return 0;
}

static int setup_volume(struct thread_data *td)
{
	struct brp_session *session;
	struct brp_info info;
	int r;

	r = connect_volume(td, &session, &info);
	if (r < 0)
		return r;
	brp_disconnect(session);
	r = check_volume(td, &info);
	if (r < 0)
		return r;
	return set_size(td, info.size_bytes);
}

static int brp_fio_setup(struct thread_data *td)
{
	int r = setup_volume(td);

	if (r < 0)
		td_verror(td, -r, "brp setup");
	return r < 0 ? 1 : 0;
}

/*
 * Whether commit() ends a batch.
 *
 * fio calls it after every single queue() unless iodepth_batch_submit= is given, so by itself it
 * means nothing, and sending there would undo all merging. It is not needed either: fio goes on
 * queueing until the depth is reached and then calls getevents(), whose brp_wait() sends what was
 * gathered; before it sleeps for rate=, thinktime= or flow_sleep= it calls io_u_quiesce(), which is
 * getevents() too. What remains is where the user asked for batches, and where fio 3.33 stops
 * queueing without a getevents() while requests are in flight: the delays of a replayed log
 * (iolog.c, iolog_delay()), and flow= without flow_sleep= (flow.c: do_io() spins until another job
 * catches up). A request must not sit here all that time.
 *
 * Sending every so many requests, to keep the target busy while fio is still queueing, was tried:
 * nothing gained at 16, and at 4 a half to three quarters of the rate at depth 128 lost.
 */
static bool is_commit_end_of_batch(const struct thread_options *o)
{
	return o->iodepth_batch > 1 || o->read_iolog_file || o->flow;
}

static void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	brp_disconnect(e->session); /* and the registration */
	free(e->done);
	free(e);
}

static int engine_create(const struct thread_data *td, struct engine **ret_engine)
{
	struct engine *e;
	struct brp_info info;
	unsigned int nr = 1;
	int r;

	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	while (nr < td->o.iodepth)
		nr *= 2;
	e->mask = nr - 1;
	e->done = calloc(nr, sizeof(struct io_u *));
	if (!e->done) {
		engine_destroy(e);
		return -ENOMEM;
	}
	r = connect_volume(td, &e->session, &info);
	if (r < 0) {
		e->session = NULL;
		engine_destroy(e);
		return r;
	}
	e->queue = brp_session_queue(e->session, 0);
	e->may_discard = info.has_discard;
	e->is_kicking = is_commit_end_of_batch(&td->o);
	*ret_engine = e;
	return 0;
}

static int brp_fio_init(struct thread_data *td)
{
	struct engine *e;
	int r = engine_create(td, &e);

	if (r < 0) {
		td_verror(td, -r, "brp init");
		return 1;
	}
	td->io_ops_data = e;
	return 0;
}

static void brp_fio_cleanup(struct thread_data *td)
{
	engine_destroy(td->io_ops_data);
	td->io_ops_data = NULL;
}

/* ---- memory ----------------------------------------------------------------------------- */

static void unregister_buffers(struct engine *e)
{
	brp_mem_unregister(e->mem);
	e->mem = NULL;
	e->mem_base = NULL;
	e->mem_bytes = 0;
}

/* A job that only trims has no buffers. Where any other got none (no huge pages, say), fio 3.33
 * goes on regardless, with addresses near 0. */
static int register_buffers(struct thread_data *td, struct engine *e)
{
	int r = 0;

	unregister_buffers(e);
	if (!td->orig_buffer && (td_read(td) || td_write(td)))
		r = -ENOMEM;
	else if (td->orig_buffer)
		r = brp_mem_register(e->session, td->orig_buffer, td->orig_buffer_size, &e->mem);
	if (r < 0) {
		log_err("brp: cannot register %zu bytes of buffers: %s%s\n", td->orig_buffer_size,
			strerror(-r), r == -ENOMEM ? " (RDMA: see ulimit -l)" : "");
		return r;
	}
	e->mem_base = td->orig_buffer;
	e->mem_bytes = td->orig_buffer_size;
	return 0;
}

/* A replayed log may want larger buffers than expected: fio then takes new ones in the middle of
 * the run, with nothing in flight, and says nothing. They are larger than the old ones. */
static bool are_buffers_registered(const struct thread_data *td, const struct engine *e)
{
	return e->mem_base == td->orig_buffer && e->mem_bytes == td->orig_buffer_size;
}

static int brp_fio_post_init(struct thread_data *td)
{
	int r = register_buffers(td, td->io_ops_data);

	if (r < 0)
		td_verror(td, -r, "brp_mem_register");
	return r < 0 ? 1 : 0;
}

static int brp_fio_io_u_init(struct thread_data *td, struct io_u *u)
{
	u->engine_data = td->io_ops_data;
	return 0;
}

/* Last call before fio frees the buffers. After an error requests may still be in flight; they end
 * with the session. */
static void brp_fio_io_u_free(struct thread_data *td, struct io_u *u)
{
	struct engine *e = td->io_ops_data;

	(void)u;
	if (!e || !e->session)
		return;
	if (brp_queue_in_flight(e->queue) > 0) {
		brp_disconnect(e->session);
		e->session = NULL;
		e->mem = NULL;
		return;
	}
	unregister_buffers(e);
}

/* ---- I/O -------------------------------------------------------------------------------- */

/* What an errno cannot tell, once. Says nothing as long as the connection is fine. */
static void say_lost(struct engine *e)
{
	const char *why = brp_session_error(e->session);

	if (e->has_said_lost || !why[0])
		return;
	e->has_said_lost = true;
	log_err("brp: connection lost: %s\n", why);
}

static void on_done(void *arg, int result)
{
	struct io_u *u = arg;
	struct engine *e = u->engine_data;

	if (result < 0)
		say_lost(e);
	u->error = (unsigned int)-result;
	e->done[(e->head + e->nr_done++) & e->mask] = u;
}

static int fill_io(const struct engine *e, struct io_u *u, struct brp_io *io)
{
	*io = (struct brp_io){
		.offset = u->offset,
		.bytes = u->xfer_buflen,
		.done = on_done,
		.arg = u,
	};
	switch (u->ddir) {
	case DDIR_READ:
	case DDIR_WRITE:
		io->op = u->ddir == DDIR_READ ? BRP_READ : BRP_WRITE;
		io->buf = u->xfer_buf;
		io->mem = e->mem;
		return 0;
	case DDIR_TRIM:
		io->op = BRP_DISCARD;
		return e->may_discard ? 0 : -EOPNOTSUPP;
	case DDIR_SYNC:
	case DDIR_DATASYNC:
	case DDIR_SYNC_FILE_RANGE: /* flushes more than asked for, which is allowed */
		io->op = BRP_FLUSH;
		io->offset = 0;
		io->bytes = 0;
		return 0;
	default:
		return -EINVAL;
	}
}

/* fio leaves this to engines with a commit(): the time of issue, and with it the time that
 * submitting took. */
static void mark_issued(struct thread_data *td, struct io_u *u)
{
	if (!fio_fill_issue_time(td))
		return;
	fio_gettime(&u->issue_time, NULL);
	if (td->o.read_iolog_file)
		td->last_issue = u->issue_time;
	io_u_queued(td, u);
}

static enum fio_q_status brp_fio_queue(struct thread_data *td, struct io_u *u)
{
	struct engine *e = td->io_ops_data;
	struct brp_io io;
	int r;

	fio_ro_check(td, u);
	r = are_buffers_registered(td, e) ? 0 : register_buffers(td, e);
	if (r == 0)
		r = fill_io(e, u, &io);
	if (r == 0)
		r = brp_submit(e->queue, &io);
	if (r == -EAGAIN)
		return FIO_Q_BUSY;
	if (r < 0) {
		say_lost(e);
		u->error = (unsigned int)-r;
		return FIO_Q_COMPLETED;
	}
	mark_issued(td, u);
	return FIO_Q_QUEUED;
}

static int brp_fio_commit(struct thread_data *td)
{
	struct engine *e = td->io_ops_data;

	if (e->is_kicking)
		brp_kick(e->queue);
	return 0;
}

static void drop_announced(struct engine *e)
{
	e->head += e->nr_announced;
	e->nr_done -= e->nr_announced;
	e->nr_announced = 0;
}

static int wait_ms(const struct timespec *t)
{
	return t ? (int)(t->tv_sec * 1000 + t->tv_nsec / 1000000) : -1;
}

/* Completions that came together are handed out a few at a time, as fio asks for (one by one,
 * unless told), before the connection is looked at again: what fio queues meanwhile is sent
 * together. */
static int collect(struct engine *e, unsigned int min, int timeout_ms)
{
	int r;

	if (min == 0)
		return brp_poll(e->queue);
	while (e->nr_done < min) {
		r = brp_wait(e->queue, timeout_ms);
		if (r < 0)
			return r;
		if (r == 0 && timeout_ms >= 0)
			break;
	}
	return 0;
}

/* A lost connection has completed every request, with an error of its own: that is for fio to see.
 * An error from here would only mean that it waits for more than is in flight. */
static int brp_fio_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			     const struct timespec *t)
{
	struct engine *e = td->io_ops_data;
	int r;

	drop_announced(e);
	r = collect(e, min, wait_ms(t));
	if (r < 0)
		say_lost(e);
	if (r < 0 && min > 0 && e->nr_done == 0)
		return r;
	e->nr_announced = e->nr_done < max ? e->nr_done : max;
	return (int)e->nr_announced;
}

static struct io_u *brp_fio_event(struct thread_data *td, int event)
{
	struct engine *e = td->io_ops_data;

	return e->done[(e->head + (unsigned int)event) & e->mask];
}

static int brp_fio_open_file(struct thread_data *td, struct fio_file *f)
{
	(void)td;
	(void)f;
	return 0;
}

/* fio looks this name up. Offloaded submission is out: its threads have no getevents() after their
 * last request, nor the buffers' registration. */
extern struct ioengine_ops ioengine;
__attribute__((visibility("default"))) struct ioengine_ops ioengine = {
	.name = "brp",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_DISKLESSIO | FIO_NOEXTEND | FIO_RAWIO | FIO_NO_OFFLOAD |
		 FIO_ASYNCIO_SETS_ISSUE_TIME,
	.setup = brp_fio_setup,
	.init = brp_fio_init,
	.post_init = brp_fio_post_init,
	.cleanup = brp_fio_cleanup,
	.queue = brp_fio_queue,
	.commit = brp_fio_commit,
	.getevents = brp_fio_getevents,
	.event = brp_fio_event,
	.io_u_init = brp_fio_io_u_init,
	.io_u_free = brp_fio_io_u_free,
	.open_file = brp_fio_open_file,
	.options = options,
	.option_struct_size = sizeof(struct engine_options),
};
