#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# check_symbols.sh LIBRARY MAP - the symbols a shared library defines are
# those its version script lists, no more and no fewer.
set -eu
export LC_ALL=C

shown=$(nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)
listed=$(sed -n 's/^[[:space:]]*\(brp_[a-z0-9_]*\);$/\1/p' "$2" | sort)
if [ -z "$listed" ] || [ "$shown" != "$listed" ]; then
	printf 'shown by %s:\n%s\n\nlisted in %s:\n%s\n' "$1" "$shown" "$2" "$listed"
	exit 1
fi
