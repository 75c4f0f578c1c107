#!/bin/bash
# brp-perf: verified runs, the fields of its JSON, and errors.
# transports: tcp rdma
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

start_target --dev ram:64M
for rw in randread randwrite randrw read write; do
	timeout 60 "$brp_perf" "$target_uri/ram" --rw $rw --bs 4k --iodepth 32 --jobs 2 --time 1 --verify \
		>"$tmp/perf.out" 2>&1 || {
		cat "$tmp/perf.out"
		bad "brp-perf --rw $rw"
	}
done
timeout 60 "$brp_perf" "$target_uri/ram" --rw randread --bs 4k --iodepth 8 --time 1 -o json >"$tmp/perf.json"
for field in rig transport merge rw bs iodepth jobs iops bw_bytes errors lat_us mean p50 p99 p999 max jumbo messages \
	requests; do
	grep -q "\"$field\"" "$tmp/perf.json" || { cat "$tmp/perf.json"; bad "JSON without '$field'"; }
done
grep -q '"errors": *0' "$tmp/perf.json" || bad "brp-perf counts errors"
refuses 3 'nothere' "$brp_perf" "$target_uri/nothere" --rw randread --time 1
refuses 2 'rw|upside' "$brp_perf" "$target_uri/ram" --rw upside
refuses 2 'begins with brp' "$brp_perf" nothing --time 1
refuses 2 'no volume' "$brp_perf" "$target_uri" --time 1
stop_target
