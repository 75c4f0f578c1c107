# shellcheck shell=bash disable=SC2154,SC2034 # variables of lib.sh and device-lib.sh
#
# crash-lib.sh - a file system on a block device through crashes of everything
# below it; sourced after device-lib.sh.
#
# Environment, beside theirs:
#   BRP_TEST_CYCLES   how many crashes [3; three kinds take turns]

fsync_writer=$BRP_BUILD/tests/e2e/fsync-writer
crash_session=$(printf "%032x" $$)

# attach [OPTION]...: the device of a session that takes over what an earlier one left.
attach() {
	start_device d v --uuid "$crash_session" "$@"
}

# However the device is: served, dead or failed.
detach() {
	local pid=${rig_pids[d]}

	kill -TERM "$pid" 2>/dev/null || true
	wait_for 60 is_gone "$pid" || {
		tail -n 20 "$tmp/d.log"
		bad "the server of a failed device does not end"
	}
	wait "$pid" 2>/dev/null || true
	unset "rig_pids[d]"
	[ "${rig_ids[d]}" = -1 ] || "$front_rig" --front "$front" --cleanup "${rig_ids[d]}" >/dev/null 2>&1 || true
}

nr_fsynced() {
	grep -c '^done ' "$tmp/record" || true
}

has_fsynced() {
	[ "$(nr_fsynced)" -ge "$1" ]
}

begin_writing() {
	start_client writer "$fsync_writer" write "$mnt" "$tmp/record"
	writer_pid=$client_pid
}

# progress N: so many files more, the device is served.
progress() {
	local want=$(($(nr_fsynced) + $1))

	wait_for 60 has_fsynced "$want" || {
		tail -n 20 "$tmp/d.log" "$tmp/writer.log"
		bad "the writer does not get on"
	}
}

end_writing() {
	kill -TERM "$writer_pid" 2>/dev/null || true
	wait_for 60 is_gone "$writer_pid" || bad "the writer hangs"
	wait "$writer_pid" 2>/dev/null || true
}

# Of a device that fails.
unmount_dead() {
	timeout 60 umount "$mnt" || bad "the file system cannot be unmounted"
	mounts=()
	until_unheld "$device"
}

# What was fsynced is there, and the file system is clean.
inspect() {
	mount_device "$device" "$mnt" # replays the journal
	"$fsync_writer" verify "$mnt" "$tmp/record" >"$tmp/verify.log" || {
		cat "$tmp/verify.log"
		bad "fsynced files are damaged"
	}
	umount_device "$mnt"
	check_fs "$fs_type" "$device"
	mount_device "$device" "$mnt"
}

target_dies() {
	kill -KILL "$target_pid"
	wait "$target_pid" 2>/dev/null || true
	target_pid=
}

# The target dies and comes back; the file system only waits.
crash_of_target() {
	begin_writing
	progress 3
	target_dies
	restart_target "$target_port" --dev "$file,name=v"
	progress 3
	end_writing
	umount_device "$mnt"
	inspect
}

# The server of the device dies; another takes its session over.  A front end whose device waits for that gets its
# device back, and the file system only waits; else the device is gone, and the file system with it.
crash_of_server() {
	local id=${rig_ids[d]}

	begin_writing
	progress 3
	kill -KILL "${rig_pids[d]}"
	wait "${rig_pids[d]}" 2>/dev/null || true
	if [ "$front" = ublk ]; then
		attach --recover "$id"
		progress 3
		end_writing
		umount_device "$mnt"
	else
		# What nbd had sent to its server comes back only now.
		[ "$front" != nbd ] || timeout 20 "$front_rig" --front nbd --cleanup "$id" || bad "--cleanup failed"
		wait_for 60 is_gone "$writer_pid" || bad "the writer hangs after the server was killed"
		end_writing
		unmount_dead
		detach
		attach
	fi
	inspect
}

writer_has_settled() {
	is_gone "$writer_pid" || has_fsynced "$1"
}

# The target dies and its cache with it: what was not flushed is gone, and if there was any the session fails.
crash_of_cache() {
	umount_device "$mnt"
	detach
	stop_target
	restart_target "$target_port" --dev "$file,name=v,fault=volatile"
	attach
	mount_device "$device" "$mnt"
	begin_writing
	progress 3
	target_dies
	restart_target "$target_port" --dev "$file,name=v"
	wait_for 60 writer_has_settled $(($(nr_fsynced) + 2)) || bad "the writer neither fails nor gets on"
	end_writing
	unmount_dead
	detach
	attach
	inspect
}

# device_test_crashes ext4|xfs
device_test_crashes() {
	local i size=64M crashes=(crash_of_target crash_of_server crash_of_cache)

	fs_type=$1
	# mkfs.xfs makes none below 300 MiB.
	[ "$fs_type" != xfs ] || size=320M
	mnt=$tmp/mnt
	need_front
	need_tools "mkfs.$fs_type"
	grep -qw "$fs_type" /proc/filesystems || modprobe "$fs_type" 2>/dev/null || cannot "this kernel has no $fs_type"
	: >"$tmp/record"
	make_file disk.img "$size"
	start_target --dev "$file,name=v"
	attach
	"mkfs.$fs_type" -q "$device" >"$tmp/mkfs.log" 2>&1 || {
		cat "$tmp/mkfs.log"
		bad "mkfs.$fs_type failed"
	}
	mount_device "$device" "$mnt"
	for ((i = 0; i < ${BRP_TEST_CYCLES:-3}; i++)); do
		"${crashes[i % 3]}"
		note "crash $((i + 1)), ${crashes[i % 3]#crash_of_}: clean, $(<"$tmp/verify.log")"
	done
	umount_device "$mnt"
	detach
	stop_target
}
