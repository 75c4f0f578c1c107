/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of connect-all; see config.h. inih splits the lines. */
#include "initiator/ctl/config.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/util.h"
#include "initiator/ctl/path.h"

struct reader {
	struct config *config;
	const char *path;
	FILE *f;
	unsigned int line;
};

PRINTF_LIKE(2, 3) static int say(struct reader *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s:%u: %s", r->path, r->line, text);
	r->config->nr_errors++;
	return 1; /* for inih: go on, there may be more mistakes */
}

/* ---- volumes --------------------------------------------------------------------------------- */

static struct config_volume *find_volume(const struct config *c, const char *label)
{
	for (unsigned int i = 0; i < c->n; i++) {
		if (!strcmp(c->volumes[i]->label, label))
			return c->volumes[i];
	}
	return NULL;
}

static void free_volume(struct config_volume *v)
{
	for (unsigned int i = 0; i < v->nr_values; i++)
		free(v->values[i].value);
	volume_options_finish(&v->opt);
	free(v->label);
	free(v->place);
	free(v->uri);
	free(v);
}

/* NULL: no room, said. */
static struct config_volume *add_volume(struct reader *r, const char *label)
{
	struct config *c = r->config;
	struct config_volume *v = c->n < CONFIG_MAX ? calloc(1, sizeof(*v)) : NULL;

	if (v) {
		volume_options_init(&v->opt);
		v->label = strdup(label);
		if (asprintf(&v->place, "%s:%u", r->path, r->line) < 0)
			v->place = NULL;
	}
	if (v && v->label && v->place) {
		c->volumes[c->n++] = v;
		return v;
	}
	if (v)
		free_volume(v);
	say(r, "[%s]: no room for more volumes", label);
	return NULL;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int set_uri(struct reader *r, struct config_volume *v, const char *value)
{
	const char *why;

	if (v->uri && v->uri_file == r->config->nr_files)
		return say(r, "[%s] has a uri already", v->label);
	free(v->uri);
	v->uri = strdup(value);
	v->uri_file = r->config->nr_files;
	if (!v->uri)
		return say(r, "no memory");
	return volume_options_set_uri(&v->opt, value, &why) ? say(r, "uri = %s: %s", value, why)
							    : 1;
}

static int set_enabled(struct reader *r, struct config_volume *v, const char *value)
{
	v->is_off = !strcmp(value, "no");
	return v->is_off || !strcmp(value, "yes") ? 1
						  : say(r, "enabled = %s: not yes or no", value);
}

/* The place of a value: that of the same option if an earlier file gave it. */
static struct config_value *place_for(struct reader *r, struct config_volume *v,
				      const struct option_spec *spec)
{
	for (unsigned int i = 0; i < v->nr_values; i++) {
		if (v->values[i].spec->id != spec->id)
			continue;
		if (v->values[i].file == r->config->nr_files)
			return NULL;
		free(v->values[i].value);
		v->values[i].value = NULL;
		return &v->values[i];
	}
	/* There are fewer options than that. */
	return &v->values[v->nr_values++];
}

static int set_option(struct reader *r, struct config_volume *v, const char *name,
		      const char *value)
{
	const struct option_spec *spec = volume_option_find(name);
	struct volume_options scratch;
	struct config_value *at;
	const char *why;
	int err;

	if (!spec)
		return say(r, "%s: no such option", name);
	volume_options_init(&scratch);
	err = volume_options_apply(&scratch, spec, value, &why);
	volume_options_finish(&scratch);
	if (err)
		return say(r, "%s = %s: %s", name, value, why);
	at = place_for(r, v, spec);
	if (!at)
		return say(r, "[%s] has %s already", v->label, name);
	*at = (struct config_value){
		.spec = spec, .value = strdup(value), .file = r->config->nr_files};
	return at->value ? 1 : say(r, "no memory");
}

static int on_line(void *ctx, const char *section, const char *name, const char *value)
{
	struct reader *r = ctx;
	struct config_volume *v;

	if (!section[0])
		return say(r, "%s stands before the first [LABEL]", name);
	v = find_volume(r->config, section);
	if (!v)
		v = add_volume(r, section);
	if (!v)
		return 1;
	if (!strcmp(name, "uri"))
		return set_uri(r, v, value);
	if (!strcmp(name, "enabled"))
		return set_enabled(r, v, value);
	return set_option(r, v, name, value);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* inih tells the handler no line numbers as Debian builds it: count what it reads. */
static char *read_line(char *text, int bytes, void *ctx)
{
	struct reader *r = ctx;

	r->line++;
	return fgets(text, bytes, r->f);
}

static void read_file(struct config *c, const char *path)
{
	struct reader r = {.config = c, .path = path, .f = fopen(path, "re")};
	int bad;

	if (!r.f) {
		log_error("%s: cannot be read: %s", path, strerror(errno));
		c->nr_errors++;
		return;
	}
	bad = ini_parse_stream(read_line, &r, on_line, &r);
	if (ferror(r.f)) { /* inih takes it for the end of the file */
		say(&r, "cannot be read: %s", strerror(errno));
	} else if (bad > 0) {
		r.line = (unsigned int)bad;
		say(&r, "neither [LABEL] nor NAME = VALUE");
	} else if (bad < 0) {
		say(&r, "no memory");
	}
	fclose(r.f);
	c->nr_files++;
}

static int is_conf(const struct dirent *de)
{
	size_t n = strlen(de->d_name);

	return de->d_name[0] != '.' && n > 5 && !strcmp(de->d_name + n - 5, ".conf");
}

static void read_folder(struct config *c, const char *folder)
{
	struct dirent **files;
	int n = scandir(folder, &files, is_conf, alphasort);

	if (n < 0 && errno == ENOENT)
		return;
	if (n < 0) {
		log_error("%s: cannot be read: %s", folder, strerror(errno));
		c->nr_errors++;
		return;
	}
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];

		path_format(path, "%s/%s", folder, files[i]->d_name);
		read_file(c, path);
		free(files[i]);
	}
	free(files);
}

/* ---- everything ------------------------------------------------------------------------------ */

static void resolve(struct config *c, struct config_volume *v)
{
	const char *why;

	if (!v->uri) {
		log_error("%s: [%s] has no uri", v->place, v->label);
		c->nr_errors++;
	}
	/* They were tried one by one; together they may be too many. */
	for (unsigned int i = 0; i < v->nr_values; i++) {
		if (volume_options_apply(&v->opt, v->values[i].spec, v->values[i].value, &why)) {
			log_error("%s: [%s]: %s: %s", v->place, v->label, v->values[i].spec->name,
				  why);
			c->nr_errors++;
		}
	}
}

int config_read(struct config *c, const char *path)
{
	struct stat st;

	memset(c, 0, sizeof(*c));
	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		read_file(c, path);
	} else {
		char drop_ins[PATH_MAX];

		path_format(drop_ins, "%s/conf.d", path);
		read_folder(c, path);
		read_folder(c, drop_ins);
	}
	for (unsigned int i = 0; i < c->n; i++)
		resolve(c, c->volumes[i]);
	return c->nr_errors ? -EINVAL : 0;
}

void config_finish(struct config *c)
{
	for (unsigned int i = 0; i < c->n; i++)
		free_volume(c->volumes[i]);
	c->n = 0;
}
