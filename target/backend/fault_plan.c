/* SPDX-License-Identifier: BSD-2-Clause */
/* Plans of faults: from text to rules, and from rules to what happens to a request. */
#include "target/backend/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/strparse.h"
#include "target/backend/fault_cache.h"

struct name_value {
	const char *name;
	int value;
};

static const struct name_value errnos[] = {
	{"EIO", EIO},       {"ENOSPC", ENOSPC},         {"ENOMEM", ENOMEM},
	{"EROFS", EROFS},   {"ENODEV", ENODEV},         {"ENXIO", ENXIO},
	{"EBUSY", EBUSY},   {"ETIMEDOUT", ETIMEDOUT},   {"EREMOTEIO", EREMOTEIO},
	{"EINVAL", EINVAL}, {"EOPNOTSUPP", EOPNOTSUPP}, {"ENODATA", ENODATA},
	{"EDQUOT", EDQUOT},
};

static const struct name_value ops[] = {
	{"read", BRP_OP_READ},       {"write", BRP_OP_WRITE}, {"zeroes", BRP_OP_WRITE_ZEROES},
	{"discard", BRP_OP_DISCARD}, {"flush", BRP_OP_FLUSH},
};

/* ---- parsing; the text is cut up on the way -------------------------------------------------- */

static int look_up(const struct name_value *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(table[i].name, name))
			return table[i].value;
	}
	return -EINVAL;
}

static int parse_time(char *s, uint64_t *ret_ns)
{
	char *unit = s + strspn(s, "0123456789");
	uint64_t scale;
	uint64_t n;

	if (!strcmp(unit, "us"))
		scale = NS_PER_US;
	else if (!strcmp(unit, "ms"))
		scale = NS_PER_MS;
	else if (!strcmp(unit, "s"))
		scale = NS_PER_S;
	else
		return -EINVAL;
	*unit = '\0';
	if (parse_u64(s, 0, 86400 * (NS_PER_S / scale), &n) < 0)
		return -EINVAL;
	*ret_ns = n * scale;
	return 0;
}

static int parse_range(char *s, struct fault_rule *rule)
{
	char *dash = strchr(s, '-');

	if (!dash)
		return -EINVAL;
	*dash = '\0';
	if (parse_size(s, 0, UINT64_MAX - 1, &rule->from) < 0 ||
	    parse_size(dash + 1, rule->from + 1, UINT64_MAX, &rule->to) < 0)
		return -EINVAL;
	rule->has_range = true;
	return 0;
}

static int parse_only(const char *s, struct fault_rule *rule)
{
	int op = look_up(ops, ARRAY_SIZE(ops), s);

	if (op >= 0) {
		rule->ops |= 1u << op;
		return 0;
	}
	if (!strncmp(s, "skip", 4))
		return parse_u64(s + 4, 0, UINT64_MAX, &rule->skip);
	if (!strncmp(s, "every", 5))
		return parse_u64(s + 5, 1, UINT64_MAX, &rule->every);
	if (*s == 'x')
		return parse_u64(s + 1, 1, UINT64_MAX, &rule->max);
	return -EINVAL;
}

static int parse_action(char *s, struct fault_rule *rule)
{
	char *range = strchr(s, '@');

	if (range) {
		*range++ = '\0';
		if (parse_range(range, rule) < 0)
			return -EINVAL;
	}
	if (!strncmp(s, "delay=", 6))
		return parse_time(s + 6, &rule->delay_ns);
	if (!strncmp(s, "error=", 6)) {
		int e = look_up(errnos, ARRAY_SIZE(errnos), s + 6);

		rule->kind = FAULT_ERROR;
		rule->err = -e;
		return e > 0 ? 0 : -EINVAL;
	}
	if (strncmp(s, "stall", 5))
		return -EINVAL;
	rule->delay_ns = FAULT_FOR_EVER;
	if (s[5] == '=')
		return parse_only(s + 6, rule);
	return s[5] ? -EINVAL : 0;
}

static int parse_rule(char *s, struct fault_rule *rule)
{
	char *rest;
	char *part = strtok_r(s, ":", &rest);
	int err = part ? parse_action(part, rule) : -EINVAL;

	while (!err && (part = strtok_r(NULL, ":", &rest)))
		err = parse_only(part, rule);
	return err < 0 ? -EINVAL : 0;
}

/* "volatile" or "volatile=SIZE": no rule, but the whole volume's. */
static int parse_volatile(const char *s, struct fault_plan *plan)
{
	plan->cache_bytes = FAULT_CACHE_DEFAULT_BYTES;
	if (s[8] == '=')
		return parse_size(s + 9, 1u << 20, 1u << 30, &plan->cache_bytes);
	return s[8] ? -EINVAL : 0;
}

static int parse_rules(char *text, struct fault_plan *plan)
{
	char *rest;

	plan->nr_rules = 0;
	plan->cache_bytes = 0;
	for (char *s = strtok_r(text, ",+", &rest); s; s = strtok_r(NULL, ",+", &rest)) {
		struct fault_rule *rule = &plan->rules[plan->nr_rules];

		if (!strncmp(s, "volatile", 8)) {
			if (parse_volatile(s, plan) < 0)
				return -EINVAL;
			continue;
		}
		if (plan->nr_rules == FAULT_MAX_RULES)
			return -EINVAL;
		*rule = (struct fault_rule){
			.kind = FAULT_DELAY, .to = UINT64_MAX, .max = UINT64_MAX, .every = 1};
		if (parse_rule(s, rule) < 0)
			return -EINVAL;
		plan->nr_rules++;
	}
	return plan->nr_rules || plan->cache_bytes ? 0 : -EINVAL;
}

int fault_plan_parse(const char *name, const char *text, struct fault_plan *plan)
{
	char *copy = strdup(text);
	int err = copy ? parse_rules(copy, plan) : -ENOMEM;

	free(copy);
	if (err == -EINVAL)
		log_error("%s: '%s' is not a plan of faults (at most %u rules); for example "
			  "fault=delay=500us,error=EIO@1M-2M:write:x3,stall:read,volatile",
			  name, text, FAULT_MAX_RULES);
	return err;
}

/* ---- applying -------------------------------------------------------------------------------- */

static bool matches(struct fault_rule *rule, const struct bk_req *r)
{
	unsigned long long nr;

	if (rule->ops && !(rule->ops & 1u << r->op))
		return false;
	if (rule->has_range && (r->offset >= rule->to || r->bytes == 0 ||
				(r->offset < rule->from && r->bytes <= rule->from - r->offset)))
		return false;
	nr = atomic_fetch_add_explicit(&rule->nr_matched, 1, memory_order_relaxed);
	if (nr < rule->skip || (nr - rule->skip) % rule->every)
		return false;
	return (nr - rule->skip) / rule->every < rule->max;
}

int fault_plan_apply(struct fault_plan *plan, const struct bk_req *r, uint64_t *ret_delay_ns)
{
	int err = 0;

	*ret_delay_ns = 0;
	for (unsigned int i = 0; i < plan->nr_rules; i++) {
		struct fault_rule *rule = &plan->rules[i];

		if (rule->kind == FAULT_ERROR && !err && matches(rule, r))
			err = rule->err;
		else if (rule->kind == FAULT_DELAY && !*ret_delay_ns && matches(rule, r))
			*ret_delay_ns = rule->delay_ns;
	}
	return err;
}
