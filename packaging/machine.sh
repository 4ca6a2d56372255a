# shellcheck shell=sh
# What an installation does to a machine beside its files. packaging/install reads it, and packaging/package
# puts it at the head of each script of a package: a package and an installation from a tree do the same.
#
# Nothing here starts or restarts stowd.

# Not so in a chroot in which a machine image is made.
systemd_runs() {
    [ -d /run/systemd/system ]
}

reload_systemd() {
    ! systemd_runs || systemctl daemon-reload
}

make_directories() {
    install -d -m 755 /etc/stowd/config.d /var/lib/stowd/images
}

# Has journalctl -x know the explanations that were put there, or were removed.
update_catalog() {
    ! command -v journalctl >/dev/null || journalctl --update-catalog
}

# say_how_to_start DOC: after a first installation.
say_how_to_start() {
    echo "stowd is installed, and disabled. Put image archives into /var/lib/stowd/images, then choose:"
    echo "  stowd runs containerd:       systemctl disable --now containerd (where that is active)"
    echo "                               systemctl enable --now stowd"
    echo "  it uses containerd.service:  see $1/drop-ins/system-containerd.conf"
}

# After an update. The program of the process has lost its name to the new one.
say_restart_is_due() {
    systemd_runs || return 0
    pid=$(systemctl show --property=MainPID --value stowd.service)
    case $(readlink "/proc/$pid/exe" || true) in
    *" (deleted)") ;;
    *) return 0 ;;
    esac
    echo "stowd runs the old version: systemctl restart stowd"
    [ "$(systemctl show --property=ActiveState --value stowd.service)" != activating ] ||
        echo "It is loading images: wait until systemctl status stowd says that it is ready."
}

# Before a removal. Containers go on: the unit has KillMode=process.
stop_and_disable() {
    if systemd_runs; then
        systemctl --quiet disable --now stowd.service
    elif command -v systemctl >/dev/null; then
        systemctl --quiet disable stowd.service || true
    fi
}

# Process ids of the shims of the containerd that stowd runs: those of its socket or of its unit.
living_shims() {
    for process in /proc/[0-9]*; do
        case $(cat "$process/comm" 2>/dev/null) in
        containerd-shim*) ;;
        *) continue ;;
        esac
        if grep -qs 'stowd\.service' "$process/cgroup" ||
            tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q -e '-address /run/stowd/'; then
            echo "${process#/proc/}"
        fi
    done
}

# What containers have mounted, which may outlive a shim that was killed.
mounts_of_containers() {
    cut -d ' ' -f 5 /proc/self/mountinfo | grep -e '^/run/stowd/' -e '^/var/lib/stowd/containerd/' || true
}

# After a removal that leaves the data.
say_what_goes_on() {
    shims=$(living_shims | tr '\n' ' ')
    [ -z "$shims" ] || echo "Containers go on, without a containerd, until the machine is rebooted; their shims: $shims"
    echo "Left: /var/lib/stowd, and what was changed in /etc/stowd."
}

# Fails, and changes nothing, while containers need what purge takes away.
refuse_purge_under_containers() {
    shims=$(living_shims | tr '\n' ' ')
    mounts=$(mounts_of_containers | tr '\n' ' ')
    [ -n "$shims$mounts" ] || return 0
    {
        echo "stowd: not purged: containers of its containerd still need /var/lib/stowd and /run/stowd."
        [ -z "$shims" ] || echo "stowd: shims that live: $shims"
        [ -z "$mounts" ] || echo "stowd: mounted: $mounts"
        echo "stowd: Reboot, or remove the containers while stowd is installed and runs"
        echo "stowd: (crictl --runtime-endpoint unix:///run/stowd/containerd.sock rmp --all --force); then purge again."
    } >&2
    return 1
}

# empty_directory DIR: takes away what is in it, and itself unless something is mounted there. Nothing that is mounted
# below it is touched.
empty_directory() {
    [ -d "$1" ] || return 0
    find "$1" -mindepth 1 -xdev -depth -delete 2>/dev/null || true
    rmdir "$1" 2>/dev/null || true
}

# Takes away what stowd and its containerd have written, and the configuration: by name, because anything else in
# /var/lib/stowd, archives first of all, is not theirs. A directory that is a mount point stays, and is emptied.
purge() {
    refuse_purge_under_containers || return 1
    empty_directory /var/lib/stowd/containerd
    for file in ledger lock running scrub status; do
        rm -f "/var/lib/stowd/$file" "/var/lib/stowd/$file".json*
    done
    rm -f /var/lib/stowd/ledger-*.json*
    empty_directory /run/stowd
    empty_directory /etc/stowd
    for directory in /var/lib/stowd/images /var/lib/stowd; do
        [ ! -d "$directory" ] || rmdir --ignore-fail-on-non-empty "$directory" 2>/dev/null || true
    done
    left=$(find /var/lib/stowd -mindepth 1 -maxdepth 1 2>/dev/null | sort | tr '\n' ' ')
    [ -z "$left" ] || echo "Left, because there is something in it, or mounted there: $left"
}
