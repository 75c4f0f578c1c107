#!/bin/bash
# Raw bytes, right and wrong, as protocol.md has them, while another client does verified I/O.
# transports: tcp
# quick: tcp
# time: 120
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file locked.img 1M
start_target --dev ram:64M,name=vol,block=4096 --dev "$file,name=locked,ro" --dev ram:16M,name=other
start_client load "$brp_ops" mixed "$target_uri/other" --seconds=100 --depth=32 --queues=2
load_pid=$client_pid
python3 "$proto_dir/conformance.py" "$BRP_TEST_ADDRESS" "$target_port" vol locked || bad "conformance"
is_gone "$load_pid" && { cat "$tmp/load.log"; bad "the other client was disturbed"; }
kill -KILL "$load_pid"
wait "$load_pid" 2>/dev/null || true
ops mixed vol --requests=2000 --span=$((8 << 20))
stop_target
