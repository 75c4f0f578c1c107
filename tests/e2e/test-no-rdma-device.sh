#!/bin/bash
# An RDMA address on a machine without an RDMA device: one line that says so.
# transports: tcp
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

for dev in /sys/class/infiniband/*; do
	[ ! -e "$dev" ] || cannot "this machine has an RDMA device"
done
refuses 3 'RDMA' "$brp_ops" shapes brp://127.0.0.1/ram
one_line 1
refuses 1 'RDMA' "$brp_target" --dev ram:16M --listen rdma://127.0.0.1:0
one_line 2
# Not asked for: serves TCP.
port=$((20000 + RANDOM % 10000))
launch_target --dev ram:16M --listen "tcp://127.0.0.1:$port"
ops refused ram
stop_target
