#!/bin/bash
# A node exports again what it has as a ublk device.
# transports: tcp rdma
# shellcheck disable=SC2034 # for device-lib.sh
front=ublk
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$e2e_dir/device-lib.sh"

device_test_both_roles
