#!/bin/bash
# A target killed with I/O in flight: its client completes every request and ends soon, with an error.
# transports: tcp rdma
# quick: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

start_target --dev ram:64M
start_client load "$brp_ops" mixed "$target_uri/ram" --seconds=60 --depth=64 --queues=2 --span=$((16 << 20))
load_pid=$client_pid
sleep 2
is_gone "$load_pid" && { cat "$tmp/load.log"; bad "the load ended early"; }
kill -KILL "$target_pid"
wait "$target_pid" 2>/dev/null || true
target_pid=
finish_client load "$load_pid" 25 4
cat "$tmp/load.log"
