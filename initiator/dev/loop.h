/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loop devices over an open file. These calls may wait for I/O on that file; whoever serves it
 * must not be the process's last owner of something while it sits in one (see aside.h).
 */
#ifndef INITIATOR_DEV_LOOP_H
#define INITIATOR_DEV_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop_config_request {
	int file_fd;         /* opened with O_DIRECT */
	const char *label;   /* up to 63 characters; what loop_label() tells */
	uint64_t size_bytes; /* that the device must have */
	uint32_t block_bytes;
	bool is_read_only;
};

/* A free device is taken, with direct I/O and partitions. Its number, or a negative errno, which
 * was logged. */
int loop_attach(const struct loop_config_request *r);

/* 0: the device is free now. -EBUSY: it is still open elsewhere, and is freed by its last close.
 * -ENXIO: it was free. */
int loop_detach(int number);

/* The file has another size now. */
int loop_resize(int number, uint64_t size_bytes);

/* The label it was attached with; -ENXIO: it is free. */
int loop_label(int number, char *ret_label, size_t label_bytes);

void loop_path(int number, char *ret_path, size_t path_bytes);

#endif
