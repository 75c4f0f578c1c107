#!/bin/bash
# What a service manager sees: readiness, reload and end are notified (sd_notify(3)); a device that does not answer cannot
# hold up the end for ever, and it is said.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# Prints every datagram that comes.
cat >"$tmp/listen.py" <<'EOF'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode(), flush=True)
EOF

notified() {
	wait_for 60 grep -q "$1" "$tmp/notify.log" || {
		cat "$tmp/notify.log"
		bad "not notified: $1"
	}
}

note "-- notifications"
start_client notify python3 "$tmp/listen.py" "$tmp/notify.sock"
wait_for 60 test -S "$tmp/notify.sock" || bad "no socket to be notified on"
export NOTIFY_SOCKET=$tmp/notify.sock
start_target --dev ram:16M
notified '^READY=1'
notified '^STATUS=1 volume'
kill -HUP "$target_pid"
notified '^RELOADING=1'
notified '^MONOTONIC_USEC=[0-9]'
stop_target
notified '^STOPPING=1'
NOTIFY_SOCKET=$tmp/nobody start_target --dev ram:16M
unset NOTIFY_SOCKET
stop_target

note "-- a device that does not answer"
make_file disk.img 16M
start_target --grace 1 --dev ram:16M --dev "$file,name=stuck,fault=stall:write"
start_client stuck python3 "$proto_dir/events.py" "$BRP_TEST_ADDRESS" "$target_port" stuck write
wait_for 60 grep -q ready "$tmp/stuck.log" || bad "no login"
kill -TERM "$target_pid"
end_of "$target_pid" 60
[ "$(<"$tmp/end-status")" = 3 ] || bad "status $(<"$tmp/end-status"), must be 3"
grep -q 'volume stuck: 1 connections still have requests in the device' "$target_log" || bad "not said which"
target_pid=
grep -qx going-down "$tmp/stuck.log" || bad "the initiator was not told"
