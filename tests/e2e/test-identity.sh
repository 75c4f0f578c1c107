#!/bin/bash
# What a restarted target says (protocol.md 4.2): kill -9 loses nothing of a file, all of a memory volume, and what
# was not flushed of a volatile cache.
# transports: tcp
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

make_file disk.img 16M
disk=$file
make_file lossy.img 16M
volumes=(--dev "$disk,name=disk" --dev "$file,name=lossy,fault=volatile" --dev ram:16M)

identities() {
	python3 "$proto_dir/identity.py" "$BRP_TEST_ADDRESS" "$target_port" disk lossy ram >"$tmp/$1"
}

# value FILE LINE-START
value() {
	grep "^$2 " "$tmp/$1"
}

same() {
	[ "$(value before "$1")" = "$(value after "$1")" ] || bad "$1 is another one after kill -9"
}

another() {
	[ "$(value before "$1")" != "$(value after "$1")" ] || bad "$1 is the same after kill -9"
}

start_target "${volumes[@]}"
identities before
kill -KILL "$target_pid"
end_of "$target_pid" 60
start_target "${volumes[@]}"
identities after
for one in 'disk uuid' 'disk generation' 'disk boot' 'lossy uuid' 'lossy generation'; do
	same "$one"
done
for one in run 'lossy boot' 'ram uuid' 'ram generation' 'ram boot'; do
	another "$one"
done
stop_target

# A copy in the place of the file, attributes and all, is not what an initiator waits for.
cp --preserve=all "$disk" "$tmp/copy"
mv "$tmp/copy" "$disk"
start_target "${volumes[@]}"
identities before
another 'disk generation'
stop_target
