#!/bin/bash
# Priority of the threads that serve requests: what --nice says, what the target was started with, or a little raised.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# nices: of the target's threads, each once.
nices() {
	sed 's/.*) //' "/proc/$target_pid"/task/*/stat | cut -d ' ' -f 17 | sort -nu | tr '\n' ' '
}

# The main thread keeps its own, which comes first or last.
has_nices() {
	[ "$(nices)" = "$1 " ] || bad "$2: threads have nice $(nices), must be $1"
}

base=$(nice)
[ "$base" = 0 ] || cannot "this shell runs at nice $base"
start_target --dev ram:16M,name=v --threads 2 --nice 3
has_nices '0 3' '--nice 3'
ops mixed v --requests=200
stop_target
# What a normal user may not do is said and does no harm.
if [ "$(id -u)" = 0 ]; then
	start_target --dev ram:16M,name=v
	has_nices '-5 0' 'by default, as root'
	stop_target
	start_target --dev ram:16M,name=v --nice -7
	has_nices '-7 0' '--nice -7'
	stop_target
	start_target --dev ram:16M,name=v --nice 0
	has_nices '0' '--nice 0'
	stop_target
fi
renice -n 4 "$BASHPID" >/dev/null
start_target --dev ram:16M,name=v
has_nices '4' 'started with nice 4'
stop_target
refuses 2 'from -20 to 19' "$brp_target" --dev ram:1M --nice 20
refuses 2 'from -20 to 19' "$brp_target" --dev ram:1M --nice -21
refuses 2 'from -20 to 19' "$brp_target" --dev ram:1M --nice -
