#!/bin/bash
#
# smoke.sh - is the RDMA test VM itself sound?  Pings over rxe0 with rping,
# then checks that the kernel holds no RDMA object more than before.
# Exit status: 0 good, 77 no VM can be had here, else bad.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Runs in the VM.
ping_pong() {
	local before after pings try

	ibv_devinfo -d rxe0 | grep -q PORT_ACTIVE || {
		echo "rxe0 has no active port"
		return 1
	}
	before=$(rdma resource)

	timeout 30 rping -s -a 10.0.0.1 -C 20 -S 4096 >/tmp/server 2>&1 &
	# The server may not listen yet.
	for ((try = 0; try < 20; try++)); do
		timeout 30 rping -c -v -a 10.0.0.1 -C 20 -S 4096 >/tmp/client 2>&1 && break
		sleep 0.2
	done
	wait
	pings=$(grep -c '^ping data: rdma-ping-' /tmp/client) || true
	if [ "$pings" != 20 ]; then
		echo "$pings of 20 pings came back:"
		cat /tmp/server /tmp/client
		return 1
	fi

	# The kernel frees queue pairs a little after their owner's end.
	for ((try = 0; try < 20; try++)); do
		after=$(rdma resource)
		[ "$after" != "$before" ] || break
		sleep 0.1
	done
	if [ "$after" != "$before" ]; then
		echo "RDMA objects left behind: $after (before: $before)"
		return 1
	fi
	echo "20 pings over $(uname -r) rxe0, nothing left: $after"
}

"$here/vm-run" --time 120 -- "$(declare -f ping_pong); ping_pong"
