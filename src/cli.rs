//! The command line.

mod status_args;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{ConfigFile, DEFAULT_FILE, Flag, Inputs};

pub use status_args::StatusArgs;
use status_args::{STATUS_ABOUT, STATUS_AFTER};

/// What `--version` says behind the name.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nbuilt from ",
    env!("BUILD_REVISION"),
    " for ",
    env!("BUILD_TARGET"),
    "\nspeaks containerd.services v1 and CRI runtime.v1, as containerd does from 1.6 on",
);

const ABOUT: &str = "\
Stows container images into containerd before the node says it is ready, and
keeps them there.

stowd runs containerd as its child (or attaches to one that runs), imports every
image archive found in a directory, and tells systemd READY when that first load
is done.";

const AFTER: &str = "\
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

const DOCTOR_ABOUT: &str = "\
Looks for what on this machine would keep stowd, or the pods of its containerd,
from working: the kernel, programs and their versions, who serves containerd's
sockets, CRI, the sandbox image, cgroups, direct writes, file systems and free
space, who may write where, and the unit with its drop-ins. A line each, with
what to do.

Nothing is changed. It works whether stowd runs or not; where containerd runs, it
is asked, and else its configuration is.";

const DOCTOR_AFTER: &str = "\
Each line begins with ok, with warn (worth a look) or with fail (stowd or pods
would not start).

Exit status:
  0   no line begins with fail
  1   one does
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it

Examples:
  sudo stowd doctor
  sudo stowd doctor | grep -v '^ok'";

const INSPECT_ABOUT: &str = "\
Reads image archives as the daemon would, to the last byte, and shows what they
would bring to a node like this one: images under their full names, platforms,
layers, sizes; and what would not be imported, and why. Every digest is verified.

Nothing is started, asked or changed: neither root nor containerd is needed. An
archive that relies on what containerd has already is told to lack it. Of the
configuration images.platforms and images.extra-registries count.";

const INSPECT_AFTER: &str = "\
Exit status:
  0   all images of all files would be imported
  1   one would not
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it

Examples:
  stowd inspect bundle.tar.zst
  docker save app:1 | stowd inspect -
  stowd inspect --json *.tar | jq '.files[] | select(.whole | not)'";

const IMPORT_ABOUT: &str = "\
Imports image archives into the containerd that runs, at once, and unpacks their
images: whether the daemon runs or not, and without the images directory. They are
pinned by an owner of their own (io.stowd.pinned=import): no daemon unpins them,
'stowd remove' does.

A name that an instance of stowd has pinned stays as it is. Of the configuration
containerd.address, containerd.namespace and the keys of images count.";

const IMPORT_AFTER: &str = "\
Exit status:
  0   all images of all files are imported, and unpacked
  1   one is not, or no containerd answers
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it
  /var/tmp                 a copy of what comes through a pipe, or $TMPDIR

Examples:
  sudo stowd import bundle.tar.zst
  docker save app:1 | sudo stowd import -";

const REMOVE_ABOUT: &str = "\
Takes the pins of 'stowd import' off images, so that the kubelet may collect them.
With --delete their names are deleted; containerd collects what only they kept.

What an instance of stowd has pinned is not touched: its archive, or its line of a
list, is to be removed from the images directory.";

const REMOVE_AFTER: &str = "\
Exit status:
  0   all of them were removed
  1   one was not, or no containerd answers
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it

Examples:
  sudo stowd remove docker.io/library/app:1
  sudo stowd remove --delete app:1 app:2";

const VERIFY_ABOUT: &str = "\
Reads every blob of the images that stowd keeps, in its images directory or by
'stowd import', and compares its bytes with its digest; looks for their names,
pins and snapshots. The daemon may run meanwhile. Reading is behind all other work
of the disk.

With --repair what is damaged is brought back from its archive or its list, and
unpacked.";

const VERIFY_AFTER: &str = "\
Exit status:
  0   all of it is whole, or was repaired
  1   something is damaged, or no containerd answers
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it
  /var/lib/stowd/          what stowd has brought

Examples:
  sudo stowd verify
  sudo stowd verify --repair docker.io/library/app:1";

const COMPLETIONS_ABOUT: &str = "\
Prints what a shell needs to complete stowd's commands and options.";

const COMPLETIONS_AFTER: &str = "\
Exit status:
  0   printed
  2   the command line is wrong

Examples:
  stowd completions bash > /etc/bash_completion.d/stowd
  stowd completions zsh > /usr/local/share/zsh/site-functions/_stowd
  stowd completions fish > /etc/fish/completions/stowd.fish";

const RUN_ABOUT: &str = "\
Runs the daemon: containerd comes up, every archive in the images directory is
imported, READY goes to systemd, and stowd follows the directory until SIGTERM or
SIGINT. SIGHUP makes it look again, reopen logs and take what can change; on a
terminal that is closed it ends stowd.

An archive that cannot be imported is reported and does not hold READY back.
When containerd ends without being asked, stowd ends too, so that systemd
restarts both.";

const RUN_AFTER: &str = "\
Exit status:
  0   stopped as asked; with --once: every entry was imported
  1   containerd did not start or ended by itself; with --once: an entry failed
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it

Examples:
  stowd run
  stowd run --once --images-dir ./images
  STOWD_CONTAINERD__SUPERVISE=false \\
    STOWD_CONTAINERD__ADDRESS=/run/containerd/containerd.sock stowd run

'stowd --help' tells the order of the configuration and the environment variables.";

const CHECK_ABOUT: &str = "\
Shows the configuration that 'run' would have with the same options and
environment. Every value is followed by where it comes from. The output is
itself a configuration file.

Nothing is started or changed. Warnings go to stderr; so do errors, all of them,
a line each. With --quiet there is no other output: 'systemctl reload' fails by
it when the configuration is wrong.";

const CHECK_AFTER: &str = "\
Exit status:
  0   the configuration can be used
  2   the command line is wrong
  78  the configuration is wrong

Files:
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)
  /etc/stowd/config.d/     drop-ins to it

Examples:
  stowd check
  stowd check | grep -v '# default'
  stowd --config ./config.toml check && cp ./config.toml /etc/stowd/config.toml

'stowd --help' tells the order of the configuration and the environment variables.";

/// The command line, as parsed.
#[derive(Debug, Parser)]
#[command(name = "stowd", version, long_version = VERSION)]
#[command(about, long_about = ABOUT, after_long_help = AFTER)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Read FILE, not /etc/stowd/config.toml; its drop-ins are config.d/*.toml beside it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// What is logged: error, warn, info, debug, trace, off, or directives of RUST_LOG
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<OsString>,

    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the daemon
    #[command(long_about = RUN_ABOUT, after_long_help = RUN_AFTER)]
    Run(RunArgs),
    /// Show the configuration and where each value comes from
    #[command(long_about = CHECK_ABOUT, after_long_help = CHECK_AFTER)]
    Check(CheckArgs),
    /// Look for what would keep stowd or pods from working, with remedies
    #[command(long_about = DOCTOR_ABOUT, after_long_help = DOCTOR_AFTER)]
    Doctor,
    /// Show what is on board, and what failed and why
    #[command(long_about = STATUS_ABOUT, after_long_help = STATUS_AFTER)]
    Status(StatusArgs),
    /// Show what archives would bring to this node, and what not and why
    #[command(long_about = INSPECT_ABOUT, after_long_help = INSPECT_AFTER)]
    Inspect(InspectArgs),
    /// Import archives into the containerd that runs, beside the daemon
    #[command(long_about = IMPORT_ABOUT, after_long_help = IMPORT_AFTER)]
    Import(ImportArgs),
    /// Unpin, or delete, what 'stowd import' has brought
    #[command(long_about = REMOVE_ABOUT, after_long_help = REMOVE_AFTER)]
    Remove(RemoveArgs),
    /// Read all images that stowd keeps, and repair what is damaged
    #[command(long_about = VERIFY_ABOUT, after_long_help = VERIFY_AFTER)]
    Verify(VerifyArgs),
    /// Print what a shell needs to complete commands and options
    #[command(long_about = COMPLETIONS_ABOUT, after_long_help = COMPLETIONS_AFTER)]
    Completions {
        /// Whose completions
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// The options of `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// Import what is there, then stop: for baking machine images
    #[arg(long)]
    pub once: bool,

    #[command(flatten)]
    images: ImagesArgs,
}

/// The options of `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// Show nothing but what is wrong, or odd
    #[arg(long)]
    pub quiet: bool,

    #[command(flatten)]
    images: ImagesArgs,
}

/// The options of `inspect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct InspectArgs {
    /// Image archives; '-' is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Print JSON, for programs; stowd(8) describes it
    #[arg(long)]
    pub json: bool,
}

/// The options of `import`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ImportArgs {
    /// Image archives; '-' is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// The options of `remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RemoveArgs {
    /// Names of images; app:1 is docker.io/library/app:1
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,

    /// Delete the names from containerd, too
    #[arg(long)]
    pub delete: bool,
}

/// The options of `verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct VerifyArgs {
    /// Names of images; none: all that stowd keeps
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,

    /// Bring back what is damaged
    #[arg(long)]
    pub repair: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
struct ImagesArgs {
    /// The images directory (sets images.dir)
    #[arg(long, value_name = "DIR")]
    images_dir: Option<PathBuf>,
}

impl Cli {
    /// Where the configuration is to be read from, with the environment of this process.
    pub fn inputs(&self) -> Inputs {
        Inputs {
            file: match &self.config {
                Some(file) => ConfigFile::Named(absolute(file)),
                None => ConfigFile::IfPresent(DEFAULT_FILE.into()),
            },
            environment: env::vars_os().collect(),
            flags: self.flags(),
        }
    }

    /// What is to be logged, where the command line says so.
    pub fn log_level(&self) -> Option<&str> {
        self.log_level.as_deref().and_then(OsStr::to_str)
    }

    fn flags(&self) -> Vec<Flag> {
        let images_dir = match &self.command {
            Command::Run(run) => run.images.images_dir.as_deref(),
            Command::Check(check) => check.images.images_dir.as_deref(),
            Command::Doctor
            | Command::Status(_)
            | Command::Inspect(_)
            | Command::Import(_)
            | Command::Remove(_)
            | Command::Verify(_)
            | Command::Completions { .. }
            | Command::Version => None,
        };
        let images_dir = images_dir.map(|dir| Flag {
            name: "--images-dir",
            key: "images.dir",
            value: absolute(dir).into(),
        });
        let log_level = self.log_level.as_ref().map(|level| Flag {
            name: "--log-level",
            key: "log-level",
            value: level.clone(),
        });
        images_dir.into_iter().chain(log_level).collect()
    }
}

/// What a shell reads to complete commands and options.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stowd", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// What `--version` prints.
pub fn version() -> String {
    Cli::command().render_long_version()
}

/// The same after a change of the working directory. What cannot be made absolute, an empty path,
/// is left for the configuration's own rules to refuse.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Cli {
        Cli::try_parse_from([&["stowd"], words].concat()).unwrap()
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_file_may_be_named_before_or_after_the_command() {
        for words in [
            ["--config", "/x", "check"],
            ["check", "--config", "/x"],
            ["--config=/x", "run", "--once"],
        ] {
            assert_eq!(
                parsed(&words).inputs().file,
                ConfigFile::Named("/x".into()),
                "{words:?}"
            );
        }
        assert_eq!(
            parsed(&["check"]).inputs().file,
            ConfigFile::IfPresent("/etc/stowd/config.toml".into())
        );
    }

    #[test]
    fn flags_set_keys_and_relative_directories_become_absolute() {
        let inputs = parsed(&["run", "--images-dir", "x", "--log-level", "debug"]).inputs();
        let here = env::current_dir().unwrap();
        let told: Vec<_> = inputs
            .flags
            .iter()
            .map(|flag| (flag.name, flag.key, flag.value.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("--images-dir", "images.dir", here.join("x").into()),
                ("--log-level", "log-level", "debug".into()),
            ]
        );
    }
}
