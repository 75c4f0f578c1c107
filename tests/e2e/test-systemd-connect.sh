#!/bin/bash
# brp-connect.service with a real systemd and the unit as it is shipped: the target may come up after it; devices are
# there when it is active, survive what happens to the unit while they are in use, and are gone after the stop.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"
# shellcheck source=tests/e2e/systemd-lib.sh
. "$(dirname "$0")/systemd-lib.sh"

need_device
command -v mkfs.ext4 >/dev/null || cannot "no mkfs.ext4"

state() {
	property brp-connect ActiveState
}

is_state() {
	[ "$(state)" = "$1" ]
}

tried_in_vain() {
	grep -qE 'tried again for 30 s' "$tmp/connect.log"
}

install_connect() {
	mkdir "$tmp/etc"
	install_unit brp-connect.service "$tmp/connect.log" \
		"s#^Exec(Start|Stop)=(-?)[^ ]*/brp-initiator#Exec\1=\2$initiator#; s#connect-all --idempotent#& --config $tmp/etc#
		 s#=/etc/brp\$#=$tmp/etc#"
	printf 'Environment=BRP_RUN_DIR=%s BRP_DEV_DIR=%s\n' "$BRP_RUN_DIR" "$BRP_DEV_DIR" \
		>>"$tmp/units/brp-connect.service.d/log.conf"
}

not_configured() {
	ctl start brp-connect || bad "systemctl start with nothing to connect: status $?"
	is_state inactive || bad "with nothing to connect the service is $(state)"
}

target_comes_later() {
	local port

	# A port that will be the target's.
	start_target --dev ram:64M,name=v
	port=$target_port
	stop_target
	printf '[disk]\nuri = brp+tcp://127.0.0.1:%s/v\n' "$port" >"$tmp/etc/volumes.conf"
	ctl --no-block start brp-connect || bad "systemctl start: status $?"
	wait_for 60 tried_in_vain || bad "nothing is said about a target that is not there: $(<"$tmp/connect.log")"
	is_state activating || bad "while the target is away the service is $(state)"
	restart_target "$port" --dev ram:64M,name=v
	wait_for 60 is_state active || bad "the target is up, the service is $(state): $(<"$tmp/connect.log")"
	device=$(entry brp0 node)
	[ -b "$device" ] || bad "'$device' is no block device"
}

in_use_it_stays() {
	mkfs.ext4 -q "$device" || bad "mkfs.ext4 failed"
	mkdir "$tmp/mnt"
	mount "$device" "$tmp/mnt" || bad "mounting failed"
	mounts+=("$tmp/mnt")
	echo kept >"$tmp/mnt/file"
	ctl restart brp-connect || bad "systemctl restart while it is mounted: status $?"
	is_state active || bad "after a restart while it is mounted the service is $(state)"
	[ "$(entry brp0 node)" = "$device" ] || bad "the device is another after a restart"
	sync -f "$tmp/mnt/file" || bad "the mounted file system is lost"
	umount "$tmp/mnt"
	mounts=()
}

inside() {
	install_connect
	start_manager
	not_configured
	target_comes_later
	in_use_it_stays
	ctl stop brp-connect || bad "systemctl stop: status $?"
	is_state inactive || bad "after the stop the service is $(state)"
	nothing_left
	end_manager brp-connect
	stop_target
}

in_world brp-connect.service
