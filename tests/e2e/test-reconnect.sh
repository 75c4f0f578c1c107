#!/bin/bash
# A target killed and started again under load, several times: the load sees pauses and nothing else. How long I/O
# takes to flow again once the target listens is printed.
# transports: tcp rdma
# quick: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 64M
start_target --dev "$file,name=disk,cache=writethrough"
port=$target_port
start_mixed load disk --reconnect --depth=64 --queues=3 --span=$((16 << 20)) --max-bytes=131072
longest=0 limit=5000
# An emulated CPU that others want too.
[ "${BRP_TEST_SLOW-}" != yes ] || limit=20000
for ((i = 1; i <= $(scale 4); i++)); do
	sleep 0.5
	kill -KILL "$target_pid"
	wait "$target_pid" 2>/dev/null || true
	sleep "0.$((i * 3 % 10))"
	restart_target "$port" --dev "$file,name=disk,cache=writethrough"
	up=$(now_ms)
	until_event load flowing $((i + 1))
	# It may not have needed to wait for us to see that the target is ready.
	took=$(($(event_ms load flowing) - up))
	((took <= longest)) || longest=$took
done
note "I/O flows again within $longest ms of the target's being ready"
((longest < limit)) || bad "that is too long"
end_mixed load
grep -q 'mixed: .* reconnects' "$tmp/load.log" || bad "nothing was reconnected"
stop_target
