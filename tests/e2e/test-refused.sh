#!/bin/bash
# What a client must be told: nobody listens, wrong volume, wrong URI, ranges, alignment, read-only.
# transports: tcp rdma
# quick: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 16M
start_target --dev ram:16M --dev ram:16M,name=small,block=512 --dev "$file,name=locked,ro"
ops refused ram
ops refused small
ops refused locked
ops refused ram --read-only
refuses 3 'nothere' "$brp_ops" shapes "$target_uri/nothere"
one_line 1
for uri in "http://$BRP_TEST_ADDRESS/ram" "$scheme://$BRP_TEST_ADDRESS:99999/ram" "$scheme://" "$target_uri" \
	"$scheme://$BRP_TEST_ADDRESS:x/ram" "$target_uri/a b" ""; do
	refuses 3 '.' "$brp_ops" shapes "$uri"
	one_line 1
done
if [ "$scheme" = brp+tcp ] && command -v prlimit >/dev/null; then
	# With one of them a connection is turned away, with a few more it is not let in.
	for ((limit = 3, nr_free = 0; nr_free < 6; limit++)); do
		[ -e "/proc/$target_pid/fd/$limit" ] && continue
		nr_free=$((nr_free + 1))
		prlimit --pid "$target_pid" --nofile=$((limit + 1)): || bad "prlimit failed"
		! bounded "$brp_perf" "$target_uri/locked" --rw randread --time 100ms >"$tmp/refusal" 2>&1 || break
		! grep -q 'no file descriptors left' "$tmp/refusal" || break
	done
	grep -q 'refused volume locked: .*no file descriptors left' "$tmp/refusal" ||
		bad "with $limit descriptors: $(<"$tmp/refusal")"
fi
stop_target
refuses 3 "refused" "$brp_ops" shapes "$target_uri/ram"
one_line 1
