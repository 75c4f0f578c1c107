#!/bin/bash
# The check of the check: without fences and without flushes the history checker finds what that does; with them, under
# the same conditions, nothing. Writes that the device takes longer for than a reconnect does make the bug certain as
# soon as one of them is in flight at the right moment. (Over RDMA, where the VM is slow and moments are a matter of luck,
# test-late-write.sh shows it in an order that is certain.)
# transports: tcp
# time: 600
# shellcheck source=tests/e2e/history-lib.sh
. "$(dirname "$0")/history-lib.sh"

make_file disk.img 16M
late="$file,name=disk,fault=delay=3s:write:every40"
lossy="$file,name=disk,fault=volatile"

must_find "reconnects, no fence" "stale value|lost write" --blocks 16 --keepalive 60 --nemesis cut -- --dev "$late" --unsafe-no-fence
judge "reconnects, fenced" --blocks 16 --keepalive 60 --nemesis cut -- --dev "$late"
must_find "takeovers, no fence" "stale value|lost write" --blocks 16 --keepalive 60 --nemesis client -- --dev "$late" --unsafe-no-fence
judge "takeovers, fenced" --blocks 16 --keepalive 60 --nemesis client -- --dev "$late"
must_find "no flush" "stale value|lost write|foreign data" --volatile --nemesis kill -- --dev "$lossy" --unsafe-no-flush
judge "flush" --volatile --nemesis kill -- --dev "$lossy"
