#!/bin/bash
# A limit of locked memory, as every normal user has one, is no reason for brp-initiator to fail: its processes serve
# without locking theirs, and say so.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

trap 'show_logs' ERR
# A normal user's; root's is limited where the capability is missing, as in containers.
limited=()
[ "$(id -u)" != 0 ] || limited=(setpriv --bounding-set=-ipc_lock)
ulimit -S -l 8192 || cannot "the limit of locked memory cannot be set"
start_target --dev ram:64M,name=v
"${limited[@]}" timeout -k 5 60 "$fake_initiator" connect "$target_uri/v" --queues 4 --log-file "$tmp/v.log" >/dev/null ||
	bad "connect failed"
grep -q 'memory is not locked: .*ulimit -l' "$tmp/v.log" || bad "it is not said: $(<"$tmp/v.log")"
fake list | grep -q ' live$' || bad "it is not live: $(fake list)"
fake disconnect brp0
nothing_left
stop_target
