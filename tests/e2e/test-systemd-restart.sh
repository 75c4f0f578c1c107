#!/bin/bash
# systemctl restart brp-target under load, with a real systemd and the unit as it is shipped: a pause and no error; reload
# and stop do what they say. The manager is a user's (systemd --user), as root in namespaces of its own: it neither sees
# nor disturbs this machine, and nothing of it can outlive the test.
# transports: tcp
# time: 240
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# ---- outside

need_systemd() {
	local unified

	[ "$(id -u)" = 0 ] || cannot "namespaces need root"
	[ -x "$systemd" ] || cannot "no systemd is installed"
	[ -e "$unit" ] || cannot "built without units for systemd"
	unified=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)
	[ -n "$unified" ] || cannot "no cgroup2 is mounted"
	cgroup=$unified$(sed -n 's/^0:://p' /proc/self/cgroup)/brp-test.$$
	if ! mkdir "$cgroup" 2>"$tmp/why"; then
		cgroup=
		cannot "cgroups cannot be made here: $(<"$tmp/why")"
	fi
	"${world[@]}" true 2>"$tmp/why" || cannot "namespaces cannot be made here: $(tail -n 1 "$tmp/why")"
}

remove_cgroup() {
	find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
}

test_cleanup() {
	[ -z "$cgroup" ] || wait_for 30 remove_cgroup || note "left behind: $cgroup"
}

# Runs this script again as the first process of a world that ends with it.
run_inside() {
	local pid status=0

	(
		echo 0 >"$cgroup/cgroup.procs"
		TMPDIR=$tmp BRP_TEST_INSIDE=yes exec "${world[@]}" bash "$0"
	) &
	pid=$!
	children+=("$pid")
	wait "$pid" || status=$?
	exit "$status"
}

# ---- inside

ctl() {
	timeout 60 systemctl --user "$@"
}

# property NAME: of the service.
property() {
	ctl show --value -p "$1" brp-target
}

manager_answers() {
	ctl show -p Version >"$tmp/version" 2>/dev/null || is_gone "$manager_pid"
}

make_world() {
	# /run is the manager's XDG_RUNTIME_DIR too: so %t is for it what it is for the system's.
	mount -t tmpfs run /run
	mkdir -p /run/systemd/system # sd_booted(3)
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	ip link set lo up
	export XDG_RUNTIME_DIR=/run XDG_CONFIG_HOME=$tmp HOME=$tmp SYSTEMD_UNIT_PATH=$tmp/units
	unset DBUS_SESSION_BUS_ADDRESS NOTIFY_SOCKET
}

# The journal of this world: what the manager logs goes to $tmp/journal.log. (A user's manager logs nowhere else.)
start_journal() {
	cat >"$tmp/journal.py" <<-'EOF'
		import socket
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind('/run/systemd/journal/socket')
		while True:
		    for field in s.recv(1 << 18).split(b'\n'):
		        if field.startswith(b'MESSAGE='):
		            print(field[8:].decode(errors='replace'), flush=True)
	EOF
	mkdir /run/systemd/journal
	start_client journal python3 "$tmp/journal.py"
	wait_for 30 test -S /run/systemd/journal/socket || bad "no journal: $(<"$tmp/journal.log")"
}

# The shipped unit, but for where the program and its configuration are; and what a manager cannot do without.
install_units() {
	local name

	mkdir -p "$tmp/units/brp-target.service.d"
	sed -E "s#^ExecStart=[^ ]*/brp-target #ExecStart=$brp_target #; s#/etc/brp-target.conf#$conf#" "$unit" \
		>"$tmp/units/brp-target.service"
	printf '[Service]\nStandardError=append:%s\n' "$tmp/target.log" >"$tmp/units/brp-target.service.d/log.conf"
	for name in basic.target shutdown.target exit.target systemd-exit.service; do
		cp "/usr/lib/systemd/user/$name" "$tmp/units"
	done
}

start_manager() {
	start_client manager "$systemd" --user --unit=basic.target --log-target=journal --log-level=info
	manager_pid=$client_pid
	wait_for 60 manager_answers || bad "systemd --user does not answer"
	! is_gone "$manager_pid" || cannot "systemd --user cannot run here: $(tail -n 1 "$tmp/journal.log")"
	note "$(<"$tmp/version")"
}

# must COMMAND...: systemctl succeeds, and the service is there afterwards.
must() {
	if ctl "$@" brp-target && [ "$(property ActiveState)" = active ]; then
		return
	fi
	tail -n 20 "$tmp/journal.log"
	bad "systemctl $1: the service is $(property ActiveState)"
}

is_served() {
	[ "$(ticks_of "$(property MainPID)")" -gt "$1" ] || is_gone "$load_pid"
}

# progress WHEN: the load reaches the target.
progress() {
	wait_for 60 is_served "$(($(ticks_of "$(property MainPID)") + 2))" || bad "$1: nothing reaches the target"
	! is_gone "$load_pid" || bad "$1: the load has ended: $(tail -n 5 "$tmp/load.log")"
}

restarts_under_load() {
	local i before

	for i in 1 2 3; do
		progress "before restart $i"
		before=$(property MainPID)
		must restart
		[ "$(property MainPID)" != "$before" ] || bad "restart $i: the process is the same"
	done
	progress "after restart $i"
}

has_reloaded() {
	grep -q 'configuration loaded again' "$tmp/target.log"
}

reload_under_load() {
	local before

	before=$(property MainPID)
	printf 'dev = ram:4M,name=more\n' >>"$conf"
	must reload
	wait_for 30 has_reloaded || bad "systemctl reload, and nothing was read"
	"$brp_ops" mixed brp+tcp://127.0.0.1/more --requests=100 --span=$((2 << 20)) || bad "the new volume cannot be used"
	[ "$(property MainPID)" = "$before" ] || bad "reload: the process is another"
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

# Processes of a program, anywhere: there is nobody else in this world.
runs() {
	find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$1" 2>/dev/null | grep -q .
}

# By the restarts and the stop.
has_logged_stops() {
	[ "$(grep -c '^Stopped .*BRP block storage target' "$tmp/journal.log")" = 4 ]
}

stop_everything() {
	ctl stop brp-target || bad "systemctl stop: status $?"
	[ "$(property ActiveState) $(property Result)" = "inactive success" ] ||
		bad "after the stop: $(property ActiveState), $(property Result)"
	! runs "$(readlink -f "$brp_target")" || bad "a target is left"
	[ -d /run/brp ] || bad "the folder that others share is gone"
	kill -TERM "$manager_pid"
	finish_client manager "$manager_pid" 60 0
	! runs "$(readlink -f "$systemd")" || bad "a manager is left"
	if ! wait_for 30 has_logged_stops || grep -E 'Failed with result|/brp-target.service:[0-9]+:' "$tmp/journal.log"; then
		tail -n 40 "$tmp/journal.log"
		bad "not all that systemd says is good"
	fi
	if grep -E 'Assertion|Sanitizer|runtime error' "$tmp/target.log"; then
		bad "the target complained"
	fi
}

inside() {
	conf=$tmp/target.conf
	make_file disk.img 64M
	printf '[target]\nlisten = tcp://127.0.0.1\ndev = %s,name=disk\n' "$file" >"$conf"
	make_world
	start_journal
	install_units
	target_log=$tmp/target.log
	: >"$target_log"
	start_manager
	must start
	start_client load "$brp_perf" brp+tcp://127.0.0.1/disk --rw randrw --bs 4k --iodepth 16 --size 16M --verify \
		--time 3600
	load_pid=$client_pid
	restarts_under_load
	reload_under_load
	end_load
	stop_everything
}

systemd=/usr/lib/systemd/systemd
unit=$BRP_BUILD/dist/brp-target.service
cgroup=
world=(unshare --mount --pid --cgroup --net --fork --kill-child --mount-proc)
if [ "${BRP_TEST_INSIDE-}" = yes ]; then
	inside
else
	need_systemd
	run_inside
fi
