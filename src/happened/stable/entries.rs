//! Entries, images and what becomes of them.

use super::message::messages;

messages! {
    DIRECTORY_MISSING = WARN "images directory missing", ["path"],
        "fe39f5589daf4116b84a68d714a52cc6",
        "at the start: there is nothing to import",
        "There is no images directory at @STOWD_PATH@, and nothing to import. It is imported from as soon \
         as it is there. Make it, mount its file system, or name another one in images.dir. Where a mount \
         comes late, RequiresMountsFor= in a drop-in of the unit has stowd wait for it.";
    IGNORED = INFO "ignored: not an archive and not a list", ["path"],
        "3d5d77069c5f41779ee1302a2aa29c07",
        "a file that is no entry";
    IGNORED_LAYOUT = INFO "ignored: a directory with an OCI layout", ["path"],
        "9db5fcdd9cb945c2ae61e4242123dc2f",
        "the whole directory is no entry";
    IGNORED_ARCHIVE = INFO "ignored: looks like an archive", ["path"],
        "2b63db4604414747a8e8229000380186",
        "it does not count under its name; the line has one that would";
    NO_LIST = WARN "ignored: no list of images: ", ["entry", "error"],
        "f86a17c84ef94d9797997a6a1871eb2b",
        "a `.txt` of checksums or of prose: nothing of it is pulled, and nothing failed",
        "@STOWD_ENTRY@ ends in .txt, and most of its lines are no names of images: nothing of it is \
         pulled. Where it is meant as a list, write one name a line, with comments behind #. Else give it \
         another name.";
    FOUND = INFO "found ", ["entry", "bytes", "reason"],
        "c05e73fa840a49618d4e8a0a3c9f0d21",
        "an entry was seen that is to be imported";
    UNPACKED = INFO "unpacked ", ["image", "snapshots", "seconds"],
        "631150a8cbda40c1b30532e1b1fcbe91",
        "an image is unpacked, and so many of its snapshots are new";
    SNAPSHOTS_MISSING = INFO "unpacking again, snapshots are missing: ", ["image"],
        "0a63480e5b064edfb2863e8a5e035ef7",
        "the image was unpacked, and the store has lost snapshots of it";
    NOT_UNPACKED = ERROR "not unpacked ", ["image", "error", "attempts", "next_try"],
        "304e825e54f142a6a366dbce163f2637",
        "the image is in the store, and is not unpacked: its first container takes longer, or fails",
        "The image is in containerd and pinned, and containerd could not unpack it; the message has its \
         words. Mostly the disk of containerd.root is full, or the snapshotter does not work: df, \
         journalctl -u stowd -t containerd. It is tried again by itself. Until then the first container of \
         the image takes longer, or fails in the same way.";
    SKIPPED = INFO "skipped ", ["entry"],
        "7e05745e4c044cdab0e5376b1c423282",
        "its images are there: it is not opened";
    MISSING = INFO "bringing back what is missing of ", ["entry", "names"],
        "945ccf50f66a414f98c0891669516f32",
        "its file is the same, but the store has lost these";
    DAMAGED = WARN "bringing back what is damaged of ", ["entry", "images", "blobs"],
        "7716facc22f24d7c8c7c8a18e384ba22",
        "its file is the same, but blobs of its images are gone, or have another length, in containerd's \
         records or on the disk; the line names each with its image and what is wrong with it. They are \
         thrown away and brought back before READY",
        "Blobs of images that @STOWD_ENTRY@ brings are gone, or have another length or other bytes than \
         they should. They are thrown away and brought back from it now. Nothing is to be done for these \
         images; look for what has damaged them, a disk that fails or a program that deletes in \
         containerd.root: dmesg, smartctl";
    LEFT_DAMAGED = WARN "damaged, and left as it is: ", ["image", "blob"],
        "6c864cd0f8ad4189afcb42df5be9a809",
        "its bytes are wrong, or the disk has lost some, and no entry in sight brings it; or it cannot be \
         read for another reason",
        "The blob @STOWD_BLOB@ of the image is damaged, and is left as it is: no entry in sight brings it, \
         or it cannot be read for another reason. Put an archive with the image into the images directory, \
         or bring the directory back that had it: it is repaired from there. Look at the disk too: dmesg, \
         smartctl";
    SCRUBBED = INFO "scrubbed ", ["blobs", "bytes", "damaged"],
        "56b5016a8bdf4bfda6211273b8e088ce",
        "blobs were read for `images.scrub`, or after an unclean stop; what is damaged is told by the two \
         lines above";
    GIVEN_UP = WARN "given up ", ["entry", "names"],
        "b21e98dc1a0c4050b049ef42505b0696",
        "these are deleted again each time that they are brought back: see above",
        "Images of @STOWD_ENTRY@ are deleted again each time that they are brought back, and are left \
         alone now: @STOWD_NAMES@. Find the program that deletes them: \"ctr -n k8s.io events\" shows when \
         that happens. A change of the file, or systemctl reload stowd, has them brought back once more.";
    LEFT_TO_INSTANCE = WARN "left to instance ", ["entry", "instance", "names"],
        "76f73ca5bc01428f913b3632b3aa73c8",
        "that instance has pinned other images under these names: they stay its own",
        "Names that @STOWD_ENTRY@ brings are pinned by the instance @STOWD_INSTANCE@ with other images, \
         and stay its own: @STOWD_NAMES@. Take the image out of one of the two images directories, or give \
         it another tag.";
    IMPORTED = INFO "imported ", ["entry", "images", "bytes", "seconds", "names"],
        "2f49d7f01c574268bb0d4c9993da429e",
        "all of it is in containerd; before a `failed ` of the same archive: what is whole of it is";
    SHADOWED = INFO "shadowed in ", ["entry", "name", "image"],
        "70e6cc382cd041718b0a3ad19162df1f",
        "of several images of an archive another one has the name";
    NOTED = INFO "note on ", ["entry", "note"],
        "c5506c2d80194057bddfeb522cdef61e",
        "something about an archive is worth knowing, although nothing failed";
    NOT_PULLED = WARN "not pulled ", ["entry", "line", "error"],
        "fb8b7dcf8f5a43f0b4ca8ddd63f86288",
        "a line of a list failed; each has its own",
        "Line @STOWD_LINE@ of the list @STOWD_ENTRY@ has no image in containerd; the message has \
         containerd's words. Look whether the name is right, the registry answers, and containerd has its \
         certificates, mirrors and credentials (config_path and hosts.toml, lists.auth-file). The list is \
         tried again by itself, and at once after systemctl reload stowd. An archive with the image needs \
         no registry.";
    LOGIN_MISSING = INFO "lists.auth-file: ", ["entry", "cause"],
        "fef17a9f36d5434f9aade666b8ba10e1",
        "it names a registry and has no login for it that can be used";
    PULLING_WITHOUT_CREDENTIALS = WARN "pulling without credentials: ", ["entry", "error"],
        "9bb9a06318324794bb6fb39b77314486",
        "`lists.auth-file` cannot be used",
        "The file that lists.auth-file names cannot be used, and pulls go on without it: what needs a \
         login fails. The message says why. It must be there, readable for stowd, and in the format of \
         Docker's config.json. It is read again for each list.";
    NOT_LABELLED = WARN "not labelled ", ["entry", "image", "error"],
        "aa06f1262fe64b6da0d6e00bafb67e28",
        "an image is pulled, and its blobs do not tell the extra registries",
        "The image is pulled, pinned and whole. Its blobs do not tell the registries of \
         images.extra-registries, so that mirrors such as Spegel do not share them. It is done again when \
         the list changes, and its images are looked at anew. See what containerd says:\n    journalctl -u \
         stowd -t containerd";
    OVERRULED = WARN "shadowed by a later entry: ", ["entry", "image", "by", "other", "names"],
        "4864ae52862d478c9377b9aecfdf0124",
        "at each start, and when it begins: two entries give one name to different images",
        "Two entries give one name to different images: @STOWD_ENTRY@ and, later in the order of names, \
         @STOWD_BY@, which has it. Names: @STOWD_NAMES@. Remove the one that is not wanted, or name the \
         files so that the wanted one comes last.";
    SANDBOX_IMAGE_UNKNOWN = INFO "sandbox image not looked for: ", ["cause"],
        "529f90f1e8394c5590316210f216bb27",
        "containerd does not tell which image it makes pods with";
    SANDBOX_IMAGE_MISSING = WARN "sandbox image missing: ", ["image"],
        "214728313d994b88a298aadb76d8dcd0",
        "containerd makes every pod with it, the store lacks it and no entry brings it; told again only \
         when it goes missing anew",
        "containerd makes every pod with the image @STOWD_IMAGE@, it is not in containerd, and no entry \
         brings it: without a registry no pod starts. Put an archive with it into the images directory, or \
         name one that is there in containerd's configuration (sandbox_image; from 2.0 on \
         pinned_images.sandbox).";
    SANDBOX_IMAGE_THERE = INFO "sandbox image there: ", ["image"],
        "54affffa93484c51b0be0ec0042de40c",
        "that is over";
    LISTS_OVERTIME = WARN "not waiting any longer for lists: ", ["lists"],
        "3258e43d2ca1433d97f376a91d1498a6",
        "`lists.ready-timeout` is over: READY comes without them",
        "Pulls have held READY for as long as lists.ready-timeout allows. READY comes without them, and \
         they go on in the background: @STOWD_LISTS@. Look whether the registry answers. Archives need \
         none; lists.ready-timeout = \"0s\" never waits.";
    FAILED = ERROR "failed ",
        ["entry", "images", "names", "class", "error", "attempts", "next_try"],
        "c34e42b26c9543f5b04d1935942f4c0f",
        "some of it is not; `images` counts what is, and `class` is `content`, `missing-blob`, `no-space` or \
         `environment`. Told once, and again when the failure is another one, or after a change of the file \
         or SIGHUP",
        "Images of @STOWD_ENTRY@ are not in containerd; the message says why. A broken file is not read \
         again before it changes: \"stowd inspect FILE\" tells what is in it, copy it anew. One that lacks \
         a blob waits for another entry. For want of space, a registry or containerd it is tried again by \
         itself. systemctl reload stowd has all tried at once. READY does not wait for it.";
    NOT_NAMED = WARN "not named ", ["image", "error"],
        "d9f19ac2a43c49fdb44ba3b361d32614",
        "an image is imported, but has not this name of an extra registry",
        "The image is imported, and does not get the name @STOWD_IMAGE@ of a registry of \
         images.extra-registries; the message says why. Under its other names it is there. Mend \
         images.extra-registries, then:\n    systemctl reload stowd";
    CHANGED = INFO "changed while it was read; reading it again", ["entry"],
        "ee41c2cfc6354bf0abc30b1764f4287d",
        "once it has settled";
    GONE_UNIMPORTED = INFO "gone before it was imported", ["entry"],
        "dab2da4d931f476eaced9c3c7ef961a1",
        "it was removed in time";
    GONE = INFO "gone: ", ["entry"],
        "82d69319152e4d3d870d51d8e2c0792d",
        "it was removed; what only it brought is unpinned";
    OUT_OF_SIGHT = WARN "out of sight: ", ["entry", "entries"],
        "4e90e1beb674466c9d196f28c8e10c1d",
        "their directory is missing, unmounted or unreadable, or another one lies there: what they brought \
         stays pinned",
        "The directory of @STOWD_ENTRIES@ entries is missing, not mounted or not readable, or another one \
         lies there. What they brought stays pinned, and they are compared when it is back. Mount it \
         again, or see to its mode. Where the files are gone for good, remove them, and their directories, \
         from the file system that had them.";
    BAKED = INFO "baked: ", ["entries", "images"],
        "04b446a6e7aa4df880754a899ebdbd39",
        "what `stowd run --once --keep` has loaded stays pinned, although its files are gone; told when it \
         becomes more";
    IN_SIGHT_AGAIN = INFO "in sight again: ", [],
        "a262eb77e08e4566a9ea1aee6c030c29",
        "no entry is out of sight any more";
    UNPINNED = INFO "unpinned ", ["image"],
        "95af24598831416dbf1249b68265b5f3",
        "no entry brings it any more";
    NOT_UNPINNED = WARN "images not unpinned; trying again: ", ["error"],
        "5e9e38d33b1043b297102a1df939d9f1",
        "no entry brings them any more, and the store kept their pins; tried again in a minute",
        "containerd did not take the pins from images that no entry brings any more. It is tried again in \
         a minute; until then the kubelet's garbage collection leaves them alone. See what containerd \
         says:\n    journalctl -u stowd -t containerd";
    PINS_HELD = INFO "unpinning nothing until it is known what this brings: ", ["entry"],
        "b73e0ee6aa72461c8cd0db8edb54a50d",
        "it cannot be read, changes at each reading, or went out of sight before it was read whole; or a \
         directory, or the ledger of another images directory, cannot be read";
    DEGRADED = WARN "polling the images directory: ", ["cause"],
        "39592e8a7e37435e8f7af60da35436b8",
        "some of it cannot be watched",
        "Some of the images directory cannot be watched, and is listed every 10 s instead. The message \
         says why. Where it is a limit of inotify, raise the sysctl that it names, in /etc/sysctl.d; \
         network file systems are always polled.";
    RESTORED = INFO "following the images directory again", [],
        "24101bca002f4145936d6a3f38dc90d4",
        "all of it can be watched";
}
