#!/bin/bash
# A target that cannot start says why in a line and ends with 1 (cannot) or 2 (wrong usage).
# transports: tcp
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

listen=(--listen tcp://127.0.0.1:0)
start() {
	refuses "$1" "$2" "$brp_target" "${listen[@]}" "${@:3}"
}

start 1 '/nonexistent/disk' --dev /nonexistent/disk
one_line 1
make_file tiny.img 100
start 1 'tiny.img.*(small|less than)' --dev "$file"
one_line 1
mkdir "$tmp/folder"
start 1 'folder' --dev "$tmp/folder"
one_line 1
start 1 'zero|null' --dev /dev/null
one_line 1
start 1 'two volumes' --dev ram:16M --dev ram:16M
for spec in "" ram: ram:x ram:0 ram:-1 null:1Q "ram:16M,name=" "ram:16M,name=a/b" "ram:16M,block=1000" \
	"ram:16M,colour=red" "ram:16M,,"; do
	status=0
	timeout 60 "$brp_target" "${listen[@]}" --dev "$spec" >"$tmp/out" 2>&1 </dev/null || status=$?
	((status == 1 || status == 2)) || { cat "$tmp/out"; bad "--dev '$spec': status $status"; }
	grep -q '^brp-target: ' "$tmp/out" || { cat "$tmp/out"; bad "--dev '$spec': nothing said"; }
	note "good: $(head -n 1 "$tmp/out")"
done
start 2 'dev' --threads 2
start 2 'threads' --dev ram:16M --threads 0
start 2 'threads' --dev ram:16M --threads 1x
start 2 'io-mode' --dev ram:16M --io-mode sideways
start 2 'io-engine' --dev ram:16M --io-engine steam
start 2 'nosuch' --dev ram:16M --nosuch
start 2 'stray' --dev ram:16M stray
start 2 'listen' --dev ram:16M --listen nfs://127.0.0.1
start 2 'config|nofile' --config "$tmp/nofile"
printf '[target]\ndev = ram:16M\nthreads = many\n' >"$tmp/bad.conf"
start 2 'threads' --config "$tmp/bad.conf"
mkdir -p "$tmp/good.conf.d/folder.conf"
printf '[target]\ndev = ram:16M\n' >"$tmp/good.conf"
start 2 'good.conf.d/folder.conf.*directory' --config "$tmp/good.conf"
start 2 'folder.*directory' --dev ram:16M --config "$tmp/folder"
start 1 'tiny.img.*no socket' --dev ram:16M --control "$file"
[ "$(wc -c <"$file")" = 100 ] || bad "--control has harmed a file"
start 1 '/nonexistent/dir' --dev ram:16M --control /nonexistent/dir/socket
start 2 'control' --dev ram:16M --control relative
refuses 0 'usage: brp-target' "$brp_target" --help
refuses 0 'brp-target [0-9]' "$brp_target" --version

start_target --dev ram:16M
refuses 1 "$target_port.*in use|in use.*$target_port" "$brp_target" --dev ram:16M \
	--listen "tcp://127.0.0.1:$target_port"
one_line 2
ops refused ram
stop_target
