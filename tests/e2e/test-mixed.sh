#!/bin/bash
# Mixed jumbo commands at depths 1 to 256, several connections, every way of merging; all data compared.
# transports: tcp rdma
# quick: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 64M
start_target --dev ram:32M,name=ram4k --dev ram:32M,name=ram512,block=512 --dev "$file,name=disk"
seed=0
for depth in 1 2 7 32 128 256; do
	seed=$((seed + 1))
	n=$(scale $((2000 + 30 * depth)))
	ops mixed ram512 --depth=$depth --requests="$n" --seed=$seed --span=$((16 << 20))
done
for merge in off always adaptive; do
	ops mixed ram4k --depth=64 --queues=4 --merge=$merge --requests="$(scale 16000)" --seed=$seed \
		--span=$((24 << 20))
	ops mixed disk --depth=64 --queues=2 --merge=$merge --requests="$(scale 8000)" --seed=$seed \
		--span=$((24 << 20))
done
stop_target
