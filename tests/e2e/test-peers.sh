#!/bin/bash
# Bad company: a peer that stops reading, one that stops sending, logins never finished, floods of connections.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

start_target --dev ram:64M,name=vol
start_mixed load vol --depth=16 --offset=$((32 << 20)) --max-bytes=65536
python3 "$proto_dir/peers.py" "$BRP_TEST_ADDRESS" "$target_port" vol "$target_pid" || bad "peers"
end_mixed load # the other client was not disturbed
stop_target
