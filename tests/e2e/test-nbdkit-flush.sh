#!/bin/bash
# Flush and FUA of NBD clients arrive at the back end, which fails just the first of them.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

plugin=$BRP_BUILD/initiator/nbdkit/nbdkit-brp-plugin.so
[ -f "$plugin" ] || cannot "the nbdkit plugin was not built"
command -v qemu-io >/dev/null || cannot "no qemu-io"
nbdkit "$plugin" --help >"$tmp/help" 2>&1 || cannot "nbdkit takes no plugin built with AddressSanitizer"

# io COMMAND...: of qemu-io without a cache of its own; its status.
io() {
	local command args=

	for command; do
		args+=" -c '$command'"
	done
	timeout 60 nbdkit -U - "$plugin" "$target_uri/v" --run "qemu-io -n -f raw $args \"\$uri\"" >"$tmp/io.log" 2>&1
}

make_file disk.img 16M
start_target --dev "$file,name=v,fault=volatile,error=EIO:flush:x1"
! io 'write -P 5 0 4k' flush || bad "a flush that the back end fails succeeds for the client"
grep -qi 'input/output error' "$tmp/io.log" || {
	cat "$tmp/io.log"
	bad "the client was not told EIO"
}
# qemu-io writes with FUA and nothing else: what is in the file is there because of it.
io 'write -f -P 6 1M 4k' || bad "a write with FUA failed"
cmp -s -i $((1 << 20)):0 -n 4096 "$file" <(head -c 4096 /dev/zero | tr '\0' '\6') ||
	bad "data written with FUA is not on the disk"
io 'write -P 7 2M 4k' flush || bad "a flush failed"
cmp -s -i $((2 << 20)):0 -n 4096 "$file" <(head -c 4096 /dev/zero | tr '\0' '\7') ||
	bad "flushed data is not on the disk"
stop_target
