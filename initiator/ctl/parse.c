/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines of verbs; see ctl.h. */
#include <string.h>

#include "common/log.h"
#include "initiator/ctl/ctl.h"

static int set_output(struct ctl_common *c, const struct options_iter *it)
{
	c->is_json = !strcmp(it->value, "json");
	if (!c->is_json && strcmp(it->value, "normal") != 0)
		return options_bad_value(it, "not normal or json");
	return CTL_RUN;
}

static int take_common(const struct verb *v, struct ctl_common *c, const struct options_iter *it,
		       int id)
{
	static const enum log_level levels[] = {LOG_WARNING, LOG_INFO, LOG_DEBUG};

	switch (id) {
	case CTL_OPT_OUTPUT:
		return set_output(c, it);
	case CTL_OPT_VERBOSE:
		c->verbosity++;
		log_init(CTL_PROGRAM, levels[MIN(c->verbosity, 2u)]);
		return CTL_RUN;
	case CTL_OPT_HELP:
		options_help(stdout, v->usage, v->specs, v->nr_specs);
		return ctl_finish_output(CTL_OK);
	}
	return CTL_USAGE; /* OPTIONS_ERROR: said already */
}

int ctl_parse(const struct verb *v, int argc, char **argv, struct ctl_common *ret_common,
	      int (*take)(void *ctx, const struct options_iter *it, int id), void *ctx)
{
	struct options_iter it;
	int id;

	*ret_common = (struct ctl_common){0};
	options_begin(&it, CTL_PROGRAM, argc, argv, v->specs, v->nr_specs);
	while ((id = options_next(&it)) != OPTIONS_END) {
		int rc;

		if (id == OPTIONS_ARG || id >= CTL_FIRST_ID)
			rc = take(ctx, &it, id);
		else
			rc = take_common(v, ret_common, &it, id);
		if (rc != CTL_RUN)
			return rc;
	}
	return CTL_RUN;
}

int ctl_take_one_argument(void *ctx, const struct options_iter *it, int id)
{
	const char **ret = ctx;

	if (id != OPTIONS_ARG || *ret)
		return options_usage_error(CTL_PROGRAM, "'%s': one argument only", it->value);
	*ret = it->value;
	return CTL_RUN;
}

int ctl_take_nothing(void *ctx, const struct options_iter *it, int id)
{
	(void)ctx;
	(void)id;
	return options_usage_error(CTL_PROGRAM, "unexpected argument '%s'", it->value);
}
