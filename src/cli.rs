//! The command line.

mod help;
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

/// The command line, as parsed.
#[derive(Debug, Parser)]
#[command(name = "stowd", version, long_version = VERSION)]
#[command(about, long_about = help::ABOUT, after_long_help = help::AFTER)]
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
    #[command(long_about = help::RUN_ABOUT, after_long_help = help::RUN_AFTER)]
    Run(RunArgs),
    /// Show the configuration and where each value comes from
    #[command(long_about = help::CHECK_ABOUT, after_long_help = help::CHECK_AFTER)]
    Check(CheckArgs),
    /// Look for what would keep stowd or pods from working, with remedies
    #[command(long_about = help::DOCTOR_ABOUT, after_long_help = help::DOCTOR_AFTER)]
    Doctor,
    /// Show what is on board, and what failed and why
    #[command(long_about = STATUS_ABOUT, after_long_help = STATUS_AFTER)]
    Status(StatusArgs),
    /// Show what archives would bring to this node, and what not and why
    #[command(long_about = help::INSPECT_ABOUT, after_long_help = help::INSPECT_AFTER)]
    Inspect(InspectArgs),
    /// Import archives into the containerd that runs, beside the daemon
    #[command(long_about = help::IMPORT_ABOUT, after_long_help = help::IMPORT_AFTER)]
    Import(ImportArgs),
    /// Unpin, or delete, what 'stowd import' has brought
    #[command(long_about = help::REMOVE_ABOUT, after_long_help = help::REMOVE_AFTER)]
    Remove(RemoveArgs),
    /// Read all images that stowd keeps, and repair what is damaged
    #[command(long_about = help::VERIFY_ABOUT, after_long_help = help::VERIFY_AFTER)]
    Verify(VerifyArgs),
    /// Print what a shell needs to complete commands and options
    #[command(long_about = help::COMPLETIONS_ABOUT, after_long_help = help::COMPLETIONS_AFTER)]
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

    /// Keep for good what is loaded, also where the archives are deleted afterwards
    #[arg(long, requires = "once")]
    pub keep: bool,

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
