#!/bin/bash
# A target that is stopped, not dead: it is noticed by its silence. When it goes on, what it still had of the old
# connections must not reach the volume after what came later.
# transports: tcp rdma
# time: 120
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 32M
start_target --dev "$file,name=disk"
start_client load "$brp_ops" mixed "$target_uri/disk" --reconnect --seconds=16 --depth=64 --queues=3 --max-bytes=131072 \
	--span=$((4 << 20)) --state="$tmp/state"
load_pid=$client_pid
for i in 1 2; do
	until_connected load
	sleep 1
	kill -STOP "$target_pid"
	stopped=$(now_ms)
	wait_for 20 has_events load lost $i || { cat "$tmp/load.log"; bad "silence goes unnoticed"; }
	note "noticed after $(($(event_ms load lost) - stopped)) ms"
	(($(event_ms load lost) - stopped < 10000)) || bad "that is too late"
	sleep 0.5
	kill -CONT "$target_pid"
	wait_for 30 has_events load reconnected $i || { cat "$tmp/load.log"; bad "not connected again"; }
done
finish_client load "$load_pid" 60 0
grep mixed: "$tmp/load.log"
ops check disk --state="$tmp/state"
stop_target
