#!/bin/bash
# The NFS chapter's example: three blocks hold x, y, z; a, b, c are written over them, all three are acknowledged, and
# the server is killed after the second. "a y c" must not be what is left, unless the writer was told.
# transports: tcp rdma
# quick: tcp
# shellcheck source=tests/e2e/step-lib.sh
. "$(dirname "$0")/step-lib.sh"

start() {
	start_target "$@"
	target_args=("$@")
	open_steps
}

prepare() {
	start "$@"
	expect ok write 0 x fua
	expect ok write 1 y fua
	expect ok write 2 z fua
}

crash() {
	kill -KILL "$target_pid"
	wait "$target_pid" 2>/dev/null || true
	target_pid=
}

revive() {
	restart_target "$target_port" "${target_args[@]}"
}

holds() {
	open_steps
	expect "$1" read 0
	expect "$2" read 1
	expect "$3" read 2
	close_steps
}

finish() {
	close_steps
	holds "$@"
	stop_target
}

note "write-through: what was acknowledged is there, and the session goes on"
make_file through.img 16M
prepare --dev "$file,name=disk,cache=writethrough"
expect ok write 0 a
expect ok write 1 b
crash
ask write 2 c
revive
answered ok
finish a b c

note "write-back, not flushed: the loss is reported, nothing is carried on silently"
make_file back.img 16M
prepare --dev "$file,name=disk,fault=volatile"
expect ok write 0 a fua
expect ok write 1 b
crash
ask write 2 c
revive
answered 'E[A-Z]*'
expect 'failed .*' status
finish a y z

note "write-back, flushed: it is there, and the session goes on"
prepare --dev "$file,name=disk,fault=volatile"
expect ok write 0 a
expect ok write 1 b
expect ok flush
crash
ask write 2 c
revive
answered ok
expect ok flush
finish a b c

note "the same when flush does nothing: this is the chapter's broken file"
prepare --dev "$file,name=disk"
expect ok write 0 a fua
finish a y z
start --dev "$file,name=disk,fault=volatile" --unsafe-no-flush
expect ok write 1 b
expect ok flush
crash
ask write 2 c
target_args=(--dev "$file,name=disk")
revive
answered ok
finish a y c
