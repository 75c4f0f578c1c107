#!/bin/bash
# nvmet.sh - the kernel's own NVMe over fabrics, both ends of it on this
# machine: sourced by bench/labkit/guest and bench/front-latency, as root.

nvmet_top=/sys/kernel/config/nvmet

# nvmet_wait COMMAND...
nvmet_wait() {
	local try

	for ((try = 0; try < 100; try++)); do
		"$@" && return
		sleep 0.1
	done
	echo "waiting in vain for: $*" >&2
	return 1
}

# null_blk_make NUMBER MIB [SETTING=VALUE]...: /dev/nullbNUMBER, memory backed.
null_blk_make() {
	local dir=/sys/kernel/config/nullb/nullb$1 number=$1 mib=$2 setting

	shift 2
	mkdir "$dir" || return
	for setting in size="$mib" memory_backed=1 blocksize=512 queue_mode=2 irqmode=0 submit_queues=1 \
		hw_queue_depth=1024 "$@"; do
		echo "${setting#*=}" >"$dir/${setting%%=*}" || return
	done
	echo 1 >"$dir/power" && nvmet_wait test -b "/dev/nullb$number" || return
	# Pages that were never written would be read for nothing.
	dd if=/dev/zero of="/dev/nullb$number" bs=1M count="$mib" oflag=direct status=none
}

# nvmet_export NAME DEVICE PORT TRANSPORT ADDRESS SERVICE
nvmet_export() {
	local name=$1 port=$nvmet_top/ports/$3

	mkdir "$nvmet_top/subsystems/$name" "$nvmet_top/subsystems/$name/namespaces/1" "$port" || return
	echo 1 >"$nvmet_top/subsystems/$name/attr_allow_any_host"
	echo "$2" >"$nvmet_top/subsystems/$name/namespaces/1/device_path"
	echo 1 >"$nvmet_top/subsystems/$name/namespaces/1/enable" || return
	echo "$4" >"$port/addr_trtype"
	echo ipv4 >"$port/addr_adrfam"
	echo "$5" >"$port/addr_traddr"
	echo "$6" >"$port/addr_trsvcid"
	ln -s "$nvmet_top/subsystems/$name" "$port/subsystems/$name"
}

# nvmet_unexport NAME PORT
nvmet_unexport() {
	rm -f "$nvmet_top/ports/$2/subsystems/$1"
	rmdir "$nvmet_top/ports/$2" "$nvmet_top/subsystems/$1/namespaces/1" "$nvmet_top/subsystems/$1"
}

# Sets $nvme_dev: the block device of subsystem NAME.
nvme_find() {
	local nqn

	for nqn in /sys/class/nvme-subsystem/*/subsysnqn; do
		[ "$(cat "$nqn" 2>/dev/null)" = "$1" ] || continue
		for nvme_dev in "${nqn%/subsysnqn}"/nvme*n*; do
			nvme_dev=/dev/${nvme_dev##*/}
			[ -b "$nvme_dev" ] && return
		done
	done
	return 1
}

# nvme_connect NAME TRANSPORT ADDRESS SERVICE: sets $nvme_dev.
nvme_connect() {
	local uuid=7a6f4d1e-53b4-4a7e-9a52-0d5be6a5a001

	echo "transport=$2,traddr=$3,trsvcid=$4,nqn=$1,nr_io_queues=1,queue_size=128,hostnqn=nqn.2014-08.org.nvmexpress:uuid:$uuid,hostid=$uuid" \
		>/dev/nvme-fabrics || return
	nvmet_wait nvme_find "$1"
}

# nvme_disconnect NAME
nvme_disconnect() {
	local nqn

	for nqn in /sys/class/nvme/*/subsysnqn; do
		[ "$(cat "$nqn" 2>/dev/null)" != "$1" ] || echo 1 >"${nqn%/subsysnqn}/delete_controller"
	done
}
