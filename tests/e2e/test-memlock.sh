#!/bin/bash
# A memlock limit too small for RDMA: the message names the limit and how to raise it.
# transports: rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# Root may lock what it likes.
command -v setpriv >/dev/null || cannot "no setpriv"
as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all)
chmod a+rx "$tmp"
small() {
	(ulimit -l 64 && exec timeout -k 2 30 "${as_nobody[@]}" "$@")
}

refuses 1 'memlock|ulimit -l' small "$brp_target" --dev ram:64M --listen "rdma://$BRP_TEST_ADDRESS:0"
grep -qiE 'limits.conf|LimitMEMLOCK|raise|ulimit' "$tmp/refusal" || bad "not said how to raise it"
start_target --dev ram:64M
refuses '[34]' 'memlock|ulimit -l' small "$brp_ops" shapes "$target_uri/ram"
stop_target
