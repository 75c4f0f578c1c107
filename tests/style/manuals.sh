#!/bin/bash
# --help and the manual page of a program name the same options; manual pages are well-formed.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

status=0
long_options() {
	sed 's/\\-/-/g' | grep -oE -- '(^|[^[:alnum:]-])--[a-z][a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u
}

# --help, and that of every verb it lists.
all_help() {
	local verb

	"$1" --help
	"$1" --help | sed -n '/^verbs:/,$s/^  \([a-z][a-z-]*\)  .*/\1/p' | while read -r verb; do
		"$1" "$verb" --help
	done
}

for page in docs/man/*.[1-8]; do
	[ -e "$page" ] || continue
	mandoc -T lint -W error "$page" || status=1
	name=${page##*/}
	name=${name%.*}
	program=$(find "${BRP_BUILD:?}/target" "$BRP_BUILD/bench" "$BRP_BUILD/initiator" -maxdepth 1 -type f \
		-name "$name" 2>/dev/null | head -n 1)
	[ -n "$program" ] || continue
	diff <(all_help "$program" | long_options) <(mandoc -T ascii "$page" | sed 's/.\x08//g' | long_options) || {
		echo "$name: --help (<) and its manual page (>) name different options"
		status=1
	}
done
# "No" is a macro: the word must be \&No.
grep -nE '^\.[DSQ]q No ' docs/man/* && status=1
exit $status
