#!/bin/bash
# Four jobs on a ublk device with two queues read back what they wrote.
# transports: tcp rdma
# shellcheck disable=SC2034 # for device-lib.sh
front=ublk
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$e2e_dir/device-lib.sh"

device_test_verify
