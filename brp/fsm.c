/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of protocol.md 8, and the negotiation of 4.1. */
#include "brp/fsm.h"

#define TO(state) (1u << BRP_CONN_##state)
#define MSG(type) (1u << BRP_MSG_##type)

/* Allowed at any time between HELLO and the end. */
#define BESIDE (MSG(KEEPALIVE) | MSG(KEEPALIVE_REPLY) | MSG(GOODBYE))

static const struct {
	const char *name;
	uint32_t next;
	uint32_t accepts[2]; /* by enum brp_role */
} states[BRP_CONN_COUNT] = {
	[BRP_CONN_NEW] = {"new", TO(GREETED) | TO(CLOSING), {MSG(HELLO), MSG(HELLO_REPLY)}},
	[BRP_CONN_GREETED] = {"greeted",
			      TO(ADMITTING) | TO(READY) | TO(CLOSING),
			      {BESIDE | MSG(LIST) | MSG(LOGIN),
			       BESIDE | MSG(LIST_REPLY) | MSG(LOGIN_REPLY)}},
	[BRP_CONN_ADMITTING] = {"admitting", TO(READY) | TO(CLOSING), {BESIDE, 0}},
	[BRP_CONN_READY] = {"ready",
			    TO(CLOSING),
			    {BESIDE | MSG(JUMBO), BESIDE | MSG(RESPONSE) | MSG(EVENT)}},
	[BRP_CONN_CLOSING] = {"closing", TO(CLOSED), {0, 0}},
	[BRP_CONN_CLOSED] = {"closed", 0, {0, 0}},
};

const char *brp_conn_state_name(enum brp_conn_state s)
{
	return (unsigned int)s < BRP_CONN_COUNT ? states[s].name : "unknown";
}

bool brp_conn_may_move(enum brp_conn_state from, enum brp_conn_state to)
{
	if ((unsigned int)from >= BRP_CONN_COUNT || (unsigned int)to >= BRP_CONN_COUNT)
		return false;
	return states[from].next >> to & 1;
}

/* type is as received: any byte. */
bool brp_conn_accepts(enum brp_role role, enum brp_conn_state s, enum brp_msg_type type)
{
	if ((unsigned int)s >= BRP_CONN_COUNT || (unsigned int)type > BRP_MSG_GOODBYE)
		return false;
	return states[s].accepts[role] >> type & 1;
}

void brp_negotiate(const struct brp_hello *h, uint64_t features_supported,
		   uint64_t features_demanded, struct brp_hello_reply *ret_reply)
{
	bool version_ok = h->version_min <= BRP_VERSION && BRP_VERSION <= h->version_max;
	/* Who insists on a feature offers it, too. */
	uint64_t offered = h->features_offered | h->features_required;
	bool features_ok = (h->features_required & ~features_supported) == 0 &&
			   (features_demanded & ~offered) == 0;

	/* In a refusal: the highest version we speak, and no features. */
	ret_reply->version = BRP_VERSION;
	ret_reply->status = version_ok && features_ok ? BRP_ST_OK : BRP_ST_BAD_VERSION;
	ret_reply->features = 0;
	if (ret_reply->status == BRP_ST_OK)
		ret_reply->features = offered & features_supported;
}
