#!/bin/bash
# Peers that take what they can get: others go on, and memory is bounded.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 16M
# Buffers are few, so that they run out.
start_target --max-connections 64 --buffer-memory 32M --grace 1 --dev ram:64M,name=vol \
	--dev "$file,name=slow,block=4096,fault=delay=2s:write" --dev ram:16M,name=stuck,fault=stall:write
python3 "$proto_dir/abuse.py" "$BRP_TEST_ADDRESS" "$target_port" "$target_pid" 64 32 || bad "abuse"
if [ -x "$brp_targetctl" ]; then
	"$brp_targetctl" --control "$tmp/target.sock" stats | tee "$tmp/stats" | head -n 30
	grep -qE ' cut_crowded +[1-9]' "$tmp/stats" || bad "nobody was cut off to make room"
	grep -qE ' connections_refused +[1-9]' "$tmp/stats" || bad "nobody was turned away"
fi
# The stuck requests are never answered: the end is bounded all the same.
kill -TERM "$target_pid"
end_of "$target_pid" 60
[ "$(<"$tmp/end-status")" = 3 ] || bad "status $(<"$tmp/end-status"), must be 3"
target_pid=
if grep -E 'Assertion|Sanitizer|runtime error' "$target_log"; then
	bad "the target complained"
fi
