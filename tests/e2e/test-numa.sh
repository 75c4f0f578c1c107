#!/bin/bash
# Two NUMA nodes and a disk on the second one (vm-run --numa): threads and memory go there, or where they are told to.
# transports: rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

nodes=/sys/devices/system/node
disk=/dev/vda
modprobe virtio_blk 2>/dev/null || true
[ -d $nodes/node1 ] || cannot "this machine has one NUMA node"
wait_for 5 [ -b $disk ] || cannot "no disk on the second NUMA node: vm-run --numa has one"

# Where the threads but the first, which only waits, may run.
cpus_of_threads() {
	local task

	for task in "/proc/$target_pid/task/"*; do
		[ "${task##*/}" = "$target_pid" ] || sed -n 's/^Cpus_allowed_list:\s*//p' "$task/status"
	done | sort -u
}

# placed_on NODE: pages of mappings that are to be on this node.
placed_on() {
	sed -n "s/.* prefer:$1 .* N$1=\([0-9]*\).*/\1/p" "/proc/$target_pid/numa_maps" |
		{ sum=0 && while read -r n; do sum=$((sum + n)); done && echo $sum; }
}

# has_node NODE PAGES: threads there, and so many pages at least, none to be elsewhere.
has_node() {
	[ "$(cpus_of_threads)" = "$(<$nodes/node"$1"/cpulist)" ] ||
		bad "threads on $(cpus_of_threads), node $1 has $(<$nodes/node"$1"/cpulist)"
	(($(placed_on "$1") >= $2)) || bad "$(placed_on "$1") pages on node $1, must be $2 at least"
	(($(placed_on $((1 - $1))) == 0)) || bad "pages on the other node"
	# A full node must not be the end: other memory is slower, not wrong.
	! grep ' bind:' "/proc/$target_pid/numa_maps" || bad "memory is bound to a node"
}

note "-- where the disk is"
start_target --dev "$disk,name=disk" --dev ram:16M,name=ram
grep -q 'NUMA node 1' "$target_log" || bad "the target does not say where it goes"
has_node 1 4096
ops mixed ram --requests=200 --depth=8 --max-bytes=65536
has_node 1 4100 # buffers too
stop_target

note "-- where it is told to"
start_target --numa-node 0 --dev "$disk,name=disk" --dev ram:16M,name=ram
has_node 0 4096
stop_target

note "-- a volume by itself"
start_target --dev ram:16M,name=ram --dev ram:8M,name=other,node=1
(($(placed_on 1) == 2048 && $(placed_on 0) == 0)) || bad "the volume is not on its node"
[ "$(cpus_of_threads)" = "$(</sys/devices/system/cpu/online)" ] ||
	bad "threads on $(cpus_of_threads) although nothing says where"
stop_target
