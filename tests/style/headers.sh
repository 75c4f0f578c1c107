#!/bin/bash
# Every header compiles alone; the installed one also as strict C99 and as C++.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

status=0
check() {
	"$@" -fsyntax-only || {
		echo "failed: $*"
		status=1
	}
}

# The fio engine's headers need the source of fio.
for file in $(sources '*.h' | grep -v '^./bench/.*fio'); do
	check gcc -x c -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-function -Wno-unused-variable \
		-Wno-missing-field-initializers -I. -Iinclude -DBRP_GOLDEN_DIR=\"\" "$file"
done
check gcc -x c -std=c99 -pedantic -Wall -Wextra -Werror include/brp/brp.h
check clang -x c++ -std=c++11 -Wall include/brp/brp.h -Wno-pragma-once-outside-header
exit $status
