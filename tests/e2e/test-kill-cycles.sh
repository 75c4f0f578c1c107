#!/bin/bash
# kill -9 and restart of the target again and again under a verifying load on a file: no error, no wrong data, only a
# pause. By hand: BRP_TEST_CYCLES=200. (test-history.sh is the stronger check; this one is fio's.)
# transports: tcp rdma
# time: 900
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/load-lib.sh
. "$e2e_dir/load-lib.sh"

cycles=${BRP_TEST_CYCLES:-$(scale 8)}

make_file disk.img 64M
start_target --dev "$file,name=disk"
start_load disk
for ((i = 0; i < cycles; i++)); do
	expect_served "cycle $i"
	kill -KILL "$target_pid"
	wait "$target_pid" 2>/dev/null || true
	target_pid=
	restart_target "$target_port" --dev "$file,name=disk"
done
expect_served "after the last cycle"
end_load
note "$cycles cycles: $load_result"
stop_target
