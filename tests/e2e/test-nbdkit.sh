#!/bin/bash
# The nbdkit plugin: what clients see of a volume, images in and out, checks of qemu-io, errors.
# transports: tcp
# quick: tcp
# shellcheck disable=SC2016 # $uri is for the shell of nbdkit
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

plugin=$BRP_BUILD/initiator/nbdkit/nbdkit-brp-plugin.so
[ -f "$plugin" ] || cannot "the nbdkit plugin was not built"
for tool in nbdkit nbdinfo nbdcopy qemu-img qemu-io; do
	command -v "$tool" >/dev/null || cannot "no $tool"
done
nbdkit "$plugin" --help >"$tmp/help" 2>&1 || {
	grep -q 'ASan runtime' "$tmp/help" && cannot "nbdkit takes no plugin built with AddressSanitizer"
	cat "$tmp/help"
	bad "nbdkit does not load the plugin"
}

# with_volume VOLUME COMMAND [NBDKIT-OPTION]...: the shell command has $uri.
with_volume() {
	local volume=$1 command=$2

	shift 2
	timeout 60 nbdkit -U - "$@" "$plugin" "$target_uri/$volume" queues=2 --run "$command" >"$tmp/nbdkit.log" 2>&1 || {
		cat "$tmp/nbdkit.log"
		bad "$command"
	}
}

# says WORDS: nbdinfo said so.
says() {
	grep -qE "^[[:space:]]*$1\$" "$tmp/nbdkit.log" || {
		cat "$tmp/nbdkit.log"
		bad "nbdinfo does not say '$1'"
	}
}

make_file disk.img 64M
start_target --dev ram:64M,name=ram --dev "$file,name=disk" --dev ram:8M,name=locked,ro

with_volume ram 'nbdinfo --no-content "$uri"'
for words in 'export-size: 67108864.*' 'is_read_only: false' 'can_flush: true' 'can_fua: true' 'can_multi_conn: true' \
	'can_trim: true' 'can_zero: true' 'block_size_minimum: 4096' 'is_rotational: false'; do
	says "$words"
done
with_volume locked 'nbdinfo --no-content "$uri"'
says 'is_read_only: true'

head -c 32M /dev/urandom >"$tmp/image"
for volume in ram disk; do
	with_volume "$volume" "qemu-img convert -n -f raw -O raw $tmp/image \"\$uri\" &&
		nbdcopy \"\$uri\" $tmp/back.$volume && cmp -n 33554432 $tmp/image $tmp/back.$volume"
	with_volume "$volume" "nbdcopy --flush $tmp/image \"\$uri\" && qemu-img convert -f raw -O raw \"\$uri\" $tmp/again &&
		qemu-img compare -f raw -F raw $tmp/back.$volume $tmp/again"
done
with_volume disk 'qemu-io -f raw -c "write -P 7 4k 64k" -c "write -f -P 8 1M 4k" -c "read -P 7 4k 64k" \
	-c "read -P 8 1M 4k" -c "write -z 2M 4M" -c "read -P 0 2M 4M" -c "write -P 9 8M 9M" -c "read -P 9 8M 9M" \
	-c "discard 4M 1M" -c flush "$uri"'
if grep -qiE 'fail|error|verification' "$tmp/nbdkit.log"; then
	cat "$tmp/nbdkit.log"
	bad "qemu-io"
fi
! has_writes=$(timeout 60 nbdkit -U - "$plugin" "$target_uri/locked" --run 'qemu-io -f raw -c "write 0 4k" "$uri"' 2>&1) ||
	bad "a read-only volume takes writes: $has_writes"
refuses 1 'nothere.*no such volume' nbdkit -f "$plugin" "$target_uri/nothere"
refuses 1 'queues=0: must be 1 to 256' nbdkit -f "$plugin" "$target_uri/ram" queues=0
refuses 1 "unknown parameter 'volume'" nbdkit -f "$plugin" "$target_uri/ram" volume=x
refuses 1 'uri=.* is missing' nbdkit -f "$plugin"
stop_target
