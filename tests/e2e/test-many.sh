#!/bin/bash
# Several volumes, listeners and sessions at once, all verified.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 64M
start_target --dev ram:64M,name=a --dev "$file,name=b" --listen tcp://127.0.0.1:0
second=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$target_log" | tail -n 1)
[ "$second" != "$target_port" ] || bad "only one listener"
pids=()
for i in 0 1 2 3 4 5 6 7; do
	volume=a
	((i % 2)) && volume=b
	uri=$target_uri
	((i < 4)) || uri=brp+tcp://127.0.0.1:$second
	start_client "load$i" "$brp_ops" mixed "$uri/$volume" --offset=$((i * (8 << 20))) --span=$((8 << 20)) \
		--depth=16 --queues=2 --requests="$(scale 6000)" --seed=$i --max-bytes=262144
	pids+=("$client_pid")
done
for i in 0 1 2 3 4 5 6 7; do
	finish_client "load$i" "${pids[i]}" 60 0
done
stop_target
