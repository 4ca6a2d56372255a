//! Platforms: what this host runs, and which of an image's platforms are wanted.
//!
//! Names, their normal form and what runs on what follow containerd's `platforms` package
//! (`Parse`, `Normalize`, `Only`): of an image that offers several, containerd runs the one that
//! these rules choose, so it must be the one that was imported.

mod host;

use std::collections::BTreeSet;
use std::fmt;

use crate::one_line::{quoted, shortened};

/// A platform as indexes and configurations name it (OCI image spec, "Image Index").
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Platform {
    /// The operating system, as Go's GOOS.
    pub os: String,
    /// The processor, as Go's GOARCH.
    pub architecture: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What it needs of the operating system (`os.features`), such as `erofs`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub features: BTreeSet<String>,
}

/// Which platforms of an image are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// Of each of these the best match.
    Each(Vec<Platform>),
}

/// Why the configured platforms cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    #[error("no platform is named: write \"host\", \"all\", or names such as \"linux/arm64\"")]
    None,
    /// A word is not a platform.
    #[error(
        "{word} is not a platform: {what}; write \"host\", \"all\", or a name such as \
         \"linux/amd64\", \"linux/arm64\" or \"linux/arm/v7\""
    )]
    Unknown {
        /// The word, shortened.
        word: String,
        what: &'static str,
    },
}

/// Go's GOOS values (go/build/syslist.go).
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];

/// Go's GOARCH values (go/build/syslist.go).
const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// What indexes put for the platform of a manifest that is none to run.
const UNKNOWN: &str = "unknown";

impl Platform {
    /// The normal form of a platform as a document names it: `x86_64` is `amd64`, `aarch64/v8` is
    /// `arm64`, `arm` is `arm/v7`, and no operating system is Linux.
    pub fn normalized(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_lowercase().as_str() {
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let architecture = architecture.to_lowercase();
        let variant = variant.to_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant: (!variant.is_empty()).then(|| variant.to_owned()),
            features: BTreeSet::new(),
        }
    }

    /// Reads a name as an operator writes it, `os/architecture/variant`, `os/architecture`,
    /// `architecture` or `os`; what is left out is the host's. The result is normalised. Unlike
    /// containerd it refuses systems and processors that are not known: they are misspelt.
    pub fn parse(word: &str, host: &Self) -> Result<Self, PlatformError> {
        let unknown = |what| PlatformError::Unknown {
            word: quoted(word, 100),
            what,
        };
        let parts: Vec<&str> = word.splitn(4, '/').collect();
        let is_part = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        if !parts.iter().all(is_part) {
            return Err(unknown("it is not of the form os/architecture/variant"));
        }
        let platform = match parts.as_slice() {
            [word] => {
                let as_system = Self::normalized(word, &host.architecture, "");
                if SYSTEMS.contains(&as_system.os.as_str()) {
                    return Ok(Self {
                        variant: host.variant.clone(),
                        ..as_system
                    });
                }
                Self::normalized(&host.os, word, "")
            }
            [os, architecture] => Self::normalized(os, architecture, ""),
            [os, architecture, variant] => Self::normalized(os, architecture, variant),
            _ => return Err(unknown("it has more than three parts")),
        };
        if !SYSTEMS.contains(&platform.os.as_str()) {
            Err(unknown("no such operating system is known"))
        } else if !ARCHITECTURES.contains(&platform.architecture.as_str()) {
            Err(unknown("no such processor is known"))
        } else {
            Ok(platform)
        }
    }

    /// Whether this is the platform that marks an attestation, `unknown/unknown`: a document about
    /// another manifest of its index, which no node runs.
    pub fn is_attestation(&self) -> bool {
        self.os == UNKNOWN && self.architecture == UNKNOWN
    }

    /// What a machine of this platform runs, best first (`platforms.Only`).
    fn runs(&self) -> Vec<Self> {
        let Self {
            os,
            architecture,
            variant,
            ..
        } = self.renormalized();
        let platform =
            |architecture: &str, variant: &str| Self::normalized(&os, architecture, variant);
        let variant = variant.unwrap_or_default();
        let mut runs = vec![platform(&architecture, &variant)];
        match architecture.as_str() {
            "amd64" => {
                let level = number(&variant).unwrap_or(1);
                runs.extend(
                    (1..level)
                        .rev()
                        .map(|level| platform("amd64", &format!("v{level}"))),
                );
                runs.push(platform("386", ""));
            }
            "arm" => runs.extend(arm_below(&variant).map(|variant| platform("arm", &variant))),
            "arm64" => {
                runs.extend(
                    arm64_below(&variant)
                        .iter()
                        .map(|variant| platform("arm64", variant)),
                );
                // Every 64-bit ARM that containerd knows of is taken to run 32-bit programs.
                let variant = match variant.as_str() {
                    "" => "v8",
                    variant if variant.starts_with("v8.") || variant.starts_with("v9.") => "v8",
                    variant => variant,
                };
                runs.push(platform("arm", variant));
                runs.extend(arm_below(variant).map(|variant| platform("arm", &variant)));
            }
            _ => {}
        }
        runs
    }

    /// The best match for a machine of this platform; of equals the first.
    fn best_of(&self, offered: &[Self]) -> Option<usize> {
        let offered: Vec<Self> = offered.iter().map(Self::renormalized).collect();
        self.runs()
            .iter()
            .find_map(|runs| offered.iter().position(|platform| platform == runs))
    }

    fn renormalized(&self) -> Self {
        Self::normalized(
            &self.os,
            &self.architecture,
            self.variant.as_deref().unwrap_or(""),
        )
        .needing(self.features.iter().cloned())
    }

    /// The platform with these features. containerd's runtime asks for a platform of none, so that what
    /// needs one is not its (`platforms.NewMatcher`): nothing else could unpack it there. The releases
    /// before 2.3 do not look at features, and cannot unpack it either.
    pub fn needing(mut self, features: impl IntoIterator<Item = String>) -> Self {
        self.features.extend(features);
        self
    }
}

/// `v3` is 3. No machine has a hundred levels; a configuration may claim so.
fn number(variant: &str) -> Option<u32> {
    let number = variant.trim_start_matches('v').parse().ok()?;
    (number < 100).then_some(number)
}

/// The 32-bit ARM variants below one, down to v5.
fn arm_below(variant: &str) -> impl Iterator<Item = String> + use<> {
    let version = number(variant).unwrap_or(0);
    (5..version).rev().map(|version| format!("v{version}"))
}

/// The 64-bit ARM variants below one. v9.0 parted from v8.5: v9.x runs what v8.(x+5) runs.
fn arm64_below(variant: &str) -> Vec<String> {
    let variant = if variant.is_empty() { "v8" } else { variant };
    let (major, minor) = variant.split_once('.').unwrap_or((variant, ""));
    let minor = number(minor).unwrap_or(0);
    let written = |major: u32, minor: u32| match minor {
        0 => format!("v{major}"),
        minor => format!("v{major}.{minor}"),
    };
    let below = |major, minor: u32| (0..minor).rev().map(move |minor| written(major, minor));
    match number(major) {
        Some(9) => below(9, minor).chain(below(8, minor + 6)).collect(),
        Some(8) => below(8, minor).collect(),
        _ => Vec::new(),
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Documents of an archive name platforms: what they hold must stay on its line.
        let part = |f: &mut fmt::Formatter<'_>, part| f.write_str(&shortened(part, 40));
        const SOME: usize = 4;
        part(f, &self.os)?;
        if !self.features.is_empty() {
            // As `platforms.FormatAll` writes it.
            f.write_str("(")?;
            for feature in self.features.iter().take(SOME) {
                f.write_str("+")?;
                part(f, feature)?;
            }
            f.write_str(")")?;
        }
        f.write_str("/")?;
        part(f, &self.architecture)?;
        match &self.variant {
            Some(variant) => {
                f.write_str("/")?;
                part(f, variant)
            }
            None => Ok(()),
        }
    }
}

impl Wanted {
    /// Reads the words of `images.platforms`: `host`, `all`, or names of platforms. Empty and
    /// unknown are errors; `all` makes the other words superfluous.
    pub fn from_config(words: &[String], host: &Platform) -> Result<Self, PlatformError> {
        if words.is_empty() {
            return Err(PlatformError::None);
        }
        let mut all = false;
        let mut platforms = Vec::new();
        for word in words {
            let platform = match word.as_str() {
                "all" => {
                    all = true;
                    continue;
                }
                "host" => host.clone(),
                name => Platform::parse(name, host)?,
            };
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        Ok(if all {
            Self::All
        } else {
            Self::Each(platforms)
        })
    }

    /// Which of the offered platforms are wanted, in the order in which they are offered: all but
    /// attestations, or of each wanted platform the best match, of equals the first.
    pub fn choose(&self, offered: &[Platform]) -> Vec<usize> {
        let mut chosen: Vec<usize> = match self {
            Self::All => (0..offered.len())
                .filter(|i| !offered[*i].is_attestation())
                .collect(),
            Self::Each(wanted) => wanted
                .iter()
                .filter_map(|wanted| wanted.best_of(offered))
                .collect(),
        };
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Whether a manifest of this platform could be chosen if nothing better is offered.
    pub fn accepts(&self, platform: &Platform) -> bool {
        !self.choose(std::slice::from_ref(platform)).is_empty()
    }

    /// Whether what was chosen of an offer has the one that `host` would run of it.
    pub fn runs_here(&self, offered: &[Platform], host: &Platform) -> bool {
        host.best_of(offered)
            .is_some_and(|best| self.choose(offered).contains(&best))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Each(platforms) => {
                for (i, platform) in platforms.iter().enumerate() {
                    write!(f, "{}{platform}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}
