//! Where a value comes from, in the forms for people and for figment.

use std::fmt;
use std::path::PathBuf;

use figment::Metadata;

use crate::one_line::one_line;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// No source sets it.
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

/// Fits in a line: control characters in a file's name are escaped.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", one_line(&path.to_string_lossy())),
            Self::Variable(name) => write!(f, "environment {}", one_line(name)),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Origin {
    /// The form in which figment carries it beside each value.
    pub(super) fn to_metadata(&self) -> Metadata {
        match self {
            Self::Default => Metadata::named("default"),
            Self::File(path) => Metadata::from("file", path.as_path()),
            Self::Variable(name) => Metadata::from("variable", name.as_str()),
            Self::Flag(name) => Metadata::from("flag", name.as_str()),
        }
    }

    /// What [`to_metadata`](Self::to_metadata) was made of.
    pub(super) fn from_metadata(metadata: &Metadata) -> Self {
        let place = metadata.source.as_ref();
        let path = place.and_then(figment::Source::file_path);
        let name = place.and_then(figment::Source::custom);
        match (&*metadata.name, path, name) {
            (_, Some(path), _) => Self::File(path.to_owned()),
            ("variable", _, Some(name)) => Self::Variable(name.to_owned()),
            ("flag", _, Some(name)) => Self::Flag(name.to_owned()),
            _ => Self::Default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figment_hands_back_what_it_was_given() {
        for source in [
            Origin::Default,
            Origin::File("/etc/stowd/config.toml".into()),
            Origin::Variable("STOWD_IMAGES__DIR".to_owned()),
            Origin::Flag("--images-dir".to_owned()),
        ] {
            assert_eq!(Origin::from_metadata(&source.to_metadata()), source);
        }
    }

    #[test]
    fn a_hostile_file_name_stays_on_its_line() {
        let source = Origin::File("/x/a\nlog-level = \"off\"\u{1b}.toml".into());
        assert_eq!(source.to_string(), r#"/x/a\nlog-level = "off"\u{1b}.toml"#);
    }
}
