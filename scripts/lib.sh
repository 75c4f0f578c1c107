# shellcheck shell=bash
#
# lib.sh - what scripts/ and tests/ share: messages, counting of results,
# packages.  Source it; it runs nothing by itself and sets no shell options.

brp_name=${0##*/}
brp_passed=0
brp_failed=0
brp_skipped=0

# Progress goes to stderr, so that stdout stays free for results.
say() {
	printf '%s: %s\n' "$brp_name" "$*" >&2
}

die() {
	say "$*"
	exit 1
}

pass() {
	brp_passed=$((brp_passed + 1))
	printf 'ok    %s\n' "$1"
}

# fail NAME [WHY]
fail() {
	brp_failed=$((brp_failed + 1))
	printf 'FAIL  %s%s\n' "$1" "${2:+: $2}"
}

# skip NAME WHY
skip() {
	brp_skipped=$((brp_skipped + 1))
	printf 'skip  %s: %s\n' "$1" "$2"
}

# count NAME STATUS [WHY] - book an exit status; 77 means skipped, as in
# meson and automake.
count() {
	case $2 in
	0) pass "$1" ;;
	77) skip "$1" "${3:-not possible on this machine}" ;;
	*) fail "$1" "${3:-exit status $2}" ;;
	esac
}

# Prints the closing line; false if something failed.
summary() {
	printf '%d passed, %d failed, %d skipped\n' \
		"$brp_passed" "$brp_failed" "$brp_skipped"
	((brp_failed == 0))
}

have() {
	command -v "$1" >/dev/null 2>&1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "'$*' needs root: run this as root, or install sudo"
	fi
}

# Those of the given packages that are not installed, one a line.
missing_packages() {
	local pkg state

	for pkg; do
		state=$(dpkg-query -W -f '${db:Status-Status}\n' "$pkg" 2>/dev/null) || state=
		# A multi-arch package may be listed once per architecture.
		grep -qx installed <<<"$state" || printf '%s\n' "$pkg"
	done
}

# ensure_packages PKG... - install what is missing; costs nothing when
# everything is there, and asks no questions.
ensure_packages() {
	local missing apt

	have apt-get || die "no apt-get here: install the equivalent of: $*"
	mapfile -t missing < <(missing_packages "$@")
	((${#missing[@]})) || return 0

	say "installing ${missing[*]}"
	apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0
		-o DPkg::Lock::Timeout=300)
	# Lists that cannot be refreshed may still be good enough.
	as_root "${apt[@]}" update >&2 || say "warning: apt-get update failed"
	as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2 ||
		die "could not install: ${missing[*]}"
}
