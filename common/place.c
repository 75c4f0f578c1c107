/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/place.h"

#include <glob.h>
#include <limits.h>
#include <numa.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* One number of a file; fallback when it cannot be read. */
static int read_number(const char *path, int fallback)
{
	FILE *f = fopen(path, "re");
	int n = fallback;

	if (!f)
		return fallback;
	if (fscanf(f, "%d", &n) != 1)
		n = fallback;
	fclose(f);
	return n;
}

static bool has_several_nodes(const char *sysfs)
{
	char path[PATH_MAX];
	glob_t found;
	bool several;

	snprintf(path, sizeof(path), "%s/devices/system/node/node[0-9]*", sysfs);
	if (glob(path, 0, NULL, &found))
		return false;
	several = found.gl_pathc > 1;
	globfree(&found);
	return several;
}

/* Of a device's folder: its own node, or that of the device it hangs on. Disks hang on controllers,
 * and only these know. */
static int node_of(const char *device)
{
	char path[PATH_MAX];
	int node = -1;

	if (!realpath(device, path))
		return -1;
	while (node < 0) {
		char file[PATH_MAX + sizeof("/numa_node")];
		char *slash = strrchr(path, '/');

		snprintf(file, sizeof(file), "%s/numa_node", path);
		node = read_number(file, -1);
		if (!slash || slash == path)
			break;
		*slash = '\0';
	}
	return node;
}

int place_of_rdma(const char *sysfs)
{
	char path[PATH_MAX];
	glob_t found;
	int node = -1;

	snprintf(path, sizeof(path), "%s/class/infiniband/*/device", sysfs);
	if (!has_several_nodes(sysfs) || glob(path, 0, NULL, &found))
		return -1;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		int other = node_of(found.gl_pathv[i]);

		if (other < 0)
			continue;
		if (node >= 0 && other != node) {
			node = -1;
			break;
		}
		node = other;
	}
	globfree(&found);
	return node;
}

int place_of_block(const char *sysfs, dev_t dev)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/dev/block/%u:%u", sysfs, major(dev), minor(dev));
	return has_several_nodes(sysfs) ? node_of(path) : -1;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void add_node_cpus(int node, cpu_set_t *cpus)
{
	struct bitmask *mask = numa_allocate_cpumask();

	if (!numa_node_to_cpus(node, mask)) {
		for (unsigned int cpu = 0; cpu < CPU_SETSIZE && cpu < mask->size; cpu++) {
			if (numa_bitmask_isbitset(mask, cpu))
				CPU_SET(cpu, cpus);
		}
	}
	numa_free_cpumask(mask);
}

bool place_enter_node(int node)
{
	cpu_set_t allowed, cpus;

	CPU_ZERO(&cpus);
	if (node < 0 || numa_available() < 0 || node > numa_max_node() ||
	    sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return false;
	add_node_cpus(node, &cpus);
	CPU_AND(&cpus, &cpus, &allowed);
	return CPU_COUNT(&cpus) && !sched_setaffinity(0, sizeof(cpus), &cpus);
}
