# shellcheck shell=bash
#
# Bash completion for brp-initiator.
# SPDX-License-Identifier: BSD-2-Clause
#
# The verbs and their options are those that --help tells, so there is nothing
# to keep up to date here.

_brp_initiator_verbs() {
	brp-initiator --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
}

_brp_initiator_options() {
	brp-initiator "$1" --help 2>/dev/null | sed -n 's/^ .*\(--[a-z][a-z-]*\).*/\1/p'
}

# Devices, and the volumes behind them.
_brp_initiator_devices() {
	brp-initiator list 2>/dev/null | sed -n '2,$s/^\([^ ]*\) .*/\1/p'
}

_brp_initiator() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		words=$(_brp_initiator_verbs)
	elif [[ $cur == -* ]]; then
		words=$(_brp_initiator_options "${COMP_WORDS[1]}")
	else
		case $prev in
		--device | -d) words='auto ublk nbd fuse' ;;
		--merge) words='adaptive always off' ;;
		--output-format | -o) words='normal json' ;;
		--data-digest) words='auto on off' ;;
		--log-file | --config | -C)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		*)
			case ${COMP_WORDS[1]} in
			disconnect | stat) words=$(_brp_initiator_devices) ;;
			help) words=$(_brp_initiator_verbs) ;;
			esac
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _brp_initiator brp-initiator
