#!/bin/bash
# An idle target with idle, connected initiators uses no CPU: less than 0.5 % over 10 s.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

holding() {
	grep -q holding "$tmp/hold.log" || is_gone "$client_pid"
}

[ -e /proc/self/schedstat ] || cannot "this kernel does not tell a thread's run time"
start_target --dev ram:64M
start_client hold "$brp_ops" hold "$target_uri/ram" --sessions=2 --queues=4 --seconds=3600
wait_for 60 holding || bad "not connected"
sleep 1
target0=$(run_ms_of "$target_pid")
client0=$(run_ms_of "$client_pid")
wait_idly 10
target=$(($(run_ms_of "$target_pid") - target0))
client=$(($(run_ms_of "$client_pid") - client0))
note "CPU time in 10 s: target $target ms, initiator $client ms; a shell that wakes 40 times $shell_ms ms"
most_ms=$(idle_limit_ms 50)
((target <= most_ms && client <= most_ms)) || bad "not idle"
kill -TERM "$client_pid"
finish_client hold "$client_pid" 60 0
stop_target
