#!/bin/bash
# A target killed with I/O in flight: its client completes every request and ends soon, with an error.
# transports: tcp rdma
# quick: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

start_target --dev ram:64M
start_mixed load ram --depth=64 --queues=2 --span=$((16 << 20))
sleep 1
kill -KILL "$target_pid"
wait "$target_pid" 2>/dev/null || true
target_pid=
finish_client load "${client_pids[load]}" 60 4
cat "$tmp/load.log"
