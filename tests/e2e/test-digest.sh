#!/bin/bash
# Digests on TCP: who gets them, and a proxy that flips bits on the way: noticed, counted, never delivered.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

perf() {
	timeout 60 "$brp_perf" "$@" --bs 4k --iodepth 16 --time 1 -o json
}

# has_digest on|off|auto true|false: what is agreed on with the target that runs.
has_digest() {
	perf "$target_uri/ram" --rw randread --data-digest "$1" >"$tmp/perf.json" || bad "brp-perf --data-digest $1"
	grep -q "\"digest\": $2" "$tmp/perf.json" || { cat "$tmp/perf.json"; bad "--data-digest $1 is not $2"; }
}

# start_proxy up|down|none EVERY COUNT
start_proxy() {
	proxy_log=$tmp/proxy-$1.log
	start_client "proxy-$1" python3 "$proto_dir/flip_proxy.py" "$BRP_TEST_ADDRESS" "$target_port" "$@"
	proxy_pid=$client_pid
	wait_for 60 test -s "$proxy_log"
	proxy_uri=brp+tcp://127.0.0.1:$(head -n 1 "$proxy_log")
}

stop_proxy() {
	kill "$proxy_pid"
	wait "$proxy_pid" || { cat "$proxy_log"; bad "the proxy failed"; }
	flipped=$(sed -n 's/ flipped$//p' "$proxy_log")
}

# ---- negotiation

start_target --dev ram:64M --digest off
has_digest auto false
refuses 3 'does not do digests' "$brp_perf" "$target_uri/ram" --rw randread --time 1 --data-digest on
stop_target
start_target --dev ram:64M --digest require
has_digest on true
refuses 3 'requires digests' "$brp_perf" "$target_uri/ram" --rw randread --time 1 --data-digest off
stop_target

start_target --dev ram:64M --digest on
has_digest auto true
has_digest off false
stop_target

# ---- damage

start_target --dev ram:64M
has_digest on true
has_digest auto false
# Readers of a memory volume get what a digest was made of, although others write to the same blocks all the time.
perf "$target_uri/ram" --rw randrw --jobs 4 --size 64k --data-digest on >"$tmp/perf.json" || bad "readers beside writers"
grep -q '"reconnects": 0,' "$tmp/perf.json" || { cat "$tmp/perf.json" "$target_log"; bad "a digest was outrun by a writer"; }
start_proxy none 1 0
perf "$proxy_uri/ram" --rw randrw --verify --data-digest on >"$tmp/perf.json" || bad "brp-perf through the proxy"
stop_proxy
# A flip ends its connection, so that of what was under way nothing more arrives: each flip is one loss.
for way in up down; do
	start_proxy "$way" 1000000 3
	# Requests are in flight when the last flip is done: it ends when it has connected again.
	start_client perf "$brp_perf" "$proxy_uri/ram" --rw randrw --verify --data-digest on --bs 4k --iodepth 16 --time 3600 -o json
	wait_for 60 grep -qx 'done' "$proxy_log" || bad "$way: the proxy did not come to flip three bits: $(<"$tmp/perf.log")"
	kill -INT "${client_pids[perf]}"
	finish_client perf "${client_pids[perf]}" 60 0
	grep -v '^brp-perf: ' "$tmp/perf.log" >"$tmp/perf.json"
	stop_proxy
	[ "$flipped" = 3 ] || bad "the proxy flipped '$flipped' bits"
	grep -q '"wrong": 0 ' "$tmp/perf.json" || { cat "$tmp/perf.json"; bad "$way: damaged data was delivered"; }
	grep -q '"errors": 0' "$tmp/perf.json" || bad "$way: requests failed"
	at_initiator=0
	[ "$way" = up ] || at_initiator=3
	for want in '"reconnects": 3' "\"digest_errors\": $at_initiator"; do
		grep -q "$want," "$tmp/perf.json" || { cat "$tmp/perf.json"; bad "$way: not $want"; }
	done
done
[ "$(grep -c 'digest is .* not ' "$target_log")" = 3 ] || bad "the target noticed another number of damages"
# The target is as good as new.
perf "$target_uri/ram" --rw randrw --verify >"$tmp/perf.json" || bad "brp-perf afterwards"
stop_target
