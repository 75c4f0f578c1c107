# shellcheck shell=bash disable=SC2154 # variables of lib.sh
#
# systemd-lib.sh - a real systemd for the end-to-end tests, with the units as they are shipped.  The manager is a user's
# (systemd --user), as root in namespaces of its own: it neither sees nor disturbs this machine, and nothing of it can
# outlive the test.  Source it after lib.sh; then call
#
#   in_world UNIT...    runs the function `inside` of the script in such a world, with a manager and these units, or
#                       ends the test as skipped where there can be none
#
# and in `inside`:
#
#   start_manager                 once its units are in $tmp/units
#   ctl ARG...                    systemctl
#   property SERVICE NAME         of a service
#   must VERB SERVICE             systemctl succeeds, and the service is active afterwards
#   end_manager SERVICE           nothing may be left, and systemd may not have complained

: "${tmp:?}" "${BRP_BUILD:?}"

systemd=/usr/lib/systemd/systemd
cgroup=
world=(unshare --mount --pid --cgroup --net --fork --kill-child --mount-proc)

# ---- outside

need_systemd() {
	local unified unit

	[ "$(id -u)" = 0 ] || cannot "namespaces need root"
	[ -x "$systemd" ] || cannot "no systemd is installed"
	for unit in "$@"; do
		[ -e "$BRP_BUILD/dist/$unit" ] || cannot "built without $unit"
	done
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
	[ -z "$cgroup" ] || wait_for 60 remove_cgroup || note "left behind: $cgroup"
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

in_world() {
	if [ "${BRP_TEST_INSIDE-}" = yes ]; then
		make_world
		start_journal
		install_basic_units
		inside
	else
		need_systemd "$@"
		run_inside
	fi
}

# ---- inside

ctl() {
	timeout 60 systemctl --user "$@"
}

property() {
	ctl show --value -p "$2" "$1"
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
	wait_for 60 test -S /run/systemd/journal/socket || bad "no journal: $(<"$tmp/journal.log")"
}

# What a manager cannot do without.
install_basic_units() {
	local name

	mkdir -p "$tmp/units"
	for name in basic.target shutdown.target exit.target systemd-exit.service; do
		cp "/usr/lib/systemd/user/$name" "$tmp/units"
	done
}

# install_unit UNIT LOG SED_ARG...: the shipped one, changed by sed (where programs and files are) only.
install_unit() {
	local unit=$1 log=$2

	shift 2
	mkdir -p "$tmp/units/$unit.d"
	sed -E "$@" "$BRP_BUILD/dist/$unit" >"$tmp/units/$unit"
	printf '[Service]\nStandardError=append:%s\n' "$log" >"$tmp/units/$unit.d/log.conf"
}

start_manager() {
	start_client manager "$systemd" --user --unit=basic.target --log-target=journal --log-level=info
	manager_pid=$client_pid
	wait_for 60 manager_answers || bad "systemd --user does not answer"
	! is_gone "$manager_pid" || cannot "systemd --user cannot run here: $(tail -n 1 "$tmp/journal.log")"
	note "$(<"$tmp/version")"
}

is_active() {
	[ "$(property "$1" ActiveState)" = active ]
}

# A target that reads its configuration again says RELOADING=1, and the state is "reloading" until it says READY=1: not always over when systemctl is.
must() {
	if ctl "$@" && wait_for 10 is_active "$2"; then
		return
	fi
	tail -n 20 "$tmp/journal.log"
	bad "systemctl $1 $2: the service is $(property "$2" ActiveState)"
}

# Processes of a program, anywhere: there is nobody else in this world.
runs() {
	find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$1" 2>/dev/null | grep -q .
}

end_manager() {
	kill -TERM "$manager_pid"
	finish_client manager "$manager_pid" 60 0
	! runs "$(readlink -f "$systemd")" || bad "a manager is left"
	if grep -E "Failed with result|/$1.service:[0-9]+:" "$tmp/journal.log"; then
		tail -n 40 "$tmp/journal.log"
		bad "not all that systemd says is good"
	fi
}
