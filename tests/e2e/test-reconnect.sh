#!/bin/bash
# A target killed and started again under load, several times: the load sees pauses and nothing else. How long I/O
# takes to flow again once the target listens is printed.
# transports: tcp rdma
# quick: tcp rdma
# time: 120
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 64M
start_target --dev "$file,name=disk,cache=writethrough"
port=$target_port
start_client load "$brp_ops" mixed "$target_uri/disk" --reconnect --seconds=$(($(scale 12) + 4)) --depth=64 --queues=3 \
	--span=$((16 << 20)) --max-bytes=131072
load_pid=$client_pid
until_connected load
longest=0
for ((i = 1; i <= $(scale 4); i++)); do
	sleep 1
	is_gone "$load_pid" && { cat "$tmp/load.log"; bad "the load ended early"; }
	kill -KILL "$target_pid"
	wait "$target_pid" 2>/dev/null || true
	sleep "0.$((i * 3 % 10))"
	restart_target "$port" --dev "$file,name=disk,cache=writethrough"
	up=$(now_ms)
	wait_for 20 has_events load reconnected "$i" || { cat "$tmp/load.log"; bad "cycle $i: not connected again"; }
	took=$(($(event_ms load reconnected) - up))
	((took <= longest)) || longest=$took
done
note "I/O flows again within $longest ms of the target's being ready"
((longest < 5000)) || bad "that is too long"
finish_client load "$load_pid" 60 0
grep mixed: "$tmp/load.log"
grep -q 'mixed: .* reconnects' "$tmp/load.log" || bad "nothing was reconnected"
stop_target
