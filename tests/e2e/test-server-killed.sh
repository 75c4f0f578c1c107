#!/bin/bash
# kill -9 of the serving process, of its supervisor, and of both: the device goes on where the front
# end can, else it goes away; nothing hangs, and nothing is left.
# transports: tcp rdma
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

trap 'show_logs' ERR

has_new_server() {
	local pid

	pid=$(entry brp0 server_pid 2>/dev/null) || return 1
	[ -n "$pid" ] && [ "$pid" != "$1" ] && fake stat brp0 2>/dev/null | grep -q '^state *live'
}

start_target --dev ram:64M,name=v
uri=$target_uri/v

# The processes and the registry, which do not know the transport.
without_device() {
	note "a front end that recovers: the same device, the same session"
	fake connect "$uri" >/dev/null
	old=$(entry brp0 server_pid)
	session=$(tr '\0' '\n' <"/proc/$old/cmdline" | grep '^--session=')
	kill -KILL "$old"
	wait_for 60 has_new_server "$old" || bad "no new serving process"
	new=$(entry brp0 server_pid)
	tr '\0' '\n' <"/proc/$new/cmdline" | grep -qx -- "$session" || bad "the new one has another session"
	[ "$(entry brp0 node)" = "$BRP_RUN_DIR/fake-0" ] || bad "it is another device now"
	[ "$(readlink "$BRP_DEV_DIR/brp0")" = "$BRP_RUN_DIR/fake-0" ] || bad "the link leads elsewhere"
	fake disconnect brp0 || bad "it cannot be disconnected after that"
	nothing_left

	note "one that dies again and again is given up"
	BRP_FAKE_CRASH=yes fake connect "$uri" >/dev/null
	kill -KILL "$(entry brp0 server_pid)"
	wait_for 60 no_entry brp0 || bad "it is not given up"
	nothing_left

	note "without its supervisor an unused device ends"
	fake connect "$uri" >/dev/null
	kill -KILL "$(entry brp0 supervisor_pid)"
	wait_for 60 no_entry brp0 || bad "the serving process goes on"
	nothing_left

	note "both killed: the next who looks cleans up"
	fake connect "$uri" >/dev/null
	kill -KILL "$(entry brp0 supervisor_pid)" "$(entry brp0 server_pid)"
	wait_for 60 no_processes || bad "they do not end"
	[ "$(fake list)" = "" ] || bad "a dead device is listed"
	nothing_left
}

[ "$BRP_TEST_TRANSPORT" = rdma ] || without_device

# ---- and with a device of the kernel's
need_device

reader_ends() {
	is_gone "$client_pid"
}

# Gone, or served again.  To ask is also to clean up what nobody serves.
has_settled() {
	ini list >"$tmp/list" || bad "list failed"
	no_entry brp0 || { [ "$(entry brp0 server_pid)" != "$old" ] && grep -q ' live$' "$tmp/list"; }
}

# killed WHOM...: while the device is read.  Afterwards it may live on, or be gone, but not hang.
killed() {
	local device pids=() whom

	device=$(ini connect "$uri") || bad "connect failed"
	start_client reader sh -c "while dd if='$device' of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done"
	for whom; do
		pids+=("$(entry brp0 "$whom")")
	done
	old=$(entry brp0 server_pid)
	kill -KILL "${pids[@]}"
	# One that goes on serves the reader; else its I/O fails and it ends.
	wait_for 60 has_settled || bad "$*: neither gone nor served: $(<"$tmp/list")"
	if has_entry brp0; then
		timeout 60 dd if="$device" of=/dev/null bs=64k count=1 iflag=direct 2>/dev/null ||
			bad "$*: it is live, and cannot be read"
		kill "$client_pid"
		ini disconnect --force brp0 || bad "$*: it cannot be disconnected"
	fi
	wait_for 60 reader_ends || bad "$*: the reader hangs"
	ini list >/dev/null || bad "$*: list failed"
	nothing_left
	note "$*: good"
}

killed server_pid
killed supervisor_pid
killed supervisor_pid server_pid
stop_target
