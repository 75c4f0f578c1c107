#!/bin/bash
# At boot the network may come after the target: an address that is not there is said once and taken when it comes.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

address=198.51.100.77
ip address add $address/32 dev lo 2>/dev/null || cannot "adding an address needs root and network administration"
ip address del $address/32 dev lo
trap 'ip address del $address/32 dev lo 2>/dev/null; e2e_cleanup' EXIT

start_target --dev ram:16M --listen "tcp://$address:0"
grep -q "$address.*until it is there" "$target_log" || bad "not said that it waits"
ops mixed ram --requests=200 --span=$((4 << 20))
ip address add $address/32 dev lo
wait_for 60 grep -q "listening on tcp://$address" "$target_log" || bad "the address is there, and not taken"
[ "$(grep -c 'until it is there' "$target_log")" = 1 ] || bad "said more than once"
target_uri=$scheme://$address:$(sed -n "s/.*listening on tcp:..$address:\\([0-9]*\\)\$/\\1/p" "$target_log")
ops mixed ram --requests=200 --span=$((4 << 20))
base_fds=$((base_fds + 2)) # the second listener and its reserve
stop_target
