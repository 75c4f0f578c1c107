#!/bin/bash
# Connecting and disconnecting again and again leaves no process, device, file or descriptor behind.
# transports: tcp rdma
# alone: counts the devices of the machine
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

need_device

# Devices of all front ends that have something behind them.
devices() {
	local size

	for size in /sys/block/*/size; do
		[ "$(<"$size")" = 0 ] || echo "${size%/size}"
	done
}

same_devices() {
	[ "$(devices | wc -l)" -le "$nr_devices" ]
}

# A round takes the emulated VM more than a second: work, not waiting. Where an instruction takes 1 ns (vm-run
# --deterministic) connect is 70 ms and disconnect 45 ms.
rounds=$(scale 100)
start_target --dev ram:16M,name=a --dev ram:16M,name=b
nr_devices=$(devices | wc -l)
for ((i = 0; i < rounds; i++)); do
	device=$(ini connect "$target_uri/a") || bad "round $i: connect failed"
	[ -b "$device" ] || bad "round $i: $device is no block device"
	if ((i % 8 == 0)); then
		ini connect "$target_uri/b" >/dev/null || bad "round $i: the second device"
		dd if="$device" of=/dev/null bs=64k count=4 2>"$tmp/dd.log" || bad "round $i: it cannot be read"
		ini disconnect-all >/dev/null || bad "round $i: disconnect-all failed"
	else
		ini disconnect "$device" || bad "round $i: disconnect failed"
	fi
	no_entry brp0 || bad "round $i: the entry stays"
done
nothing_left
wait_for 60 same_devices || bad "devices are left: $(devices | tr '\n' ' ')"
stop_target
