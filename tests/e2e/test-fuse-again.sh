#!/bin/bash
# fuse devices come and go.
# transports: tcp
# quick: tcp
# alone: counts the devices of the machine
# shellcheck disable=SC2034 # for device-lib.sh
front=fuse
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$e2e_dir/device-lib.sh"

device_test_again
