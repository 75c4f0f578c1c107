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
shellcheck -x "${files[@]}"
