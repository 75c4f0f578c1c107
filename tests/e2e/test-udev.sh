#!/bin/bash
# The rules as they are shipped under a real udevd: a volume's device and its partitions get stable names, the same after
# connecting again, and lose them with the device. The udevd has only these rules, and namespaces of its own.
# transports: tcp
# alone: its udevd is told about the devices of all tests
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

udevd=/lib/systemd/systemd-udevd
rules=$BRP_BUILD/dist/60-brp.rules
world=(unshare --mount --pid --net --fork --kill-child --mount-proc)

need_udevd() {
	[ "$(id -u)" = 0 ] || cannot "namespaces need root"
	[ -x "$udevd" ] || cannot "no udev is installed"
	[ -e "$rules" ] || cannot "built without rules for udev"
	command -v sfdisk >/dev/null || cannot "no sfdisk"
	[ -z "$(find /dev/brp ! -type d 2>/dev/null)" ] || cannot "this machine has BRP devices"
	"${world[@]}" true 2>"$tmp/why" || cannot "namespaces cannot be made here: $(tail -n 1 "$tmp/why")"
}

# brp-initiator has the registry of this test: udevd gives its programs no environment. The first time it is asked about
# a device it knows nothing, as if udevd had been quicker than its entry.
install_rules() {
	local dir

	printf '#!/bin/sh\nmkdir %s/asked 2>/dev/null && exit 3\nBRP_RUN_DIR=%s exec %s "$@"\n' "$tmp" "$BRP_RUN_DIR" \
		"$initiator" >"$tmp/initiator"
	chmod +x "$tmp/initiator"
	for dir in /lib/udev/rules.d /etc/udev/rules.d; do
		[ ! -d "$dir" ] || mount -t tmpfs rules "$dir"
	done
	sed "s#\"[^\"]*/brp-initiator #\"$tmp/initiator #" "$rules" >/lib/udev/rules.d/60-brp.rules
	grep -q "$tmp/initiator" /lib/udev/rules.d/60-brp.rules || bad "the rules do not call brp-initiator"
}

start_udevd() {
	mount -t tmpfs run /run
	mkdir /run/udev
	install_rules
	start_client udevd "$udevd"
	udevd_pid=$client_pid
	wait_for 60 test -S /run/udev/control || bad "udevd does not start: $(<"$tmp/udevd.log")"
}

# leads NAME NODE: the link is there.
leads() {
	[ "$(readlink -f "/dev/$1")" = "$2" ]
}

has_names() {
	local node=$1 part=${2-}

	leads "brp/by-id/$uuid${part:+-part$part}" "$node${part:+p$part}" &&
		leads "brp/by-name/127.0.0.1-v${part:+-part$part}" "$node${part:+p$part}"
}

names_left() {
	find /dev/brp /dev/brp[0-9]* ! -type d 2>/dev/null
}

# udevd has it from our rule: the links alone brp-initiator makes, too.
udevd_knows() {
	grep -qx "E:BRP_UUID=$uuid" "/run/udev/data/b$(lsblk -dno MAJ:MIN "$1" | tr -d ' ')" 2>/dev/null
}

no_names() {
	[ -z "$(names_left)" ]
}

connected() {
	rm -rf "$tmp/asked"
	ini connect "$target_uri/v" >/dev/null || bad "connect failed"
	node=$(entry brp0 node)
	uuid=$(entry brp0 volume_uuid)
	wait_for 60 udevd_knows "$node" || bad "udevd does not know $node"
	[ -d "$tmp/asked" ] || bad "udevd has not asked"
	wait_for 60 has_names "$node" || bad "no stable names of $node: $(names_left)"
}

# By partx: not every kernel reads this table by itself.
has_partitions() {
	[ -b "${node}p2" ] || partx --add "$node" 2>"$tmp/partx.log"
	[ -b "${node}p2" ]
}

partitions() {
	printf 'label: gpt\nstart=1MiB, size=16MiB\nstart=20MiB, size=8MiB\n' | sfdisk -q --no-tell-kernel "$node" ||
		bad "sfdisk failed"
	named_partitions
}

named_partitions() {
	wait_for 60 has_partitions || bad "no partitions: $(<"$tmp/partx.log")"
	wait_for 60 has_names "$node" 2 || bad "no stable names of partitions: $(names_left)"
}

# /dev is everybody's.
test_cleanup() {
	[ "${BRP_TEST_INSIDE-}" != yes ] || names_left | xargs -r rm -f || true
}

disconnected() {
	rm -rf "$tmp/asked"
	ini disconnect brp0 || bad "disconnect failed"
	wait_for 60 no_names || bad "names are left: $(names_left)"
	nothing_left
}

inside() {
	# shellcheck source=tests/e2e/cli-lib.sh
	. "$e2e_dir/cli-lib.sh"
	need_device
	ip link set lo up
	start_udevd
	start_target --dev ram:64M,name=v
	connected
	partitions
	note "$(names_left | tr '\n' ' ')"
	disconnected
	connected
	named_partitions
	disconnected
	stop_target
	kill -TERM "$udevd_pid"
	finish_client udevd "$udevd_pid" 60 0
	if grep -iE 'invalid|unknown|failed|ignor' "$tmp/udevd.log"; then
		bad "udevd does not like the rules"
	fi
}

if [ "${BRP_TEST_INSIDE-}" = yes ]; then
	inside
else
	need_udevd
	status=0
	TMPDIR=$tmp BRP_TEST_INSIDE=yes "${world[@]}" bash "$0" || status=$?
	exit "$status"
fi
