#!/bin/bash
# Sessions: the newer epoch fences the older, stale and foreign logins are refused (protocol.md 4.2).
# transports: tcp
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 16M
# A write takes so long: the fence must wait for the device.
start_target --dev ram:16M,name=vol --dev "$file,name=slow,fault=delay=1500ms"
python3 "$proto_dir/epochs.py" "$BRP_TEST_ADDRESS" "$target_port" vol slow
if [ -x "$brp_targetctl" ]; then
	"$brp_targetctl" --control "$tmp/target.sock" stats >"$tmp/stats"
	for counter in fenced stale_messages logins_stale logins_waited logins_refused; do
		grep -qE "^ *$counter +[1-9]" "$tmp/stats" || bad "$counter: nothing was counted"
	done
fi
stop_target

# The test finds a target that does not fence.
start_target --unsafe-no-fence --dev ram:16M,name=vol --dev "$file,name=slow,fault=delay=1500ms"
grep -q 'damages data' "$target_log" || bad "an unsafe switch, and nothing said"
if python3 "$proto_dir/epochs.py" "$BRP_TEST_ADDRESS" "$target_port" vol slow fence_waits_for_the_device; then
	bad "a target without a fence passes"
fi
stop_target
