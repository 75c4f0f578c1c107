#!/bin/bash
# xfs on a ublk device while the target, its cache and the device's server are killed: clean, and every fsynced file is
# there. By hand: BRP_TEST_CYCLES=20
# transports: tcp rdma
# time: 900
# shellcheck disable=SC2034 # for device-lib.sh
front=ublk
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$e2e_dir/device-lib.sh"
# shellcheck source=tests/e2e/crash-lib.sh
. "$e2e_dir/crash-lib.sh"

device_test_crashes xfs
