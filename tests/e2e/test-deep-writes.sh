#!/bin/bash
# Many large writes at once on several connections, more than one pass of the target takes. It once fell asleep with data
# unread.
# transports: tcp rdma
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 256M
start_target --dev ram:256M --dev "$file,name=disk"
for volume in ram disk; do
	for bs in 16k 256k; do
		timeout 60 "$brp_perf" "$target_uri/$volume" --rw randwrite --bs $bs --iodepth 64 --jobs 4 --time 1 \
			>"$tmp/perf.out" 2>&1 || {
			cat "$tmp/perf.out"
			bad "brp-perf --bs $bs on $volume"
		}
	done
done
stop_target

# The deepest queue there is: for each request of a disk a buffer is reserved, and that is more than one region of them.
start_target --queue-size 4096 --buffer-memory 64M --dev ram:256M --dev "$file,name=disk"
for volume in ram disk; do
	timeout 60 "$brp_perf" "$target_uri/$volume" --rw randwrite --bs 4k --iodepth 1024 --queue-size 4096 --time 1 >"$tmp/perf.out" 2>&1 || {
		cat "$tmp/perf.out"
		bad "brp-perf --queue-size 4096 on $volume"
	}
done
stop_target
