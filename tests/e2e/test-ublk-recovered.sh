#!/bin/bash
# kill -9 of the server of a ublk device: the next one takes it over.
# transports: tcp rdma
# shellcheck disable=SC2034 # for device-lib.sh
front=ublk
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$e2e_dir/device-lib.sh"

device_test_recovered
