#!/bin/bash
# A volume that grows at the target grows as a device in use, whichever front end serves it: the kernel has the new size,
# and what lies beyond the old end can be written and read. A front end that cannot on this kernel (ublk before Linux
# 6.16) says so, keeps the old size, and has the new one after the next connect.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

trap 'show_logs' ERR
[ -x "$brp_targetctl" ] || cannot "built without brp-targetctl (jansson)"
need_device

size_of() {
	blockdev --getsize64 "$1"
}

is_size() {
	[ "$(size_of "$1")" = "$2" ]
}

says() {
	grep -qE "$1" "$tmp/$front.log"
}

has_settled() {
	says 'brp0: [0-9]+ bytes now|cannot change the size'
}

# The last MiB of the volume, there and back.
use_the_end() {
	local seek=$(($2 / 1048576 - 1))

	head -c 1M /dev/urandom >"$tmp/data"
	timeout 60 dd if="$tmp/data" of="$1" bs=1M seek="$seek" oflag=direct conv=notrunc 2>"$tmp/dd.log" ||
		bad "$front: writing the last MiB of $2 bytes: $(<"$tmp/dd.log")"
	timeout 60 dd if="$1" bs=1M skip="$seek" count=1 iflag=direct 2>/dev/null | cmp - "$tmp/data" ||
		bad "$front: the last MiB of $2 bytes is not what was written"
}

# The device is open, as by a file system, while its size changes.
grow_in_use() {
	local device=$1 new=$2 old

	old=$(size_of "$device")
	exec {held}<"$device"
	timeout 60 "$brp_targetctl" --control "$tmp/target.sock" resize "$front" "$new" || bad "resize failed"
	wait_for 60 has_settled || bad "$front: nothing came of it: $(<"$tmp/$front.log")"
	if says 'brp0: [0-9]+ bytes now'; then
		wait_for 60 is_size "$device" "$new" || bad "$front: the kernel has $(size_of "$device") bytes, not $new"
		use_the_end "$device" "$new"
		note "$front: grown in use"
	else
		is_size "$device" "$old" || bad "$front: cannot change the size, but did"
		use_the_end "$device" "$old"
		note "$front: $(grep -o 'cannot change the size.*' "$tmp/$front.log")"
	fi
	exec {held}<&-
}

test_front() {
	local device

	device=$(ini connect --device "$front" "$target_uri/$front" --log-file "$tmp/$front.log") ||
		bad "$front: connect failed"
	grow_in_use "$device" $((48 << 20))
	ini disconnect "$device" || bad "$front: disconnect failed"
	device=$(ini connect --device "$front" "$target_uri/$front") || bad "$front: connecting again failed"
	is_size "$device" $((48 << 20)) || bad "$front: connected again, it has $(size_of "$device") bytes"
	use_the_end "$device" $((48 << 20))
	ini disconnect "$device" || bad "$front: disconnect failed"
}

usable() {
	ini doctor | grep -qE "^ok +$1 "
}

devs=()
for front in ublk nbd fuse; do
	make_file "$front.img" 32M
	devs+=(--dev "$file,name=$front")
done
start_target "${devs[@]}"
nr_tested=0
for front in ublk nbd fuse; do
	usable "$front" || continue
	test_front
	nr_tested=$((nr_tested + 1))
done
((nr_tested > 0)) || bad "doctor says that a front end can be used, and none was: $(ini doctor)"
nothing_left
stop_target
