//! Loading: defaults, the file, drop-ins, the environment, the command line, in this order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::Value;

use super::Config;
use super::check::{Finding, check};
use super::file::{drop_ins, read};
use super::key::{KEYS, Key};
use super::layer::Layer;
use super::origin::Origin;
use super::problem::Problem;
use crate::one_line::one_line;

/// The file that is read when the command line names none.
pub const DEFAULT_FILE: &str = "/etc/stowd/config.toml";

/// Where a configuration is looked for. Drop-ins are `config.d/*.toml` beside the file, whichever
/// file that is.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub file: ConfigFile,
    /// The whole environment; what does not begin with `STOWD_` is left alone.
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// The file, and whether it may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// The command line named it: a missing file is an error.
    Named(PathBuf),
    /// The usual place: a missing file leaves the defaults.
    IfPresent(PathBuf),
}

/// An option of the command line that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As the user writes it: `--images-dir`.
    pub name: &'static str,
    /// The dotted name of the key that it sets.
    pub key: &'static str,
    pub value: OsString,
}

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedConfig {
    pub config: Config,
    /// What is odd about it, though it can be used; one line each.
    pub warnings: Vec<String>,
    origins: BTreeMap<&'static str, Origin>,
}

impl LoadedConfig {
    /// Where the value of a key comes from.
    pub fn origin(&self, key: &Key) -> &Origin {
        self.origins.get(key.name()).unwrap_or(&Origin::Default)
    }
}

/// The configuration cannot be used: everything that could be seen at once, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for LoadError {}

/// Reads the configuration. Later sources win key by key; a list replaces a list.
pub fn load(inputs: &Inputs) -> Result<LoadedConfig, LoadError> {
    let mut warnings = Vec::new();
    let mut problems = Vec::new();
    let mut layers = Vec::new();
    let found = files(&inputs.file, &mut warnings)
        .into_iter()
        .chain(variables(&inputs.environment))
        .chain(inputs.flags.iter().map(of_flag));
    for layer in found {
        match layer {
            Ok(layer) => layers.push(layer),
            Err(problem) => problems.push(problem),
        }
    }
    // Skip the checks of values if a source failed to load: it may have set any of them.
    let whole = problems.is_empty();
    problems.extend(layers.iter().flat_map(Layer::problems));
    let (config, origins) = merge(layers);
    if whole {
        let judged = check(&config);
        let placed = |finding: Finding| {
            let source = origins.get(finding.key).unwrap_or(&Origin::Default);
            Problem::new(source.clone(), finding.key, finding.what)
        };
        // A key with a refused value still has its default: skip what is found of that default.
        let refused: Vec<String> = problems.iter().map(|p| p.key.clone()).collect();
        let sound = |finding: &Finding| !finding.keys().any(|key| refused.iter().any(|r| r == key));
        problems.extend(judged.errors.into_iter().filter(sound).map(placed));
        warnings.extend(judged.warnings.into_iter().map(|w| placed(w).to_string()));
    }
    if problems.is_empty() {
        Ok(LoadedConfig {
            config,
            warnings,
            origins,
        })
    } else {
        Err(LoadError { problems })
    }
}

fn files(file: &ConfigFile, warnings: &mut Vec<String>) -> Vec<Result<Layer, Problem>> {
    let (path, may_be_missing) = match file {
        ConfigFile::Named(path) => (path, false),
        ConfigFile::IfPresent(path) => (path, true),
    };
    let directory = path.parent().unwrap_or(Path::new("")).join("config.d");
    let (drop_ins, mut layers) = match drop_ins(&directory, warnings) {
        Ok(drop_ins) => (drop_ins, Vec::new()),
        Err(problem) => (Vec::new(), vec![Err(problem)]),
    };
    let main = read(path, may_be_missing, warnings).transpose();
    let all = main
        .into_iter()
        .chain(drop_ins.iter().filter_map(|path| {
            // A drop-in that was removed since the directory was listed is no error.
            read(path, true, warnings).transpose()
        }))
        .collect::<Vec<_>>();
    layers.extend(all);
    layers
}

fn variables(environment: &[(OsString, OsString)]) -> Vec<Result<Layer, Problem>> {
    let mut ours: Vec<_> = environment
        .iter()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"STOWD_"))
        .collect();
    ours.sort();
    ours.into_iter()
        .map(|(name, value)| {
            let name = name.to_string_lossy();
            let text = utf8(value)
                .map_err(|what| Problem::new(Origin::Variable(name.to_string()), "", what))?;
            Layer::of_variable(&name, text)
        })
        .collect()
}

fn of_flag(flag: &Flag) -> Result<Layer, Problem> {
    let source = Origin::Flag(flag.name.to_owned());
    let text = utf8(&flag.value).map_err(|what| Problem::new(source.clone(), flag.key, what))?;
    match Key::named(flag.key) {
        Some(key) => Ok(Layer::of_one(source, key, Value::from(text))),
        None => Err(Problem::new(source, flag.key, "unknown key")),
    }
}

fn utf8(text: &OsStr) -> Result<&str, String> {
    text.to_str()
        .ok_or_else(|| format!("not UTF-8: {}", one_line(&text.to_string_lossy())))
}

/// Later layers win. A value that no key takes was reported already and leaves the default.
fn merge(layers: Vec<Layer>) -> (Config, BTreeMap<&'static str, Origin>) {
    let merged = layers.into_iter().fold(Figment::new(), Figment::merge);
    let mut config = Config::default();
    let mut origins = BTreeMap::new();
    for key in KEYS {
        let Ok(value) = merged.find_value(key.name()) else {
            continue;
        };
        if key.set(&mut config, &value).is_ok() {
            let metadata = merged.get_metadata(value.tag());
            let source = metadata.map_or(Origin::Default, Origin::from_metadata);
            origins.insert(key.name(), source);
        }
    }
    (config, origins)
}
