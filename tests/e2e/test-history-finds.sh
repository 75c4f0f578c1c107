#!/bin/bash
# The check of the check: without fences and without flushes the history checker finds what that does; with them, under
# the same conditions, nothing. Writes that the device takes longer for than a reconnect does make the bug certain as
# soon as one of them is in flight at the right moment.
# transports: tcp rdma
# time: 300
# shellcheck source=tests/e2e/history-lib.sh
. "$(dirname "$0")/history-lib.sh"

make_file disk.img 16M
late="$file,name=disk,fault=delay=3s:write:every40"
lossy="$file,name=disk,fault=volatile"
case $BRP_TEST_TRANSPORT in
tcp) lost="cut" ;;
rdma) lost="stop" ;; # often for so long that clients give the connection up, and not for as long as a write is late
esac

must_find "reconnects, no fence" "stale value|lost write" --blocks 16 --keepalive 60 --nemesis "$lost" -- --dev "$late" --unsafe-no-fence
judge "reconnects, fenced" --blocks 16 --keepalive 60 --nemesis "$lost" -- --dev "$late"
must_find "takeovers, no fence" "stale value|lost write" --blocks 16 --keepalive 60 --nemesis client -- --dev "$late" --unsafe-no-fence
judge "takeovers, fenced" --blocks 16 --keepalive 60 --nemesis client -- --dev "$late"
must_find "no flush" "stale value|lost write|foreign data" --volatile --nemesis kill -- --dev "$lossy" --unsafe-no-flush
judge "flush" --volatile --nemesis kill -- --dev "$lossy"
