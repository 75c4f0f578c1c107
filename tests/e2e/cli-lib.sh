# shellcheck shell=bash disable=SC2154 # variables of lib.sh
#
# cli-lib.sh - brp-initiator in the end-to-end tests: with a registry and a
# folder of devices of the test's own.  Source it after lib.sh.
#
#   ini ARG...    brp-initiator, with the front ends of this machine
#   fake ARG...   the same program with tests/fakes/fake_front.c: needs no root

: "${tmp:?}" "${BRP_BUILD:?}"

PATH=$PATH:/usr/sbin:/sbin
export BRP_RUN_DIR=$tmp/run BRP_DEV_DIR=$tmp/dev
initiator=$BRP_BUILD/initiator/brp-initiator
fake_initiator=$BRP_BUILD/tests/e2e/brp-initiator-fake
mkdir -p "$BRP_RUN_DIR" "$BRP_DEV_DIR"

[ -x "$initiator" ] || cannot "brp-initiator was not built"

ini() {
	timeout -k 5 60 "$initiator" "$@"
}

fake() {
	timeout -k 5 60 "$fake_initiator" "$@"
}

# Ends the test as skipped where no kernel device can be made.
need_device() {
	local module

	[ "$(id -u)" = 0 ] || cannot "block devices need root"
	for module in ublk_drv nbd fuse loop; do
		modprobe "$module" 2>/dev/null || true
	done
	ini doctor | grep -q 'is what --device auto takes' || cannot "no front end can be used here"
}

# Called by lib.sh at the end: nothing stays, however the test went.
device_cleanup() {
	local dir pid

	for dir in "${mounts[@]}"; do
		timeout 20 umount "$dir" 2>/dev/null || timeout 5 umount -l "$dir" 2>/dev/null || true
	done
	mounts=()
	timeout 20 "$initiator" disconnect-all --force >/dev/null 2>&1 || true
	for pid in $(our_processes 'brp-initiator'); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	# What those left behind.
	timeout 10 "$initiator" list >/dev/null 2>&1 || true
	timeout 10 "$fake_initiator" list >/dev/null 2>&1 || true
}

# Supervisors and serving processes of this test, or those whose command matches: they have its registry in their
# environment.
our_processes() {
	local env pid

	for env in /proc/[0-9]*/environ; do
		pid=${env%/environ}
		pid=${pid#/proc/}
		tr '\0' '\n' 2>/dev/null <"$env" | grep -qx "BRP_RUN_DIR=$BRP_RUN_DIR" || continue
		tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qE -- "${1:-^@brp-initiator }" && echo "$pid"
	done
	return 0
}

no_processes() {
	[ -z "$(our_processes)" ]
}

# entry NAME KEY: a value of the registry.
entry() {
	sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\).*/\1/p" "$BRP_RUN_DIR/$1.json"
}

# has_entry NAME
has_entry() {
	[ -e "$BRP_RUN_DIR/$1.json" ]
}

no_entry() {
	! has_entry "$1"
}

# nothing_left: no process, no entry, no link.
nothing_left() {
	local left

	wait_for 10 no_processes || bad "processes are left: $(our_processes | tr '\n' ' ')"
	left=$(find "$BRP_RUN_DIR" "$BRP_DEV_DIR" ! -type d ! -name lock ! -name '*.log')
	[ -z "$left" ] || bad "files are left: $left"
}

# What the serving processes said, for a test that fails.
show_logs() {
	tail -n 20 "$BRP_RUN_DIR"/*.log 2>/dev/null || true
}
