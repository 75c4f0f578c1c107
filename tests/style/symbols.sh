#!/bin/bash
# The shared library exports exactly the functions of brp.h.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

lib=${BRP_BUILD:?}/initiator/libbrp.so
[ -f "$lib" ] || {
	echo "no $lib"
	exit 1
}
diff -u <(tr '\n' ' ' <include/brp/brp.h | grep -oE 'BRP_API [^;]*\(' | grep -oE '\<brp_[a-z_]+[[:space:]]*\(' |
	tr -d ' (' | sort -u) \
	<(nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
