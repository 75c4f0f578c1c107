/* SPDX-License-Identifier: BSD-2-Clause */
#include "initiator/dev/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"

#define MAX_TRIES 100u /* others take devices too */

void loop_path(int number, char *ret_path, size_t path_bytes)
{
	snprintf(ret_path, path_bytes, "/dev/loop%d", number);
}

/* fd, or a negative errno. */
static int open_device(int number)
{
	char path[32];
	int fd;

	loop_path(number, path, sizeof(path));
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Number of a free device, or a negative errno. */
static int find_free(void)
{
	int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number;

	if (fd < 0)
		return -errno;
	number = ioctl(fd, LOOP_CTL_GET_FREE);
	if (number < 0)
		number = -errno;
	close(fd);
	return number;
}

/* ---- attaching ------------------------------------------------------------------------------- */

static int configure(int fd, const struct loop_config_request *r)
{
	struct loop_config c = {
		.fd = (uint32_t)r->file_fd,
		.block_size = r->block_bytes,
		.info.lo_flags = LO_FLAGS_DIRECT_IO | LO_FLAGS_PARTSCAN,
	};

	if (r->is_read_only)
		c.info.lo_flags |= LO_FLAGS_READ_ONLY;
	snprintf((char *)c.info.lo_file_name, sizeof(c.info.lo_file_name), "%s", r->label);
	return ioctl(fd, LOOP_CONFIGURE, &c) < 0 ? -errno : 0;
}

/* What the kernel made of it: it may leave out direct I/O without a word. */
static int check(int fd, int number, const struct loop_config_request *r)
{
	struct loop_info64 info;
	uint64_t size;

	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0)
		return -errno;
	if (!(info.lo_flags & LO_FLAGS_DIRECT_IO)) {
		log_error("/dev/loop%d: the kernel gives no direct I/O on a FUSE file", number);
		return -EOPNOTSUPP;
	}
	if (size != r->size_bytes) {
		log_error("/dev/loop%d has %llu bytes, the volume %llu", number,
			  (unsigned long long)size, (unsigned long long)r->size_bytes);
		return -EIO;
	}
	return 0;
}

static int attach_to(int number, const struct loop_config_request *r)
{
	int fd = open_device(number);
	int err;

	if (fd < 0)
		return fd;
	err = configure(fd, r);
	if (!err) {
		err = check(fd, number, r);
		if (err)
			ioctl(fd, LOOP_CLR_FD);
	}
	close(fd);
	return err;
}

int loop_attach(const struct loop_config_request *r)
{
	int number = -EBUSY;
	int err = -EBUSY;

	for (unsigned int i = 0; i < MAX_TRIES && err == -EBUSY; i++) {
		number = find_free();
		err = number < 0 ? number : attach_to(number, r);
	}
	if (!err)
		return number;
	if (number < 0)
		log_error("/dev/loop-control: %s; 'modprobe loop' may help", strerror(-err));
	else if (err == -ENOENT)
		log_error("/dev/loop%d: %s; without devtmpfs: 'mknod /dev/loop%d b 7 %d'", number,
			  strerror(-err), number, number);
	else
		log_error("/dev/loop%d: %s; blocks of %u bytes, kernel before 5.8?", number,
			  strerror(-err), r->block_bytes);
	return err;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

int loop_label(int number, char *ret_label, size_t label_bytes)
{
	struct loop_info64 info;
	int fd = open_device(number);
	int err = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		err = -errno;
	else
		snprintf(ret_label, label_bytes, "%.*s", LO_NAME_SIZE,
			 (const char *)info.lo_file_name);
	close(fd);
	return err;
}

static bool is_attached(int number)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/loop%d/loop/backing_file", number);
	return access(path, F_OK) == 0;
}

int loop_detach(int number)
{
	int fd = open_device(number);
	int err;

	if (fd < 0)
		return fd;
	err = ioctl(fd, LOOP_CLR_FD) < 0 ? -errno : 0;
	/* Where others have it open the kernel defers the rest to the last close, as it does to
	 * ours. */
	close(fd);
	if (err)
		return err;
	return is_attached(number) ? -EBUSY : 0;
}

int loop_resize(int number, uint64_t size_bytes)
{
	uint64_t size = 0;
	int fd = open_device(number);
	int err = 0;

	if (fd < 0)
		return fd;
	if (ioctl(fd, LOOP_SET_CAPACITY) < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0)
		err = -errno;
	else if (size != size_bytes)
		err = -EIO;
	close(fd);
	return err;
}
