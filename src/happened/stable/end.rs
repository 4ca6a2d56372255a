//! What follows READY: the configuration, the store and the log, up to the end.

use super::message::messages;

messages! {
    RELOADED = INFO "reloaded; changed: ", ["taken"],
        "a1a4f35efaf0403182f2e4a77987dd05",
        "SIGHUP";
    NOT_TAKEN_BEFORE_RESTART = WARN "changed, and not taken before a restart: ", ["left"],
        "15a083f9c0ac464ca58dfe244e438b25",
        "SIGHUP, and these keys differ",
        "These keys of the configuration have changed, and are read at a start alone: @STOWD_LEFT@. To \
         take them: systemctl restart stowd. Containers go on.";
    NOT_RELOADED = ERROR "not reloaded: ", ["error"],
        "5545fb543e6f4f23908a84a220ce1531",
        "SIGHUP, and the configuration is wrong",
        "The configuration on disk is wrong. Nothing of it is taken, the values of before stay, and the \
         next start would fail. \"stowd check\" names what is wrong. Mend it, then:\n    systemctl reload stowd";
    STORE_AWAY = WARN "containerd is away; trying again", ["entry", "error"],
        "b4fbc48b150e4a1498183f45e029a6b3",
        "the entry waits for it",
        "containerd did not answer while @STOWD_ENTRY@ was imported. Its import begins again when \
         containerd answers. See why it is away; where stowd attaches to another unit's, the second line \
         tells:\n    journalctl -u stowd -t containerd\n    systemctl status containerd";
    STORE_SILENT = WARN "containerd does not answer; waiting for it: ", ["error"],
        "96fcaee7cffd4f758ce7072b5d4442d4",
        "nothing is begun before it answers, and the status says so",
        "containerd does not answer. Nothing is begun before it does, and then everything that a start \
         checks is checked again. See why; where stowd attaches to another unit's, the second line \
         tells:\n    journalctl -u stowd -t containerd\n    systemctl status containerd";
    STORE_RETURNED = INFO "containerd answers again; checking what it has", [],
        "ea403cb81ab1450f903aa6f669db9eaf",
        "the same one or another: what a start asks of it is asked again";
    STORE_NOT_LISTED = WARN "containerd does not list its images; trying again", ["error"],
        "b2c4fd909465402b945c778030cc0fab",
        "nothing is decided before it does",
        "containerd answers, and does not list its images. Nothing is imported or unpinned before it does; \
         stowd asks again by itself. See what containerd says:\n    journalctl -u stowd -t containerd";
    BAKED_SET_WRITTEN = INFO "kept for good: ", ["path", "entries", "images"],
        "77741ee464f24c72880c35ed79139b85",
        "`stowd run --once --keep`: the files may be deleted now";
    BAKED_SET_NOT_CHANGED = WARN "baked set not changed: ", ["error"],
        "e32881f3bce84f868b8a43a971dc3c37",
        "an entry of which another version is there by now is of it again with the next start",
        "A path of the baked set brings other images by now, and the file of the set, in state-dir, could \
         not be changed. When that archive goes, the images that were baked count as missing. Look at the \
         space and the health of the disk: df, dmesg.";
    LOADING = INFO "loading: ",
        ["entries", "open", "bytes", "size", "bytes_per_second", "seconds_left"],
        "da23fea8676141ea88e4a2b1cc6e2808",
        "every 10 s of a load, or of an import after it, that takes longer: the status, with `bytes` of \
         `size` of all archives that were to be imported";
    LOADED = INFO "ready: ", ["images", "entries", "failed", "ignored", "unpacked"],
        "29d8005936d244029bf0bf0ab592cf1c",
        "READY=1 was sent";
    FILE_NOT_WRITTEN = ERROR "containerd's log file cannot be written; lines are lost: ", ["file", "error"],
        "340098bb016f4622b0395c3cc3d1c5ca",
        "told every 10 s at most",
        "Lines of containerd's are lost: @STOWD_FILE@ cannot be written. Make room on its disk, or see to \
         its mode. Where it cannot be mended, remove containerd.log.file, and the lines go to the journal.";
    FILE_WRITTEN_AGAIN = WARN "containerd's log file can be written again; ", ["file", "lines"],
        "77286832d1744648a9a1a7f3e453ae00",
        "`lines` were lost",
        "@STOWD_FILE@ can be written again; @STOWD_LINES@ lines of containerd's were lost in between. \
         Nothing is to be done.";
    FILE_NOT_ROTATED = ERROR "containerd's log file cannot be rotated: ", ["file", "error"],
        "c78d3b77205a464ca7edc0be4999d4eb",
        "it grows beyond its size",
        "@STOWD_FILE@ grows beyond containerd.log.max-size: it cannot be renamed, or no new one can be \
         made beside it. See to the mode of its directory, and to the space.";
    NOT_TIDIED = WARN "containerd's rotated logs not tidied: ", ["directory", "error"],
        "418f0351d79c4e4dae64450ea17b861f",
        "they are neither compressed nor removed",
        "Rotated logs in @STOWD_DIRECTORY@ are neither compressed nor removed, and take up more space than \
         containerd.log.max-backups allows. See to the mode of the directory, and to the space. The next \
         rotation tries again.";
    OUTPUT_DROPPED = WARN "containerd's output dropped: ", ["lines"],
        "85ec7f4f217d4826929f345720bdb771",
        "the journal, or the reader of stderr, was too slow for them",
        "The journal, or what reads stowd's standard error, was too slow for @STOWD_LINES@ lines of \
         containerd's, which are lost. containerd itself did not wait. Ask for fewer lines with \
         containerd.log.level, or for a file with containerd.log.file.";
    OUTPUT_NOT_AWAITED = WARN "the last of containerd's output is not written yet", [],
        "5d4d1b24cbba46c29b1b1951d510b592",
        "containerd has ended; it is not waited for",
        "containerd has ended, and the disk or the journal has not taken its last lines in time. They may \
         be lost. Nothing is to be done, unless the disk hangs: dmesg";
    OUTPUT_READER_PANICKED = ERROR "bug: the reader of containerd's output panicked", [],
        "fe782b2b46d24106997a8d616d12ffd3",
        "what containerd writes is logged no more",
        "An error in stowd: what containerd writes is read, and logged no more. Images and containers are \
         not concerned. Restart stowd when it suits, and report the lines before this one.";
    STOPPING = INFO "stopping: ", ["signal"],
        "4af648b6426d4970b0c083f221269aca",
        "SIGTERM or SIGINT; on a terminal that is closed SIGHUP";
    STOPPING_AT_ONCE = WARN "stopping at once: ", ["signal"],
        "c1f0ca38530d42b280e96314582f563e",
        "containerd gets SIGKILL",
        "A second signal asks stowd to end at once: containerd is killed and not stopped. Containers go \
         on. An import that was under way is begun again at the next start. Nothing is to be done.";
    CONTAINERD_STOPPING = INFO "stopping containerd", ["pid"],
        "e5322b6f2a944b5eaf4496fa775a4a1f",
        "it gets SIGTERM";
    CONTAINERD_OVERDUE = WARN "containerd did not stop within ", ["pid", "timeout"],
        "85856ff1b5b14b098cf5c5878590827b",
        "it gets SIGKILL",
        "containerd did not end within containerd.stop-timeout, and is killed. Containers go on. Where \
         this comes back, give it more time, and see what it does:\n    journalctl -u stowd -t containerd";
    CONTAINERD_KILLED = WARN "killing containerd: ", ["pid"],
        "6c184921db1d4c02b97d5d7789d862fb",
        "stowd is to stop at once",
        "stowd is to end at once, and there is no time to stop containerd in order. Containers go on. \
         Nothing is to be done.";
    CONTAINERD_ABANDONED = WARN "containerd is killed: ", ["pid"],
        "1d1221a743a24a2cb60575587dc8c7b6",
        "stowd ends without having stopped it in order",
        "stowd ends without having stopped containerd, which is killed so that it is not left. Containers \
         go on. The lines before this one say why stowd ends.";
    CONTAINERD_NOT_WAITED_FOR = WARN "cannot wait for containerd; trying again: ", ["error"],
        "729bb0364adb45a793532650bea8f5b2",
        "the system does not tell whether it has ended",
        "The system does not tell whether containerd has ended; it is asked again. Where this goes on, \
         restart stowd: containers go on.";
    CONTAINERD_STOPPED = INFO "containerd stopped", ["pid", "status"],
        "d8b1a2099c12498e859eb31a577ceee0",
        "in time or not";
    STOPPED = ERROR "stopped: ", ["error"],
        "881c25824274479e832a60ba5d2fe7ba",
        "stowd ends with status 1; the error says why",
        "stowd has ended of an error, which the message has, and containerd with it; containers go on. \
         systemd starts the unit again (Restart=). \"stowd doctor\" looks for what keeps stowd from \
         working, each with its remedy. Lines of containerd's before this one:\n    journalctl -u stowd -t \
         containerd";
}
