# shellcheck shell=bash
# What packaging/try, packaging/package, tests/run and .ci/run need of the machine: cargo, packages of
# Debian's, and files under target/ that still belong to the user who called sudo. Sourced, never run.
#
# The caller is in the top directory of the repository and has set -euo pipefail.

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# ---- cargo

# The home of the user who called sudo; empty when nobody did.
sudo_home() {
    [[ -n ${SUDO_USER-} ]] || return 0
    getent passwd "$SUDO_USER" | cut -d: -f6
}

# Finds cargo on PATH, with the user who called sudo, or with root, and puts it on PATH. What rustup
# keeps per user is pointed at the home where cargo was found.
find_cargo() {
    local home
    if ! command -v cargo >/dev/null; then
        for home in "$(sudo_home)" /root; do
            [[ -n $home && -x $home/.cargo/bin/cargo ]] || continue
            export PATH=$home/.cargo/bin:$PATH
            [[ ! -d $home/.rustup ]] || export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
            export CARGO_HOME=${CARGO_HOME:-$home/.cargo}
            break
        done
    fi
    command -v cargo >/dev/null || die "cargo is missing. This line brings it:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default --default-toolchain $(wanted_rust)"
    check_cargo
}

# rust-version of Cargo.toml, with three numbers.
wanted_rust() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml | awk -F. '{ print $1 "." $2 "." $3 + 0 }'
}

check_cargo() {
    local wanted found
    wanted=$(wanted_rust)
    found=$(cargo --version | awk '{ print $2 }') || die "cargo does not run. This line mends it:
    rustup default $wanted"
    # sort -V puts the older first.
    [[ $(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1) == "$wanted" ]] ||
        die "cargo is $found, stowd needs $wanted or newer. This line mends it:
    rustup toolchain install $wanted --profile default && rustup default $wanted"
}

# check_cargo_tool NAME COMPONENT: cargo fmt and cargo clippy are parts that rustup may have left out.
check_cargo_tool() {
    cargo "$1" --version >/dev/null 2>&1 || die "cargo $1 is missing. This line mends it:
    rustup component add $2"
}

# install_cargo_program NAME VERSION. Unoptimized: it is built in a third of the time, and runs for seconds
# all the same.
install_cargo_program() {
    [[ "$(cargo install --list | sed -n "s/^$1 v\(.*\):$/\1/p")" == "$2" ]] && return
    say "Installing $1 $2"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo install --quiet --locked --force --version "$2" "$1" </dev/null
}

# Under sudo, cargo makes files as root in the user's tree: hands them back.
give_back() {
    [[ -n ${SUDO_UID-} && -n ${SUDO_GID-} ]] || return 0
    local dir
    for dir in target Cargo.lock "${CARGO_HOME:-$(sudo_home)/.cargo}"; do
        [[ -e $dir && $dir != /root/* ]] || continue
        find "$dir" -xdev -user root -exec chown -h "$SUDO_UID:$SUDO_GID" {} + || true
    done
}

# ---- packages

# missing_packages PROGRAM:PACKAGE... prints the packages whose program is not there. A program
# with a slash is a file.
missing_packages() {
    local pair program
    for pair in "$@"; do
        program=${pair%%:*}
        if [[ $program == */* ]]; then
            [[ -e $program ]] || printf '%s\n' "${pair#*:}"
        else
            PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || printf '%s\n' "${pair#*:}"
        fi
    done
}

# A busybox that runs alone in an image.
busybox_is_static() {
    [[ -x /bin/busybox ]] && ! ldd /bin/busybox >/dev/null 2>&1
}

# install_missing PROGRAM:PACKAGE...: installs from Debian what is missing and nothing else; no
# service is started or enabled.
install_missing() {
    local missing=()
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]} > 0)) || return 0
    say "Installing from Debian, without starting any service: ${missing[*]}"
    command -v apt-get >/dev/null || die "no apt-get here. Install these by hand: ${missing[*]}"
    ((EUID == 0)) || die "run it with sudo, or install these first: sudo apt-get install ${missing[*]}"
    run_apt update
    with_services_held install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]} == 0)) || die "still missing after the installation: ${missing[*]}"
}

run_apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null
}

# Another vendor's package that stands in the way stays: better to fail than to remove it.
install_packages() {
    run_apt install --yes --no-install-recommends --no-remove "$@"
    local package
    for package in "$@"; do
        case $package in
        systemd | systemd-sysv | dbus) ;;
        *) disable_units_of "$package" ;;
        esac
    done
}

# What Debian enables at installation would start with the next boot.
disable_units_of() {
    local unit
    for unit in $(dpkg-query -L "$1" | sed -n 's,^\(/usr\)\?/lib/systemd/system/\([^/@]*\.\(service\|timer\|socket\)\)$,\2,p'); do
        # Without systemd, Debian's own helper does it; it wants to be called by a package.
        systemctl --quiet disable "$unit" 2>/dev/null ||
            DPKG_MAINTSCRIPT_PACKAGE=$1 deb-systemd-helper disable "$unit" 2>/dev/null || true
    done
}

# The same program, linked statically: Debian does not let both be installed.
install_static_busybox() {
    busybox_is_static && return
    say "Installing from Debian: busybox-static (in place of busybox, where that is installed)"
    ((EUID == 0)) || die "run it with sudo, or install it first: sudo apt-get install busybox-static"
    run_apt update
    run_apt install --yes --no-install-recommends busybox-static
    busybox_is_static || die "/bin/busybox is still not a static program"
}

# with_services_held COMMAND...: while it runs, packages may not start services (policy-rc.d). A
# subshell, so that its trap puts back what was there on every way out.
with_services_held() (
    policy=/usr/sbin/policy-rc.d
    saved=$(mktemp -u "$policy.XXXXXX")
    trap 'rm -f "$policy"; [[ ! -e $saved ]] || mv "$saved" "$policy"' EXIT
    trap 'exit 130' INT TERM
    [[ ! -e $policy ]] || mv "$policy" "$saved"
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    "$@"
)
