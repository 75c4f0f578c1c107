/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbdkit brp uri=brp+tcp://host/volume: a BRP volume for every NBD client (QEMU, libvirt, nbdcopy,
 * the kernel elsewhere), without a block device.
 *
 * One session serves all NBD connections; each of them uses one of its queues. So what one
 * connection was told to be done is done for all, and a flush on one covers the others: multi-conn
 * is true.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "brp/brp.h"
#include "common/strparse.h"
#include "common/util.h"
#include "initiator/dev/nbd_errno.h"
#include "initiator/nbdkit/bounce.h"
#include "initiator/nbdkit/syncq.h"

#define THREAD_MODEL       NBDKIT_THREAD_MODEL_PARALLEL
#define DEFAULT_MAX_QUEUES 4u /* qemu and nbdcopy open that many connections */
#define MAX_SECONDS        2000000u

static char *uri;
static struct brp_options options = BRP_OPTIONS_INIT;

/* From after_fork() to cleanup(). */
static struct {
	struct brp_session *session;
	struct brp_info info;
	struct bounce_pool bounces;
	struct syncq **queues;
	atomic_uint nr_opened;
} volume;

struct connection {
	struct syncq *queue;
	bool is_read_only;
};

/* ---- parameters ------------------------------------------------------------------------------ */

static int bad(const char *key, const char *value, const char *must)
{
	nbdkit_error("%s=%s: must be %s", key, value, must);
	return -1;
}

static int set_seconds(const char *key, const char *value, int *ret_ms)
{
	uint32_t seconds;

	if (!strcmp(value, "never"))
		*ret_ms = -1;
	else if (parse_u32(value, 0, MAX_SECONDS, &seconds) == 0)
		*ret_ms = (int)(seconds * 1000);
	else
		return bad(key, value, "a number of seconds, or 'never'");
	return 0;
}

static int set_merge(const char *key, const char *value)
{
	if (!strcmp(value, "adaptive"))
		options.merge = BRP_MERGE_ADAPTIVE;
	else if (!strcmp(value, "always"))
		options.merge = BRP_MERGE_ALWAYS;
	else if (!strcmp(value, "off"))
		options.merge = BRP_MERGE_OFF;
	else
		return bad(key, value, "adaptive, always or off");
	return 0;
}

static int plugin_config(const char *key, const char *value)
{
	if (!strcmp(key, "uri")) {
		free(uri);
		uri = strdup(value);
		return uri ? 0 : -1;
	}
	if (!strcmp(key, "queues"))
		return parse_u32(value, 1, 256, &options.queues) ? bad(key, value, "1 to 256") : 0;
	if (!strcmp(key, "queue-size"))
		return parse_u32(value, 1, 4096, &options.queue_depth)
			       ? bad(key, value, "1 to 4096")
			       : 0;
	if (!strcmp(key, "merge"))
		return set_merge(key, value);
	if (!strcmp(key, "ctrl-loss-tmo"))
		return set_seconds(key, value, &options.ctrl_loss_tmo_ms);
	if (!strcmp(key, "fast-io-fail-tmo"))
		return set_seconds(key, value, &options.fast_io_fail_tmo_ms);
	nbdkit_error("unknown parameter '%s'; see nbdkit brp --help", key);
	return -1;
}

static int plugin_config_complete(void)
{
	if (uri)
		return 0;
	nbdkit_error("uri=brp+tcp://HOST[:PORT]/VOLUME (or brp:// for RDMA) is missing");
	return -1;
}

#define CONFIG_HELP                                                                             \
	"[uri=]<URI>             (required) brp+tcp://HOST[:PORT]/VOLUME, brp:// for RDMA.\n"   \
	"queues=<N>              Connections to the target (default: processors, at most 4).\n" \
	"queue-size=<N>          Requests in flight on each (default: 128).\n"                  \
	"merge=<MODE>            adaptive (default), always, off.\n"                            \
	"ctrl-loss-tmo=<S>       Give up a lost target after so long (default: never).\n"       \
	"fast-io-fail-tmo=<S>    Fail requests that wait so long for it (default: never)."

/* ---- the session ----------------------------------------------------------------------------- */

static int connect_session(struct brp_session **ret_session)
{
	if (brp_connect(uri, &options, ret_session) == 0)
		return 0;
	nbdkit_error("%s: %s", uri, brp_last_error());
	return -1;
}

/* Connects and leaves again. In a child, as what librdmacm has opened cannot be used behind a fork,
 * which is what nbdkit does next. */
static int try_to_connect(void)
{
	struct brp_session *s;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (connect_session(&s) < 0)
			_exit(EXIT_FAILURE);
		brp_disconnect(s);
		_exit(EXIT_SUCCESS);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		nbdkit_error("trying to connect: %m");
		return -1;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -1;
}

/* Before nbdkit goes to the background: errors can still be seen. */
static int plugin_get_ready(void)
{
	if (options.queues == 0) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);

		options.queues = (unsigned int)MIN(MAX(cpus, 1L), (long)DEFAULT_MAX_QUEUES);
	}
	return try_to_connect();
}

static void plugin_cleanup(void)
{
	if (!volume.session)
		return;
	for (unsigned int i = 0; volume.queues && i < volume.info.queues; i++)
		syncq_destroy(volume.queues[i]);
	free(volume.queues);
	bounce_pool_finish(&volume.bounces);
	brp_disconnect(volume.session);
	volume.session = NULL;
}

static int start_queues(void)
{
	volume.info.size = sizeof(volume.info);
	if (brp_session_info(volume.session, &volume.info) < 0)
		return -ENOTCONN;
	volume.queues = calloc(volume.info.queues, sizeof(*volume.queues));
	if (!volume.queues)
		return -ENOMEM;
	for (unsigned int i = 0; i < volume.info.queues; i++) {
		int err = syncq_create(brp_session_queue(volume.session, i), &volume.queues[i]);

		if (err)
			return err;
	}
	return 0;
}

static int plugin_after_fork(void)
{
	int err;

	if (connect_session(&volume.session) < 0)
		return -1;
	bounce_pool_init(&volume.bounces, volume.session);
	err = start_queues();
	if (err) {
		nbdkit_error("%s: starting its queues: %s", uri, strerror(-err));
		plugin_cleanup();
		return -1;
	}
	return 0;
}

static void plugin_unload(void)
{
	free(uri);
}

/* ---- what it can ----------------------------------------------------------------------------- */

static void *plugin_open(int readonly)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->queue = volume.queues[atomic_fetch_add(&volume.nr_opened, 1) % volume.info.queues];
	c->is_read_only = readonly || volume.info.read_only;
	return c;
}

static void plugin_close(void *handle)
{
	free(handle);
}

static int64_t plugin_get_size(void *handle)
{
	struct brp_info info = {.size = sizeof(info)};

	(void)handle;
	/* It may have grown since the first connection. */
	if (brp_session_info(volume.session, &info) < 0) {
		nbdkit_error("%s: %s", uri, brp_session_error(volume.session));
		return -1;
	}
	return (int64_t)info.size_bytes;
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
			     uint32_t *maximum)
{
	(void)handle;
	*minimum = volume.info.block_bytes;
	*preferred = MAX(volume.info.block_bytes, volume.info.preferred_io_bytes);
	*maximum = UINT32_MAX; /* nbdkit's own limit */
	return 0;
}

static int plugin_can_write(void *handle)
{
	const struct connection *c = handle;

	return !c->is_read_only;
}

static int plugin_can_trim(void *handle)
{
	(void)handle;
	return volume.info.has_discard;
}

static int plugin_can_zero(void *handle)
{
	(void)handle;
	return volume.info.has_write_zeroes;
}

static int plugin_can_fua(void *handle)
{
	(void)handle;
	/* Every write on a write-through volume is stable when it is done. */
	return volume.info.has_fua || !volume.info.is_write_back ? NBDKIT_FUA_NATIVE
								 : NBDKIT_FUA_EMULATE;
}

static int yes(void *handle)
{
	(void)handle;
	return 1;
}

static int no(void *handle)
{
	(void)handle;
	return 0;
}

/* ---- I/O ------------------------------------------------------------------------------------- */

static int run(const struct connection *c, const struct brp_io *io)
{
	static const char *const names[] = {
		[BRP_READ] = "read",       [BRP_WRITE] = "write", [BRP_WRITE_ZEROES] = "zero",
		[BRP_DISCARD] = "discard", [BRP_FLUSH] = "flush",
	};
	int err = syncq_io(c->queue, io);

	if (err == 0)
		return 0;
	nbdkit_error("%s of %llu bytes at %llu: %s", names[io->op], (unsigned long long)io->bytes,
		     (unsigned long long)io->offset, strerror(-err));
	nbdkit_set_error(nbd_errno(err));
	return -1;
}

static unsigned int brp_flags(uint32_t flags)
{
	return flags & NBDKIT_FLAG_FUA ? BRP_FUA : 0;
}

/* Data in pieces of a bounce buffer's size; from is NULL for a read, to for a write. */
static int transfer(const struct connection *c, enum brp_io_op op, void *to, const void *from,
		    uint32_t count, uint64_t offset, unsigned int flags)
{
	struct bounce *b = bounce_get(&volume.bounces);
	int r = 0;

	if (!b) {
		nbdkit_error("no buffer for I/O: %s", brp_last_error());
		nbdkit_set_error(ENOMEM);
		return -1;
	}
	for (uint32_t done = 0, part; done < count && r == 0; done += part) {
		struct brp_io io;

		part = MIN(count - done, BOUNCE_BYTES);
		io = (struct brp_io){
			.op = op,
			.flags = flags,
			.offset = offset + done,
			.bytes = part,
			.buf = b->buf,
			.mem = b->mem,
		};
		if (from)
			memcpy(b->buf, (const char *)from + done, part);
		r = run(c, &io);
		if (r == 0 && to)
			memcpy((char *)to + done, b->buf, part);
	}
	bounce_put(&volume.bounces, b);
	return r;
}

static int plugin_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)flags;
	return transfer(handle, BRP_READ, buf, NULL, count, offset, 0);
}

static int plugin_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset,
			 uint32_t flags)
{
	return transfer(handle, BRP_WRITE, NULL, buf, count, offset, brp_flags(flags));
}

static int plugin_flush(void *handle, uint32_t flags)
{
	const struct brp_io io = {.op = BRP_FLUSH};

	(void)flags;
	return volume.info.is_write_back ? run(handle, &io) : 0;
}

static int plugin_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct brp_io io = {.op = BRP_DISCARD, .offset = offset, .bytes = count};
	int r = count == 0 ? 0 : run(handle, &io);

	/* A discard has no FUA of its own. */
	return r == 0 && flags & NBDKIT_FLAG_FUA ? plugin_flush(handle, 0) : r;
}

static int plugin_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct brp_io io = {
		.op = BRP_WRITE_ZEROES,
		.flags = brp_flags(flags),
		.offset = offset,
		.bytes = count,
	};

	return count == 0 ? 0 : run(handle, &io);
}

static struct nbdkit_plugin plugin = {
	.name = "brp",
	.version = BRP_VERSION_TEXT,
	.longname = "nbdkit BRP plugin",
	.description = "block volumes of brp-target, over RDMA or TCP",
	.unload = plugin_unload,
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.config_help = CONFIG_HELP,
	.magic_config_key = "uri",
	.get_ready = plugin_get_ready,
	.after_fork = plugin_after_fork,
	.cleanup = plugin_cleanup,
	.open = plugin_open,
	.close = plugin_close,
	.get_size = plugin_get_size,
	.block_size = plugin_block_size,
	.can_write = plugin_can_write,
	.can_flush = yes,
	.can_fua = plugin_can_fua,
	.can_trim = plugin_can_trim,
	.can_zero = plugin_can_zero,
	.can_fast_zero = no,
	.can_multi_conn = yes,
	.is_rotational = no,
	.pread = plugin_pread,
	.pwrite = plugin_pwrite,
	.flush = plugin_flush,
	.trim = plugin_trim,
	.zero = plugin_zero,
};

/* What nbdkit looks up; its header has no prototype for it. */
NBDKIT_DLL_PUBLIC struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)
