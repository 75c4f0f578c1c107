# shellcheck shell=bash disable=SC2154,SC2034 # variables of lib.sh
#
# load-lib.sh - a load that verifies, and goes on until it is told to end; sourced after lib.sh, used with a volume on
# $file and the target that start_target started.

# Writes, and reads back what it wrote.  fio's writes carry their number; brp-perf's content follows from the address
# alone.
load() {
	local uri=$1 keep_alive_s=$2

	if [ -f "$brp_fio" ]; then
		exec fio --aux-path="$tmp" --name=t --ioengine=external:"$brp_fio" --thread=1 --uri="$uri" \
			--keep_alive_tmo="$keep_alive_s" --rw=randrw --bs=4k --size=16M --iodepth=16 --verify=crc32c \
			--verify_backlog=64 --verify_fatal=1 --verify_dump=0 --time_based --runtime=3600 --eta=never
	else
		exec "$brp_perf" "$uri" --keep-alive-tmo "$keep_alive_s" --rw randwrite --bs 4k --iodepth 16 --size 16M --verify \
			--time 3600
	fi
}

# The first connect is made once and must not meet a target that is gone: the load is past it when it has written.
is_writing() {
	[ "$(head -c 16M "$file" | tr -d '\0' | wc -c)" -gt 0 ] || is_gone "$load_pid"
}

# start_load VOLUME [KEEP-ALIVE-SECONDS]
start_load() {
	start_client load load "$target_uri/$1" "${2-4}"
	load_pid=$client_pid
	wait_for 60 is_writing || bad "the load writes nothing"
}

# Requests that the target has answered are not counted anywhere from outside; its CPU time moves with them.
is_served() {
	[ "$(ticks_of "$target_pid")" -gt "$1" ] || is_gone "$load_pid"
}

# expect_served WHEN: the load goes on.
expect_served() {
	wait_for 60 is_served "$(($(ticks_of "$target_pid") + 2))" || bad "$1: nothing reaches the target"
	is_gone "$load_pid" || return 0
	tail -n 20 "$tmp/load.log"
	bad "$1: the load has ended"
}

# No error, no wrong data: sets $load_result to what it did.
end_load() {
	local status=0

	kill -INT "$load_pid"
	wait_for 60 is_gone "$load_pid" || bad "the load does not end"
	wait "$load_pid" || status=$?
	# fio's status after a signal is 128, whatever it found.
	if [ -f "$brp_fio" ] && ((status == 128)) && grep -q 'err= 0' "$tmp/load.log" && ! grep -q 'verify:' "$tmp/load.log"; then
		status=0
	fi
	((status == 0)) || {
		tail -n 20 "$tmp/load.log"
		bad "the load ends with status $status"
	}
	load_result=$(grep -E 'verify|requests|IOPS' "$tmp/load.log" | head -n 2 | tr -s ' ')
}
