#!/bin/bash
# SIGHUP: the configuration and its drop-ins are read again. Volumes come, go and grow while others are in use; initiators
# are told; a wrong configuration changes nothing.
# transports: tcp
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

has_reloaded() {
	[ "$(grep -cE 'configuration (loaded again|is not)' "$target_log")" -ge "$1" ]
}

nr_reloads=0
reload() {
	nr_reloads=$((nr_reloads + 1))
	kill -HUP "$target_pid"
	wait_for 60 has_reloaded "$nr_reloads" || bad "SIGHUP, and nothing happens"
}

# watch NAME VOLUME [write]: what the target says by itself goes to $tmp/NAME.log.
watch() {
	start_client "$1" python3 "$proto_dir/events.py" "$BRP_TEST_ADDRESS" "$target_port" "${@:2}"
	wait_for 60 grep -q ready "$tmp/$1.log" || bad "$1: no login"
}

# said NAME LINE
said() {
	wait_for 60 grep -qx "$2" "$tmp/$1.log" || {
		cat "$tmp/$1.log"
		bad "$1 was not told: $2"
	}
}

serves() {
	ops mixed "$1" --requests=500 --depth=8 --span=$((4 << 20))
}

make_file one.img 16M
one=$file
make_file two.img 16M
two=$file
conf=$tmp/target.conf
mkdir "$conf.d"
listen=$BRP_TEST_TRANSPORT://$BRP_TEST_ADDRESS:0
printf '[target]\nlisten = %s\ndev = %s,name=one\n' "$listen" "$one" >"$conf"
printf '[target]\ndev = ram:16M,name=mem\n' >"$conf.d/10-mem.conf"
launch_target --config "$conf" --dev ram:4M,name=stays
watch one one
watch mem mem
watch stays stays

note "-- one grows, mem goes, two comes"
truncate -s 24M "$one"
rm "$conf.d/10-mem.conf"
printf '[target]\ndev = %s,name=two\n' "$two" >"$conf.d/20-two.conf"
printf 'this is not a configuration\n' >"$conf.d/30-no-conf.txt"
reload
said one "resized $((24 << 11))"
said one 'read-last 0'
said mem removed
said mem 'goodbye 12'
said mem closed
serves two
serves one
refuses 3 'nothere|mem' "$brp_ops" shapes "$target_uri/mem"

note "-- a wrong configuration changes nothing"
printf '[target]\ndev = %s,colour=red\n' "$two" >"$conf.d/20-two.conf"
reload
grep -q 'colour=red: unknown option' "$target_log" || bad "the mistake was not said"
serves two
printf '[target]\ndev = ram:4M,name=two\ndev = ram:4M,name=two\n' >"$conf.d/20-two.conf"
reload
serves two
note "-- it shrinks: refused"
printf '[target]\ndev = %s,name=two\n' "$two" >"$conf.d/20-two.conf"
truncate -s 8M "$one"
reload
grep -q 'less than the' "$target_log" || bad "a smaller file, and nothing said"
truncate -s 24M "$one"

note "-- another SPEC: replaced, when what is in flight is answered"
printf '[target]\ndev = %s,name=two,fault=delay=3s:write\n' "$two" >"$conf.d/20-two.conf"
reload
watch slow two write
printf '[target]\ndev = %s,name=two\nthreads = 7\n' "$two" >"$conf.d/20-two.conf"
reload
said slow 'written 0'
said slow 'goodbye 12'
[ "$(head -n 4 "$tmp/slow.log" | tr '\n' ' ')" = "ready $((16 << 11)) removed written 0 goodbye 12 " ] ||
	bad "in another order: $(<"$tmp/slow.log")"
wait_for 60 serves two || bad "two did not come back"
grep -q 'threads has changed.*restarted' "$target_log" || bad "threads changed, and nothing said"

note "-- the end is told"
kill -TERM "$target_pid"
for name in one stays; do
	said "$name" going-down
	said "$name" 'goodbye 14'
	said "$name" closed
done
if grep -q removed "$tmp/stays.log"; then
	bad "a volume that was not touched was removed"
fi
end_of "$target_pid" 60
[ "$(<"$tmp/end-status")" = 0 ] || bad "status $(<"$tmp/end-status")"
target_pid=
