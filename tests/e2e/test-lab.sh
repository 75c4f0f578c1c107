#!/bin/bash
# bench/lab: the smallest native comparison there is, and what it leaves behind. Its figures are not judged here.
# transports: tcp
# alone: keeps two processors busy
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

lab=$e2e_dir/../../bench/lab
[ "$(nproc)" -ge 2 ] || cannot "find two processors"
[ -x "$BRP_BUILD/bench/raw-tcp" ] || cannot "find raw-tcp in this build"

timeout 100 python3 "$lab" --rig native --quick --rounds 1 --rw read --depths 1,2 --size 16M --build "$BRP_BUILD" --out "$tmp" \
	>"$tmp/lab.log" 2>&1 || {
	cat "$tmp/lab.log"
	bad "bench/lab failed"
}
python3 - "$tmp/lab-native.json" <<'PYTHON' || bad "lab-native.json lacks something"
import json
import sys

with open(sys.argv[1]) as f:
    result = json.load(f)
assert result["format"] == 1 and "commit" in result["about"] and result["about"]["kernel"]
rows = {row["contender"]: row for row in result["rows"]}
for name in ("raw blocking", "raw blocking, volume", "raw spinning", "brp-perf", "brp-perf polling"):
    assert rows[name]["iops"] > 0 and rows[name]["mean_us"] > 0, name
PYTHON
grep -q '^| brp-perf |' "$tmp/lab-native.md" || bad "lab-native.md lacks a row"
refuses 2 'depths' "$lab" --depths one --build "$BRP_BUILD" --out "$tmp"
refuses 1 'build it first' "$lab" --rig native --build "$tmp" --out "$tmp"
