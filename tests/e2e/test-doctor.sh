#!/bin/bash
# doctor: findings with what mends them, the way to a target step by step, and the exit status.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

# finds PATTERN [URI]: among the findings, whatever the exit status.
finds() {
	fake doctor "${@:2}" >"$tmp/findings" 2>"$tmp/err" || true
	[ ! -s "$tmp/err" ] || bad "doctor ${*:2}: said on stderr: $(<"$tmp/err")"
	grep -qE "$1" "$tmp/findings" || bad "doctor ${*:2}: no '$1': $(<"$tmp/findings")"
	note "good: $(grep -E -m 1 "$1" "$tmp/findings")"
}

start_target --dev ram:16M,name=v
finds '^ok    fake  *can be used, and is what --device auto takes'
finds '^(ok|warn)  *memlock '
finds '^(ok|warn)  *kernel  *io_uring'
finds '^(ok|warn)  *loop '
finds '^(ok|warn)  *rdma '
finds '^ok    target .*speaks BRP and offers 1 volumes' "$target_uri"
finds '^ok    target .*it offers this volume' "$target_uri/v"
finds '^bad   target .*it does not offer this volume' "$target_uri/w"
finds '^bad   target .*has no address' brp+tcp://no-such-host.invalid/v
if [ "$BRP_TEST_TRANSPORT" = tcp ]; then
	finds '^bad   target .*Connection refused' "brp+tcp://$BRP_TEST_ADDRESS:1/v"
	finds '^bad   target' "brp+tcp://$BRP_TEST_ADDRESS:1/v"
fi
[ "$BRP_TEST_TRANSPORT" = tcp ] || finds '^ok    rdma .*is active'

note "what is bad is the exit status, and everything that is not ok comes with what mends it"
refuses 1 '^bad   target' fake doctor "$target_uri/w"
refuses 2 'begins with' fake doctor http://host
BRP_FAKE_MISSING=yes finds '^warn  fake  *cannot be used here'
grep -q ' -> there is no fake today; unset' "$tmp/findings" || bad "it is not said why: $(<"$tmp/findings")"
grep -q '^bad   front ends .*none can be used' "$tmp/findings" || bad "without a front end all is well?"
awk '/^(warn|bad)/ { if (open) exit 1; open = 1; next } / -> ./ { open = 0; next } open { exit 1 }' "$tmp/findings" ||
	bad "a finding without what mends it: $(<"$tmp/findings")"

if command -v python3 >/dev/null; then
	fake doctor "$target_uri/w" -o json >"$tmp/out.json" || true
	python3 - "$tmp/out.json" <<'PYTHON' || bad "the JSON is not right: $(<"$tmp/out.json")"
import json, sys
j = json.load(open(sys.argv[1]))
assert j['format_version'] == 1 and j['result'] == 'bad'
for f in j['findings']:
    assert f['subject'] and f['text'] and f['result'] in ('ok', 'warn', 'bad')
    assert (f['result'] == 'ok') == ('fix' not in f)
PYTHON
fi

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	note "without rights"
	chmod 755 "$tmp"
	cp "$fake_initiator" "$tmp/initiator"
	refuses 1 '^bad   permissions ' setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all \
		env BRP_DEV_DIR=/dev "$tmp/initiator" doctor
fi
stop_target
