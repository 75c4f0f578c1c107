/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brp/uri.h"
#include "common/log.h"
#include "common/strparse.h"

static int bad_option(const char *dev, const char *what)
{
	log_error("--dev %s: %s; known are name=, ro, block=, cache=writethrough|writeback, node=, "
		  "force, "
		  "fault=",
		  dev, what);
	return -EINVAL;
}

static int set_name(struct volume_config *c, const char *dev, const char *name)
{
	if (!brp_volume_name_ok(name)) {
		log_error("--dev %s: \"%s\" cannot be a volume name: letters, digits, '.', '_' and "
			  "'-' only; "
			  "give one with name=",
			  dev, name);
		return -EINVAL;
	}
	snprintf(c->name, sizeof(c->name), "%s", name);
	return 0;
}

static int parse_option(struct volume_config *c, const char *dev, const char *opt)
{
	const char *value = strchr(opt, '=');
	uint32_t number;

	value = value ? value + 1 : NULL;
	if (!strcmp(opt, "ro")) {
		c->spec.is_read_only = true;
	} else if (!strcmp(opt, "force")) {
		c->spec.is_forced = true;
	} else if (!strncmp(opt, "name=", 5)) {
		return set_name(c, dev, value);
	} else if (!strncmp(opt, "block=", 6)) {
		if (parse_u32(value, BRP_MIN_BLOCK_BYTES, BRP_MAX_BLOCK_BYTES, &number) ||
		    (number & (number - 1)))
			return bad_option(dev, "block= takes a power of two from 512 to 65536");
		c->spec.block_bytes = number;
	} else if (!strcmp(opt, "cache=writethrough")) {
		c->spec.is_write_through = true;
	} else if (!strcmp(opt, "cache=writeback")) {
		c->spec.is_write_through = false;
	} else if (!strncmp(opt, "node=", 5)) {
		if (parse_u32(value, 0, 1023, &number))
			return bad_option(dev, "node= takes the number of a NUMA node");
		c->spec.numa_node = (int)number;
	} else {
		return bad_option(dev, "unknown option");
	}
	return 0;
}

/* fault= takes the rest of the text, commas included: its plan has commas of its own. */
static int parse_options(struct volume_config *c, const char *dev, char *rest)
{
	int err = 0;

	while (rest && !err) {
		char *opt = rest;

		if (!strncmp(opt, "fault=", 6)) {
			c->spec.fault = opt + 6;
			return 0;
		}
		rest = strchr(opt, ',');
		if (rest)
			*rest++ = '\0';
		err = parse_option(c, dev, opt);
	}
	return err;
}

/* Without name=: the last part of the path, "ram" or "null". */
static int default_name(struct volume_config *c, const char *dev)
{
	const char *path = c->spec.path;
	const char *slash = strrchr(path, '/');
	char name[BRP_VOLUME_NAME_BYTES];
	size_t len;

	if (c->name[0])
		return 0;
	if (!strncmp(path, "ram:", 4) || !strncmp(path, "null:", 5))
		len = strcspn(path, ":");
	else
		len = strlen(path = slash ? slash + 1 : path);
	snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name)), path);
	return set_name(c, dev, name);
}

int volume_config_parse(const char *dev, struct volume_config *ret_config)
{
	struct volume_config c = {.spec.numa_node = -1};
	char *comma;
	int err;

	c.text = strdup(dev);
	c.dev = strdup(dev);
	if (!c.text || !c.dev) {
		volume_config_finish(&c);
		return -ENOMEM;
	}
	comma = strchr(c.text, ',');
	if (comma)
		*comma++ = '\0';
	c.spec.path = c.text;
	err = c.text[0] ? parse_options(&c, dev, comma) : bad_option(dev, "no path");
	if (!err)
		err = default_name(&c, dev);
	if (err) {
		volume_config_finish(&c);
		return err;
	}
	*ret_config = c;
	return 0;
}

void volume_config_finish(struct volume_config *c)
{
	free(c->text);
	free(c->dev);
	c->text = NULL;
	c->dev = NULL;
}

int volume_open(const struct volume_config *c, bool is_serial, struct volume **ret_volume)
{
	struct volume *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	snprintf(v->name, sizeof(v->name), "%s", c->name);
	gate_init(&v->gate, is_serial);
	list_init(&v->link);
	v->dev = strdup(c->dev);
	err = v->dev ? bk_open(&c->spec, &v->bk) : -ENOMEM;
	if (err) {
		volume_close(v);
		return err;
	}
	bk_get_info(v->bk, &v->info);
	v->size_bytes = v->info.size_bytes;
	*ret_volume = v;
	return 0;
}

void volume_close(struct volume *v)
{
	if (!v)
		return;
	bk_close(v->bk);
	gate_finish(&v->gate);
	free(v->dev);
	free(v);
}

int volume_register(struct volume *v, struct fabric *f, unsigned int index)
{
	size_t bytes;
	void *base = bk_memory(v->bk, &bytes);

	if (!base)
		return 0;
	return fabric_mem_register(f, base, bytes, FABRIC_MEM_LOCAL, &v->memory[index]);
}

void volume_unregister(struct volume *v, unsigned int index)
{
	fabric_mem_unregister(v->memory[index]);
	v->memory[index] = NULL;
}

uint64_t volume_blocks(const struct volume *v)
{
	return atomic_load_explicit(&v->size_bytes, memory_order_relaxed) / v->info.block_bytes;
}

uint32_t volume_flags(const struct volume *v, bool is_read_only_session)
{
	return v->info.volume_flags | (is_read_only_session ? BRP_VOL_READ_ONLY : 0);
}
