#!/bin/bash
# The target goes away under a connected device: list and stat tell how it is, I/O waits and goes on when the
# target is back; a device whose target does not come back can be disconnected, and nothing hangs.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

trap 'show_logs' ERR

lists() {
	ini list >"$tmp/list" && grep -q "$1" "$tmp/list"
}

still_runs() {
	! is_gone "$client_pid"
}

need_device
start_target --dev ram:64M,name=v
uri=$target_uri/v
device=$(ini connect "$uri" --queues 2 --keep-alive-tmo 2 --log-file "$tmp/device.log") || bad "connect failed"

note "frozen: I/O waits"
kill -STOP "$target_pid"
wait_for 60 lists 'reconnecting, attempt [0-9]*, down for .*, waiting I/O fails never, gives up never$' ||
	bad "list does not say that it reconnects: $(<"$tmp/list")"
ini stat brp0 | grep -q '^state *reconnecting' || bad "stat does not say that it reconnects"
start_client reader dd if="$device" of=/dev/null bs=64k count=4 iflag=direct
sleep 1
still_runs || bad "the reader did not wait: $(<"$tmp/reader.log")"

note "back: it goes on"
kill -CONT "$target_pid"
wait_for 60 lists ' live$' || bad "it does not come back: $(<"$tmp/list")"
finish_client reader "$client_pid" 60 0
ini stat brp0 | grep -q '^reconnects *[1-9]' || bad "stat counts no reconnects"

note "gone for good: it can be disconnected"
kill -KILL "$target_pid"
wait "$target_pid" 2>/dev/null || true
target_pid=
wait_for 60 lists 'reconnecting' || bad "list does not say that it reconnects: $(<"$tmp/list")"
wait_for 60 grep -q 'reconnecting, attempt [3-9], I/O waits, gives up never' "$tmp/device.log" ||
	bad "the log does not say how it stands: $(<"$tmp/device.log")"
start_client reader dd if="$device" of=/dev/null bs=64k count=4 iflag=direct
sleep 1
still_runs || bad "the reader did not wait: $(<"$tmp/reader.log")"
ini disconnect brp0 || bad "it cannot be disconnected"
finish_client reader "$client_pid" 60 1
nothing_left
