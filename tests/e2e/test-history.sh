#!/bin/bash
# Many clients on the same blocks while everything goes wrong: the checker of tests/history judges what they were
# answered. By hand for longer: BRP_TEST_MINUTES=10 tests/e2e/run --build DIR --filter 'history$' (minutes for each)
# transports: tcp rdma
# time: 240
# shellcheck source=tests/e2e/history-lib.sh
. "$(dirname "$0")/history-lib.sh"

make_file disk.img 16M
# Memory does not survive its target; that is for test-identity to see.
judge "memory" --may-tear --nemesis "$(without_target_death)" -- --dev ram:16M,name=disk
judge "write-back, the kernel keeps what the target had" --nemesis all -- --dev "$file,name=disk"
judge "write-through, a slow device" --nemesis all -- \
	--dev "$file,name=disk,cache=writethrough,fault=delay=300ms:write:every200,delay=5ms:read:every9"
judge "a volatile cache, and errors of the device" --volatile --nemesis all -- \
	--dev "$file,name=disk,fault=volatile,error=EIO:write:skip100:every300,error=EIO:read:every250"

# A network that is down: packets are lost, and nobody is told.
if [ "$BRP_TEST_TRANSPORT" = tcp ] && unshare -n ip link set lo up 2>/dev/null; then
	history_in=(unshare -n sh -c 'ip link set lo up && exec "$@"' sh)
	judge "a network that goes down" --nemesis wire,client --wire "ip link set lo down / ip link set lo up" -- \
		--dev "$file,name=disk"
else
	note "no network of our own here: no test of one that goes down"
fi
