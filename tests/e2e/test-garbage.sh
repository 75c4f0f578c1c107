#!/bin/bash
# Raw bytes, right and wrong, as protocol.md has them, while another client does verified I/O.
# transports: tcp
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file locked.img 1M
start_target --dev ram:64M,name=vol,block=4096 --dev "$file,name=locked,ro" --dev ram:16M,name=other
start_mixed load other --depth=32 --queues=2
python3 "$proto_dir/conformance.py" "$BRP_TEST_ADDRESS" "$target_port" vol locked || bad "conformance"
end_mixed load # the other client was not disturbed
ops mixed vol --requests=2000 --span=$((8 << 20))
stop_target
