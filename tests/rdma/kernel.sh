#!/bin/bash
#
# kernel.sh - get a stock Debian kernel for the test VM, unpacked, never
# installed.  Prints its folder, which holds vmlinuz, release and
# lib/modules/RELEASE.
#
#   kernel.sh [--refresh]
#
# The kernel comes from the backports suite of the mirror this machine uses
# (6.12 on Debian 12: it has ublk), else from the mirror's normal suite.
# BRP_KERNEL=backports or BRP_KERNEL=stock allows only the one.  The normal
# suite's (6.1 on Debian 12) is built without ublk; BRP_KERNEL=stock-ublk adds
# the driver, built from the very sources of that kernel that the suite has.
# BRP_CACHE is where it is kept (default: build/cache); once there, no network
# is needed.  Exit status 77: no kernel can be had here.

set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/lib.sh
. "$repo/scripts/lib.sh"

cache=${BRP_CACHE:-$repo/build/cache}
choice=${BRP_KERNEL:-any}
tmp=

unavailable() {
	say "$*"
	exit 77
}

cleanup() {
	[ -z "$tmp" ] || rm -rf "$tmp"
}

# "URI SUITE OPTIONS" of the main archive, whichever file and format it is
# configured in: apt itself reads them all.  Security and update suites have
# names of their own and do not match.
main_archive() {
	local codename wanted

	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	wanted="^[^ ]+ ($codename|stable|oldstable|testing) main "
	# shellcheck disable=SC2016 # the $(...) are apt's
	apt-get indextargets \
		--format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ARCHITECTURE) signed-by=$(SIGNED_BY)' \
		'Created-By: Packages' 2>/dev/null |
		grep -E "$wanted" | grep " $(dpkg --print-architecture) " |
		awk -v suite="$codename" '{ print $1, suite, $5; exit }'
}

# Which key signs the archive: what the machine's own source says, else the
# distribution's keyring; apt's default keys otherwise.
source_options() {
	local ring said=${1#signed-by=}

	if [ -f "$said" ]; then
		echo "[signed-by=$said]"
		return
	fi
	for ring in /usr/share/keyrings/{debian,ubuntu}-archive-keyring.{gpg,pgp}; do
		# shellcheck source=/dev/null
		if [[ $ring = */"$(. /etc/os-release && echo "$ID")"-* ]] && [ -f "$ring" ]; then
			echo "[signed-by=$ring]"
			return
		fi
	done
}

# Point apt at one suite only, with state of its own below $tmp, so that the
# machine's sources and lists stay as they are.
private_apt() {
	local uri=$1 suite=$2 options=$3

	rm -rf "$tmp/apt"
	mkdir -p "$tmp/apt/lists/partial" "$tmp/apt/cache/archives/partial"
	echo "deb $options $uri $suite main" >"$tmp/apt/sources.list"
	apt_options=(-qq
		-o "Dir::Etc::SourceList=$tmp/apt/sources.list"
		-o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$tmp/apt/lists"
		-o "Dir::Cache=$tmp/apt/cache"
		-o Dir::State::status=/dev/null
		-o "APT::Sandbox::User=$(id -un)"
		-o Acquire::Retries=2
		-o Acquire::http::Timeout=30)
	apt-get "${apt_options[@]}" update >"$tmp/apt/log" 2>&1
}

# The package the meta package linux-image-ARCH stands for.
image_package() {
	apt-cache "${apt_options[@]}" depends "linux-image-$(dpkg --print-architecture)" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

# Ubuntu ships the modules in packages beside the image.
module_packages() {
	local release=${1#linux-image-} pkg

	for pkg in "linux-modules-$release" "linux-modules-extra-$release"; do
		apt-cache "${apt_options[@]}" show "$pkg" >/dev/null 2>&1 && echo "$pkg"
	done
	return 0
}

# fetch SUITE URI OPTIONS: leaves the kernel in $tmp/kernel.
fetch() {
	local suite=$1 uri=$2 options=$3 image packages deb

	private_apt "$uri" "$suite" "$options" || return 1
	image=$(image_package)
	[ -n "$image" ] || return 1
	mapfile -t packages < <(echo "$image" && module_packages "$image")
	say "fetching ${packages[*]} from $suite"
	(cd "$tmp/apt" && apt-get "${apt_options[@]}" download "${packages[@]}") >&2 ||
		return 1
	for deb in "$tmp"/apt/*.deb; do
		dpkg-deb -x "$deb" "$tmp/unpacked" || return 1
	done
	arrange "${image#linux-image-}" "$suite"
}

# add_ublk RELEASE: builds ublk_drv.ko for it.
add_ublk() {
	local release=$1 dir=$tmp/ublk image=linux-image-$1 version series packages deb headers

	version=$(apt-cache "${apt_options[@]}" show "$image" | sed -n 's/^Version: //p' | head -n 1)
	series=$(cut -d . -f 1,2 <<<"$release")
	packages=("linux-headers-$release" "linux-headers-${release%-*}-common" "linux-kbuild-$series" "linux-source-$series")
	mkdir -p "$dir/deb" "$dir/module"
	say "fetching ${packages[*]}"
	(cd "$dir/deb" && apt-get "${apt_options[@]}" download "${packages[@]/%/=$version}") >&2 || return 1
	for deb in "$dir"/deb/*.deb; do
		dpkg-deb -x "$deb" "$dir" || return 1
	done
	tar -xJf "$dir/usr/src/linux-source-$series.tar.xz" -C "$dir/module" --strip-components=3 \
		"linux-source-$series/drivers/block/ublk_drv.c" || return 1
	echo 'obj-m := ublk_drv.o' >"$dir/module/Makefile"
	headers=$dir/usr/src/linux-headers-$release
	# They expect to be installed.
	sed -i "s|/usr/src/|$dir/usr/src/|" "$headers/Makefile" || return 1
	make -C "$headers" "M=$dir/module" modules >&2 || return 1
	mkdir -p "$tmp/kernel/lib/modules/$release/updates"
	strip --strip-debug -o "$tmp/kernel/lib/modules/$release/updates/ublk_drv.ko" "$dir/module/ublk_drv.ko" || return 1
	depmod -b "$tmp/kernel" "$release" || return 1
	rm -rf "$dir"
}

# Keep the kernel and its modules, nothing else.
arrange() {
	local release=$1 suite=$2 modules

	mkdir -p "$tmp/kernel/lib/modules"
	modules=$tmp/unpacked/lib/modules/$release
	[ -d "$modules" ] || modules=$tmp/unpacked/usr/lib/modules/$release
	mv "$tmp/unpacked/boot/vmlinuz-$release" "$tmp/kernel/vmlinuz" || return 1
	mv "$modules" "$tmp/kernel/lib/modules/$release" || return 1
	# Most of the bulk, and nothing a test of storage could want.
	rm -rf "$tmp/kernel/lib/modules/$release/kernel/sound" \
		"$tmp/kernel/lib/modules/$release"/kernel/drivers/{gpu,media,net/wireless,staging,iio}
	depmod -b "$tmp/kernel" "$release" || return 1
	echo "$release" >"$tmp/kernel/release"
	echo "$suite" >"$tmp/kernel/suite"
	rm -rf "$tmp/unpacked"
}

has_ublk() {
	[ -n "$(find "$tmp/kernel/lib" -name 'ublk_drv.ko*')" ]
}

fetch_any() {
	local uri suite options

	read -r uri suite options < <(main_archive) ||
		unavailable "no package archive is configured for this machine"
	options=$(source_options "$options")

	if [[ $choice != stock* ]]; then
		fetch "$suite-backports" "$uri" "$options" && return
		say "no kernel from $suite-backports"
	fi
	[ "$choice" != backports ] || unavailable "and BRP_KERNEL allows no other"
	fetch "$suite" "$uri" "$options" ||
		unavailable "no kernel from $suite either: is the mirror reachable?"
	has_ublk || [ "$choice" != stock-ublk ] || add_ublk "$(<"$tmp/kernel/release")" ||
		unavailable "ublk_drv for kernel $(<"$tmp/kernel/release") cannot be built here"
	has_ublk ||
		say "note: kernel $(cat "$tmp/kernel/release") has no ublk; tests of ublk will be skipped"
}

main() {
	local kernel=$cache/kernel-$choice tool

	[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] ||
		unavailable "the RDMA test VM is for amd64 Debian only, so far"
	for tool in apt-get dpkg-deb depmod flock; do
		have "$tool" || [ -x "/sbin/$tool" ] || unavailable "$tool is missing: run scripts/setup --test"
	done
	PATH=$PATH:/usr/sbin:/sbin

	mkdir -p "$cache"
	exec 9>"$cache/kernel.lock"
	flock 9
	if [ "${1-}" = --refresh ] || [ ! -f "$kernel/release" ]; then
		trap cleanup EXIT
		tmp=$(mktemp -d "$cache/fetch.XXXXXX")
		fetch_any
		rm -rf "$kernel"
		mv "$tmp/kernel" "$kernel"
	fi
	echo "$kernel"
}

main "$@"
