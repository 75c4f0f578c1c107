#!/bin/bash
# Functions that cannot be used safely, or that hide an error.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

status=0
mapfile -t files < <(sources '*.c' '*.h')
must_not_match '\<(atoi|atol|atoll|atof|strcpy|strcat|sprintf|vsprintf|strtok|gets|alloca)[[:space:]]*\(' "${files[@]}" || status=1
# The product waits for events, never for time, and needs no weak random numbers; tests and benchmarks may.
mapfile -t files < <(sources '*.c' '*.h' | grep -E '^\./(brp|common|initiator|target)/')
must_not_match '\<(rand|random|sleep|usleep)[[:space:]]*\(' "${files[@]}" || status=1
# Criterion's gt() and its like compare in the wrong order for unsigned types.
mapfile -t files < <(sources 'test_*.c')
must_not_match '\<(gt|lt)\(' "${files[@]}" || status=1
exit $status
