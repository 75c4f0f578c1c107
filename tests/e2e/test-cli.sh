#!/bin/bash
# brp-initiator: every verb, its JSON, what it refuses and with which exit status.
# transports: tcp
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

command -v python3 >/dev/null || cannot "no python3"

# json EXPRESSION COMMAND...: must print JSON of our format on stdout alone, for which EXPRESSION (of j) is true.
json() {
	local expression=$1

	shift
	"$@" -o json >"$tmp/out.json" 2>"$tmp/err" || bad "$* -o json: status $?: $(<"$tmp/err")"
	[ ! -s "$tmp/err" ] || bad "$* -o json: said on stderr: $(<"$tmp/err")"
	python3 - "$expression" "$tmp/out.json" <<'PYTHON' || bad "$*: not $expression: $(<"$tmp/out.json")"
import json, sys
j = json.load(open(sys.argv[2]))
assert j['format_version'] == 1
sys.exit(not eval(sys.argv[1]))
PYTHON
}

# usage PATTERN COMMAND...: status 2, and nothing on stdout.
usage() {
	local pattern=$1

	shift
	refuses 2 "^brp-initiator: .*$pattern" "$@"
	one_line 2
}

start_target --dev ram:64M,name=one --dev ram:32M,name=two
one=$target_uri/one
two=$target_uri/two

# ---- before anything is connected
json "len(j['devices']) == 0" fake list
json "j['version'] and j['front_ends'] == ['fake']" fake version
json "[v['name'] for v in j['volumes']] == ['one', 'two'] and j['volumes'][0]['size_bytes'] == 64 << 20" \
	fake discover "$target_uri"
fake discover "$target_uri" | grep -q '^one  *64.0 MiB' || bad "discover shows no volume one"

# ---- help
fake --help | sed -n 's/^  \([a-z-][a-z-]*\)  .*/\1/p' | LC_ALL=C sort >"$tmp/verbs"
printf '%s\n' connect connect-all disconnect disconnect-all discover doctor help list stat version |
	cmp - "$tmp/verbs" || bad "other verbs than documented"
while read -r verb; do
	fake "$verb" --help | grep -q "^usage: brp-initiator $verb" || bad "$verb --help"
	fake help "$verb" | cmp -s - <(fake "$verb" --help) || bad "help $verb differs from $verb --help"
	usage 'unknown option' fake "$verb" --frobnicate
done <"$tmp/verbs"

# ---- wrong command lines
usage 'no such verb' fake frobnicate
usage 'what to do' fake
usage 'URI is missing' fake connect
usage 'one URI only' fake connect "$one" "$two"
usage 'names no volume' fake connect "$target_uri"
usage 'brp' fake connect http://host/volume
usage 'not a number from 1 to 256' fake connect "$one" --queues 0
usage 'not a number from 1 to 4096' fake connect "$one" --queue-size 4097
usage 'not auto, ublk, nbd or fuse' fake connect "$one" --device floppy
usage 'adaptive' fake connect "$one" --merge sometimes
usage 'seconds' fake connect "$one" --reconnect-delay soon
usage 'seconds' fake connect "$one" --ctrl-loss-tmo -2
usage 'seconds' fake connect "$one" --keep-alive-tmo 99999
usage 'absolute path' fake connect "$one" --log-file here.log
usage 'normal or json' fake list -o xml
usage 'needs a value' fake connect "$one" --queues
usage 'unexpected argument' fake list all
usage 'which device' fake disconnect
usage 'URI is missing' fake discover

# ---- what is not there
refuses 3 'no such volume|unknown' fake connect "$target_uri/three"
one_line
refuses 6 'refused' fake connect "brp+tcp://$BRP_TEST_ADDRESS:1/one"
one_line
refuses 6 'refused' fake discover "brp+tcp://$BRP_TEST_ADDRESS:1"
refuses 3 'no device of ours' fake stat brp0
refuses 3 'no device of ours' fake disconnect /dev/brp0
refuses 1 'log.*No such file' fake connect "$one" --log-file "$tmp/nowhere/x.log"
nothing_left

# ---- connect
json "j['dry_run'] and j['uri'] == '$one'" fake connect "$one" --dry-run
nothing_left
json "j['device'] == '$BRP_DEV_DIR/brp0' and j['volume'] == 'one' and j['front_end'] == 'fake'" \
	fake connect "$one" --queues 3 --queue-size 16 --merge always:30 --read-only --log-file "$tmp/one.log"
[ "$(fake connect "$two")" = "$BRP_DEV_DIR/brp1" ] || bad "the second device is not brp1"
grep -q "notice: .*/one is $BRP_RUN_DIR/fake-0, by fake, 3 queues of 16\$" "$tmp/one.log" || bad "the log file does not tell"
refuses 5 'connected already, as brp0' fake connect "$one"
one_line
refuses 5 'connected already' fake connect "$one" --dry-run
[ "$(fake connect "$one" --idempotent)" = "$BRP_DEV_DIR/brp0" ] || bad "--idempotent prints another device"
json "[d['device'][-4:] + ' ' + d['state'] for d in j['devices']] == ['brp0 live', 'brp1 live']" fake list
json "j['queues'] == 3 and j['queue_size'] == 16 and j['read_only'] and len(j['queue_stats']) == 3" fake stat "$one"
json "j['server_pid'] == $(entry brp1 server_pid) and j['gives_up_ms'] == -1" fake stat brp1
fake list | grep -q "$BRP_RUN_DIR/fake-0 .* $one  live$" || bad "list does not show $one"
fake stat "$BRP_DEV_DIR/brp0" | grep -q '^state *live' || bad "stat does not tell the state"

# ---- disconnect
json "j['disconnected'] == ['brp0'] and j['dry_run']" fake disconnect brp0 --dry-run
has_entry brp0 || bad "--dry-run disconnected"
fake disconnect "$one" || bad "disconnect by URI"
no_entry brp0 || bad "brp0 is still there"
fake disconnect "$one" --idempotent || bad "--idempotent does not accept that it is gone"
[ "$(fake connect "$one")" = "$BRP_DEV_DIR/brp0" ] || bad "the lowest free name is not taken"
json "sorted(j['disconnected']) == ['brp0', 'brp1']" fake disconnect-all
json "j['disconnected'] == []" fake disconnect-all
nothing_left

# ---- nothing to serve with
BRP_FAKE_MISSING=yes refuses 1 'no front end can be used here; fake: there is no fake today' fake connect "$one"
nothing_left
stop_target
