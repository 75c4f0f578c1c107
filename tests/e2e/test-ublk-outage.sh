#!/bin/bash
# The target of a ublk device is killed and comes back.
# transports: tcp rdma
# shellcheck disable=SC2034 # for device-lib.sh
front=ublk
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/device-lib.sh
. "$e2e_dir/device-lib.sh"

device_test_outage
