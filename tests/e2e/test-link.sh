#!/bin/bash
# The link between both ends is cut again and again under a verifying load: briefly, so that the connections survive it;
# for longer than the keep-alive allows, so that they are made again; in one direction only. And it is late, and loses
# packets. No error, no wrong data, only pauses. By hand: BRP_TEST_CYCLES=50
# transports: tcp rdma
# time: 900
# alone on rdma: its devices can only go while no other program has them open
if [ "${BRP_TEST_TRANSPORT-tcp}" = tcp ] && [ -z "${BRP_TEST_OWN_NETWORK-}" ]; then
	unshare -n true 2>/dev/null || { echo "SKIP: no network namespace of our own here"; exit 77; }
	BRP_TEST_OWN_NETWORK=yes exec unshare -n bash "$0"
fi
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/link-lib.sh
. "$e2e_dir/link-lib.sh"
# shellcheck source=tests/e2e/load-lib.sh
. "$e2e_dir/load-lib.sh"

cycles=${BRP_TEST_CYCLES:-3}
# Silence is noticed after three to four parts of this.
keep_alive_s=2
faults=(cut cut-up cut-down)
nr_long=0

logins() {
	grep -c 'logged in to disk' "$target_log" || true
}

has_logins() {
	[ "$(logins)" -ge "$1" ]
}

# brief FAULT, long FAULT: of some tenths of a second; until the session has been lost.
brief() {
	"$link" "$1"
	sleep "0.$((i * 3 % 8 + 1))"
	"$link" mend
}

long() {
	local before more

	before=$(logins)
	# A machine that is busy elsewhere notices late.
	for more in 1 4 16; do
		"$link" "$1"
		sleep "$((keep_alive_s + more))"
		"$link" mend
		wait_for 20 has_logins $((before + 1)) && nr_long=$((nr_long + 1)) && return
	done
	bad "fault $i ($1): the session was not connected again"
}

take_link
make_file disk.img 64M
start_target --verbose --dev "$file,name=disk"
start_load disk "$keep_alive_s"
for ((i = 0; i < cycles; i++)); do
	expect_served "fault $i"
	if ((i % 2 == 1)); then long "${faults[i % 3]}"; else brief "${faults[i % 3]}"; fi
done
for fault in lag lossy; do
	"$link" "$fault" 2>"$tmp/link.log" || { note "$(tail -n 1 "$tmp/link.log")"; continue; }
	expect_served "$fault"
	expect_served "$fault"
	"$link" mend
done
expect_served "the end"
end_load
note "$cycles cuts, $nr_long of them until the session was lost, $(logins) logins: $load_result"

has_cut_off() {
	grep -A 100 'volume disk: removed' "$target_log" | grep -q 'cut off'
}

# A volume that is removed while nobody can be told of it: no waiting for ever afterwards.
before=$(logins)
start_client reader "$brp_perf" "$target_uri/disk" --keep-alive-tmo 1 --rw randread --time 3600
load_pid=$client_pid
wait_for 60 has_logins $((before + 1)) || bad "the reader does not log in: $(<"$tmp/reader.log")"
"$link" cut
"$brp_targetctl" --control "$tmp/target.sock" remove disk || bad "the volume cannot be removed"
wait_for 60 has_cut_off || bad "the silent initiator keeps its removed volume"
sleep 1 # its side gives up too
"$link" mend
wait_for 60 is_gone "$load_pid" || bad "it waits for a volume that was removed: $(tail -n 3 "$tmp/reader.log")"
grep -q 'volume removed' "$tmp/reader.log" || bad "it is not said that the volume was removed: $(tail -n 3 "$tmp/reader.log")"
stop_target
