//! What `--help` says of each command.

/// The last exit statuses and the first files of each command that reads the configuration.
macro_rules! of_configuration {
    () => {
        "  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it
"
    };
}

pub(super) const ABOUT: &str = "\
Stows container images into containerd before the node says it is ready, and
keeps them there.

stowd runs containerd as its child (or attaches to one that runs), imports every
image archive found in a directory, and tells systemd READY when that first load
is done.";

pub(super) const AFTER: &str = "\
Configuration, later ones win:
  1. the defaults
  2. /etc/stowd/config.toml, or the file that --config names
  3. config.d/*.toml beside that file, in lexical order
  4. the environment: STOWD_IMAGES__DIR sets images.dir ('__' steps into a
     table, '_' stands for '-')
  5. options of the command line

Environment:
  STOWD_...       a key of the configuration; an unknown one is an error
  RUST_LOG        wins over log-level, wherever that is set
  NO_COLOR        no colours in the log and in the status, even on a terminal
  CONTAINERD_...  for containerd alone: CONTAINERD_HTTPS_PROXY reaches it as HTTPS_PROXY

Exit status:
  0   done; for a daemon: stopped as asked
  1   failed; the reason is on stderr or in the journal
  2   the command line is wrong
  78  the configuration is wrong; every error is a line on stderr

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it
  /var/lib/stowd/images/   the images directory
  /run/stowd/              containerd's socket and state, and stowd's status.json

Examples:
  stowd check                         show the configuration and where each value comes from
  stowd run --once                    load the images into a machine image that is being baked
  stowd --config /srv/stowd.toml run  run with another file and the config.d beside it";

pub(super) const DOCTOR_ABOUT: &str = "\
Looks for what on this machine would keep stowd, or the pods of its containerd,
from working: the kernel, programs and their versions, who serves containerd's
sockets, CRI, the sandbox image, cgroups, direct writes, file systems and free
space, who may write where, and the unit with its drop-ins. A line each, with
what to do.

Nothing is changed. It works whether stowd runs or not; where containerd runs, it
is asked, and else its configuration is.";

pub(super) const DOCTOR_AFTER: &str = concat!(
    "\
Each line begins with ok, with warn (worth a look) or with fail (stowd or pods
would not start).

Exit status:
  0   no line begins with fail
  1   one does
",
    of_configuration!(),
    "
Examples:
  sudo stowd doctor
  sudo stowd doctor | grep -v '^ok'",
);

pub(super) const INSPECT_ABOUT: &str = "\
Reads image archives as the daemon would, to the last byte, and shows what they
would bring to a node like this one: images under their full names, platforms,
layers, sizes; and what would not be imported, and why. Every digest is verified.

Nothing is started, asked or changed: neither root nor containerd is needed. An
archive that relies on what containerd has already is told to lack it. Of the
configuration images.platforms and images.extra-registries count.";

pub(super) const INSPECT_AFTER: &str = concat!(
    "\
Exit status:
  0   all images of all files would be imported
  1   one would not
",
    of_configuration!(),
    "
Examples:
  stowd inspect bundle.tar.zst
  docker save app:1 | stowd inspect -
  stowd inspect --json *.tar | jq '.files[] | select(.whole | not)'",
);

pub(super) const IMPORT_ABOUT: &str = "\
Imports image archives into the containerd that runs, at once, and unpacks their
images: whether the daemon runs or not, and without the images directory. They are
pinned by an owner of their own (io.stowd.pinned=import): no daemon unpins them,
'stowd remove' does.

A name that an instance of stowd has pinned stays as it is. Of the configuration
containerd.address, containerd.namespace and the keys of images count.";

pub(super) const IMPORT_AFTER: &str = concat!(
    "\
Exit status:
  0   all images of all files are imported, and unpacked
  1   one is not, or no containerd answers
",
    of_configuration!(),
    "  /var/tmp                 a copy of what comes through a pipe, or $TMPDIR

Examples:
  sudo stowd import bundle.tar.zst
  docker save app:1 | sudo stowd import -",
);

pub(super) const REMOVE_ABOUT: &str = "\
Takes the pins of 'stowd import' off images, so that the kubelet may collect them.
With --delete their names are deleted; containerd collects what only they kept.

What an instance of stowd has pinned is not touched: its archive, or its line of a
list, is to be removed from the images directory. But what 'stowd run --once --keep'
has baked, and has no archive any more, is released and unpinned.";

pub(super) const REMOVE_AFTER: &str = concat!(
    "\
Exit status:
  0   all of them were removed
  1   one was not, or no containerd answers
",
    of_configuration!(),
    "
Examples:
  sudo stowd remove docker.io/library/app:1
  sudo stowd remove --delete app:1 app:2",
);

pub(super) const VERIFY_ABOUT: &str = "\
Reads every blob of the images that stowd keeps, in its images directory or by
'stowd import', and compares its bytes with its digest; looks for their names,
pins and snapshots. The daemon may run meanwhile. Reading is behind all other work
of the disk.

With --repair what is damaged is brought back from its archive or its list, and
unpacked.";

pub(super) const VERIFY_AFTER: &str = concat!(
    "\
Exit status:
  0   all of it is whole, or was repaired
  1   something is damaged, or no containerd answers
",
    of_configuration!(),
    "  /var/lib/stowd/          what stowd has brought

Examples:
  sudo stowd verify
  sudo stowd verify --repair docker.io/library/app:1",
);

pub(super) const COMPLETIONS_ABOUT: &str = "\
Prints what a shell needs to complete stowd's commands and options.";

pub(super) const COMPLETIONS_AFTER: &str = "\
Exit status:
  0   printed
  2   the command line is wrong

Examples:
  stowd completions bash > /etc/bash_completion.d/stowd
  stowd completions zsh > /usr/local/share/zsh/site-functions/_stowd
  stowd completions fish > /etc/fish/completions/stowd.fish";

pub(super) const RUN_ABOUT: &str = "\
Runs the daemon: containerd comes up, every archive in the images directory is
imported, READY goes to systemd, and stowd follows the directory until SIGTERM or
SIGINT. SIGHUP makes it look again, reopen logs and take what can change; on a
terminal that is closed it ends stowd.

With --once it stops when everything is imported and unpacked: for baking machine
images, in a chroot or a container, without systemd. With --keep, too, what was
loaded is kept for good, also where the archives are deleted afterwards, until
'stowd remove' gives it up or another archive comes in the place of its own;
baking again adds to it.

An archive that cannot be imported is reported and does not hold READY back.
When containerd ends without being asked, stowd ends too, so that systemd
restarts both.";

pub(super) const RUN_AFTER: &str = concat!(
    "\
Exit status:
  0   stopped as asked; with --once: every entry was imported
  1   containerd did not start or ended by itself; with --once: an entry failed
",
    of_configuration!(),
    "
Examples:
  stowd run
  stowd run --once --images-dir ./images
  chroot TREE stowd run --once --keep
  STOWD_CONTAINERD__SUPERVISE=false \\
    STOWD_CONTAINERD__ADDRESS=/run/containerd/containerd.sock stowd run

'stowd --help' tells the order of the configuration and the environment variables.",
);

pub(super) const CHECK_ABOUT: &str = "\
Shows the configuration that 'run' would have with the same options and
environment. Every value is followed by where it comes from. The output is
itself a configuration file.

Nothing is started or changed. Warnings go to stderr; so do errors, all of them,
a line each. With --quiet there is no other output: 'systemctl reload' fails by
it when the configuration is wrong.";

pub(super) const CHECK_AFTER: &str = concat!(
    "\
Exit status:
  0   the configuration can be used
",
    of_configuration!(),
    "
Examples:
  stowd check
  stowd check | grep -v '# default'
  stowd --config ./config.toml check && cp ./config.toml /etc/stowd/config.toml

'stowd --help' tells the order of the configuration and the environment variables.",
);
