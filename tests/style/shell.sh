#!/bin/bash
# Every shell script passes shellcheck.  (Tests of a few lines that only call into device-lib.sh do not have it followed:
# reading it forty times took two thirds of the time.)
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

mapfile -t files < <(sources '*' | while read -r file; do
	case $file in
	*.sh) echo "$file" ;;
	*) head -c 20 "$file" | grep -aqE '^#!.*(ba)?sh$' && echo "$file" ;;
	esac
done)
printf '%s\0' "${files[@]}" | xargs -0 -n 8 -P "$(nproc)" shellcheck -x
