#!/bin/bash
#
# image.sh - make the initramfs of the test VM, in two parts that the kernel
# unpacks one over the other:
#
#   image.sh base KERNEL              the tools and kernel modules; KERNEL is
#                                     kernel.sh's folder.  Kept in BRP_CACHE,
#                                     made anew when something in it changed.
#                                     Prints the file's name.
#   image.sh extra BASE FILE PATH[:DEST]...
#                                     writes to FILE what one run adds: files,
#                                     programs with their libraries, folders.
#                                     They get the path they have here, unless
#                                     DEST names another.
#
# Both are plain cpio archives: an emulated CPU unpacks slowly, and loading
# the image costs nothing.

set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$repo/tests/rdma
# shellcheck source=scripts/lib.sh
. "$repo/scripts/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
cache=${BRP_CACHE:-$repo/build/cache}
root=
library_list=

# busybox supplies the small tools that are not listed here.
programs=(bash kmod ip tc rdma ibv_devinfo rping fio
	stat timeout dd sort tail head date seq stdbuf)

# For the tests of block devices; those that miss one say so.
disk_programs=(mkfs.ext4 fsck.ext4 debugfs mkfs.xfs xfs_repair sfdisk fstrim
	blkdiscard blockdev sqlite3 tar cmp sha256sum)

# A missing one is no error: kernels differ in what they build in.
modules=(
	virtio_pci virtio_console 9p 9pnet_virtio
	veth crc32_generic crc32-pclmul crc32c_generic crc32c-intel
	ib_uverbs rdma_ucm rdma_rxe ib_umad
	configfs null_blk brd loop ublk_drv nbd fuse
	ext4 xfs sd_mod scsi_debug virtio_blk
	nvme-rdma nvmet-rdma nvme-tcp nvmet-tcp nvme-loop
	ib_srp ib_srpt ib_iser ib_isert iscsi_tcp
	target_core_mod target_core_iblock iscsi_target_mod
	dm-mod dm-flakey dm-multipath
	sch_netem
)

unavailable() {
	say "$*: run scripts/setup --test"
	exit 77
}

cleanup() {
	[ -z "$root" ] || rm -rf "$root"
}

is_elf() {
	local magic

	LC_ALL=C IFS= read -r -n 4 -d '' magic <"$1" 2>/dev/null || true
	[[ ${magic-} = $'\x7fELF' ]]
}

# The place of PATH once symbolic links such as /lib -> /usr/lib are followed:
# the kernel would replace such a link by a folder of the second archive.
real_place() {
	printf '%s/%s\n' "$(realpath -m "$(dirname "$1")")" "${1##*/}"
}

# put FILE DEST: copy one file, following links, and note its libraries.
put() {
	local dest

	dest=$root$(real_place "$2")
	mkdir -p "${dest%/*}"
	cp -pL "$1" "$dest"
	if is_elf "$1"; then
		ldd "$1" 2>/dev/null >>"$library_list" || true
	fi
}

put_folder() {
	local dest file

	dest=$root$(realpath -m "$2")
	mkdir -p "$dest"
	cp -a "$1/." "$dest/"
	while IFS= read -r -d '' file; do
		! is_elf "$file" || ldd "$file" 2>/dev/null >>"$library_list" || true
	done < <(find "$1" -type f \( -perm -u+x -o -name '*.so*' \) -print0)
}

# Copy the libraries noted so far, but those that FILE ($1) already lists.
put_libraries() {
	local known=${1:-/dev/null} lib

	while read -r lib; do
		put "$lib" "$lib"
	done < <(awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' "$library_list" |
		sort -u | grep -vxFf "$known")
}

# stage: a folder to collect the files of an archive in.
stage() {
	trap cleanup EXIT
	root=$(mktemp -d "${TMPDIR:-/tmp}/brp-image.XXXXXX")
	library_list=$root/.libraries
	: >"$library_list"
}

pack() {
	rm -f "$library_list"
	(cd "$root" && find . -mindepth 1 -print0 |
		cpio --null -o -H newc -R +0:+0 --quiet) >"$1"
}

make_skeleton() {
	local dir

	mkdir -p "$root"/{usr,proc,sys,dev,run,tmp,root,etc,var,mnt,vm}
	# As on this machine: programs and libraries are looked up by its paths.
	for dir in bin sbin lib lib64; do
		if [ -L "/$dir" ]; then
			mkdir -p "$root/usr/$dir"
			ln -s "usr/$dir" "$root/$dir"
		else
			mkdir -p "$root/$dir"
		fi
	done
	ln -s /run "$root/var/run"
	ln -s /proc/mounts "$root/etc/mtab"
	echo 'root:x:0:0:root:/root:/bin/bash' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	echo '127.0.0.1 localhost' >"$root/etc/hosts"
	put "$here/guest-init" /init
}

put_programs() {
	local name path applet busybox

	busybox=$(command -v busybox) || unavailable "busybox is missing"
	mkdir -p "$root/usr/bin"
	for applet in $("$busybox" --list); do
		ln -sf busybox "$root/usr/bin/$applet"
	done
	# It lists itself as well.
	rm -f "$root/usr/bin/busybox"
	put "$busybox" /usr/bin/busybox
	for name in "${programs[@]}"; do
		path=$(command -v "$name") || unavailable "$name is missing"
		rm -f "$root/usr/bin/$name"
		put "$path" "/usr/bin/$name"
	done
	for name in "${disk_programs[@]}"; do
		path=$(command -v "$name") || continue
		rm -f "$root/usr/bin/$name"
		put "$path" "/usr/bin/$name"
	done
	[ ! -f /etc/mke2fs.conf ] || put /etc/mke2fs.conf /etc/mke2fs.conf
	# busybox has applets of these names too; theirs know too little.
	for name in modprobe lsmod modinfo insmod rmmod depmod; do
		ln -sf kmod "$root/usr/bin/$name"
	done
	# Where the kernel itself calls it.
	mkdir -p "$root/usr/sbin"
	ln -sf ../bin/kmod "$root/usr/sbin/modprobe"
	ln -sf bash "$root/usr/bin/sh"
}

# libibverbs opens its providers by name; ldd knows nothing of them.
put_rdma_provider() {
	local lib

	[ -f /etc/libibverbs.d/rxe.driver ] || unavailable "ibverbs-providers is missing"
	put /etc/libibverbs.d/rxe.driver /etc/libibverbs.d/rxe.driver
	for lib in /usr/lib/*/libibverbs/librxe-rdmav*.so; do
		put "$lib" "$lib"
	done
}

# Every module with what it depends on, each once, decompressed.
put_modules() {
	local kernel=$1 release=$2 file dest name

	mkdir -p "$root/lib/modules/$release"
	cp "$kernel/lib/modules/$release"/modules.{order,builtin*} "$root/lib/modules/$release/"
	for name in "${modules[@]}"; do
		modprobe -C /dev/null -d "$kernel" -S "$release" --show-depends "$name" 2>/dev/null || true
	done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r file; do
		dest=$root/lib/modules/$release/${file#*"/lib/modules/$release/"}
		mkdir -p "${dest%/*}"
		case $file in
		*.xz) xz -dc "$file" >"${dest%.xz}" ;;
		*.zst) zstd -qdc "$file" >"${dest%.zst}" ;;
		*.gz) gzip -dc "$file" >"${dest%.gz}" ;;
		*) cp "$file" "$dest" ;;
		esac
	done
	depmod -b "$root" "$release"
}

# What the base part depends on: this script, the kernel and the packages.
base_key() {
	{
		cat "${BASH_SOURCE[0]}" "$here/guest-init"
		cat "$1/release" "$1/lib/modules/$(<"$1/release")/modules.dep"
		stat -c '%n %Y %s' /var/lib/dpkg/status
	} | sha256sum | cut -c 1-16
}

make_base() {
	local kernel=$1 name file

	mkdir -p "$cache"
	exec 9>"$cache/image.lock"
	flock 9
	name=base-${kernel##*/kernel-}
	file=$cache/$name-$(base_key "$kernel").cpio
	if [ ! -f "$file" ]; then
		say "making the VM's base image"
		rm -f "$cache/$name"-????????????????.cpio*
		stage
		make_skeleton
		put_programs
		put_rdma_provider
		put_libraries
		put_modules "$kernel" "$(<"$kernel/release")"
		# What the extra parts need not bring again.
		(cd "$root" && find . -name '*.so*' | sed 's/^\.//') >"$file.files"
		pack "$file.new"
		mv "$file.new" "$file"
	fi
	echo "$file"
}

make_extra() {
	local base=$1 file=$2 item path dest

	shift 2
	stage
	for item; do
		path=${item%%:*}
		[ -e "$path" ] || die "$path: no such file"
		path=$(realpath -s "$path")
		dest=$path
		[[ $item != *:* ]] || dest=${item#*:}
		[[ $dest = /* ]] || die "$item: the place in the VM must be an absolute path"
		if [ -d "$path" ]; then
			put_folder "$path" "$dest"
		else
			[[ $dest != */ ]] || dest+=${path##*/}
			put "$path" "$dest"
		fi
	done
	put_libraries "$base.files"
	pack "$file"
}

case ${1-} in
base) make_base "$2" ;;
extra) make_extra "${@:2}" ;;
*) die "usage: image.sh base KERNEL | image.sh extra BASE FILE PATH[:DEST]..." ;;
esac
