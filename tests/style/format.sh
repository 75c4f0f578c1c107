#!/bin/bash
# C is laid out by .clang-format.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

mapfile -t files < <(sources '*.c' '*.h')
clang-format --dry-run -Werror "${files[@]}"
