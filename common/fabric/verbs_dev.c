/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices, protection domains and registered memory of the verbs fabric. Everything here may block.
 */
#include "common/fabric/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"

int verbs_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* Containers and services have 8 MiB or 64 KiB; the failure looks like plain lack of memory (UCX PR
 * #7930). */
void verbs_log_memlock(const char *what, size_t bytes)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_MEMLOCK, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY) {
		log_error("verbs: no memory to register %zu KiB for %s (memlock is not limited: "
			  "the device or the "
			  "machine has no more)",
			  bytes / 1024, what);
		return;
	}
	log_error("verbs: cannot register %zu KiB for %s: locked memory is limited to %llu KiB; "
		  "raise it with "
		  "'ulimit -l unlimited', LimitMEMLOCK=infinity in the systemd unit, or a "
		  "'memlock' line in "
		  "/etc/security/limits.d/",
		  bytes / 1024, what, (unsigned long long)rl.rlim_cur / 1024);
}

static int dev_open(struct verbs_dev *dev, struct ibv_context *ctx, unsigned int index)
{
	int rc;

	dev->ctx = ctx;
	dev->index = index;
	pthread_mutex_init(&dev->lock, NULL);
	rc = ibv_query_device(ctx, &dev->attr);
	if (rc) {
		log_error("verbs: cannot query device %s: %s", ibv_get_device_name(ctx->device),
			  strerror(rc));
		return -rc;
	}
	dev->pd = ibv_alloc_pd(ctx);
	if (!dev->pd) {
		rc = errno ? -errno : -ENOMEM;
		log_error("verbs: no protection domain on device %s: %s",
			  ibv_get_device_name(ctx->device), strerror(-rc));
		return rc;
	}
	return 0;
}

static void dev_close(struct verbs_dev *dev)
{
	int rc;

	if (!dev->ctx)
		return;
	rc = dev->pd ? ibv_dealloc_pd(dev->pd) : 0;
	if (rc)
		log_error("verbs: protection domain of %s is still in use: %s",
			  ibv_get_device_name(dev->ctx->device), strerror(rc));
	pthread_mutex_destroy(&dev->lock);
}

static void verbs_destroy(struct fabric *f)
{
	struct verbs_fabric *vf = to_verbs(f);

	for (unsigned int i = 0; i < vf->nr_devs; i++)
		dev_close(&vf->devs[i]);
	rdma_free_devices(vf->list);
	free(vf);
}

static void log_no_device(int error)
{
	log_error("verbs: no RDMA device (%s): see 'rdma link'; a soft one comes from 'modprobe "
		  "rdma_rxe' and 'rdma link "
		  "add rxe0 type rxe netdev DEV'; 'modprobe rdma_ucm' is needed, and a container "
		  "needs "
		  "/dev/infiniband",
		  strerror(error));
}

static int verbs_create(const struct fabric_ops *ops, struct fabric **ret_fabric)
{
	struct verbs_fabric *vf;
	struct ibv_context **list;
	int n = 0, rc = 0;

	errno = 0;
	list = rdma_get_devices(&n);
	if (!list || n <= 0) {
		log_no_device(errno ? errno : ENODEV);
		if (list)
			rdma_free_devices(list);
		return -ENODEV;
	}
	vf = calloc(1, sizeof(*vf) + (size_t)n * sizeof(vf->devs[0]));
	if (!vf) {
		rdma_free_devices(list);
		return -ENOMEM;
	}
	vf->base.ops = ops;
	vf->list = list;
	vf->nr_devs = (unsigned int)n;
	for (int i = 0; i < n && !rc; i++)
		rc = dev_open(&vf->devs[i], list[i], (unsigned int)i);
	if (rc) {
		verbs_destroy(&vf->base);
		return rc;
	}
	*ret_fabric = &vf->base;
	return 0;
}

struct verbs_dev *verbs_find_dev(struct verbs_fabric *vf, const struct ibv_context *ctx)
{
	for (unsigned int i = 0; ctx && i < vf->nr_devs; i++)
		if (vf->devs[i].ctx == ctx)
			return &vf->devs[i];
	return NULL;
}

static void verbs_mem_unregister(struct fabric_mem *base)
{
	struct verbs_mem *mem = container_of(base, struct verbs_mem, base);
	struct verbs_fabric *vf = to_verbs(base->fabric);

	for (unsigned int i = 0; i < vf->nr_devs; i++) {
		int rc = mem->mrs[i] ? ibv_dereg_mr(mem->mrs[i]) : 0;

		if (rc)
			log_error("verbs: cannot unregister memory: %s", strerror(rc));
	}
	free(mem);
}

static int access_flags(unsigned int access)
{
	int flags = IBV_ACCESS_LOCAL_WRITE;

	if (access & FABRIC_MEM_REMOTE_WRITE)
		flags |= IBV_ACCESS_REMOTE_WRITE;
	if (access & FABRIC_MEM_REMOTE_READ)
		flags |= IBV_ACCESS_REMOTE_READ;
	return flags;
}

static int verbs_mem_register(struct fabric *f, struct fabric_mem **ret_mem, void *base,
			      size_t bytes, unsigned int access)
{
	struct verbs_fabric *vf = to_verbs(f);
	struct verbs_mem *mem = calloc(1, sizeof(*mem) + vf->nr_devs * sizeof(mem->mrs[0]));

	if (!mem)
		return -ENOMEM;
	mem->base.fabric = f;
	mem->base.base = base;
	mem->base.bytes = bytes;
	mem->base.access = access;
	for (unsigned int i = 0; i < vf->nr_devs; i++) {
		int flags = access_flags(access);

		errno = 0;
		mem->mrs[i] = ibv_reg_mr(vf->devs[i].pd, base, bytes, flags);
		if (!mem->mrs[i]) {
			int rc = errno ? -errno : -ENOMEM;

			if (rc == -ENOMEM)
				verbs_log_memlock("data", bytes);
			else
				log_error("verbs: cannot register %zu bytes: %s", bytes,
					  strerror(-rc));
			verbs_mem_unregister(&mem->base);
			return rc;
		}
	}
	*ret_mem = &mem->base;
	return 0;
}

/* Mapped, not malloc'ed: pages of the adapter's own, so that nothing else shares their fate at
 * fork(). */
int verbs_region_create(struct verbs_dev *dev, size_t bytes, struct verbs_region *ret_region)
{
	struct verbs_region r = {.bytes = align_up(bytes, 4096)};
	void *p = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	r.base = p;
	errno = 0;
	r.mr = ibv_reg_mr(dev->pd, r.base, r.bytes, IBV_ACCESS_LOCAL_WRITE);
	if (!r.mr) {
		int rc = errno ? -errno : -ENOMEM;

		verbs_log_memlock("message buffers", r.bytes);
		munmap(r.base, r.bytes);
		return rc;
	}
	*ret_region = r;
	return 0;
}

void verbs_region_destroy(struct verbs_region *region)
{
	if (region->mr && ibv_dereg_mr(region->mr))
		log_error("verbs: cannot unregister message buffers");
	if (region->base)
		munmap(region->base, region->bytes);
	*region = (struct verbs_region){0};
}

const struct fabric_ops fabric_verbs_ops = {
	.name = "verbs",
	.create = verbs_create,
	.destroy = verbs_destroy,
	.mem_register = verbs_mem_register,
	.mem_unregister = verbs_mem_unregister,
	.connect = verbs_connect,
	.fds = verbs_fds,
	.poll = verbs_poll,
	.arm = verbs_arm,
	.look = verbs_look,
	.close = verbs_close,
	.conn_destroy = verbs_conn_destroy,
	.msg_begin = verbs_msg_begin,
	.msg_commit = verbs_msg_commit,
	.flush = verbs_flush,
	.resume = verbs_resume,
	.expose = verbs_expose,
	.unexpose = verbs_unexpose,
	.pull = verbs_pull,
	.pull_ready = verbs_pull_ready,
	.push = verbs_push,
	.listen = verbs_listen,
	.listener_fd = verbs_listener_fd,
	.listener_poll = verbs_listener_poll,
	.listener_destroy = verbs_listener_destroy,
	.accept = verbs_accept,
	.reject = verbs_reject,
};
