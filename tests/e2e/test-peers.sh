#!/bin/bash
# Bad company: a peer that stops reading, one that stops sending, logins never finished, floods of connections.
# transports: tcp
# time: 180
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

start_target --dev ram:64M,name=vol
start_client load "$brp_ops" mixed "$target_uri/vol" --seconds=170 --depth=16 --offset=$((32 << 20)) \
	--max-bytes=65536
load_pid=$client_pid
python3 "$proto_dir/peers.py" "$BRP_TEST_ADDRESS" "$target_port" vol "$target_pid" || bad "peers"
is_gone "$load_pid" && { cat "$tmp/load.log"; bad "the other client was disturbed"; }
kill -KILL "$load_pid"
wait "$load_pid" 2>/dev/null || true
stop_target
