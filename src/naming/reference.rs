//! The reference grammar, and the normal form that containerd keeps.
//!
//! The grammar and the normal form are those of Go's `distribution/reference`
//! (`ParseNormalizedNamed`, `ParseDockerRef`), because containerd's CRI plugin looks images up by
//! what that package makes of a name: a name that differs by one rule is an image that is "not
//! there". Its published test tables are in `tests/fixtures/references`.

use std::fmt;

use super::grammar::{HOST_MAX, LOCALHOST, host_and_port, is_host, is_path_component};
use crate::digest::Digest;
use crate::one_line::beginning;

/// The registry of a name that names none.
pub(super) const DEFAULT_DOMAIN: &str = "docker.io";
/// What Docker Hub was called once; the same registry.
pub(super) const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
/// Where Docker Hub keeps the repositories that are written as one word.
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// A colon and five digits.
const PORT_MAX: usize = 6;
const PATH_MAX: usize = 255;
const TAG_MAX: usize = 128;
/// A digest has at least 128 bits, whatever its algorithm.
const DIGEST_HEX_MIN: usize = 32;

/// A name of an image, normalised: `docker.io/library/alpine:3`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub(super) domain: String,
    pub(super) path: String,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<Digest>,
}

/// Why a text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image name: {rule}")]
pub struct ReferenceError {
    text: String,
    rule: Rule,
}

/// The rule of the reference grammar that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// It would be taken for the identifier of an image.
    #[error("64 hexadecimal digits alone are an image identifier; write registry/path in front")]
    Identifier,
    /// A capital letter in the path.
    #[error("the path must be in lower case")]
    Uppercase,
    #[error("the path is longer than 255 characters")]
    TooLong,
    /// It has a scheme.
    #[error("a name is no URL: leave out what ends in '://'")]
    Url,
    /// The first part must be a registry, and cannot be one.
    #[error("its first part is not a registry: a host name or an address, with or without a port")]
    Registry,
    /// The path is not made of the allowed characters.
    #[error(
        "a path is made of a-z and 0-9, with single '.', '_', '__' or dashes between them, \
         in parts that '/' divides"
    )]
    Path,
    #[error(
        "a tag is made of up to 128 letters, digits, '_', '.' and '-', and begins with neither '.' nor '-'"
    )]
    Tag,
    /// What follows the `@` is not a digest.
    #[error(
        "what follows '@' is not a digest of the form sha256:<64 lower-case hexadecimal digits>"
    )]
    Digest,
    /// The digest is of another algorithm.
    #[error("its digest is not a sha256 one, the only kind that containerd's store keeps")]
    DigestAlgorithm,
}

impl Reference {
    /// Reads a name as a user writes it and normalises it: the registry `docker.io` and its
    /// `library/` are added, `index.docker.io` is taken for `docker.io`. No tag is added, and a tag
    /// beside a digest is kept: see [`canonical`](Self::canonical).
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parse_normalized(text).map_err(|rule| ReferenceError {
            // A hostile document may hold megabytes here; an error line must stay a line.
            text: beginning(text, 100).to_owned(),
            rule,
        })
    }

    /// The form under which containerd keeps an image (`ParseDockerRef`): with the tag `latest` if
    /// it had neither tag nor digest, and without its tag if it had both.
    pub fn canonical(mut self) -> Self {
        if self.digest.is_some() {
            self.tag = None;
        } else if self.tag.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The registry, with its port. Empty where the grammar finds none: a first part that looks
    /// like a host but is no valid one, as in `foo_bar.com/x`, belongs to the path.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and path: `docker.io/library/alpine`.
    pub fn repository(&self) -> String {
        if self.domain.is_empty() {
            self.path.clone()
        } else {
            format!("{}/{}", self.domain, self.path)
        }
    }

    /// `docker.io/library/alpine:3`, if it has a tag; without the digest that it may have, too.
    pub fn tagged(&self) -> Option<Self> {
        self.tag.is_some().then(|| Self {
            digest: None,
            ..self.clone()
        })
    }

    /// `docker.io/library/alpine@sha256:…`, whatever tag or digest it has itself.
    pub fn by_digest(&self, digest: &Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest.clone()),
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl ReferenceError {
    /// The text, or its first 100 characters.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }
}

/// Whether an annotation `org.opencontainers.image.ref.name` holds a whole name rather than a bare
/// tag, which is what most tools put there. containerd decides likewise: `alpine` could be either
/// and is taken for a tag.
pub fn is_full_name(ref_name: &str) -> bool {
    ref_name.contains(['/', ':', '@'])
}

fn parse_normalized(text: &str) -> Result<Reference, Rule> {
    if text.is_empty() {
        return Err(Rule::Empty);
    }
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err(Rule::Identifier);
    }
    let (domain, remainder) = split_domain(text);
    let remote = remainder.split(':').next().unwrap_or_default();
    if remote.to_lowercase() != remote {
        return Err(Rule::Uppercase);
    }
    let full = format!("{domain}/{remainder}");
    parse_grammar(&full).map_err(|rule| {
        let lower = full.to_lowercase();
        if lower != full && parse_grammar(&lower).is_ok() {
            Rule::Uppercase
        } else if text.contains("://") {
            Rule::Url
        } else if !is_domain(domain) {
            Rule::Registry
        } else {
            rule
        }
    })
}

/// Splits the registry from the rest, and completes both. `alpine` is a path, `alpine/git` is one,
/// `alpine.org/git`, `alpine:80/git`, `localhost/git` and `Alpine/git` begin with a registry.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, remainder) = match text.split_once('/') {
        None => return (DEFAULT_DOMAIN, format!("{OFFICIAL_PREFIX}{text}")),
        Some((LEGACY_DEFAULT_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == LOCALHOST
                || first.contains(['.', ':'])
                || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        Some(_) => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        (domain, format!("{OFFICIAL_PREFIX}{remainder}"))
    } else {
        (domain, remainder.to_owned())
    }
}

/// `[domain "/"] path [":" tag] ["@" digest]`.
fn parse_grammar(text: &str) -> Result<Reference, Rule> {
    let (domain, rest) = match text.split_once('/') {
        Some((first, rest)) if is_domain(first) => (first, rest),
        // A first part that is no registry is one more part of the path.
        _ => ("", text),
    };
    let (named, digest) = match rest.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (rest, None),
    };
    let (path, tag) = match named.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (named, None),
    };
    if !path.split('/').all(is_path_component) {
        return Err(Rule::Path);
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(Rule::Tag);
    }
    let digest = digest.map(parse_digest).transpose()?;
    if path.len() > PATH_MAX {
        return Err(Rule::TooLong);
    }
    Ok(Reference {
        domain: domain.to_owned(),
        path: path.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// A host with or without a port.
fn is_domain(text: &str) -> bool {
    let (host, port) = host_and_port(text);
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= HOST_MAX + PORT_MAX && is_host(host) && port.is_none_or(is_port)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// The grammar knows other algorithms; they get an error of their own.
fn parse_digest(text: &str) -> Result<Digest, Rule> {
    if let Ok(digest) = Digest::parse(text) {
        return Ok(digest);
    }
    let (algorithm, hex) = text.split_once(':').ok_or(Rule::Digest)?;
    let is_part = |part: &str| {
        part.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let well_formed = algorithm.split(['-', '_', '+', '.']).all(is_part)
        && hex.len() >= DIGEST_HEX_MIN
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    Err(if well_formed && algorithm != "sha256" {
        Rule::DigestAlgorithm
    } else {
        Rule::Digest
    })
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}
