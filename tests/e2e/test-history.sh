#!/bin/bash
# Many clients on the same blocks while everything goes wrong: the checker of tests/history judges what they were
# answered. By hand for longer: BRP_TEST_MINUTES=10 tests/e2e/run --build DIR --filter 'history$' (minutes for each)
# transports: tcp rdma
# time: 600
# alone on rdma: its devices can only go while no other program has them open
# shellcheck source=tests/e2e/history-lib.sh
. "$(dirname "$0")/history-lib.sh"
# shellcheck source=tests/e2e/link-lib.sh
. "$e2e_dir/link-lib.sh"

make_file disk.img 16M
# Memory does not survive its target; that is for test-identity to see.
judge "memory" --may-tear --nemesis "$(without_target_death)" -- --dev ram:16M,name=disk
judge "write-back, the kernel keeps what the target had" --nemesis all -- --dev "$file,name=disk"
judge "write-through, a slow device" --nemesis all -- \
	--dev "$file,name=disk,cache=writethrough,fault=delay=300ms:write:every200,delay=5ms:read:every9"
judge "a volatile cache, and errors of the device" --volatile --nemesis all -- \
	--dev "$file,name=disk,fault=volatile,error=EIO:write:skip100:every300,error=EIO:read:every250"

# A link that is cut in both directions or one, late and lossy: packets do not arrive, and nobody is told.
if [ "$BRP_TEST_TRANSPORT" = tcp ]; then
	history_in=(unshare -n "$link" make)
	"${history_in[@]}" true 2>/dev/null || link=
else
	take_link
fi
if [ -n "$link" ]; then
	judge "a link that is cut" --cycles 5 --address "$link_address" --wire "$link" \
		--nemesis "$(link_faults),kill,client" -- --dev "$file,name=disk"
else
	note "no network of our own here: no test of a link that is cut"
fi
