#!/bin/bash
# The control socket: what it tells, and volumes added, removed, resized while others are in use.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

[ -x "$brp_targetctl" ] || cannot "built without brp-targetctl (jansson)"
control=$tmp/target.sock
ctl() {
	timeout 60 "$brp_targetctl" --control "$control" "$@"
}

# json COMMAND PYTHON-EXPRESSION over the reply, called r
json() {
	ctl -o json "$1" | python3 -c "import json, sys; r = json.load(sys.stdin); print(($2))"
}

is() {
	local got

	got=$(json "$1" "$2")
	[ "$got" = "$3" ] || bad "$1: $2 is $got, must be $3"
}

make_file disk.img 16M
disk=$file
start_target --dev ram:16M --dev "$disk,name=disk"
[ "$(stat -c %a "$control")" = 600 ] || bad "others may use the control socket"

note "-- what it tells"
ops mixed ram --requests=300 --depth=8 --span=$((4 << 20))
is status "r['volumes'], r['pid']" "(2, $target_pid)"
is status "len(r['listening'])" 1
is volumes "[v['name'] for v in r['volumes']]" "['ram', 'disk']"
is stats "r['volumes']['ram']['reads'] > 50 and r['volumes']['ram']['read_bytes'] > 4096 * 50" True
is stats "r['volumes']['ram']['writes'] > 50 and r['volumes']['ram']['errors'] == 0" True
is stats "r['volumes']['disk']['reads'], r['counters']['protocol_errors']" "(0, 0)"
start_client hold "$brp_ops" hold "$target_uri/disk" --sessions=2 --queues=2 --seconds=3600
hold_pid=$client_pid
wait_for 60 grep -q holding "$tmp/hold.log" || bad "no sessions"
is sessions "sorted((s['volume'], len(s['connections'])) for s in r['sessions'])" "[('disk', 2), ('disk', 2)]"
is volumes "[v['connections'] for v in r['volumes']]" "[0, 4]"
ctl volumes | grep -qE '^disk +16777216 +512 +write-back +4 +on offer' || bad "volumes as text"
ctl sessions | grep -c ' disk ' | grep -qx 2 || bad "sessions as text"
ctl stats | grep -qE '^ +logins +[1-9]' || bad "stats as text"
ctl status | grep -q "$target_port" || bad "status as text"
kill -TERM "$hold_pid"
finish_client hold "$hold_pid" 60 0

note "-- add, resize, remove"
make_file more.img 8M
ctl add "$file,name=more"
ops mixed more --requests=300 --depth=8 --span=$((4 << 20))
ctl resize more 12M
[ "$(stat -c %s "$file")" = $((12 << 20)) ] || bad "the file has not grown"
is volumes "[v['size_bytes'] for v in r['volumes'] if v['name'] == 'more']" "[$((12 << 20))]"
refuses 1 'resize: .*(less|force)' ctl resize more 4M
ctl --force resize more 4M
is volumes "[v['size_bytes'] for v in r['volumes'] if v['name'] == 'more']" "[$((4 << 20))]"
refuses 1 'cannot be resized' ctl resize ram
refuses 1 'two volumes named more' ctl add "$file,name=more"
refuses 1 'colour=red' ctl add "$file,colour=red"
refuses 1 '/nonexistent' ctl add /nonexistent
ctl remove more
refuses 3 'more: volume removed' "$brp_ops" shapes "$target_uri/more"
refuses 3 'never: no such volume' "$brp_ops" shapes "$target_uri/never"
refuses 1 'no volume named more' ctl remove more
ctl add "ram:4M,name=more" # the name is free at once
timeout 60 "$brp_ops" shapes "$target_uri/more" || bad "a volume that came back cannot be used"
ctl remove more

note "-- I/O on one volume while others come and go"
start_mixed load disk --depth=16 --span=$((8 << 20))
for ((i = 0; i < $(scale 20); i++)); do
	ctl add "ram:1M,name=guest"
	ctl remove guest
done
end_mixed load
is volumes "[v['name'] for v in r['volumes']]" "['ram', 'disk']"
ctl reload
is volumes "[v['name'] for v in r['volumes']]" "['ram', 'disk']"
is stats "r['counters']['reloads'], r['counters']['volumes_removed'] >= $(scale 20)" "(1, True)"

note "-- requests that make no sense"
python3 - "$control" <<'EOF'
import json, socket, sys
for request in (b'\n', b'{}\n', b'[]\n', b'{"command": 7}\n', b'{"command": "add"}\n', b'\xff\xfe\n', b'{"command":\n',
                b'{"command": "nosuch"}\n', b'{' * 200000 + b'\n'):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    try:
        s.sendall(request)
        reply = s.makefile().readline()
    except (BrokenPipeError, ConnectionResetError):
        continue  # too long, and closed before it was read
    assert not reply or json.loads(reply)['ok'] is False, (request[:30], reply)
EOF
refuses 2 'which command' "$brp_targetctl"
refuses 2 'no such command' ctl dance
refuses 2 'takes name' ctl remove
refuses 2 'not a size' ctl resize ram big
refuses 3 'no answer.*running' "$brp_targetctl" --control "$tmp/nosuch.sock" status

note "-- two targets"
refuses 1 'another brp-target answers' "$brp_target" --dev ram:1M --listen "tcp://127.0.0.1:0" --control "$control"
is status "r['pid']" "$target_pid"

note "-- the end, by command; a dead target's socket is taken over"
kill -KILL "$target_pid"
end_of "$target_pid" 60
[ -S "$control" ] || bad "the socket should have been left behind"
start_target --dev ram:16M
is status "r['pid']" "$target_pid"
ctl drain
end_of "$target_pid" 60
[ "$(<"$tmp/end-status")" = 0 ] || bad "status $(<"$tmp/end-status")"
target_pid=
[ ! -e "$control" ] || bad "the socket is still there"

note "-- in the default place: a second target's socket goes when the third starts, or brp-targetctl asks"
private_run() {
	unshare -m bash -c 'mount -t tmpfs run /run && mkdir /run/brp && exec bash "$@"' - "$@"
}
cat >"$tmp/three.sh" <<'EOF'
target=$1 ctl=$2 tmp=$3
pids=()
start() {
	"$target" --dev ram:1M --listen tcp://127.0.0.1:0 >"$tmp/three-$1.log" 2>&1 &
	pids+=($!)
	for ((try = 0; try < 400; try++)); do
		grep -q ': ready$' "$tmp/three-$1.log" && return
		sleep 0.05
	done
	echo "target $1 is not ready"
}
kill_one() {
	kill -KILL "${pids[$1]}"
	wait "${pids[$1]}" 2>/dev/null
}
start 0
start 1
kill_one 1
[ -S "/run/brp/target-${pids[1]}.sock" ] || echo "the killed one left nothing"
start 2
[ ! -e "/run/brp/target-${pids[1]}.sock" ] || echo "the third target removes nothing"
kill_one 2
"$ctl" status | grep -q "${pids[0]}" || echo "the first target does not answer"
[ "$(echo /run/brp/*)" = /run/brp/target.sock ] || echo "brp-targetctl leaves $(echo /run/brp/*)"
kill_one 0
exit 0
EOF
if [ "$(id -u)" = 0 ] && private_run -c true 2>/dev/null; then
	said=$(private_run "$tmp/three.sh" "$brp_target" "$brp_targetctl" "$tmp" 2>/dev/null) || bad "no /run of its own"
	[ -z "$said" ] || bad "$said"
else
	note "cannot have a /run of its own here"
fi
