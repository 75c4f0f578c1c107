#!/bin/bash
# The fio engine: verified writes at depths 1 to 256, several jobs, trim and fsync.
# transports: tcp rdma
# quick: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

[ -f "$brp_fio" ] || cannot "the fio engine was not built (no fio source package to be had)"

run_fio() {
	timeout 100 fio --aux-path="$tmp" --name=t --ioengine=external:"$brp_fio" --thread=1 --output-format=terse --minimal \
		"$@" >"$tmp/fio.out" 2>&1 || {
		tail -n 20 "$tmp/fio.out"
		bad "fio $*"
	}
	# Field 5 of the terse format is the error of the job.
	awk -F';' '$1 == 3 && $5 != 0 { exit 1 }' "$tmp/fio.out" || bad "fio reports an error: $*"
}

make_file disk.img 64M
start_target --dev ram:64M --dev "$file,name=disk"
for depth in 1 16 256; do
	run_fio --uri="$target_uri/ram" --rw=randwrite --bs=4k --size="$(scale 16)M" --iodepth=$depth \
		--verify=crc32c --do_verify=1 --verify_fatal=1
done
run_fio --uri="$target_uri/disk" --rw=randrw --bsrange=4k-256k --size="$(scale 32)M" --iodepth=32 \
	--verify=crc32c --do_verify=1 --verify_fatal=1 --fsync=16
run_fio --uri="$target_uri/ram" --rw=randwrite --bs=4k --size="$(scale 8)M" --offset_increment=8M --numjobs=4 \
	--iodepth=16 --verify=crc32c --do_verify=1 --verify_fatal=1
run_fio --uri="$target_uri/ram" --rw=randtrim --bs=64k --size=8M --iodepth=8
# A volume that is not there: an error, not a hang.
if timeout 60 fio --name=t --ioengine=external:"$brp_fio" --thread=1 --uri="$target_uri/nothere" --rw=read \
	--bs=4k --size=1M >"$tmp/fio.out" 2>&1; then
	bad "fio on a missing volume reports success"
fi
grep -qi 'nothere' "$tmp/fio.out" || { cat "$tmp/fio.out"; bad "fio does not name the missing volume"; }
stop_target
