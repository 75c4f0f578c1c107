#!/bin/bash
# The stable names of devices: where they lead, whom they stay with, and that they go.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

# leads LINK NODE
leads() {
	[ "$(readlink "$BRP_DEV_DIR/$1")" = "$2" ] || bad "$1 leads to $(readlink "$BRP_DEV_DIR/$1"), must be $2"
}

make_file disk.img 16M
start_target --dev ram:16M,name=v --dev "$file,name=disk"
fake connect "$target_uri/v" >/dev/null
fake connect "$target_uri/disk" >/dev/null
by_name=brp/by-name/$BRP_TEST_ADDRESS-disk
by_id=brp/by-id/$(entry brp1 volume_uuid)
leads brp0 "$BRP_RUN_DIR/fake-0"
leads brp1 "$BRP_RUN_DIR/fake-1"
leads "brp/by-name/$BRP_TEST_ADDRESS-v" "$BRP_RUN_DIR/fake-0"
leads "$by_name" "$BRP_RUN_DIR/fake-1"
leads "$by_id" "$BRP_RUN_DIR/fake-1"

note "what udev is told is the same"
fake udev "$BRP_RUN_DIR/fake-1" >"$tmp/udev"
grep -qx 'BRP_DEVICE=brp1' "$tmp/udev" || bad "udev: $(<"$tmp/udev")"
grep -qx "BRP_NAME=${by_name##*/}" "$tmp/udev" || bad "udev: $(<"$tmp/udev")"
grep -qx "BRP_UUID=${by_id##*/}" "$tmp/udev" || bad "udev: $(<"$tmp/udev")"
refuses 3 '^$' sh -c "'$fake_initiator' udev $BRP_RUN_DIR/fake-7; status=\$?; echo; exit \$status"

note "DEV may be any of them"
for dev in brp1 "$BRP_DEV_DIR/brp1" "$BRP_RUN_DIR/fake-1" "$target_uri/disk"; do
	fake stat "$dev" | grep -q "^node *$BRP_RUN_DIR/fake-1\$" || bad "$dev is not found"
done

note "a volume connected twice keeps the names of its first device"
uuid=$(entry brp1 volume_uuid)
fake connect "$target_uri/uuid:$uuid" >/dev/null
leads brp2 "$BRP_RUN_DIR/fake-2"
leads "$by_id" "$BRP_RUN_DIR/fake-1"
fake disconnect brp2
leads "$by_id" "$BRP_RUN_DIR/fake-1"

note "the same names after the next connect, with another node behind"
fake disconnect brp0
fake disconnect brp1
[ ! -L "$BRP_DEV_DIR/$by_id" ] || bad "by-id stays without its device"
fake connect "$target_uri/disk" >/dev/null
leads "$by_id" "$BRP_RUN_DIR/fake-0"
leads "$by_name" "$BRP_RUN_DIR/fake-0"
[ "$(entry brp0 volume_uuid)" = "$uuid" ] || bad "the volume has another UUID now"

note "a name that somebody else has is left alone"
ln -s nowhere "$BRP_DEV_DIR/brp1"
fake connect "$target_uri/v" >/dev/null
has_entry brp2 || bad "brp1 was taken from its owner"
[ "$(readlink "$BRP_DEV_DIR/brp1")" = nowhere ] || bad "brp1 leads elsewhere now"
rm "$BRP_DEV_DIR/brp1"
fake disconnect-all >/dev/null
nothing_left
stop_target
