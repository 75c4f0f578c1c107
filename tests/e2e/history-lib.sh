# shellcheck shell=bash
#
# history-lib.sh - for tests that run brp-history; sourced instead of lib.sh.

# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Words before the command of brp-history.
history_in=()

# history OPTION... -- TARGET-OPTION...: one round, or BRP_TEST_MINUTES of them. Its status.
history() {
	local args=(--seconds 4 --transport "$BRP_TEST_TRANSPORT" --address "$BRP_TEST_ADDRESS" --log "$tmp/target.log")

	# shellcheck disable=SC2034 # shown when the test fails
	target_log=$tmp/target.log
	[ -z "${BRP_TEST_MINUTES-}" ] || args+=(--minutes "$BRP_TEST_MINUTES")
	[ "${BRP_TEST_SLOW-}" != yes ] || args+=(--clients 2 --rate 100 --seconds 5 --keepalive 500)
	# A file in memory (the VM has no disk) is copied from and to by the processor, like a memory volume: a read beside a
	# write may see a mixture.
	[[ $(stat -f -c %T "$tmp") != @(tmpfs|ramfs) ]] || args+=(--may-tear)
	while [ "$1" != -- ]; do
		args+=("$1") && shift
	done
	shift
	"${history_in[@]}" "$brp_history" "${args[@]}" -- "$brp_target" "$@" || return
	! grep -E 'Assertion|Sanitizer|runtime error' "$tmp/target.log" || bad "the target complained"
}

# judge NAME OPTION... -- TARGET-OPTION...: must be good.
judge() {
	local name=$1

	shift
	note "$name"
	history "$@" || bad "$name: status $?"
}

# must_find NAME KINDS OPTION... -- TARGET-OPTION...: in one of a few rounds a violation of these kinds (an ERE) is seen.
must_find() {
	local name=$1 kinds=$2 round status

	shift 2
	note "$name"
	for ((round = 0; round < 10; round++)); do
		status=0
		history "$@" >"$tmp/found" 2>&1 || status=$?
		sed -n '1,6p' "$tmp/found"
		((status == 0)) && continue
		((status == 1)) && grep -qE "^  ($kinds): " "$tmp/found" && return
		bad "$name: status $status"
	done
	bad "$name: not found in $round rounds"
}

without_target_death() {
	if [ "$BRP_TEST_TRANSPORT" = tcp ]; then
		echo stop,cut,close,half,stall,stall-up,stall-down,refuse,delay,client,freeze
	else
		echo stop,client,freeze
	fi
}
