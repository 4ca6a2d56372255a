//! The start of stowd and of containerd, the files of stowd's own, and the ways to the store.

use super::message::messages;

messages! {
    FILTER_IGNORED = WARN "RUST_LOG is no filter, log-level is used: ", ["cause"],
        "b0bb48698ec74dd7b5ba63267794d7c7",
        "the variable is left",
        "The variable RUST_LOG of stowd's environment is no filter, and log-level is used in its place. \
         Remove the variable, or write a level such as info, or directives such as \
         info,stowd::importer=debug. \"systemctl show -p Environment stowd\" shows what the unit sets.";
    CONFIG_DOUBTFUL = WARN "configuration: ", [],
        "5712d80e381e45b2b7bea173a696de47",
        "it is in force, and something about it should be mended",
        "The configuration is in force, and one of its keys has no effect, or may not have the one that \
         was meant. The message names the key and where it is set. \"stowd check\" shows what is in force. \
         Mend the key, then:\n    systemctl reload stowd";
    STATE_DIR_NOT_WRITTEN = WARN "state directory cannot be written: ", ["path", "error"],
        "7b04992a11674a7dae0aae1340f738ca",
        "it is used as it is, and no lock is held on it",
        "stowd cannot write into its state directory. It goes on, but what it knows may be lost with the \
         next start, and a second stowd may not be noticed. Make @STOWD_PATH@ writable for stowd's user, \
         or name another directory in state-dir, then restart stowd.";
    STATE_DIR_NOT_LOCKED = WARN "state directory cannot be locked: ", ["path", "error"],
        "f6bda328440943f9b4d10a8b364b3431",
        "another stowd on it would not be noticed",
        "The file system of @STOWD_PATH@ has no locks, as some network file systems: a second stowd on the \
         same directory is not noticed. Put state-dir on a local file system, or see to it that one stowd \
         alone uses it.";
    UNCLEAN_STOP = WARN "unclean stop: ", ["since"],
        "2f7f0a8773524fc1bb001651d3bdf5af",
        "the machine went down under stowd: what was brought since then is read after READY",
        "The machine went down under stowd: a power loss, a crash or a reset. What was brought to \
         containerd since @STOWD_SINCE@ is read after READY, and what has lost bytes is brought back from \
         its archive or list. Nothing is to be done. What cannot be brought back is told in a line that \
         begins with \"damaged\".";
    LEDGER_NOT_USED = WARN "ledger not used in full: ", ["error"],
        "fdebbc84659f49ca88aee5933ffdca17",
        "what it knew is imported again; where it is that of another images directory, or may be, nothing \
         is unpinned",
        "The file in which stowd keeps what it has done is damaged, or cannot be read. What it said is \
         imported again, so that this start takes longer; no image is lost. Where this comes back, look at \
         the disk of state-dir: df, dmesg.";
    LEDGER_OF_ANOTHER = INFO "ledger of another images directory: ", ["path", "names"],
        "1d66ad0a61ec4468ae645f39e5febdb5",
        "at each start: what it has brought stays pinned until the file is removed";
    LEDGER_NOT_WRITTEN = WARN "ledger not written: ", ["error"],
        "503fdfeb7605473db85ec7b2b24c6173",
        "what stowd knows is in memory alone; tried again every 30 s, and told once",
        "The disk of state-dir does not take the ledger. stowd goes on and tries again every 30 s; when it \
         ends before that succeeds, the next start imports again what is not recorded. Look at the space \
         and the health of the disk: df, dmesg.";
    LEDGER_WRITTEN_AGAIN = INFO "ledger written again: ", ["path"],
        "ef9a33df9801406ba399143478f9528a",
        "that is over";
    LEDGER_NOT_SAVED = WARN "ledger not saved in time", [],
        "5f9bd9ef4fa648f7800fe37b0cf40e41",
        "stowd ends, and the disk did not take it: some of it is imported again",
        "stowd has ended before the disk of state-dir took the ledger. The next start imports again what \
         is not recorded, and no image is lost. Where this comes back, the disk hangs or is too slow: df, \
         dmesg.";
    STATUS_NOT_WRITTEN = WARN "status not written: ", ["path", "error"],
        "a9c87dc5bd95485486831cc52cf17027",
        "`stowd status` shows what was written before, or what the ledger says; told again when it has been written meanwhile",
        "stowd cannot write the file that \"stowd status\" reads: it shows what was written before, or what the \
         ledger says. Images are not touched by that. Look at the directory of the file: is it there, can it \
         be written, is its file system full?";
    METRICS_SERVED = INFO "metrics served: ", ["address"],
        "a1666a25f3844f4585d5dd4c561119d9",
        "`metrics.listen` is listened on";
    METRICS_NOT_SERVED = WARN "metrics not served; trying again: ", ["error"],
        "efd5b5eb448d4e188b944870538b4392",
        "`metrics.listen` cannot be listened on, which holds nothing else; tried again every 10 s, and told \
         again where the cause is another one",
        "stowd cannot listen on the address of metrics.listen, so that nothing reads its metrics and /readyz. \
         Images and READY are not touched by that. It is tried again every 10 s. Where the address is in \
         use, see by which process, and choose another one for one of the two; where it is not one of this \
         machine, name one that is:\n    ss -lntxp\n    ip address\nThen: systemctl reload stowd";
    MANAGER_NOT_TOLD = WARN "service manager not told: ", ["error"],
        "39a75536b08f40feb1dc2264ff44bbd2",
        "systemd did not take a message; told once, until it takes one again",
        "systemd did not take a message of stowd's: \"systemctl status\" may show an old status, and a \
         start may run into TimeoutStartSec. Look at NotifyAccess= of the unit, and, in a container, \
         whether the socket that NOTIFY_SOCKET names is there.";
    LEFTOVER_FOUND = WARN "containerd of an earlier stowd found; stopping it", ["pid"],
        "72c4692487714d3ca2625040a9e897df",
        "it serves the address, and its stowd is gone",
        "An earlier stowd was killed and has left its containerd, which serves the address of this one. It \
         is stopped now, and containers go on. Nothing is to be done.";
    LEFTOVER_STOPPED = INFO "containerd of an earlier stowd stopped", ["pid"],
        "359472848eb446e6b4c7c3067f09a77c",
        "it has ended";
    CONTAINERD_STARTED = INFO "containerd started", ["pid", "binary"],
        "38441526502f4e88a8c0f668c031aab9",
        "the child runs; it need not serve yet";
    ATTACHED = INFO "attaching to containerd", ["address"],
        "4c0cf3c23f4440e38c12db0e6b9465c9",
        "`containerd.supervise` is false";
    CONTAINERD_AWAITED = INFO "waiting for containerd", ["seconds", "missing"],
        "8deb4a78ff194116a34f3c969c7cc128",
        "every few seconds until it serves";
    WRITING_DIRECTLY = INFO "blobs are written directly into ", ["path"],
        "b63af1a3c9f841f08ccb8889a0be195b",
        "containerd keeps them there, and adopts what it finds";
    SENDING_BLOBS = INFO "blobs are sent over gRPC: ", ["cause"],
        "a36b7571482e400fae3acf151709ce3e",
        "they cannot be written directly";
    DIRECT_WRITES_ENDED = WARN "blobs are not written directly any more", ["cause"],
        "9f43eab47203405e9addaf5499a89a67",
        "a direct write failed: they are sent from now on",
        "Writing into containerd's content store has failed, and blobs are sent over containerd's socket \
         from now on, which takes longer. The message says why: space, a mode, a file system that is \
         mounted otherwise. Mend it, then restart stowd; images.direct = false sends them always.";
    DELETIONS_NOT_HEARD = WARN "images that are deleted are not heard of", ["error"],
        "154595b3b06e494aa3068f1eb2ad4783",
        "containerd's events do not come: what is deleted comes back at the next rescan",
        "containerd does not tell of its events. An image that another program deletes comes back at the \
         next rescan (images.rescan), and not within seconds. stowd asks again by itself. See what \
         containerd says:\n    journalctl -u stowd -t containerd";
    DELETIONS_HEARD_AGAIN = INFO "images that are deleted are heard of again", [],
        "812801f15e8a40d196f6fd8f87d1d4ba",
        "containerd's events come";
    INSTANCE_NOT_HELD = WARN "instance not held, a second stowd is not refused: ", ["error"],
        "6987dd5ba6d440aba74f26e42eed829c",
        "no room in containerd; it is tried again every ten minutes",
        "containerd does not keep what tells a second stowd that this instance is taken. It is tried again \
         every ten minutes. Until then see to it that one stowd alone has this instance and this \
         containerd. Mostly the disk of containerd.root is full: df";
    LEASES_NOT_FOUND = WARN "leases of an earlier run not found: ", ["error"],
        "f791cd8181d34afd8bd293499dc3a96f",
        "they expire by themselves",
        "containerd does not list its leases, which keep what an import has not finished. Those of an \
         earlier run expire by themselves, and take up space until then. Nothing is to be done; \"ctr -n \
         k8s.io leases ls\" lists them.";
    EARLIER_LEASES_NOT_CLEARED = WARN "leases of an earlier run not cleared, they expire by themselves: ", ["error"],
        "dbf3d6d6f5374676b8798dbb5b30a38c",
        "what only they keep takes up room until then",
        "Leases that an earlier run has left keep what it had not finished. They expire by themselves, and \
         take up space until then. Nothing is to be done; \"ctr -n k8s.io leases ls\" lists them.";
    OWN_LEASES_NOT_CLEARED = WARN "leases of this run not cleared, they expire by themselves: ", ["error"],
        "f822e8d60a7648a7b79af444cf0742e6",
        "the same, when stowd ends",
        "stowd has ended, and containerd did not release the leases that keep what was not finished. They \
         expire by themselves, and take up space until then. Nothing is to be done; \"ctr -n k8s.io leases \
         ls\" lists them.";
    LEASE_NOT_RELEASED = WARN "lease not released, it expires by itself: ", ["error"],
        "d81767cd121b408782be5f406039a397",
        "the same, of one entry; it is tried again when containerd answers again",
        "containerd did not release the lease of one import. It is released when containerd answers again, \
         or expires by itself, and takes up space until then. Nothing is to be done.";
}
