#!/bin/bash
# What comes back is not what was left: the session fails, with the reason in words, and does not go on silently.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# restart_under_load WORDS VOLUME ARG...: the load must say so, and end with status $want; with 0 it goes on until it is
# told to end.
restart_under_load() {
	local words=$1 volume=$2

	shift 2
	start_mixed load "$volume" --reconnect --depth=16 --no-discard --max-bytes=65536
	sleep 1
	kill -KILL "$target_pid"
	wait "$target_pid" 2>/dev/null || true
	restart_target "$port" "$@"
	if [ "${want-}" = 0 ]; then
		until_event load flowing 2
		end_mixed load
	else
		finish_client load "${client_pids[load]}" 60 "${want:-4}"
	fi
	grep -E -m 1 "$words" "$tmp/load.log" || { cat "$tmp/load.log"; bad "it does not say '$words'"; }
}

# Memory comes back empty.
start_target --dev ram:32M
port=$target_port
restart_under_load 'failed: ram came back as another volume .*memory that was emptied.*not the same data' ram --dev ram:32M
stop_target

# A cache in the target's memory dies with it.
make_file disk.img 32M
start_target --dev "$file,name=disk,fault=volatile"
port=$target_port
want=1 restart_under_load 'failed: .*restarted and [0-9]+ acknowledged writes may be lost' disk --dev "$file,name=disk,fault=volatile"
stop_target

# The same with the kernel's cache, which does not: a pause.
start_target --dev "$file,name=disk"
port=$target_port
want=0 restart_under_load ' reconnected: ' disk --dev "$file,name=disk"

# A file with another size, or another file: not the volume we know.
make_file smaller.img 16M
want=4 restart_under_load 'failed: disk (came back|has shrunk)' disk --dev "$file,name=disk"
stop_target
