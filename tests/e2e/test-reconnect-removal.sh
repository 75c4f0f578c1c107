#!/bin/bash
# The initiator's RDMA device goes away under load, or so the connection manager says: every connection is lost at
# once, and since the device is there again at the next attempt the load sees pauses and nothing else.
# transports: rdma
# time: 120
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

start_target --dev ram:64M
start_client load "$BRP_BUILD/tests/e2e/brp-ops-removal" mixed "$target_uri/ram" --reconnect --seconds=16 \
	--depth=32 --queues=3 --span=$((16 << 20)) --max-bytes=131072 --state="$tmp/state"
load_pid=$client_pid
until_connected load
sleep 0.5
for ((i = 1; i <= $(scale 4); i++)); do
	is_gone "$load_pid" && { cat "$tmp/load.log"; bad "the load ended early"; }
	kill -USR1 "$load_pid"
	wait_for 20 has_events load lost "$i" || { cat "$tmp/load.log"; bad "removal $i: not noticed"; }
	wait_for 20 has_events load reconnected "$i" || { cat "$tmp/load.log"; bad "removal $i: not connected again"; }
done
grep -q 'lost: .*No such device' "$tmp/load.log" || { cat "$tmp/load.log"; bad "lost for another reason"; }
finish_client load "$load_pid" 60 0
grep mixed: "$tmp/load.log"
grep -q 'mixed: .* reconnects' "$tmp/load.log" || bad "nothing was reconnected"
ops check ram --state="$tmp/state"
stop_target
