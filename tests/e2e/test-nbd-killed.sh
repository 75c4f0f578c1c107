#!/bin/bash
# The server of a mounted nbd device is killed.
# transports: tcp rdma
# shellcheck disable=SC2034 # for device-lib.sh
front=nbd
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$e2e_dir/device-lib.sh"

device_test_killed
