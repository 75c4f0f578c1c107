#!/bin/bash
# --io-mode serial gives the same results, on a device and in memory, with one and with many threads.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 32M
for threads in 1 4; do
	start_target --io-mode serial --threads $threads --dev ram:32M --dev "$file,name=disk"
	ops mixed ram --depth=32 --queues=2 --requests="$(scale 6000)" --span=$((16 << 20))
	ops mixed disk --depth=32 --queues=2 --requests="$(scale 3000)" --span=$((16 << 20))
	stop_target
done
