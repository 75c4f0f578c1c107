#!/bin/bash
# The initiator's RDMA device goes away under load, or so the connection manager says: every connection is lost at
# once, and since the device is there again at the next attempt the load sees pauses and nothing else.
# transports: rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

start_target --dev ram:64M
brp_ops=$BRP_BUILD/tests/e2e/brp-ops-removal start_mixed load ram --reconnect --depth=32 --queues=3 \
	--span=$((16 << 20)) --max-bytes=131072 --state="$tmp/state"
load_pid=$client_pid
for ((i = 1; i <= $(scale 4); i++)); do
	kill -USR1 "$load_pid"
	until_event load lost "$i"
	until_event load flowing $((i + 1))
done
grep -q 'lost: .*No such device' "$tmp/load.log" || { cat "$tmp/load.log"; bad "lost for another reason"; }
end_mixed load
grep -q 'mixed: .* reconnects' "$tmp/load.log" || bad "nothing was reconnected"
ops check ram --state="$tmp/state"
stop_target
