#!/bin/bash
# How many messages and notices answer a jumbo command, which of them hold data of READs, and that peers without that
# feature get what they can understand.
# transports: tcp rdma
# quick: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

fabric=tcp
[ "$BRP_TEST_TRANSPORT" = tcp ] || fabric=verbs
make_file disk.img 16M
start_target --dev ram:16M,name=ram,block=512 --dev "$file,name=disk"
for volume in ram disk; do
	timeout 60 "$BRP_BUILD/tests/e2e/brp-answers" $fabric "$BRP_TEST_ADDRESS" "$target_port" $volume ||
		bad "answers of $volume"
done
stop_target
