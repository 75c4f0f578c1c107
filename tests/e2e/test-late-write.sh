#!/bin/bash
# A write is in the device when its writer is killed; a successor with the same session UUID writes the same block. It is
# admitted when the old write has landed, so what it writes stays. Without the fence the old write lands on the new one,
# and this test sees it.
# transports: tcp rdma
# shellcheck source=tests/e2e/step-lib.sh
. "$(dirname "$0")/step-lib.sh"

[ -x "$brp_targetctl" ] || cannot "built without brp-targetctl (jansson)"

# told COMMAND NAME: the first number of this name in what the target tells.
told() {
	timeout 60 "$brp_targetctl" --control "$tmp/target.sock" "$1" | sed -n "s/^ *$2  *\([0-9][0-9]*\)$/\1/p" | head -n 1
}

# tells COMMAND NAME VALUE
tells() {
	[ "$(told "$1" "$2")" = "$3" ]
}

# leave_late_write SECONDS TARGET-OPTION...: "o" reaches block 0 of zeroes so late, and its writer is dead.
leave_late_write() {
	rm -f "$tmp/disk.img"
	make_file disk.img 16M
	start_target --dev "$file,name=disk,fault=delay=${1}s:write:x1" "${@:2}"
	step_session=7 open_steps
	ask write 0 o
	wait_for 60 tells stats writes 1 || bad "the write does not reach the target"
	kill_steps
}

# holds LETTER: another session finds it in block 0, and so does who looks into the file.
holds() {
	open_steps
	expect "$1" read 0
	close_steps
	stop_target
	[ "$(head -c 1 "$file")" = "$1" ] || bad "the file begins with '$(head -c 1 "$file")', must be '$1'"
}

# True when the successor came before the write landed: only then anything was shown.
fenced() {
	local waited

	leave_late_write "$1"
	step_session=7 open_steps
	# The write is over, so that no time needs to pass: nothing can come later.
	expect o read 0
	expect ok write 0 n
	expect n read 0
	close_steps
	waited=$(told stats logins_waited)
	holds n
	[ "$waited" = 1 ]
}

unfenced() {
	local before

	leave_late_write "$1" --unsafe-no-fence
	step_session=7 open_steps
	expect '[0o]' read 0
	before=$answer
	expect ok write 0 n
	# The connection of a dead initiator stays until its requests are out of the device.
	wait_for $(($1 + 30)) tells status connections 1 || bad "the killed writer's connection is still there"
	expect '[no]' read 0
	close_steps
	holds "$answer"
	[ "$before$answer" = 0o ]
}

# in_time COMMAND: on a machine so slow that the successor came too late, again with a longer delay.
in_time() {
	local seconds

	for seconds in 3 6 12; do
		"$1" "$seconds" && note "$1: shown with a delay of $seconds s" && return
		note "$1: the successor came after $seconds s"
	done
	bad "$1: could not be shown"
}

in_time fenced
in_time unfenced
