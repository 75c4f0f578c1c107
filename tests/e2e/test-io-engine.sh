#!/bin/bash
# What drives devices and files: as it was asked for; io_uring where the kernel allows it, else libaio, also when it is
# forbidden later; without enough lockable memory io_uring works, and says what that costs.
# transports: tcp rdma
# alone on rdma: it forbids io_uring to the whole machine
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

unset BRP_TEST_IO_ENGINE
switch=/proc/sys/kernel/io_uring_disabled

# says PATTERN: the target has said so.
says() {
	grep -qE "$1" "$target_log" || bad "the target does not say '$1'"
}

# works ARG...: a target with these serves the file.
works() {
	start_target --dev "$file,name=disk" "$@"
	ops shapes disk --max-bytes=65536
}

make_file disk.img 32M
works --io-engine aio
says 'devices and files by libaio$'
stop_target
works
! grep -q 'no io_uring: ' "$target_log" || cannot "no io_uring here: $(grep 'no io_uring: ' "$target_log")"
says 'devices and files by io_uring$'
stop_target

# A limit of locked memory counts for who may not exceed it.
if [ "$BRP_TEST_TRANSPORT" = tcp ]; then
	real_target=$brp_target
	printf '#!/bin/sh\nulimit -l 64\nexec "%s" "$@"\n' "$real_target" >"$tmp/limited"
	[ "$(id -u)" != 0 ] ||
		printf '#!/bin/sh\nulimit -l 64\nexec setpriv --bounding-set=-ipc_lock "%s" "$@"\n' "$real_target" >"$tmp/limited"
	chmod +x "$tmp/limited"
	brp_target=$tmp/limited
	works --io-engine uring
	says 'cannot register .* with io_uring.*ulimit -l'
	stop_target
	brp_target=$real_target
fi

# The switch is the whole machine's: only in the VM.
if [ "$BRP_TEST_TRANSPORT" = rdma ] && [ -w "$switch" ]; then
	test_cleanup() {
		echo 0 >"$switch"
	}
	works
	echo 2 >"$switch"
	ops shapes disk --max-bytes=65536 # a connection that came too late for a ring
	says 'cannot create an io_uring.*not permitted'
	stop_target
	works
	says 'devices and files by libaio; no io_uring: not allowed'
	stop_target
	refuses 1 'io_uring was asked for' "$brp_target" --listen tcp://127.0.0.1:0 --dev "$file,name=disk" --io-engine uring
fi
