/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands on /dev/ublk-control: io_uring commands whose argument is in a long SQE, one at a time,
 * waited for.
 *
 * Linux 6.4 gave them ioctl numbers and kept the plain ones as an option of the kernel; 6.5 can be
 * asked for its features. So: an answer to GET_FEATURES means ioctl numbers; none means plain
 * numbers, unless the kernel refuses those.
 */
#include "initiator/dev/ublk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool only_reads(unsigned int nr)
{
	return nr == UBLK_CMD_GET_QUEUE_AFFINITY || nr == UBLK_CMD_GET_DEV_INFO ||
	       nr == UBLK_CMD_GET_PARAMS || nr == UBLK_NR_GET_FEATURES;
}

static uint32_t encode(const struct ublk_ctrl *c, unsigned int nr)
{
	unsigned int dir = only_reads(nr) ? _IOC_READ : _IOC_READ | _IOC_WRITE;

	return c->is_legacy ? nr : _IOC(dir, 'u', nr, sizeof(struct ublksrv_ctrl_cmd));
}

static int wait_result(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int r;

	do
		r = io_uring_submit_and_wait(ring, 1);
	while (r == -EINTR);
	if (r < 0)
		return r;
	do
		r = io_uring_wait_cqe(ring, &cqe);
	while (r == -EINTR);
	if (r < 0)
		return r;
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return r;
}

static int send_command(struct ublk_ctrl *c, unsigned int nr, const struct ublksrv_ctrl_cmd *arg)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);

	if (!sqe)
		return -EBUSY;            /* cannot be: one command at a time */
	memset(sqe, 0, 2 * sizeof(*sqe)); /* IORING_SETUP_SQE128 */
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = c->fd;
	sqe->cmd_op = encode(c, nr);
	memcpy(sqe->cmd, arg, sizeof(*arg));
	return wait_result(&c->ring);
}

static int command(struct ublk_ctrl *c, unsigned int nr, struct ublksrv_ctrl_cmd arg)
{
	int r;

	if (nr != UBLK_CMD_GET_QUEUE_AFFINITY)
		arg.queue_id = UINT16_MAX; /* what "no queue" must be */
	r = send_command(c, nr, &arg);
	if (r == -EOPNOTSUPP && c->is_legacy) {
		c->is_legacy = false;
		r = send_command(c, nr, &arg);
	}
	return r == -UBLK_ENOTSUPP ? -EOPNOTSUPP : r;
}

static struct ublksrv_ctrl_cmd with_buffer(unsigned int id, const void *buf, size_t bytes)
{
	return (struct ublksrv_ctrl_cmd){
		.dev_id = id, .addr = (uintptr_t)buf, .len = (uint16_t)bytes};
}

static struct ublksrv_ctrl_cmd with_number(unsigned int id, uint64_t number)
{
	return (struct ublksrv_ctrl_cmd){.dev_id = id, .data = {number}};
}

int ublk_ctrl_open(struct ublk_ctrl *c)
{
	int r;

	memset(c, 0, sizeof(*c));
	c->fd = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	r = io_uring_queue_init(4, &c->ring, IORING_SETUP_SQE128);
	if (r < 0) {
		ublk_ctrl_close(c);
		return r;
	}
	c->has_ring = true;
	r = command(c, UBLK_NR_GET_FEATURES,
		    with_buffer(UINT32_MAX, &c->features, sizeof(c->features)));
	c->is_legacy = r < 0;
	return 0;
}

void ublk_ctrl_close(struct ublk_ctrl *c)
{
	if (c->has_ring)
		io_uring_queue_exit(&c->ring);
	if (c->fd >= 0)
		close(c->fd);
	c->has_ring = false;
	c->fd = -1;
}

int ublk_ctrl_add(struct ublk_ctrl *c, struct ublksrv_ctrl_dev_info *info)
{
	return command(c, UBLK_CMD_ADD_DEV, with_buffer(info->dev_id, info, sizeof(*info)));
}

/* The plain DEL_DEV waits until the last user of the block device has closed it. */
int ublk_ctrl_del(struct ublk_ctrl *c, unsigned int id, bool is_held)
{
	int r = c->is_legacy ? -EOPNOTSUPP : command(c, UBLK_NR_DEL_DEV_ASYNC, with_number(id, 0));

	if (r != -EOPNOTSUPP)
		return r;
	return is_held ? -EBUSY : command(c, UBLK_CMD_DEL_DEV, with_number(id, 0));
}

int ublk_ctrl_start(struct ublk_ctrl *c, unsigned int id)
{
	return command(c, UBLK_CMD_START_DEV, with_number(id, (uint64_t)getpid()));
}

int ublk_ctrl_stop(struct ublk_ctrl *c, unsigned int id)
{
	return command(c, UBLK_CMD_STOP_DEV, with_number(id, 0));
}

int ublk_ctrl_info(struct ublk_ctrl *c, unsigned int id, struct ublksrv_ctrl_dev_info *ret_info)
{
	memset(ret_info, 0, sizeof(*ret_info));
	return command(c, UBLK_CMD_GET_DEV_INFO, with_buffer(id, ret_info, sizeof(*ret_info)));
}

int ublk_ctrl_set_params(struct ublk_ctrl *c, unsigned int id, struct ublk_params *params)
{
	return command(c, UBLK_CMD_SET_PARAMS, with_buffer(id, params, sizeof(*params)));
}

int ublk_ctrl_get_params(struct ublk_ctrl *c, unsigned int id, struct ublk_params *ret_params)
{
	memset(ret_params, 0, sizeof(*ret_params));
	ret_params->len = sizeof(*ret_params);
	return command(c, UBLK_CMD_GET_PARAMS, with_buffer(id, ret_params, sizeof(*ret_params)));
}

int ublk_ctrl_start_recovery(struct ublk_ctrl *c, unsigned int id)
{
	return command(c, UBLK_CMD_START_USER_RECOVERY, with_number(id, 0));
}

int ublk_ctrl_end_recovery(struct ublk_ctrl *c, unsigned int id)
{
	return command(c, UBLK_CMD_END_USER_RECOVERY, with_number(id, (uint64_t)getpid()));
}

int ublk_ctrl_update_size(struct ublk_ctrl *c, unsigned int id, uint64_t sectors)
{
	return command(c, UBLK_NR_UPDATE_SIZE, with_number(id, sectors));
}

int ublk_ctrl_affinity(struct ublk_ctrl *c, unsigned int id, unsigned int queue,
		       cpu_set_t *ret_cpus)
{
	struct ublksrv_ctrl_cmd arg = with_buffer(id, ret_cpus, sizeof(*ret_cpus));

	CPU_ZERO(ret_cpus);
	arg.data[0] = queue;
	return command(c, UBLK_CMD_GET_QUEUE_AFFINITY, arg);
}
