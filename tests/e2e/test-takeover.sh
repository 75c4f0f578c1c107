#!/bin/bash
# Two processes with the same session UUID: the newer one takes the session over, the older one is shut out for good, and
# both never write at once.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 32M
start_target --dev "$file,name=disk"
start_mixed first disk --reconnect --session=7 --queues=3 --depth=16 --span=$((16 << 20))
ops mixed disk --reconnect --session=7 --queues=2 --requests="$(scale 8000)" --depth=16 --offset=$((16 << 20)) --state="$tmp/state" | tee "$tmp/second.log"
grep -q reconnects "$tmp/second.log" && bad "the first one cut the second one off"
finish_client first "${client_pids[first]}" 60 4
grep -m 1 'taken over by another process' "$tmp/first.log"
ops check disk --state="$tmp/state"
# A server that was killed leaves a session that its successor of the same UUID can use at once.
start_mixed killed disk --session=7
kill -KILL "$client_pid"
ops mixed disk --session=7 --requests=200
stop_target
