#!/bin/bash
# SIGTERM under load: exit status 0, and after a new start everything acknowledged is there.
# transports: tcp rdma
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 64M
for mode in parallel serial; do
	start_target --io-mode $mode --dev "$file,name=disk"
	start_mixed load disk --depth=64 --queues=2 --span=$((16 << 20)) --state="$tmp/state" --max-bytes=131072
	sleep 1
	kill -TERM "$target_pid"
	end_of "$target_pid" 60
	[ "$(<"$tmp/end-status")" = 0 ] || bad "the target ended with status $(<"$tmp/end-status")"
	finish_client load "${client_pids[load]}" 60 4
	grep mixed: "$tmp/load.log"
	start_target --dev "$file,name=disk"
	ops check disk --state="$tmp/state"
	stop_target
done
