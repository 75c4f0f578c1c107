#!/bin/bash
# Every shell script passes shellcheck.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

mapfile -t files < <(sources '*' | while read -r file; do
	case $file in
	*.sh) echo "$file" ;;
	*) head -c 20 "$file" | grep -aqE '^#!.*(ba)?sh$' && echo "$file" ;;
	esac
done)
printf '%s\0' "${files[@]}" | xargs -0 -n 8 -P "$(nproc)" shellcheck -x
