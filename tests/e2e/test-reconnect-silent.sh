#!/bin/bash
# A target that is stopped, not dead: it is noticed by its silence. When it goes on, what it still had of the old
# connections must not reach the volume after what came later.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 32M
start_target --dev "$file,name=disk"
start_mixed load disk --reconnect --depth=64 --queues=3 --max-bytes=131072 --span=$((4 << 20)) --state="$tmp/state"
limit=10000
# An emulated CPU that others want too.
[ "${BRP_TEST_SLOW-}" != yes ] || limit=30000
for i in 1 2; do
	sleep 0.5
	kill -STOP "$target_pid"
	stopped=$(now_ms)
	until_event load lost $i
	note "noticed after $(($(event_ms load lost) - stopped)) ms"
	(($(event_ms load lost) - stopped < limit)) || bad "that is too late"
	sleep 0.5
	kill -CONT "$target_pid"
	until_event load flowing $((i + 1))
done
end_mixed load
ops check disk --state="$tmp/state"
stop_target
