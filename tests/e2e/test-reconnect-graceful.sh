#!/bin/bash
# SIGTERM and a new start under load, as 'systemctl restart' does it: a pause, no error, for brp-ops, brp-perf --verify and
# the fio engine. The volumes are write-back, as files are by default.
# transports: tcp rdma
# time: 120
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

volumes=()
for name in ops perf fio; do
	make_file $name.img 32M
	volumes+=(--dev "$file,name=$name")
done
start_target "${volumes[@]}"
port=$target_port
# Longer than the second restart is away, on an emulated CPU that starts fio in seconds.
seconds=8
[ "${BRP_TEST_SLOW-}" != yes ] || seconds=20
start_client ops "$brp_ops" mixed "$target_uri/ops" --reconnect --seconds="$seconds" --depth=32 --queues=2 --max-bytes=131072
clients=("ops $client_pid")
start_client perf "$brp_perf" "$target_uri/perf" --verify --rw randrw --time "$seconds" --jobs 2 --iodepth 16
clients+=("perf $client_pid")
if [ -f "$brp_fio" ]; then
	start_client fio fio --aux-path="$tmp" --name=t --ioengine=external:"$brp_fio" --thread=1 --uri="$target_uri/fio" \
		--rw=randwrite --bs=4k --iodepth=16 --verify=crc32c --do_verify=1 --verify_fatal=1 --loops=1000 --runtime="$seconds"
	clients+=("fio $client_pid")
fi
# Each has begun when something is in its volume.
has_written() {
	[ "$(stat -c %b "$tmp/$1.img")" -gt 0 ]
}

for client in "${clients[@]}"; do
	wait_for 60 has_written "${client% *}" || bad "${client% *} writes nothing"
done
for i in 1 2; do
	sleep 1
	kill -TERM "$target_pid"
	end_of "$target_pid" 15
	[ "$(<"$tmp/end-status")" = 0 ] || bad "the target ended with status $(<"$tmp/end-status")"
	restart_target "$port" "${volumes[@]}"
	wait_for 20 has_events ops reconnected $i || { cat "$tmp/ops.log"; bad "restart $i: not connected again"; }
done
for client in "${clients[@]}"; do
	# shellcheck disable=SC2086 # name and pid
	finish_client $client 60 0
done
grep mixed: "$tmp/ops.log"
grep -E 'recovery|verify' "$tmp/perf.log"
grep -q ' 0 wrong' "$tmp/perf.log" || bad "brp-perf found wrong data"
stop_target
