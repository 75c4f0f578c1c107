#!/bin/bash
# Many clients on the same blocks while things go wrong: the checker of tests/history judges what they were answered.
# By hand for longer: BRP_TEST_MINUTES=30 tests/e2e/run --build DIR --filter 'history$'
# transports: tcp
# time: 120
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

minutes=()
[ -z "${BRP_TEST_MINUTES-}" ] || minutes=(--minutes "$BRP_TEST_MINUTES")

# judge NAME OPTION... -- TARGET-OPTION...
judge() {
	local name=$1 args=()

	shift
	while [ "$1" != -- ]; do
		args+=("$1") && shift
	done
	shift
	note "$name"
	"$brp_history" --seconds "$(scale 8)" --transport "$BRP_TEST_TRANSPORT" --address "$BRP_TEST_ADDRESS" \
		--log "$tmp/target.log" "${minutes[@]}" "${args[@]}" -- "$brp_target" "$@" || {
		target_log=$tmp/target.log
		bad "$name: status $?"
	}
}

make_file disk.img 16M
judge "memory" --may-tear --nemesis client,freeze,delay -- --dev ram:16M,name=disk
judge "write-back" --nemesis client,freeze,delay -- --dev "$file,name=disk"
judge "write-through" --nemesis client,freeze,delay -- --dev "$file,name=disk,cache=writethrough"
