#!/usr/bin/env bash
# Installs the Debian packages that Apus is built with, as far as they are missing, and checks the Swift toolchain.
# Idempotent; asks for nothing; uses sudo only when it is not run by root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
    libgrpc-dev libprotobuf-c-dev protobuf-c-compiler libcurl4-openssl-dev libyaml-dev libxxhash-dev libsimdjson-dev
    libmicrohttpd-dev libssl-dev libc6-dev libstdc++-12-dev binutils git
    # What the Swift toolchain's own programs are linked with; a bare Debian has none of it.
    libncurses6 libxml2 libsqlite3-0 libedit2 zlib1g-dev tzdata ca-certificates
)
# More packages may be named as arguments: deploy/install-deps.sh curl
packages+=("$@")

say() { echo "deps: $*" >&2; }
die() { echo "deps: error: $*" >&2; exit 1; }

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [[ $status == "install ok installed" ]] || missing+=("$package")
done

if ((${#missing[@]} > 0)); then
    command -v apt-get >/dev/null || die "apt-get is missing; install these by hand: ${missing[*]}"
    as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "neither root nor sudo: cannot install ${missing[*]}"
        as_root=(sudo)
    fi
    mkdir -p .cache
    log=.cache/install-deps.log
    apt() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" \
            </dev/null >>"$log" 2>&1
    }
    : >"$log"
    say "installing ${missing[*]}"
    # The lists may be missing or stale: then the first attempt fails, and one update helps.
    if ! apt install --no-install-recommends "${missing[@]}"; then
        say "updating the package lists"
        apt update || { tail -n 20 "$log" >&2; die "apt-get update failed; the log is $log"; }
        apt install --no-install-recommends "${missing[@]}" ||
            { tail -n 20 "$log" >&2; die "apt-get install failed; the log is $log"; }
    fi
    say "installed"
fi

swift_hint="install a Swift 6.2 or newer toolchain for Debian 12 (swift.org/install), and put its usr/bin into PATH"
command -v swift >/dev/null || die "swift is missing: $swift_hint"
said=$(swift --version 2>&1) || die "'swift --version' fails: $said"
version=$(echo "$said" | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
[[ -n $version ]] || die "'swift --version' says no version: $swift_hint"
IFS=. read -r major minor _ <<<"$version."
((major > 6 || (major == 6 && ${minor:-0} >= 2))) || die "swift is $version: $swift_hint"
say "swift $version, all packages are there"
