/* SPDX-License-Identifier: BSD-2-Clause */
/* What --dev takes. */
#include <errno.h>

#include <criterion/criterion.h>

#include "target/volume.h"

static struct volume_config parse(const char *dev)
{
	struct volume_config c;

	cr_assert_eq(volume_config_parse(dev, &c), 0, "%s", dev);
	return c;
}

Test(volume_config, name_defaults_to_last_part_of_the_path)
{
	struct volume_config c = parse("/dev/nvme0n1");

	cr_assert_str_eq(c.name, "nvme0n1");
	cr_assert_str_eq(c.spec.path, "/dev/nvme0n1");
	cr_assert(!c.spec.is_read_only && !c.spec.is_forced && !c.spec.fault);
	cr_assert_eq(c.spec.numa_node, -1);
	volume_config_finish(&c);
}

Test(volume_config, memory_and_null)
{
	struct volume_config c = parse("ram:4G");

	cr_assert_str_eq(c.name, "ram");
	cr_assert_str_eq(c.spec.path, "ram:4G");
	volume_config_finish(&c);
	c = parse("null:64G,name=fast0");
	cr_assert_str_eq(c.name, "fast0");
	volume_config_finish(&c);
}

Test(volume_config, all_options)
{
	struct volume_config c =
		parse("/srv/a.img,name=v1,ro,block=4096,cache=writethrough,node=1,force,"
		      "fault=delay=1ms,error=EIO@0-4k");

	cr_assert_str_eq(c.name, "v1");
	cr_assert(c.spec.is_read_only && c.spec.is_forced && c.spec.is_write_through);
	cr_assert_eq(c.spec.block_bytes, 4096);
	cr_assert_eq(c.spec.numa_node, 1);
	cr_assert_str_eq(c.spec.fault, "delay=1ms,error=EIO@0-4k", "to the end, commas included");
	volume_config_finish(&c);
}

Test(volume_config, refusals)
{
	static const char *const bad[] = {
		"",
		",ro",
		"/x,",
		"/x,name=",
		"/x,name=a/b",
		"/x,name=-a",
		"/x,block=1000",
		"/x,block=256",
		"/x,block=131072",
		"/x,block=",
		"/x,cache=maybe",
		"/x,node=-1",
		"/x,rw",
		"/x,name=a b",
		"/",
		"/x,node=",
		"/dev/with space",
	};
	struct volume_config c;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(volume_config_parse(bad[i], &c), -EINVAL, "\"%s\"", bad[i]);
}
