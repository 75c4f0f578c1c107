#!/bin/bash
# kill -9 and restart of the target again and again under a verifying load on a file: no error, no wrong data, only a
# pause. By hand: BRP_TEST_CYCLES=200. (test-history.sh is the stronger check; this one is fio's.)
# transports: tcp rdma
# time: 900
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

cycles=${BRP_TEST_CYCLES:-$(scale 8)}

# Writes, and reads back what it wrote, until it is told to end. fio's writes carry their number; brp-perf's content
# follows from the address alone.
load() {
	if [ -f "$brp_fio" ]; then
		exec fio --aux-path="$tmp" --name=t --ioengine=external:"$brp_fio" --thread=1 --uri="$target_uri/disk" \
			--rw=randrw --bs=4k --size=16M --iodepth=16 --verify=crc32c --verify_backlog=64 --verify_fatal=1 \
			--verify_dump=0 --time_based --runtime=3600 --eta=never
	else
		exec "$brp_perf" "$target_uri/disk" --rw randwrite --bs 4k --iodepth 16 --size 16M --verify --time 3600
	fi
}

# Requests that the target has answered are not counted anywhere from outside; its CPU time moves with them.
is_served() {
	[ "$(ticks_of "$target_pid")" -gt "$1" ] || is_gone "$load_pid"
}

# The first connect is made once and must not meet a target that is gone: the load is past it when it has written.
is_writing() {
	[ "$(head -c 16M "$file" | tr -d '\0' | wc -c)" -gt 0 ] || is_gone "$load_pid"
}

make_file disk.img 64M
start_target --dev "$file,name=disk"
start_client load load
load_pid=$client_pid
wait_for 60 is_writing || bad "the load writes nothing"
for ((i = 0; i < cycles; i++)); do
	wait_for 60 is_served "$(($(ticks_of "$target_pid") + 2))" || bad "cycle $i: nothing reaches the target"
	is_gone "$load_pid" && break
	kill -KILL "$target_pid"
	wait "$target_pid" 2>/dev/null || true
	target_pid=
	restart_target "$target_port" --dev "$file,name=disk"
done
wait_for 60 is_served "$(($(ticks_of "$target_pid") + 2))" || bad "nothing reaches the target after the last cycle"
is_gone "$load_pid" && {
	tail -n 20 "$tmp/load.log"
	bad "the load ended in cycle $i"
}
kill -INT "$load_pid"
wait_for 60 is_gone "$load_pid" || bad "the load does not end"
status=0
wait "$load_pid" || status=$?
# fio's status after a signal is 128, whatever it found.
if [ -f "$brp_fio" ] && ((status == 128)) && grep -q 'err= 0' "$tmp/load.log" && ! grep -q 'verify:' "$tmp/load.log"; then
	status=0
fi
((status == 0)) || {
	tail -n 20 "$tmp/load.log"
	bad "the load ends with status $status"
}
note "$cycles cycles: $(grep -E 'verify|requests|IOPS' "$tmp/load.log" | head -n 2 | tr -s ' ')"
stop_target
