# shellcheck shell=bash disable=SC2154 # variables of lib.sh
#
# device-lib.sh - block devices of any front end, and the tests that every
# front end must pass.  A test sets $front to ublk, nbd or fuse, sources lib.sh
# and this, and calls one of the device_test_* functions.
#
# Environment, beside lib.sh's:
#   BRP_TEST_TREE        tar archive of a source tree to unpack (default: this
#                        project's)

: "${front:?}" "${tmp:?}"

PATH=$PATH:/usr/sbin:/sbin
front_rig=$BRP_BUILD/tests/e2e/front-rig
declare -A rig_pids=() rig_paths=() rig_ids=() rig_marks=()

case $front in
ublk) front_modules=(ublk_drv) ;;
nbd) front_modules=(nbd) ;;
fuse) front_modules=(fuse loop) ;;
esac

# Ends the test as skipped where this front end cannot be used.
need_front() {
	local module reason

	[ -x "$front_rig" ] || cannot "front-rig was not built"
	[ "$(id -u)" = 0 ] || cannot "block devices need root"
	for module in "${front_modules[@]}"; do
		modprobe "$module" 2>/dev/null || true
	done
	reason=$("$front_rig" --front "$front" --probe 2>&1) || cannot "$front: $(head -n 1 <<<"$reason")"
}

need_tools() {
	local tool

	for tool; do
		command -v "$tool" >/dev/null || cannot "no $tool"
	done
}

# Called by lib.sh when the test ends, however it ends: what is mounted goes
# before its server, and no device stays behind that waits for one.
device_cleanup() {
	local name dir

	for dir in "${mounts[@]}"; do
		timeout 20 umount "$dir" 2>/dev/null || timeout 5 umount -l "$dir" 2>/dev/null || true
	done
	for name in "${!rig_pids[@]}"; do
		kill -TERM "${rig_pids[$name]}" 2>/dev/null || true
	done
	for name in "${!rig_pids[@]}"; do
		wait_for 10 is_gone "${rig_pids[$name]}" || kill -KILL "${rig_pids[$name]}" 2>/dev/null || true
		[ "${rig_ids[$name]}" = -1 ] ||
			timeout 10 "$front_rig" --front "$front" --cleanup "${rig_ids[$name]}" >/dev/null 2>&1 || true
	done
}

# ---- devices

rig_has_device() {
	grep -q '^device ' "$tmp/$1.log" || is_gone "${rig_pids[$1]}"
}

# mark_of DEVICE: whose it is; a number that has become free may soon be another test's.
mark_of() {
	cat "/sys/block/${1#/dev/}/"{diskseq,backend,loop/backing_file} 2>/dev/null || true
}

# start_device NAME VOLUME [RIG-OPTION]...: sets $device to its path.
start_device() {
	local name=$1 volume=$2 words

	shift 2
	start_client "$name" "$front_rig" --front "$front" "$@" "$target_uri/$volume"
	rig_pids[$name]=$client_pid
	rig_ids[$name]=-1
	wait_for 60 rig_has_device "$name" || bad "$name: no device after 60 s"
	read -ra words < <(grep '^device ' "$tmp/$name.log") || {
		cat "$tmp/$name.log"
		bad "$name: no device"
	}
	device=${words[1]}
	rig_paths[$name]=$device
	rig_ids[$name]=${words[3]}
	rig_marks[$name]=$(mark_of "$device")
	[ -b "$device" ] || bad "$device is no block device"
	note "$name: $device"
}

# has_no_device NAME: it has gone.
has_no_device() {
	local path=${rig_paths[$1]}

	[ ! -b "$path" ] || [ "$(blockdev --getsize64 "$path" 2>/dev/null || echo 0)" = 0 ] ||
		[ "$(mark_of "$path")" != "${rig_marks[$1]}" ]
}

# stop_device NAME [STATUS]: also, the device disappears.
stop_device() {
	local name=$1 path=${rig_paths[$1]}

	kill -TERM "${rig_pids[$name]}"
	finish_client "$name" "${rig_pids[$name]}" 60 "${2:-0}"
	unset "rig_pids[$name]"
	wait_for 60 has_no_device "$name" || bad "$path is still there after its front end has stopped"
	if grep -E 'Assertion|Sanitizer|runtime error' "$tmp/$name.log"; then
		bad "$name complained"
	fi
}

# What a rig counted, e.g. rig_count NAME messages; after stop_device.
rig_count() {
	sed -n "s/^queue .* $2 \([0-9]*\).*/\1/p" "$tmp/$1.log" | { sum=0 && while read -r n; do sum=$((sum + n)); done && echo $sum; }
}

mount_device() {
	mkdir -p "$2"
	# busybox's mount tries only what the kernel knows already.
	modprobe -a ext4 xfs 2>/dev/null || true
	mount "$1" "$2" || bad "mounting $1 failed"
	mounts+=("$2")
}

umount_device() {
	local from

	from=$(awk -v dir="$1" '$2 == dir { print $1 }' /proc/mounts)
	umount "$1" || bad "unmounting $1 failed"
	mounts=()
	until_unheld "$from"
}

# sync_fs DIR: that file system alone; others' devices must get no flush from us.
sync_fs() {
	sync -f "$1" || bad "sync -f $1 failed"
}

# forget_caches DIR: of its file system nothing from the page cache.
forget_caches() {
	sync_fs "$1"
	echo 3 >/proc/sys/vm/drop_caches
}

# run_fio ARG...: its errors are ours.
run_fio() {
	timeout 300 fio --output-format=normal "$@" >"$tmp/fio.log" 2>&1 || {
		tail -n 30 "$tmp/fio.log"
		bad "fio $*"
	}
	grep -q 'err= 0' "$tmp/fio.log" || bad "fio $*: it counted errors"
}

# nr_writes: that the device has finished.
nr_writes() {
	awk '{ print $5 }' "/sys/block/${device#/dev/}/stat"
}

is_written() {
	(($(nr_writes) >= $1))
}

# ---- a load that verifies, and goes on until it is told to end

start_fio() {
	start_client fio fio --name=v --filename="$device" --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bs=4k \
		--size=64M --verify=crc32c --verify_backlog=64 --verify_fatal=1 --time_based --runtime=3600
}

fio_has_written() {
	is_written "$1" || is_gone "${client_pids[fio]}"
}

# More of its writes are finished now than when this was asked.
fio_goes_on() {
	wait_for 60 fio_has_written $(($(nr_writes) + $(scale 2000))) || bad "fio writes nothing"
	is_gone "${client_pids[fio]}" || return 0
	cat "$tmp/fio.log"
	bad "fio ended early"
}

# The status of fio after a signal is 128, whatever it found.
end_fio() {
	kill -INT "${client_pids[fio]}"
	finish_client fio "${client_pids[fio]}" 120 128
	if ! grep -q 'err= 0' "$tmp/fio.log" || grep -q 'verify:' "$tmp/fio.log"; then
		tail -n 30 "$tmp/fio.log"
		bad "fio counted errors"
	fi
}

# ---- data

# unpack_tree DIR: a real source tree.
unpack_tree() {
	if [ -n "${BRP_TEST_TREE-}" ]; then
		tar -xf "$BRP_TEST_TREE" -C "$1"
	else
		tar -cf - -C "$e2e_dir/../.." --exclude=build --exclude='build-*' --exclude=.git . | tar -xf - -C "$1"
	fi
}

# sums_of DIR: a line per file.
sums_of() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# lines KIB TEXT: so much of a repeated line of text.
lines() {
	{ yes "$2" || true; } 2>/dev/null | head -c $(($1 * 1024))
}

# write_at DEVICE OFFSET_KIB KIB TEXT [CONV]: past the page cache; CONV as dd's, e.g. fsync.
write_at() {
	lines "$3" "$4" | dd of="$1" bs=4k iflag=fullblock oflag=seek_bytes,"${dd_flags:-direct}" \
		seek=$(($2 * 1024)) conv=notrunc"${5:+,$5}" 2>"$tmp/dd.log"
}

# read_at DEVICE|FILE OFFSET_KIB KIB
read_at() {
	local direct=

	[ ! -b "$1" ] || direct=,direct
	dd if="$1" bs=4k iflag=skip_bytes,count_bytes$direct skip=$(($2 * 1024)) count=$(($3 * 1024)) 2>/dev/null
}

# has_at DEVICE OFFSET_KIB KIB TEXT
has_at() {
	cmp -s <(read_at "$1" "$2" "$3") <(lines "$3" "$4")
}

is_zero_at() {
	cmp -s <(read_at "$1" "$2" "$3") <(head -c $(($3 * 1024)) /dev/zero)
}

# ---- tests

# device_test_fs ext4|xfs: a file system's whole life.
device_test_fs() {
	local type=$1 mnt=$tmp/mnt

	need_front
	need_tools "mkfs.$type" fio fstrim tar
	grep -qw "$type" /proc/filesystems || modprobe "$type" 2>/dev/null || cannot "this kernel has no $type"
	start_target --dev ram:400M,name=v
	start_device d v
	"mkfs.$type" -q "$device" >"$tmp/mkfs.log" 2>&1 || {
		cat "$tmp/mkfs.log"
		bad "mkfs.$type failed"
	}
	mount_device "$device" "$mnt"
	mkdir "$mnt/tree" "$tmp/tree"
	unpack_tree "$mnt/tree"
	unpack_tree "$tmp/tree"
	sums_of "$tmp/tree" >"$tmp/sums"
	[ "$(wc -l <"$tmp/sums")" -gt 50 ] || bad "no source tree to unpack"
	forget_caches "$mnt"
	sums_of "$mnt/tree" | cmp - "$tmp/sums" || bad "the tree reads back differently"
	run_fio --name=sync --directory="$mnt" --rw=randwrite --bs=4k --size="$(scale 8)M" --fsync=1 --verify=crc32c
	if command -v sqlite3 >/dev/null; then
		use_sqlite "$mnt/db"
	fi
	rm -rf "$mnt/sync"*
	fstrim -v "$mnt" || bad "fstrim failed"
	umount_device "$mnt"
	check_fs "$type" "$device"
	mount_device "$device" "$mnt"
	sums_of "$mnt/tree" | cmp - "$tmp/sums" || bad "the tree differs after a new mount"
	umount_device "$mnt"
	stop_device d
	stop_target
}

check_fs() {
	case $1 in
	ext4) fsck.ext4 -fn "$2" >"$tmp/fsck.log" 2>&1 ;;
	xfs) xfs_repair -n "$2" >"$tmp/fsck.log" 2>&1 ;;
	esac || {
		cat "$tmp/fsck.log"
		bad "$2: the $1 file system is not clean"
	}
}

use_sqlite() {
	local n

	n=$(scale 80)
	{
		echo 'CREATE TABLE t (n INTEGER PRIMARY KEY, text);'
		for ((i = 0; i < n; i++)); do
			echo "INSERT INTO t VALUES ($i, '$i of a test');"
		done
	} | sqlite3 "$1" || bad "sqlite3 failed"
	[ "$(sqlite3 "$1" 'PRAGMA integrity_check; SELECT count(*) FROM t;' | tr '\n' ' ')" = "ok $n " ] ||
		bad "the database is damaged"
}

# Four jobs write their parts at once and read back what they wrote.
device_test_verify() {
	need_front
	need_tools fio
	start_target --dev ram:128M,name=v
	start_device d v --queues 2
	run_fio --name=v --filename="$device" --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite \
		--bsrange=4k-64k --size="$(scale 16)M" --offset_increment=32M --numjobs=4 --verify=crc32c --group_reporting
	run_fio --name=m --filename="$device" --direct=1 --ioengine=libaio --iodepth=8 --rw=randrw --bs=4k \
		--size="$(scale 16)M" --offset_increment=32M --numjobs=4 --group_reporting
	run_fio --name=big --filename="$device" --direct=1 --ioengine=psync --rw=write --bs=4M --size="$(scale 64)M" \
		--verify=crc32c
	stop_device d
	[ "$(rig_count d errors)" = 0 ] || bad "libbrp counted errors"
	stop_target
}

has_partitions() {
	[ -b "${1}p1" ] && [ -b "${1}p2" ]
}

# On a device that is none of ours.
kernel_has_gpt() {
	local dev

	make_file table.img 8M
	printf 'label: gpt\nstart=1MiB, size=4MiB\n' | sfdisk -q "$file"
	dev=$(losetup -fP --show "$file" 2>/dev/null) || return 0
	loops+=("$dev")
	wait_for 2 [ -b "${dev}p1" ]
}

# A partition table is read back by the kernel, and partitions are where they should be.
device_test_partitions() {
	need_front
	need_tools sfdisk blockdev
	start_target --dev ram:64M,name=v
	start_device d v
	printf 'label: gpt\nstart=1MiB, size=16MiB\nstart=20MiB, size=8MiB\n' |
		sfdisk -q --no-tell-kernel "$device" || bad "sfdisk failed"
	blockdev --rereadpt "$device" || bad "the kernel does not read the partition table again"
	wait_for 5 has_partitions "$device" || {
		kernel_has_gpt || cannot "this kernel reads no GPT"
		bad "no partitions appeared"
	}
	write_at "${device}p2" 0 64 partition fsync
	has_at "$device" 20480 64 partition || bad "partition 2 is not where it should be"
	stop_device d
	# They come by themselves when the device does.
	start_device again v
	wait_for 60 has_partitions "$device" || bad "no partitions when the device came back"
	has_at "${device}p2" 0 64 partition || bad "partition 2 has other data"
	stop_device again
	stop_target
}

device_test_read_only() {
	need_front
	need_tools blockdev
	make_file disk.img 8M
	lines 8192 'read only' >"$file"
	start_target --dev "$file,name=v,ro"
	start_device d v
	[ "$(blockdev --getro "$device")" = 1 ] || bad "the kernel does not know that the device is read-only"
	[ "$(blockdev --getsize64 "$device")" = $((8 << 20)) ] || bad "wrong size"
	cmp "$device" "$file" || bad "reads differ"
	! write_at "$device" 0 4 written fsync || bad "a write succeeded"
	cmp "$device" "$file" || bad "the volume changed"
	stop_device d
	stop_target
}

# Discard and write zeroes: data goes, neighbours stay.
device_test_zeroes() {
	need_front
	need_tools blkdiscard
	start_target --dev ram:64M,name=v
	start_device d v
	# Lines of 8 bytes, so that every block has the same.
	write_at "$device" 0 1024 written
	blkdiscard -z -o 65536 -l 131072 "$device" || bad "write zeroes failed"
	is_zero_at "$device" 64 128 || bad "write zeroes left something"
	has_at "$device" 0 64 written || bad "write zeroes reached before its range"
	has_at "$device" 192 64 written || bad "write zeroes reached behind its range"
	if [ "$(<"/sys/block/${device#/dev/}/queue/discard_max_bytes")" != 0 ]; then
		blkdiscard -o 262144 -l 262144 "$device" || bad "discard failed"
		is_zero_at "$device" 256 256 || bad "a memory volume must read zeroes where it was discarded"
		has_at "$device" 512 64 written || bad "discard reached behind its range"
	fi
	stop_device d
	stop_target
}

# Two devices from two targets at the same time; each has its own data.
device_test_two_targets() {
	local first_pid first_uri a b

	need_front
	need_tools fio
	start_target --dev ram:64M,name=v
	first_pid=$target_pid
	first_uri=$target_uri
	children+=("$first_pid")
	start_device a v
	a=$device
	start_target --dev ram:64M,name=v
	start_device b v
	b=$device
	run_fio --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k --size="$(scale 32)M" --verify=crc32c \
		--name=a --filename="$a" --name=b --filename="$b"
	write_at "$a" 0 64 first
	write_at "$b" 0 64 second
	has_at "$a" 0 64 first || bad "$a ($first_uri) has other data"
	has_at "$b" 0 64 second || bad "$b has other data"
	stop_device a
	stop_device b
	stop_target
	kill -TERM "$first_pid"
	end_of "$first_pid" 15
	[ "$(<"$tmp/end-status")" = 0 ] || bad "the first target ended with status $(<"$tmp/end-status")"
}

# A node that is target and initiator at once: what it has as a device it exports again.
device_test_both_roles() {
	local first_pid inner

	need_front
	need_tools fio
	start_target --dev ram:64M,name=v
	first_pid=$target_pid
	children+=("$first_pid")
	start_device inner v
	inner=$device
	start_target --dev "$inner,name=again"
	start_device outer again
	run_fio --name=v --filename="$device" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k \
		--size="$(scale 16)M" --verify=crc32c
	write_at "$device" 0 64 'through both' fsync
	stop_device outer
	stop_target
	has_at "$inner" 0 64 'through both' || bad "the inner device has other data"
	stop_device inner
	kill -TERM "$first_pid"
	end_of "$first_pid" 15
	[ "$(<"$tmp/end-status")" = 0 ] || bad "the inner target ended with status $(<"$tmp/end-status")"
}

# fsync_fails DEVICE: one write and one fsync.
fsync_fails() {
	! write_at "$1" 0 4 flushed fsync
}

# on_disk NAME: what a file of the mounted ext4 has on the target's disk right now.
on_disk() {
	debugfs -R "dump /$1 $tmp/dump" "$file" >/dev/null 2>&1 && cat "$tmp/dump"
}

is_on_disk() {
	cmp -s <(on_disk "$1") <(lines 64 "$2")
}

# Flushes that the kernel has asked the device for.
nr_flushes() {
	awk '{ print $16 }' "/sys/block/${device#/dev/}/stat"
}

# Flush and FUA arrive at the back end, each as often as asked for, and as what they are.  The
# back end has a write-back cache in memory, so the disk shows what is stable.
device_test_flush() {
	local i nr_failed=0 mnt=$tmp/mnt name flushes least=3

	need_front
	need_tools mkfs.ext4 debugfs
	make_file disk.img 32M
	# Three flushes fail: one fsync is one flush, so three of six.  Some kernels flush the file of
	# a loop device once when they attach it.
	[ "$front" != fuse ] || least=2
	start_target --dev "$file,name=v,fault=volatile,error=EIO:flush:x3"
	start_device d v
	for ((i = 0; i < 6; i++)); do
		! fsync_fails "$device" || nr_failed=$((nr_failed + 1))
	done
	((nr_failed >= least && nr_failed <= 3)) || bad "$nr_failed of 6 fsyncs failed, must be $least to 3"
	has_at "$file" 0 4 flushed || bad "flushed data is not on the disk"
	write_at "$device" 1024 64 'not flushed'
	is_zero_at "$file" 1024 64 || bad "data is on the disk although nobody flushed it"

	# The kernel adds a flush to a synchronous write to a block device, but not to one to a file
	# whose blocks are there: that is a FUA write alone, where the device has FUA.
	# Inode tables are written now: the kernel's thread that writes them later flushes when it has.
	mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0 "$device"
	mount_device "$device" "$mnt"
	for name in waits fua; do
		lines 64 old >"$mnt/$name"
	done
	# Without a journal ext4 notes only after the first one that the blocks are written.
	sync_fs "$mnt"
	sync_fs "$mnt"
	is_on_disk fua old || bad "synced files are not on the disk"
	write_at "$mnt/waits" 0 64 'not flushed'
	flushes=$(nr_flushes)
	dd_flags=direct,dsync write_at "$mnt/fua" 0 64 'with FUA'
	# The ext4 of Linux 6.1 without a journal flushes no device that lacks FUA.
	is_on_disk fua 'with FUA' || { [ "$front" = fuse ] && (($(nr_flushes) == flushes)); } ||
		bad "data written with FUA is not on the disk"
	if [ "$(<"/sys/block/${device#/dev/}/queue/fua")" = 1 ]; then
		is_on_disk waits old || bad "FUA arrived as a flush"
	elif [ "$front" != fuse ]; then
		bad "$front does not announce FUA"
	fi
	umount_device "$mnt"
	is_on_disk waits 'not flushed' || bad "unmounting flushed nothing"
	stop_device d
	stop_target
}

# kill_device NAME: kill -9; what it leaves stays for cleanup_device.
kill_device() {
	kill -KILL "${rig_pids[$1]}"
	wait "${rig_pids[$1]}" 2>/dev/null || true
	unset "rig_pids[$1]"
}

# cleanup_device NAME: the device disappears.
cleanup_device() {
	timeout 60 "$front_rig" --front "$front" --cleanup "${rig_ids[$1]}" || bad "--cleanup ${rig_ids[$1]} failed"
	wait_for 60 has_no_device "$1" || bad "${rig_paths[$1]} is still there after its clean-up"
}

# The server of a mounted device is killed under load: I/O ends with errors and does not hang, the
# file system can be unmounted, the device removed, and the next one works.
device_test_killed() {
	local mnt=$tmp/mnt load_pid

	need_front
	need_tools mkfs.ext4 fio
	start_target --dev ram:128M,name=v
	start_device d v --queues 2
	mkfs.ext4 -q "$device"
	mount_device "$device" "$mnt"
	start_client load fio --name=load --directory="$mnt" --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw \
		--bs=4k --size=16M --time_based --runtime=3600
	load_pid=$client_pid
	wait_for 60 is_written 200 || bad "the load does not begin"
	kill_device d
	# What nbd had sent to its server comes back only now.
	[ "$front" != nbd ] || timeout 60 "$front_rig" --front nbd --cleanup "${rig_ids[d]}" || bad "--cleanup failed"
	wait_for 60 is_gone "$load_pid" || bad "a program that uses the device hangs after its server was killed"
	! timeout 20 dd if="$device" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null ||
		bad "$device reads without a server"
	timeout 60 umount "$mnt" || bad "the file system cannot be unmounted after the server was killed"
	until_unheld "$device"
	mounts=()
	cleanup_device d
	start_device again v
	fsck.ext4 -fp "$device" >"$tmp/fsck.log" 2>&1 || (($? == 1)) || {
		cat "$tmp/fsck.log"
		bad "fsck cannot mend the file system"
	}
	stop_device again
	stop_target
}

# Again and again: nothing accumulates, here or at the target.
device_test_again() {
	local i before after

	need_front
	start_target --dev ram:16M,name=v
	before=(/sys/block/*)
	for ((i = 0; i < $(scale 16); i++)); do
		start_device "d$i" v --queues 2
		write_at "$device" 0 4 "round $i" fsync
		stop_device "d$i"
	done
	# loop and nbd keep empty devices; a new one each time would be a leak.
	after=(/sys/block/*)
	((${#after[@]} <= ${#before[@]} + 1)) || bad "devices accumulate: ${after[*]##*/}"
	stop_target
}

# A write that the target answers after 40 s, longer than any time-out a kernel has by default: the
# device waits, on all its queues, and goes on.
device_test_frozen() {
	local start=$SECONDS

	need_front
	need_tools fio
	make_file disk.img 64M
	start_target --dev "$file,name=v,fault=delay=40s:write:x1"
	start_device d v --queues 2
	write_at "$device" 0 4 'after all' fsync || bad "a write that takes long fails"
	((SECONDS - start >= 39)) || bad "the write did not wait for the target"
	has_at "$device" 0 4 'after all' || bad "the write is not there"
	run_fio --name=v --filename="$device" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k --size=4M \
		--offset_increment=16M --numjobs=2 --verify=crc32c --group_reporting
	stop_device d
	stop_target
}

# take_over NAME VOLUME NEW [RIG-OPTION]...: kill -9 its server and start the next one.
take_over() {
	local name=$1 id=${rig_ids[$1]} old=${rig_paths[$1]} volume=$2 new=$3

	shift 3
	kill_device "$name"
	unset "rig_ids[$name]"
	[ -b "$old" ] || bad "$old went with its server"
	start_device "$new" "$volume" --recover "$id" "$@"
	[ "$device" = "$old" ] || bad "$old came back as $device"
}


# kill -9 of the server under load: I/O waits for the next server and goes on, nothing is lost.
device_test_recovered() {
	local uuid=00112233445566778899aabbccddeeff round name=d0

	need_front
	need_tools fio
	start_target --dev ram:64M,name=v
	start_device d0 v --uuid $uuid --queues 2
	start_fio
	for round in 1 2 3; do
		fio_goes_on
		take_over "$name" v "d$round" --uuid $uuid --queues 2
		name=d$round
	done
	fio_goes_on
	end_fio
	stop_device "$name"
	stop_target
}

# The server is killed and nobody takes over: cleaning up ends whatever waits for the device.
device_test_orphan() {
	local pid

	need_front
	start_target --dev ram:64M,name=v
	start_device d v
	write_at "$device" 0 4 written
	"$front_rig" --front "$front" --cleanup "${rig_ids[d]}" || bad "--cleanup of a device that is served failed"
	has_at "$device" 0 4 written || bad "a clean-up took a device that is served"
	kill_device d
	start_client waiting dd if="$device" of=/dev/null bs=4k count=1 iflag=direct
	pid=$client_pid
	cleanup_device d
	wait_for 60 is_gone "$pid" || bad "a reader hangs on the removed device"
	start_device again v
	has_at "$device" 0 4 written || bad "other data"
	stop_device again
	stop_target
}

# wakes_of PID: how often its threads were given a processor.
wakes_of() {
	cat "/proc/$1/task/"*/schedstat | { sum=0 && while read -r _ _ n; do sum=$((sum + n)); done && echo $sum; }
}

# A device nobody uses costs no CPU: 0.5 % at most over 5 s, and some 20 looks of its timers.
device_test_idle() {
	local before ms wakes most_ms

	need_front
	[ -e /proc/self/schedstat ] || cannot "this kernel does not tell a thread's run time"
	start_target --dev ram:64M,name=v
	start_device d v --queues 2
	write_at "$device" 0 4 written fsync
	# udev and others look at a new device.
	sleep 1
	before=$(run_ms_of "${rig_pids[d]}")
	wakes=$(wakes_of "${rig_pids[d]}")
	wait_idly 5
	ms=$(($(run_ms_of "${rig_pids[d]}") - before))
	wakes=$(($(wakes_of "${rig_pids[d]}") - wakes))
	most_ms=$(idle_limit_ms 25)
	note "in 5 s: $ms ms of CPU time, $wakes times; a shell $shell_ms ms, 20 times"
	! grep 'cut off' "$target_log" || bad "the target took an idle initiator for a dead one"
	((ms < most_ms && wakes < 60)) || bad "not idle: $ms ms of CPU time, $wakes times in 5 s"
	stop_device d
	stop_target
}

# What the kernel hands over together leaves in one message.
device_test_batch() {
	need_front
	need_tools fio
	start_target --dev ram:64M,name=v
	start_device d v
	run_fio --name=v --filename="$device" --direct=1 --ioengine=io_uring --iodepth=32 --iodepth_batch_submit=16 \
		--iodepth_batch_complete_min=16 --iodepth_batch_complete_max=16 --rw=randwrite --bs=4k --size="$(scale 32)M"
	stop_device d
	note "$(grep '^queue' "$tmp/d.log")"
	(($(rig_count d messages) * 6 < $(rig_count d requests))) || bad "requests do not travel together"
	stop_target
}

has_come_back() {
	[ "$(grep -c 'session: connected .* again' "$tmp/$1.log")" -ge "$2" ]
}

# The target is killed and started again under a device in use: a pause and nothing else.
device_test_outage() {
	local port i volume

	need_front
	need_tools fio
	make_file disk.img 64M
	volume=$file,name=v,cache=writethrough
	start_target --dev "$volume"
	port=$target_port
	start_device d v --queues 2
	start_fio
	for i in 1 2; do
		fio_goes_on
		kill -KILL "$target_pid"
		wait "$target_pid" 2>/dev/null || true
		restart_target "$port" --dev "$volume"
		wait_for 60 has_come_back d "$i" || { cat "$tmp/d.log"; bad "outage $i: not connected again"; }
	done
	fio_goes_on
	end_fio
	stop_device d
	stop_target
}
