#!/bin/bash
# A device in use is not taken away: mounted, here or in another mount namespace, held by another
# device, or opened exclusively; --force does it all the same.
# transports: tcp rdma
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

need_device
command -v mkfs.ext4 >/dev/null || cannot "no mkfs.ext4"
modprobe ext4 2>/dev/null || true

# busy PATTERN: it stays, whoever asks, and says why.
busy() {
	refuses 4 "brp0 .*$1" ini disconnect brp0
	refuses 4 "brp0 .*$1" ini disconnect-all
	[ "$(ini list | grep -c ' live$')" = 1 ] || bad "it is not live any more: $(ini list)"
}

is_held() {
	[ -e "$tmp/held" ] || is_gone "$client_pid"
}

start_target --dev ram:64M,name=v
device=$(ini connect "$target_uri/v")
mkfs.ext4 -q "$device" || bad "mkfs.ext4 failed"
mkdir "$tmp/mnt"

note "mounted"
mount "$device" "$tmp/mnt" || bad "mounting failed"
mounts+=("$tmp/mnt")
echo data >"$tmp/mnt/file"
busy "mounted on $tmp/mnt"
umount "$tmp/mnt"
mounts=()

if command -v unshare >/dev/null; then
	note "mounted in another namespace"
	start_client other unshare -m sh -c \
		"mount --make-rprivate / && mount $(readlink -f "$device") $tmp/mnt && touch $tmp/held && exec sleep 3600"
	wait_for 60 is_held || bad "the other namespace does not mount"
	[ -e "$tmp/held" ] || bad "unshare: $(<"$tmp/other.log")"
	busy "mounted on $tmp/mnt"
	kill "$client_pid"
	wait "$client_pid" 2>/dev/null || true
	rm "$tmp/held"
fi

until_unheld "$(readlink -f "$device")"
if command -v python3 >/dev/null; then
	note "opened exclusively"
	start_client excl python3 -c "
import os, time
os.open('$device', os.O_RDONLY | os.O_EXCL)
open('$tmp/held', 'w')
time.sleep(3600)"
	wait_for 60 is_held || bad "it is not opened"
	busy "opened it exclusively"
	kill "$client_pid"
	wait "$client_pid" 2>/dev/null || true
fi

unused() {
	! grep -q " $tmp/mnt " /proc/mounts
}
wait_for 60 unused || bad "still mounted"

note "forced"
mount "$device" "$tmp/mnt" || bad "mounting failed"
mounts+=("$tmp/mnt")
cat "$tmp/mnt/file" >/dev/null || bad "the file is gone"
ini disconnect --force brp0 || bad "--force does not disconnect"
nothing_left
timeout 60 umount "$tmp/mnt" 2>/dev/null || timeout 5 umount -l "$tmp/mnt" || bad "umount hangs"
mounts=()
stop_target
