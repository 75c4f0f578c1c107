/* SPDX-License-Identifier: BSD-2-Clause */
/* brp_list(): a connection that asks for volumes instead of logging in. protocol.md 4.3. */
#include "initiator/internal.h"

#include <errno.h>
#include <string.h>

#include "brp/status.h"

#define LIST_BYTES 32

void ini_list_request(struct ini_conn *c)
{
	const struct brp_list m = {.first = c->session->listing->next};
	void *buf = ini_conn_begin(c, LIST_BYTES);

	if (!buf) {
		ini_conn_close(c, ini_error_set(&c->why, -ENOBUFS, "no send slot for a LIST"),
			       true);
		return;
	}
	ini_conn_commit(c, brp_encode_list(buf, LIST_BYTES, &m));
	ini_conn_flush(c);
}

static void take_entry(struct ini_listing *l, const struct brp_list_entry *e)
{
	struct brp_list_item *item;

	if (l->next++ >= l->max)
		return;
	item = &l->items[l->next - 1];
	*item = (struct brp_list_item){
		.size_bytes = e->size_blocks * e->block_bytes,
		.generation = e->generation,
		.block_bytes = e->block_bytes,
		.read_only = e->volume_flags & BRP_VOL_READ_ONLY,
		.is_write_back = e->cache == BRP_CACHE_WRITE_BACK,
	};
	memcpy(item->uuid, e->uuid.b, sizeof(item->uuid));
	memcpy(item->name, e->name, sizeof(item->name));
}

void ini_list_reply(struct ini_conn *c, const void *buf, uint32_t bytes)
{
	struct ini_listing *l = c->session->listing;
	struct brp_list_entry entries[BRP_MAX_LIST_ENTRIES];
	struct brp_list_reply m;

	if (!l || l->is_done || brp_decode_list_reply(buf, bytes, &m, entries) < 0) {
		ini_conn_protocol_error(c, "malformed or unasked LIST_REPLY");
		return;
	}
	if (m.status != BRP_ST_OK) {
		int err = brp_status_to_errno(m.status);

		ini_error_set(&c->why, err, "%s refused to list its volumes: %s",
			      fabric_conn_peer(c->fabric), brp_status_name(m.status));
		ini_conn_close(c, err, false);
		return;
	}
	/* Each reply must bring us further, or a bad target could keep us asking for ever. */
	if (m.first != l->next || m.count > m.total || (m.count == 0 && l->next < m.total)) {
		ini_conn_protocol_error(c, "LIST_REPLY that does not continue the list");
		return;
	}
	for (uint32_t i = 0; i < m.count; i++)
		take_entry(l, &entries[i]);
	if (l->next < m.total)
		ini_list_request(c);
	else
		l->is_done = true;
}

int brp_list(const char *uri, const struct brp_options *opt, struct brp_list_item *ret_items,
	     unsigned int max)
{
	struct ini_listing listing = {.items = ret_items, .max = max};
	struct brp_session *s;
	int r;

	r = ini_session_start(uri, opt, &listing, &s);
	if (r < 0)
		return r;
	r = ini_session_connect(s);
	brp_disconnect(s);
	if (r < 0)
		return r;
	return listing.next > INT32_MAX ? INT32_MAX : (int)listing.next;
}
