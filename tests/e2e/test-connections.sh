#!/bin/bash
# 200 connections to one target, in bounded memory; afterwards everything is given back.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

holding() {
	grep -q holding "$tmp/hold.log" || is_gone "$client_pid"
}

start_target --dev ram:64M
before=$(rss_kib "$target_pid")
start_client hold "$brp_ops" hold "$target_uri/ram" --sessions=50 --queues=4 --depth=32 --seconds=3600
wait_for 60 holding || bad "not connected"
grep -q holding "$tmp/hold.log" || { cat "$tmp/hold.log"; bad "cannot hold 200 connections"; }
with=$(rss_kib "$target_pid")
note "RSS of the target: $before KiB idle, $with KiB with 200 connections of depth 32"
echo "$before $with" >"${BRP_TEST_FIGURES:-/dev/null}"
# A connection's share: its receive buffers and its slots, not megabytes.
((with - before < 200 * 2048)) || bad "$(((with - before) / 200)) KiB per connection"
ops mixed ram --depth=32 --requests="$(scale 4000)" --span=$((8 << 20))
hold_pid=$client_pid
kill -TERM "$hold_pid"
finish_client hold "$hold_pid" 60 0
stop_target
