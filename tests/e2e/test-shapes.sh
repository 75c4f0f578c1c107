#!/bin/bash
# Every operation with every size from one block to beyond 1 MiB, on every back end.
# transports: tcp rdma
# quick: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

max=$((3 << 20))
[ -z "${BRP_TEST_SLOW-}" ] || max=$(((1 << 20) + 65536))
make_file disk.img 64M
make_file odd.img $((10 << 20 | 700))
start_target --dev ram:64M,name=ram4k --dev ram:64M,name=ram512,block=512 --dev null:64M,name=null \
	--dev "$file,name=odd" --dev "$tmp/disk.img,name=disk" \
	--dev "$tmp/disk.img,name=disk4k,block=4096,force,ro"
for volume in ram4k ram512 odd disk; do
	note "== $volume"
	ops shapes "$volume" --max-bytes="$max"
done
ops shapes null --no-discard --max-bytes="$max"
# Both names show the same file: read-only sees what was written.
ops refused disk4k
stop_target
