//! What the values must be beyond their kind: every rule is here, and none looks outside.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::Config;
use super::key::{Field, KEYS, Key};
use super::listen::{ListenAddress, SOCKET_PATH};
use super::registry;
use crate::concurrency::PARALLEL_MAX;
use crate::pin::{BEFORE_INSTANCES, OPERATOR};
use crate::platform::{Platform, Wanted};
use crate::unpack::UnpackWhen;

/// Longest identifier, in bytes (containerd, `pkg/identifiers`).
const IDENTIFIER: usize = 76;

/// Pins from before there were instances, and pins of single imports.
const TAKEN_INSTANCES: [&str; 2] = [BEFORE_INSTANCES, OPERATOR];

/// Nothing that stowd waits for takes ten years; beyond lies the overflow of clocks.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// More slowly no scrub of a few images would end.
const SCRUB_RATE_MIN: ByteSize = ByteSize::kib(64);

/// Something about the value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub key: &'static str,
    /// The other key that it was compared with, if any.
    pub other: Option<&'static str>,
    /// What is wrong, and the fix where there is one.
    pub what: String,
}

impl Finding {
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.key).chain(self.other)
    }
}

/// The result of [`check`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The configuration cannot be used.
    pub errors: Vec<Finding>,
    /// It can be used, but probably does not do what was meant.
    pub warnings: Vec<Finding>,
}

/// Judges a configuration by itself: no file is looked at.
pub fn check(config: &Config) -> CheckReport {
    let mut found = CheckReport::default();
    every_key(config, &mut found);
    instance(&config.instance, &mut found);
    containerd(config, &mut found);
    images_and_lists(config, &mut found);
    if let Some(Err(what)) = config.metrics.listen.as_deref().map(ListenAddress::parse) {
        found.error("metrics.listen", what);
    }
    if let Err(what) = log_level(&config.log_level) {
        found.error("log-level", what);
    }
    found
}

impl CheckReport {
    fn error(&mut self, key: &'static str, what: impl Into<String>) {
        self.errors.push(finding(key, None, what));
    }

    fn clash(&mut self, key: &'static str, other: &'static str, what: impl Into<String>) {
        self.errors.push(finding(key, Some(other), what));
    }

    fn warn(&mut self, key: &'static str, what: impl Into<String>) {
        self.warnings.push(finding(key, None, what));
    }
}

fn finding(key: &'static str, other: Option<&'static str>, what: impl Into<String>) -> Finding {
    Finding {
        key,
        other,
        what: what.into(),
    }
}

/// The rules that hold for every value of a kind.
fn every_key(config: &Config, found: &mut CheckReport) {
    let mut values = config.clone();
    for key in KEYS {
        match key.place {
            Field::Path(at) => {
                if let Err(what) = path(key, at(&mut values)) {
                    found.error(key.name(), what);
                }
            }
            Field::OptionalPath(at) => {
                if let Some(Err(what)) = at(&mut values).as_deref().map(|p| path(key, p)) {
                    found.error(key.name(), what);
                }
            }
            Field::Duration(at) => {
                if *at(&mut values) > LONGEST {
                    found.error(key.name(), "longer than 3650d, ten years");
                }
            }
            Field::Switch(_) | Field::Count(_) | Field::Text(_) | Field::Texts(_) => {}
            Field::OptionalText(_) | Field::Size(_) | Field::Unpack(_) | Field::LineLevel(_) => {}
        }
    }
}

fn path(key: &Key, path: &Path) -> Result<(), String> {
    let text = path.to_string_lossy();
    if text.contains('\0') {
        return Err("a path cannot have a NUL in it".to_owned());
    }
    if key.name() == "containerd.binary" {
        return match text.as_ref() {
            "" => Err("empty; the default is \"containerd\", found on PATH".to_owned()),
            text if text.ends_with('/') => Err(format!("{text:?} names a directory")),
            _ => Ok(()),
        };
    }
    if let Some(plain) = text.strip_prefix("unix://") {
        return Err(format!(
            "{text:?} is a URL; write the path alone: {plain:?}"
        ));
    }
    if !path.is_absolute() {
        return Err(format!("{text:?} is not an absolute path; begin it with /"));
    }
    Ok(())
}

fn instance(instance: &str, found: &mut CheckReport) {
    if !is_identifier(instance) {
        found.error("instance", no_identifier(instance, "name of an instance"));
    } else if TAKEN_INSTANCES.contains(&instance) {
        found.error(
            "instance",
            format!("{instance:?} owns pins of another kind; choose another name"),
        );
    }
}

fn containerd(config: &Config, found: &mut CheckReport) {
    let containerd = &config.containerd;
    let length = containerd.address.as_os_str().as_bytes().len();
    if length > SOCKET_PATH {
        found.error(
            "containerd.address",
            format!("{length} bytes long; the path of a socket has at most {SOCKET_PATH}"),
        );
    }
    if containerd.root == containerd.state {
        found.clash(
            "containerd.state",
            "containerd.root",
            "the same as containerd.root; containerd wants two directories",
        );
    }
    for argument in &containerd.extra_args {
        if let Err(what) = extra_argument(argument) {
            found.error("containerd.extra-args", what);
        }
    }
    if !is_identifier(&containerd.namespace) {
        let what = no_identifier(&containerd.namespace, "namespace of containerd");
        found.error("containerd.namespace", what);
    }
    for (key, time) in [
        ("containerd.start-timeout", containerd.start_timeout),
        ("containerd.stop-timeout", containerd.stop_timeout),
        ("containerd.log.max-age", containerd.log.max_age),
        ("lists.pull-timeout", config.lists.pull_timeout),
    ] {
        if time.is_zero() {
            found.error(key, "must be longer than \"0s\"");
        }
    }
    let log = &containerd.log;
    if log.max_size < ByteSize::kib(1) {
        found.error("containerd.log.max-size", "must be at least \"1KiB\"");
    }
    if log.tee && log.file.is_none() {
        found.clash(
            "containerd.log.tee",
            "containerd.log.file",
            "there is no file to write beside the journal; set containerd.log.file",
        );
    }
    if !containerd.supervise {
        unused_without_child(config, found);
    }
}

/// What is set for a child that there will not be.
fn unused_without_child(config: &Config, found: &mut CheckReport) {
    let default = Config::default();
    for key in KEYS {
        let of_child = matches!(
            key.name(),
            "containerd.binary"
                | "containerd.config"
                | "containerd.root"
                | "containerd.state"
                | "containerd.extra-args"
                | "containerd.stop-timeout"
        ) || key.name().starts_with("containerd.log.");
        if of_child && key.text(config) != key.text(&default) {
            found.warn(
                key.name(),
                "without effect: with containerd.supervise = false containerd is not stowd's child",
            );
        }
    }
}

/// containerd's flags that stowd must know the values of, with the keys that set them
/// (`containerd --help`; Go's flags take one dash or two).
fn extra_argument(argument: &str) -> Result<(), String> {
    if argument.contains('\0') {
        return Err("an argument cannot have a NUL in it".to_owned());
    }
    let Some(flag) = argument.strip_prefix('-') else {
        return Ok(());
    };
    let flag = flag.strip_prefix('-').unwrap_or(flag);
    let key = match flag.split('=').next().unwrap_or(flag) {
        "address" | "a" => "containerd.address",
        "config" | "c" => "containerd.config",
        "root" => "containerd.root",
        "state" => "containerd.state",
        _ => return Ok(()),
    };
    Err(format!(
        "{argument:?} would hide what stowd passes; set {key} instead"
    ))
}

/// containerd's grammar of identifiers (`pkg/identifiers`).
fn is_identifier(text: &str) -> bool {
    text.len() <= IDENTIFIER
        && text
            .split(['.', '_', '-'])
            .all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn no_identifier(text: &str, wanted: &str) -> String {
    format!(
        "{text:?} is no {wanted}: letters and digits, single '.', '_' or '-' between them, at most \
         {IDENTIFIER} in all"
    )
}

fn images_and_lists(config: &Config, found: &mut CheckReport) {
    let images = &config.images;
    if let Err(what) = platforms(&images.platforms) {
        found.error("images.platforms", what);
    }
    for (i, registry) in images.extra_registries.iter().enumerate() {
        if let Err(what) = registry::check(registry) {
            found.error("images.extra-registries", what);
        } else if images.extra_registries[..i].contains(registry) {
            // An image gets a name once, however often its registry is listed.
            found.warn(
                "images.extra-registries",
                format!("{registry:?} is there more than once; once is enough"),
            );
        }
    }
    if images.parallel > PARALLEL_MAX {
        found.error("images.parallel", format!("at most {PARALLEL_MAX}"));
    }
    if let Some(name) = &images.snapshotter {
        if !is_identifier(name) {
            found.error("images.snapshotter", no_identifier(name, "snapshotter"));
        } else if images.unpack == UnpackWhen::Never {
            found.warn(
                "images.snapshotter",
                "without effect: with images.unpack = \"never\" stowd unpacks no image",
            );
        }
    }
    if !images.rescan.is_zero() && images.rescan < Duration::from_secs(1) {
        found.error("images.rescan", "at least \"1s\", or \"0s\" for never");
    }
    if !images.scrub.is_zero() && images.scrub < Duration::from_secs(1) {
        found.error("images.scrub", "at least \"1s\", or \"0s\" for never");
    }
    if images.scrub_rate < SCRUB_RATE_MIN {
        found.error("images.scrub-rate", "at least \"64KiB\"");
    }
    if !(1..=PARALLEL_MAX).contains(&config.lists.parallel) {
        found.error("lists.parallel", format!("from 1 to {PARALLEL_MAX}"));
    }
}

/// Whether these words name platforms.
fn platforms(words: &[String]) -> Result<(), String> {
    if words.is_empty() {
        return Err("empty: no image would be wanted; the default is [\"host\"]".to_owned());
    }
    match Wanted::from_config(words, Platform::host()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the text selects log lines: a level, or directives as `RUST_LOG` has them.
fn log_level(text: &str) -> Result<(), String> {
    let expected = "expected error, warn, info, debug, trace or off, or directives such as \
                    \"info,stowd::importer=debug\"";
    let words = || {
        text.split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
    };
    if words().next().is_none() {
        return Err(format!("{text:?} selects nothing; {expected}"));
    }
    // A lone word that is no level would silently be taken for the name of a module.
    let lone = |word: &&str| !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err();
    if let Some(word) = words().find(lone) {
        return Err(format!("{word:?} is no level; {expected}"));
    }
    for word in words() {
        if let Err(error) = EnvFilter::builder().parse(word) {
            return Err(format!("{word:?}: {error}; {expected}"));
        }
    }
    Ok(())
}
