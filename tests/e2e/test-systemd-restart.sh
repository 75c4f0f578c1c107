#!/bin/bash
# systemctl restart brp-target under load, with a real systemd and the unit as it is shipped: a pause and no error; reload
# and stop do what they say.
# transports: tcp
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/systemd-lib.sh
. "$(dirname "$0")/systemd-lib.sh"

is_served() {
	[ "$(ticks_of "$(property brp-target MainPID)")" -gt "$1" ] || is_gone "$load_pid"
}

# progress WHEN: the load reaches the target.
progress() {
	wait_for 60 is_served "$(($(ticks_of "$(property brp-target MainPID)") + 2))" || bad "$1: nothing reaches the target"
	! is_gone "$load_pid" || bad "$1: the load has ended: $(tail -n 5 "$tmp/load.log")"
}

restarts_under_load() {
	local i before

	for i in 1 2 3; do
		progress "before restart $i"
		before=$(property brp-target MainPID)
		must restart brp-target
		[ "$(property brp-target MainPID)" != "$before" ] || bad "restart $i: the process is the same"
	done
	progress "after restart $i"
}

has_reloaded() {
	grep -q 'configuration loaded again' "$tmp/target.log"
}

reload_under_load() {
	local before

	before=$(property brp-target MainPID)
	printf 'dev = ram:4M,name=more\n' >>"$conf"
	must reload brp-target
	wait_for 60 has_reloaded || bad "systemctl reload, and nothing was read"
	"$brp_ops" mixed brp+tcp://127.0.0.1/more --requests=100 --span=$((2 << 20)) || bad "the new volume cannot be used"
	[ "$(property brp-target MainPID)" = "$before" ] || bad "reload: the process is another"
	progress "after the reload"
}

end_load() {
	kill -INT "$load_pid"
	finish_client load "$load_pid" 60 0
	grep -E '^ *verify +[1-9][0-9]* requests right, 0 wrong' "$tmp/load.log" || {
		cat "$tmp/load.log"
		bad "nothing was verified, or something was wrong"
	}
}

# By the restarts and the stop.
has_logged_stops() {
	[ "$(grep -c '^Stopped .*BRP block storage target' "$tmp/journal.log")" = 4 ]
}

stop_everything() {
	ctl stop brp-target || bad "systemctl stop: status $?"
	[ "$(property brp-target ActiveState) $(property brp-target Result)" = "inactive success" ] ||
		bad "after the stop: $(property brp-target ActiveState), $(property brp-target Result)"
	! runs "$(readlink -f "$brp_target")" || bad "a target is left"
	[ -d /run/brp ] || bad "the folder that others share is gone"
	wait_for 60 has_logged_stops || bad "systemd does not say that it stopped: $(tail -n 20 "$tmp/journal.log")"
	end_manager brp-target
	if grep -E 'Assertion|Sanitizer|runtime error' "$tmp/target.log"; then
		bad "the target complained"
	fi
}

inside() {
	conf=$tmp/target.conf
	make_file disk.img 64M
	printf '[target]\nlisten = tcp://127.0.0.1\ndev = %s,name=disk\n' "$file" >"$conf"
	target_log=$tmp/target.log
	: >"$target_log"
	install_unit brp-target.service "$target_log" \
		"s#^ExecStart=[^ ]*/brp-target #ExecStart=$brp_target #; s#/etc/brp-target.conf#$conf#"
	start_manager
	must start brp-target
	start_client load "$brp_perf" brp+tcp://127.0.0.1/disk --rw randrw --bs 4k --iodepth 16 --size 16M --verify \
		--time 3600
	load_pid=$client_pid
	restarts_under_load
	reload_under_load
	end_load
	stop_everything
}

in_world brp-target.service
