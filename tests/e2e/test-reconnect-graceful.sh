#!/bin/bash
# SIGTERM and a new start under load, as 'systemctl restart' does it: a pause, no error, for brp-ops, brp-perf --verify and
# the fio engine. The volumes are write-back, as files are by default.
# transports: tcp rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/load-lib.sh
. "$e2e_dir/load-lib.sh"

volumes=()
for name in ops perf fio; do
	make_file $name.img 32M
	volumes+=(--dev "$file,name=$name")
done
start_target "${volumes[@]}"
port=$target_port
start_mixed ops ops --reconnect --depth=32 --queues=2 --max-bytes=131072
start_client perf "$brp_perf" "$target_uri/perf" --verify --rw randrw --time 3600 --jobs 2 --iodepth 16
has_begun() {
	[ "$(stat -c %b "$tmp/perf.img")" -gt 0 ]
}
wait_for 60 has_begun || bad "brp-perf writes nothing"
start_load fio # of brp-perf, where there is no fio
for i in 1 2; do
	sleep 1
	kill -TERM "$target_pid"
	end_of "$target_pid" 60
	[ "$(<"$tmp/end-status")" = 0 ] || bad "the target ended with status $(<"$tmp/end-status")"
	restart_target "$port" "${volumes[@]}"
	until_event ops flowing $((i + 1))
	expect_served "restart $i"
done
end_mixed ops
kill -INT "${client_pids[perf]}"
finish_client perf "${client_pids[perf]}" 60 0
grep -E 'recovery|verify' "$tmp/perf.log"
grep -q ' 0 wrong' "$tmp/perf.log" || bad "brp-perf found wrong data"
end_load
note "the load: $load_result"
stop_target
