# shellcheck shell=bash disable=SC2154,SC2034 # variables of lib.sh
#
# link-lib.sh - for tests that need a link to cut (see link); sourced after lib.sh.

link=$e2e_dir/link
link_address=10.77.0.2

is_link_taken=

# take_link: makes it here; ends the test as skipped where there can be none.  Over TCP the test must be in a network
# namespace of its own by then.
take_link() {
	local status=0

	"$link" make 2>"$tmp/link.log" || status=$?
	((status != 77)) || cannot "$(tail -n 1 "$tmp/link.log")"
	((status == 0)) || {
		cat "$tmp/link.log"
		bad "the link cannot be made"
	}
	is_link_taken=yes
	BRP_TEST_ADDRESS=$link_address
}

# What brp-history can do to it: without netem packets are only dropped.
link_faults() {
	echo "wire,wire-up,wire-down$(! has_netem || echo ,lag,lossy)"
}

has_netem() {
	if [ "$BRP_TEST_TRANSPORT" = tcp ]; then
		unshare -n "$link" make "$link" lag 2>/dev/null
	else
		"$link" lag 2>/dev/null && "$link" mend
	fi
}

# After everything that uses it has ended.
test_cleanup() {
	[ -n "$is_link_taken" ] || return 0
	"$link" mend
	"$link" remove 2>/dev/null || true
}
