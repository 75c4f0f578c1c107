#!/bin/bash
# A block device: all operations, and the refusal of one that is in use.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 64M
make_loop "$file"
start_target --dev "$loop_dev,name=dev"
ops shapes dev --max-bytes=$((1 << 20))
ops mixed dev --depth=64 --queues=2 --requests="$(scale 4000)"
# A second owner must be turned away while we hold it.
refuses 1 "$loop_dev.*(busy|in use|held)" "$brp_target" --listen tcp://127.0.0.1:0 --dev "$loop_dev"
stop_target
