#!/bin/bash
# What happens to a volume at the target reaches its device: another size; and its removal, after which an unused
# device goes by itself, and one in use stays, failing its I/O, until it is disconnected.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

trap 'show_logs' ERR
[ -x "$brp_targetctl" ] || cannot "built without brp-targetctl (jansson)"
need_device
command -v mkfs.ext4 >/dev/null || cannot "no mkfs.ext4"

ctl() {
	timeout 60 "$brp_targetctl" --control "$tmp/target.sock" "$@"
}

says() {
	grep -qE "$1" "$tmp/device.log"
}

make_file disk.img 32M
start_target --dev "$file,name=v" --dev ram:16M,name=unused
device=$(ini connect "$target_uri/v" --log-file "$tmp/device.log") || bad "connect failed"
ini connect "$target_uri/unused" >/dev/null || bad "connect failed"

note "resized"
ctl resize v 48M || bad "resize failed"
wait_for 60 says 'notice: .*another size' || bad "the new size is not told: $(<"$tmp/device.log")"
has_settled() {
	says "brp0: $((48 << 20)) bytes now|cannot change the size"
}
wait_for 60 has_settled || bad "nothing came of it: $(<"$tmp/device.log")"
if says 'bytes now'; then
	[ "$(blockdev --getsize64 "$device")" = $((48 << 20)) ] || bad "the kernel has another size"
fi

note "removed while unused"
ctl remove unused || bad "remove failed"
wait_for 60 no_entry brp1 || bad "its device stays"

note "removed while mounted"
mkfs.ext4 -q "$device" || bad "mkfs.ext4 failed"
mkdir "$tmp/mnt"
mount "$device" "$tmp/mnt" || bad "mounting failed"
mounts+=("$tmp/mnt")
ctl remove v || bad "remove failed"
wait_for 60 says 'error: .*all I/O on brp0 fails' || bad "it is not said that I/O fails: $(<"$tmp/device.log")"
timeout 60 dd if="$device" of=/dev/null bs=64k count=1 iflag=direct 2>/dev/null && bad "reading succeeds"
ini list | grep -q ' failed' || bad "list does not say that it failed: $(ini list)"
refuses 4 'mounted' ini disconnect brp0
timeout 60 umount "$tmp/mnt" 2>/dev/null || timeout 5 umount -l "$tmp/mnt"
mounts=()
ini disconnect brp0 || bad "it cannot be disconnected"
nothing_left
stop_target
