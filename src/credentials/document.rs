//! The fields of `config.json`, and errors about them that repeat no value.
//!
//! No error has a part of a value in it, nor the parser's own words, which repeat values: only names
//! of fields, what was expected, and the registry.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::basic::BASE64;
use super::error::CredentialsError;
use super::gap::registry;
use super::login::Login;

/// The logins and helpers of the file, in the order of its keys. Keys have lost the user that a URL
/// may have in it.
#[derive(Default)]
pub(super) struct ConfigJson {
    /// `auths`; `None` for an entry with nothing in it.
    pub(super) auths: Vec<(String, Option<Login>)>,
    /// `credHelpers`: registries, and the helper that keeps the login for each.
    pub(super) helpers: Vec<(String, String)>,
    /// `credsStore`: the helper that keeps the logins for all other registries.
    pub(super) store: Option<String>,
}

impl ConfigJson {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CredentialsError> {
        // Windows' tools put a byte-order mark there.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // Docker takes an empty file for one without logins.
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let whole: Value = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            if error.is_eof() {
                CredentialsError::Cut { line, column }
            } else {
                CredentialsError::NotJson { line, column }
            }
        })?;
        let whole = object(&whole, || "the file".to_owned(), AUTHS)?;
        if field(whole, "auths").is_none() && whole.values().any(is_entry) {
            return Err(CredentialsError::Dockercfg);
        }
        Ok(Self {
            auths: auths(whole)?,
            helpers: helpers(whole)?,
            store: text(whole, "credsStore", None, "the name of a helper")?
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
    }
}

const AUTHS: &str = r#"an object such as {"auths": {"registry.example": {"auth": "..."}}}"#;

fn auths(whole: &Map<String, Value>) -> Result<Vec<(String, Option<Login>)>, CredentialsError> {
    let Some(auths) = field(whole, "auths") else {
        return Ok(Vec::new());
    };
    let auths = object(
        auths,
        || "\"auths\"".to_owned(),
        "an object with a key for each registry",
    )?;
    let entries = auths.iter().map(|(key, entry)| {
        let key = without_user(key);
        Ok((key.to_owned(), login(key, entry)?))
    });
    entries.collect()
}

fn helpers(whole: &Map<String, Value>) -> Result<Vec<(String, String)>, CredentialsError> {
    let Some(helpers) = field(whole, "credHelpers") else {
        return Ok(Vec::new());
    };
    let expected = "an object with the name of a helper for each registry";
    let helpers = object(helpers, || "\"credHelpers\"".to_owned(), expected)?;
    let mut found = Vec::new();
    for (key, helper) in helpers {
        let key = without_user(key);
        match helper {
            Value::Null => {}
            Value::String(helper) if helper.is_empty() => {}
            Value::String(helper) => found.push((key.to_owned(), helper.clone())),
            other => {
                return Err(CredentialsError::Shape {
                    place: format!("{} in \"credHelpers\"", registry(key)),
                    found: kind(other),
                    expected: "the name of a helper, a string",
                });
            }
        }
    }
    Ok(found)
}

/// The login of one entry of `auths`, by the rules of Docker: `auth` wins over `username` and
/// `password`. An identity token wins over both, beside which Docker puts a placeholder as the user.
fn login(key: &str, entry: &Value) -> Result<Option<Login>, CredentialsError> {
    if entry.is_null() {
        return Ok(None);
    }
    let entry = object(
        entry,
        || format!("{} in \"auths\"", registry(key)),
        r#"an object such as {"auth": "..."}"#,
    )?;
    let string =
        |name| Ok(text(entry, name, Some(key), "a string")?.filter(|text| !text.is_empty()));
    let auth = string("auth")?;
    let username = string("username")?;
    let password = text(entry, "password", Some(key), "a string")?;
    let (identity, bearer) = (string("identitytoken")?, string("registrytoken")?);
    if let Some(token) = identity {
        return Ok(Some(Login::IdentityToken(token.to_owned())));
    }
    if let Some(auth) = auth {
        return decode(key, auth).map(Some);
    }
    let half = |has, lacks| CredentialsError::Half {
        registry: registry(key),
        has,
        lacks,
    };
    match (username, password) {
        // A password may be empty where the user is a token.
        (Some(username), Some(password)) => Ok(Some(Login::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        })),
        (Some(_), None) => Err(half("username", "password")),
        (None, Some(password)) if !password.is_empty() => Err(half("password", "username")),
        (None, _) => Ok(bearer.map(|token| Login::RegistryToken(token.to_owned()))),
    }
}

/// `auth`: base64 of `user:password`.
fn decode(key: &str, auth: &str) -> Result<Login, CredentialsError> {
    let registry = || registry(key);
    let bare: String = auth
        .trim()
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .collect();
    let decoded = BASE64
        .decode(bare)
        .map_err(|_| CredentialsError::NotBase64 {
            registry: registry(),
        })?;
    let decoded = String::from_utf8(decoded).map_err(|_| CredentialsError::NotUtf8 {
        registry: registry(),
    })?;
    match decoded.split_once(':') {
        Some((username, password)) if !username.is_empty() => Ok(Login::Password {
            username: username.to_owned(),
            // Old clients padded with NULs; `echo user:password | base64` adds the line's end. No
            // password has either (RFC 7617, 2).
            password: password.trim_end_matches(['\0', '\r', '\n']).to_owned(),
        }),
        _ => Err(CredentialsError::NoUser {
            registry: registry(),
        }),
    }
}

/// A field by its name, in any case of letters as Go reads it. `null` is what is not there.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let value = object.get(name).or_else(|| {
        let mut fields = object.iter();
        fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    });
    value.filter(|value| !value.is_null())
}

fn text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    of: Option<&str>,
    expected: &'static str,
) -> Result<Option<&'a str>, CredentialsError> {
    match field(object, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(CredentialsError::Shape {
            place: match of {
                Some(key) => format!("{name:?} of {}", registry(key)),
                None => format!("{name:?}"),
            },
            found: kind(other),
            expected,
        }),
    }
}

fn object<'a>(
    value: &'a Value,
    place: impl Fn() -> String,
    expected: &'static str,
) -> Result<&'a Map<String, Value>, CredentialsError> {
    value.as_object().ok_or_else(|| CredentialsError::Shape {
        place: place(),
        found: kind(value),
        expected,
    })
}

/// Whether a value looks like an entry of `auths`, which stood at the top of the older `.dockercfg`.
fn is_entry(value: &Value) -> bool {
    value.as_object().is_some_and(|entry| {
        ["auth", "username", "identitytoken"]
            .iter()
            .any(|name| field(entry, name).is_some())
    })
}

/// The key without the user and the password that a URL may have: no message may show them.
fn without_user(key: &str) -> &str {
    key.rsplit_once('@').map_or(key, |(_, rest)| rest).trim()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
