# shellcheck shell=bash
#
# lib.sh - for the end-to-end tests: start and stop targets, run clients,
# judge.  A test is a script that sources this first; it ends with status 0
# (good), 77 (cannot be run here, the reason said by requires) or another.
#
# Environment, set by tests/e2e/run:
#   BRP_BUILD            build folder
#   BRP_TEST_TRANSPORT   tcp or rdma
#   BRP_TEST_ADDRESS     address both ends use

set -euo pipefail

: "${BRP_BUILD:?}" "${BRP_TEST_TRANSPORT:=tcp}" "${BRP_TEST_ADDRESS:=127.0.0.1}"

e2e_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # for the tests
proto_dir=$e2e_dir/../proto
brp_target=$BRP_BUILD/target/brp-target
brp_ops=$BRP_BUILD/tests/e2e/brp-ops
# shellcheck disable=SC2034
brp_targetctl=$BRP_BUILD/target/brp-targetctl
# shellcheck disable=SC2034
brp_history=$BRP_BUILD/tests/history/brp-history
# shellcheck disable=SC2034
brp_perf=$BRP_BUILD/bench/brp-perf
# shellcheck disable=SC2034
brp_fio=$BRP_BUILD/bench/brp-fio.so

case $BRP_TEST_TRANSPORT in
tcp) scheme=brp+tcp ;;
rdma) scheme=brp ;;
esac

tmp=$(mktemp -d "${TMPDIR:-/tmp}/brp-e2e.XXXXXX")
target_pid=
target_log=
children=()
declare -A client_pids=()
loops=()
mounts=()

e2e_cleanup() {
	local status=$? pid dev

	trap - EXIT
	[ "$(type -t device_cleanup)" != function ] || device_cleanup
	# What a test started must not outlive it, however it ended.
	for pid in "${children[@]}" $target_pid; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	[ "$(type -t test_cleanup)" != function ] || test_cleanup
	for dev in "${mounts[@]}"; do
		umount "$dev" 2>/dev/null || true
	done
	for dev in "${loops[@]}"; do
		losetup -d "$dev" 2>/dev/null || true
	done
	if ((status != 0 && status != 77)) && [ -f "$target_log" ]; then
		echo "-- the target said:"
		tail -n 30 "$target_log"
	fi
	rm -rf "$tmp"
	exit "$status"
}
trap e2e_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

note() {
	printf '%s\n' "$*"
}

bad() {
	printf 'BAD: %s\n' "$*"
	exit 1
}

# Ends the test as skipped; the runner prints the reason.
cannot() {
	printf 'SKIP: %s\n' "$*"
	exit 77
}

# On a slow rig (an emulated CPU), or with slow programs, do less: scale N is a share of N there.
scale() {
	local n=$(($1 / ${BRP_TEST_SHARE:-1}))

	echo $((n > 0 ? n : 1))
}

# Each look starts processes, which an emulated CPU takes long for.
poll_s=0.05
[ "${BRP_TEST_SLOW-}" != yes ] || poll_s=0.1

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local end=$((SECONDS + $1 * ${BRP_TEST_PATIENCE:-1}))

	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep "$poll_s"
	done
}

# is_unheld NAME: no file system of this block device is alive.
is_unheld() {
	[ ! -e "/sys/fs/ext4/$1" ] && [ ! -e "/sys/fs/xfs/$1" ]
}

# until_unheld DEVICE: its file system was unmounted, but lives while somebody's mount namespace has a copy of the
# mount, such as that of a test beside this one.
until_unheld() {
	wait_for 60 is_unheld "${1##*/}" || bad "$1 is still mounted in somebody's namespace"
}

is_gone() {
	! kill -0 "$1" 2>/dev/null || [ "$(state_of "$1")" = Z ]
}

state_of() {
	sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null || true
}

# ---- targets

is_ready() {
	grep -q ': ready$' "$target_log" || is_gone "$target_pid"
}

# launch_target ARG...: without a listener of our own; returns when it is ready.
launch_target() {
	local socket=$tmp/target.sock

	# Beside another one, whose socket that is.
	[ -z "$target_pid" ] || is_gone "$target_pid" || socket=$tmp/target-beside-$target_pid.sock
	target_log=$tmp/target.log
	: >"$target_log"
	"$brp_target" --control "$socket" ${BRP_TEST_IO_ENGINE:+--io-engine "$BRP_TEST_IO_ENGINE"} "$@" >"$target_log" 2>&1 &
	target_pid=$!
	wait_for 60 is_ready || bad "the target is not ready after 60 s"
	is_gone "$target_pid" && bad "the target ended at once"
	target_port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$target_log" | head -n 1)
	target_uri=$scheme://$BRP_TEST_ADDRESS:$target_port
	base_fds=$(count_fds "$target_pid")
}

# start_target ARG...: listens on a port of the kernel's choice.
start_target() {
	launch_target --listen "$BRP_TEST_TRANSPORT://$BRP_TEST_ADDRESS:0" "$@"
}

# restart_target PORT ARG...: where an earlier one listened.
restart_target() {
	local port=$1

	shift
	launch_target --listen "$BRP_TEST_TRANSPORT://$BRP_TEST_ADDRESS:$port" "$@"
}

# has_events NAME EVENT N: client NAME (brp-ops) has printed so many of them.
has_events() {
	[ "$(grep -c "^[0-9.]* $2: " "$tmp/$1.log")" -ge "$3" ]
}

# has_come NAME EVENT N: or it never will.
has_come() {
	has_events "$@" || is_gone "${client_pids[$1]}"
}

# until_event NAME EVENT N: it has come for the Nth time.
until_event() {
	wait_for 60 has_come "$@" && has_events "$@" && return
	cat "$tmp/$1.log"
	is_gone "${client_pids[$1]}" && bad "$1 has ended before '$2' $3"
	bad "$1: no '$2' $3 after 60 s"
}

# start_mixed NAME VOLUME ARG...: brp-ops mixed, until end_mixed. I/O flows when this returns, and goes on.
start_mixed() {
	start_client "$1" "$brp_ops" mixed "$target_uri/$2" --seconds=3600 "${@:3}"
	until_event "$1" flowing 1
}

# end_mixed NAME: no error, and all it wrote reads back.
end_mixed() {
	is_gone "${client_pids[$1]}" && { cat "$tmp/$1.log"; bad "$1 ended early"; }
	kill -TERM "${client_pids[$1]}"
	finish_client "$1" "${client_pids[$1]}" 60 0
	grep mixed: "$tmp/$1.log"
}

# event_ms NAME EVENT: when it last printed this one, in ms of the day's clock.
event_ms() {
	sed -n "s/^\([0-9]*\)\.\([0-9]*\) $2: .*/\1\2/p" "$tmp/$1.log" | tail -n 1
}

now_ms() {
	date +%s%3N
}

# Exit status of a child that must end within SECONDS.
end_of() {
	local pid=$1 status=0

	wait_for "$2" is_gone "$pid" || {
		note "process $pid has not ended after $2 s" >&2
		kill -KILL "$pid"
	}
	wait "$pid" || status=$?
	echo "$status" >"$tmp/end-status"
}

# Also: no descriptor more than at the start once the clients have left.
stop_target() {
	check_fds
	kill -TERM "$target_pid"
	end_of "$target_pid" 60
	[ "$(<"$tmp/end-status")" = 0 ] || bad "SIGTERM: the target ended with status $(<"$tmp/end-status")"
	target_pid=
	if grep -E 'Assertion|Sanitizer|runtime error' "$target_log"; then
		bad "the target complained"
	fi
}

count_fds() {
	local fds=("/proc/$1/fd/"*)

	echo "${#fds[@]}"
}

has_base_fds() {
	[ "$(count_fds "$target_pid")" -le "$base_fds" ]
}

check_fds() {
	wait_for 60 has_base_fds ||
		bad "the target has $(count_fds "$target_pid") descriptors, $base_fds before its clients came"
}

# CPU ticks (user and system) a process has used.
ticks_of() {
	sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 12,13 | tr ' ' '+' | { read -r sum && echo $((sum)); }
}

# run_ms_of PID: CPU time of all its threads.  By the scheduler's clock: ticks may fall just where
# a timer wakes a thread.
run_ms_of() {
	cat "/proc/$1/task/"*/schedstat | { sum=0 && while read -r ns _; do sum=$((sum + ns)); done && echo $((sum / 1000000)); }
}

# wait_idly SECONDS: this shell wakes four times in each. Sets $shell_ms to the CPU time that took: an emulated CPU that
# others want is slow, and its clock of run time goes on while it has to wait, for all programs alike.
wait_idly() {
	local i ns after

	[ -p "$tmp/never" ] || mkfifo "$tmp/never"
	exec {never}<>"$tmp/never"
	read -r ns _ <"/proc/$BASHPID/schedstat"
	for ((i = 0; i < 4 * $1; i++)); do
		read -r -t 0.25 -u "$never" || true
	done
	read -r after _ <"/proc/$BASHPID/schedstat"
	exec {never}<&-
	shell_ms=$(((after - ns) / 1000000))
}

# What a process may use in seconds in which it has nothing to do: MS, and on such a CPU what such a shell does.
idle_limit_ms() {
	if [ "${BRP_TEST_SLOW-}" = yes ]; then echo $((4 * $1 + 5 * shell_ms)); else echo "$1"; fi
}

rss_kib() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"
}

# ---- clients

# ops MODE VOLUME ARG...
ops() {
	local mode=$1 volume=$2

	shift 2
	timeout $((120 * ${BRP_TEST_PATIENCE:-1})) "$brp_ops" "$mode" "$target_uri/$volume" "$@" || {
		local status=$?

		note "brp-ops $mode $volume $*: status $status"
		return "$status"
	}
}

# start_client NAME COMMAND...: in the background; its pid is in $client_pid.
start_client() {
	local name=$1

	shift
	: >"$tmp/$name.log" # of an earlier one nothing is to be read
	"$@" >"$tmp/$name.log" 2>&1 &
	client_pid=$!
	client_pids[$name]=$client_pid
	children+=("$client_pid")
}

# finish_client NAME PID SECONDS STATUS
finish_client() {
	local got

	end_of "$2" "$3"
	got=$(<"$tmp/end-status")
	[ "$got" = "$4" ] || {
		tail -n 20 "$tmp/$1.log"
		bad "$1 ended with status $got, must be $4"
	}
}

# Functions have no timeout(1); they bound what they run themselves.
bounded() {
	if [ "$(type -t "$1")" = function ]; then
		"$@"
	else
		timeout -k 2 60 "$@"
	fi
}

# refuses STATUS PATTERN COMMAND...: the command must end soon with this
# status, and say why in a line of its own that matches.
refuses() {
	local want=$1 pattern=$2 status=0

	shift 2
	bounded "$@" >"$tmp/refusal" 2>&1 || status=$?
	# shellcheck disable=SC2053 # the status may be a pattern
	[[ $status = $want ]] && grep -qiE -- "$pattern" "$tmp/refusal" && {
		note "good: $(grep -iE -m 1 -- "$pattern" "$tmp/refusal")"
		return
	}
	sed 's/^/    /' "$tmp/refusal" | tail -n 15
	bad "$*: status $status (must be $want), no line with '$pattern'"
}

# one_line: what the last refusal printed was no more than that.
one_line() {
	[ "$(wc -l <"$tmp/refusal")" -le "${1:-1}" ] || {
		sed 's/^/    /' "$tmp/refusal"
		bad "more than one line for one mistake"
	}
}

# ---- devices

# make_loop FILE: sets $loop_dev; ends the test as skipped where there are none.
make_loop() {
	[ "$(id -u)" = 0 ] || cannot "loop devices need root"
	modprobe loop 2>/dev/null || true
	loop_dev=$(losetup --show -f "$1" 2>/dev/null) || cannot "no loop devices can be set up here"
	loops+=("$loop_dev")
}

# make_file NAME SIZE: sets $file.  On a disk: tmpfs has no O_DIRECT.
make_file() {
	file=$tmp/$1
	truncate -s "$2" "$file"
}
