#!/bin/bash
# connect-all: files, drop-ins, mistakes with their place, retries, and what is there already.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/cli-lib.sh
. "$(dirname "$0")/cli-lib.sh"

conf=$tmp/etc
mkdir -p "$conf/conf.d"

start_target --dev ram:16M,name=a --dev ram:16M,name=b --dev ram:16M,name=c
cat >"$conf/volumes.conf" <<FILE
# two that are wanted, one that is not
[first]
uri = $target_uri/a
queues = 2
merge = off

[second]
uri = $target_uri/b
read-only = yes

[third]
uri = $target_uri/c
enabled = no
FILE
printf '[first]\nqueues = 3\n' >"$conf/conf.d/50-more.conf"

note "what would be connected"
fake connect-all --config "$conf" --dry-run >"$tmp/out"
[ "$(cut -d ' ' -f 2- "$tmp/out" | tr '\n' ';')" = "first $target_uri/a;second $target_uri/b;" ] || bad "$(<"$tmp/out")"
nothing_left

note "connected, the drop-in counts"
fake connect-all --config "$conf" >"$tmp/out"
[ "$(tr '\n' ';' <"$tmp/out")" = "$BRP_DEV_DIR/brp0 first $target_uri/a;$BRP_DEV_DIR/brp1 second $target_uri/b;" ] ||
	bad "$(<"$tmp/out")"
fake stat brp0 | grep -q '^queues *3 of' || bad "first has not three queues"
fake stat brp1 | grep -q '^features .*read_only' || bad "second is not read-only"

note "again"
refuses 5 "volumes.conf:3: \[first\]: connected already" fake connect-all --config "$conf"
fake connect-all --config "$conf" --idempotent >/dev/null || bad "--idempotent"

note "by label"
fake connect-all --config "$conf" 'th*' | grep -q ' third ' || bad "third is not connected by its label"
refuses 3 'no \[fourth\]' fake connect-all --config "$conf" fourth
fake disconnect-all >/dev/null
nothing_left

note "mistakes: all of them, each with its place, and nothing is connected"
cat >"$tmp/bad.conf" <<FILE
queues = 1
[one]
uri = $target_uri/a
queues = many
colour = red
queues = 2
queues = 3
nonsense
[two]
uri = http://example/x
read-only = perhaps
[three]
merge = off
FILE
refuses 2 'nothing is connected \(mistakes: 8\)' fake connect-all --config "$tmp/bad.conf"
for place in '1: queues stands before' '4: queues = many: not a number' '5: colour: no such option' \
	'7: \[one\] has queues already' '8: neither' '10: uri = http' '11: read-only = perhaps' '13: \[three\] has no uri'; do
	grep -q "bad.conf:$place" "$tmp/refusal" || bad "bad.conf:$place is not told: $(<"$tmp/refusal")"
done
nothing_left
refuses 2 'none.conf: No such file' fake connect-all --config "$tmp/none.conf"
mkdir -p "$tmp/odd/folder.conf"
refuses 2 'folder.conf:.*directory' fake connect-all --config "$tmp/odd"
mkdir "$tmp/empty"
fake connect-all --config "$tmp/empty" || bad "no files are no mistake"

note "one that fails does not keep the others"
printf '[0]\nuri = brp+tcp://%s:1/x\n' "$BRP_TEST_ADDRESS" >"$conf/0.conf"
refuses 6 '\[0\]: .*refused' fake connect-all --config "$conf"
[ "$(fake list | grep -c ' live$')" = 2 ] || bad "the others are not connected"
fake disconnect-all >/dev/null

note "a target that comes later"
rm "$conf/0.conf"
port=$target_port
stop_target
start_client later env BRP_RUN_DIR="$BRP_RUN_DIR" timeout 60 "$fake_initiator" connect-all --config "$conf" --retry 40
later_pid=$client_pid
is_told() {
	[ "$(grep -c 'tried again for 40 s' "$tmp/later.log")" = 2 ]
}
wait_for 60 is_told || bad "nobody is told what is waited for: $(<"$tmp/later.log")"
launch_target --dev ram:16M,name=a --dev ram:16M,name=b --listen "tcp://$BRP_TEST_ADDRESS:$port"
finish_client later "$later_pid" 60 0
[ "$(fake list | grep -c ' live$')" = 2 ] || bad "they are not connected: $(fake list)"
fake disconnect-all >/dev/null
nothing_left
stop_target
