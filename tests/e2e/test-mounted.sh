#!/bin/bash
# A mounted device is not exported unless forced.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

command -v mkfs.ext4 >/dev/null || PATH=$PATH:/usr/sbin:/sbin
command -v mkfs.ext4 >/dev/null || cannot "no mkfs.ext4"
make_file disk.img 16M
mkfs.ext4 -q -F "$file"
make_loop "$file"
mkdir "$tmp/mnt"
mount -t ext4 "$loop_dev" "$tmp/mnt" 2>/dev/null || cannot "this kernel does not mount ext4 from a loop device"
mounts+=("$tmp/mnt")
refuses 1 "$loop_dev.*(mounted|busy)" "$brp_target" --listen tcp://127.0.0.1:0 --dev "$loop_dev"
start_target --dev "$loop_dev,name=dev,force,ro"
ops refused dev
stop_target
umount "$tmp/mnt"
