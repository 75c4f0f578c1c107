/* SPDX-License-Identifier: BSD-2-Clause */
/* NUMA nodes of devices, in a sysfs of our own making. */
#include <criterion/criterion.h>

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "common/place.h"
#include "common/util.h"

static char sys[32];

static void shell(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	cr_assert(system(cmd) == 0, "%s", cmd);
}

/* A controller on node 1 with a disk and a partition, another whose node is not known. */
static void setup(void)
{
	snprintf(sys, sizeof(sys), "sysfs-XXXXXX");
	cr_assert(mkdtemp(sys));
	shell("cd %s && mkdir -p class/infiniband dev/block devices/system/node/node0 "
	      "devices/pci0/dev1/ata1/block/sda/sda1 devices/pci0/dev2/nvme/nvme0/nvme0n1 "
	      "devices/virtual/block/loop0",
	      sys);
	shell("cd %s && echo 1 >devices/pci0/dev1/numa_node && echo -1 "
	      ">devices/pci0/dev2/numa_node",
	      sys);
	shell("cd %s/dev/block && ln -s ../../devices/pci0/dev1/ata1/block/sda 8:0 && "
	      "ln -s ../../devices/pci0/dev1/ata1/block/sda/sda1 8:1 && "
	      "ln -s ../../devices/pci0/dev2/nvme/nvme0/nvme0n1 259:0 && "
	      "ln -s ../../devices/virtual/block/loop0 7:0",
	      sys);
}

static void add_node(void)
{
	shell("mkdir %s/devices/system/node/node1", sys);
}

static void add_rdma(const char *name, int node)
{
	shell("cd %s && mkdir -p devices/pci0/%s class/infiniband/%s && "
	      "ln -s ../../../devices/pci0/%s class/infiniband/%s/device && "
	      "echo %d >devices/pci0/%s/numa_node",
	      sys, name, name, name, name, node, name);
}

static void teardown(void)
{
	shell("rm -rf %s", sys);
}

Test(place, block_devices, .init = setup, .fini = teardown)
{
	add_node();
	cr_expect(place_of_block(sys, makedev(8, 0)) == 1);
	cr_expect(place_of_block(sys, makedev(8, 1)) == 1);
	cr_expect(place_of_block(sys, makedev(259, 0)) == -1);
	cr_expect(place_of_block(sys, makedev(7, 0)) == -1);
	cr_expect(place_of_block(sys, makedev(9, 9)) == -1);
}

Test(place, rdma_devices, .init = setup, .fini = teardown)
{
	add_node();
	cr_expect(place_of_rdma(sys) == -1);
	add_rdma("mlx5_0", 0);
	cr_expect(place_of_rdma(sys) == 0);
	add_rdma("mlx5_1", 0);
	cr_expect(place_of_rdma(sys) == 0);
	add_rdma("mlx5_2", 1);
	cr_expect(place_of_rdma(sys) == -1);
}

Test(place, soft_rdma_has_no_device, .init = setup, .fini = teardown)
{
	add_node();
	shell("mkdir %s/class/infiniband/rxe0", sys);
	cr_expect(place_of_rdma(sys) == -1);
}

Test(place, one_node_is_no_question, .init = setup, .fini = teardown)
{
	add_rdma("mlx5_0", 0);
	cr_expect(place_of_rdma(sys) == -1);
	cr_expect(place_of_block(sys, makedev(8, 0)) == -1);
}

Test(place, threads)
{
	cpu_set_t before, now, both;

	cr_assert(sched_getaffinity(0, sizeof(before), &before) == 0);
	cr_expect(!place_enter_node(-1));
	cr_expect(!place_enter_node(1000));
	cr_assert(sched_getaffinity(0, sizeof(now), &now) == 0);
	cr_expect(CPU_EQUAL(&before, &now));
	if (!place_enter_node(0))
		cr_skip_test("no NUMA support in this kernel");
	cr_assert(sched_getaffinity(0, sizeof(now), &now) == 0);
	CPU_AND(&both, &before, &now);
	cr_expect(CPU_COUNT(&now) > 0 && CPU_EQUAL(&both, &now));
}
