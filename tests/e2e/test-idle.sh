#!/bin/bash
# An idle target with idle, connected initiators uses no CPU: less than 0.5 % over 10 s.
# transports: tcp rdma
# time: 60
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

holding() {
	grep -q holding "$tmp/hold.log" || is_gone "$client_pid"
}

start_target --dev ram:64M
start_client hold "$brp_ops" hold "$target_uri/ram" --sessions=2 --queues=4 --seconds=3600
wait_for 20 holding || bad "not connected"
sleep 1
target0=$(ticks_of "$target_pid")
client0=$(ticks_of "$client_pid")
sleep 10
target=$(($(ticks_of "$target_pid") - target0))
client=$(($(ticks_of "$client_pid") - client0))
note "CPU ticks (10 ms) in 10 s: target $target, initiator $client"
((target <= 5 && client <= 5)) || bad "not idle"
kill -TERM "$client_pid"
finish_client hold "$client_pid" 10 0
stop_target
