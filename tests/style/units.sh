#!/bin/bash
# systemd takes the units and udev the rules as they are installed; the completion script can be loaded and completes.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

status=0
dist=${BRP_BUILD:?}/dist
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if command -v systemd-analyze >/dev/null && [ -e "$dist/brp-target.service" ]; then
	for unit in "$dist"/*.service; do
		# The programs are where they were built, not yet where the unit says.
		sed -E 's#(Exec[A-Za-z]*=-?)[^ ]*/(brp-[a-z]+)#\1/bin/true \2#' "$unit" >"$tmp/${unit##*/}"
		# Old versions end with 0 in spite of warnings.
		systemd-analyze verify --man=no "$tmp/${unit##*/}" >"$tmp/out" 2>&1 || status=1
		if grep -F "${unit##*/}" "$tmp/out"; then
			status=1
		fi
	done
fi
if [ -e "$dist/60-brp.rules" ] && udevadm verify --help >/dev/null 2>&1; then
	udevadm verify "$dist/60-brp.rules" || status=1
fi

program=$BRP_BUILD/initiator/brp-initiator
[ -x "$program" ] || exit "$status"
# completes WORD... EXPECTED: with WORDs typed so far EXPECTED is among what is offered.
completes() {
	local expected=${*: -1}

	COMP_WORDS=(brp-initiator "${@:1:$#-1}")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_brp_initiator
	[[ " ${COMPREPLY[*]} " = *" $expected "* ]] || {
		echo "completion of '${COMP_WORDS[*]}' does not offer $expected, but: ${COMPREPLY[*]}"
		status=1
	}
}
brp-initiator() {
	"$program" "$@"
}
# shellcheck source=dist/brp-initiator.bash
. dist/brp-initiator.bash
completes disc disconnect-all
completes connect --rec --reconnect-delay
completes connect --device ub ublk
completes stat -o js json
completes help 'do' doctor
exit "$status"
