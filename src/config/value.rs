//! Values: how each kind is read from a file, a variable or a flag, and how it is written again.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use figment::value::{Num, Value};

use super::key::{Field, Key};
use super::{Config, LineLevel};
use crate::one_line::beginning;
use crate::unpack::UnpackWhen;

/// toml represents a date as a table with this one key.
const DATE: &str = "$__toml_private_datetime";

/// How many characters of a wrong value an error repeats.
const SHOWN: usize = 80;

/// A value is not of the kind that its key takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub(super) struct Mismatch {
    expected: &'static str,
    found: String,
}

impl Key {
    /// Puts `value` in its place; `config` is as it was when the value is of another kind.
    pub(super) fn set(&self, config: &mut Config, value: &Value) -> Result<(), Mismatch> {
        let read = match self.place {
            Field::Switch(at) => value.to_bool().map(|on| *at(config) = on),
            Field::Count(at) => count(value).map(|n| *at(config) = n),
            Field::Text(at) => value.as_str().map(|text| *at(config) = text.to_owned()),
            Field::OptionalText(at) => value
                .as_str()
                .map(|text| *at(config) = (!text.is_empty()).then(|| text.to_owned())),
            Field::Texts(at) => texts(value).map(|list| *at(config) = list),
            Field::Path(at) => value.as_str().map(|text| *at(config) = text.into()),
            Field::OptionalPath(at) => value
                .as_str()
                .map(|text| *at(config) = (!text.is_empty()).then(|| PathBuf::from(text))),
            Field::Size(at) => size(value).map(|size| *at(config) = size),
            Field::Duration(at) => duration(value).map(|time| *at(config) = time),
            Field::Unpack(at) => value
                .as_str()
                .and_then(UnpackWhen::named)
                .map(|when| *at(config) = when),
            Field::LineLevel(at) => value
                .as_str()
                .and_then(LineLevel::named)
                .map(|level| *at(config) = level),
        };
        read.ok_or_else(|| Mismatch {
            expected: self.expected(),
            found: describe(value),
        })
    }

    /// The value of a variable. Text is taken as it stands, so that `123` can be a namespace; the
    /// rest is read as in a file, except that the strings in a list may go without their quotes.
    pub(super) fn value_of_variable(&self, raw: &str) -> Value {
        match self.place {
            Field::Switch(_) | Field::Count(_) | Field::Texts(_) if !is_deep(raw) => {
                match raw.parse() {
                    Ok(value) => value,
                    Err(never) => match never {},
                }
            }
            _ => Value::from(raw),
        }
    }

    /// The value in `config` as a TOML file has it; `None` when it is unset.
    pub fn text(&self, config: &Config) -> Option<String> {
        // The places are mutable because the loader writes through them.
        let config = &mut config.clone();
        Some(match self.place {
            Field::Switch(at) => at(config).to_string(),
            Field::Count(at) => at(config).to_string(),
            Field::Text(at) => toml_string(at(config)),
            Field::OptionalText(at) => toml_string(at(config).as_ref()?),
            Field::Texts(at) => {
                let list: Vec<_> = at(config).iter().map(|text| toml_string(text)).collect();
                format!("[{}]", list.join(", "))
            }
            Field::Path(at) => toml_string(&at(config).to_string_lossy()),
            Field::OptionalPath(at) => toml_string(&at(config).as_ref()?.to_string_lossy()),
            Field::Size(at) => toml_string(&written_size(*at(config))),
            Field::Duration(at) => toml_string(&written_duration(*at(config))),
            Field::Unpack(at) => toml_string(at(config).word()),
            Field::LineLevel(at) => toml_string(at(config).word()),
        })
    }

    fn expected(&self) -> &'static str {
        match self.place {
            Field::Switch(_) => "true or false",
            Field::Count(_) => "a whole number, 0 or more",
            Field::Text(_) => "a string in quotes",
            Field::OptionalText(_) => r#"a string in quotes, or "" for none"#,
            Field::Texts(_) => r#"a list of strings such as ["one", "two"]"#,
            Field::Path(_) => "a path in quotes",
            Field::OptionalPath(_) => r#"a path in quotes, or "" for none"#,
            Field::Size(_) => r#"a size such as "50MiB", or a whole number of bytes"#,
            Field::Duration(_) => {
                r#"a duration with its unit such as "2s", "10m", "1h 30m" or "28d""#
            }
            Field::Unpack(_) => r#""before-ready", "after-ready" or "never""#,
            Field::LineLevel(_) => r#""trace", "debug", "info", "warn" or "error""#,
        }
    }
}

/// figment's parser recurses into every bracket, until the stack ends: no key has a value as deep
/// as this, and no list as many IPv6 addresses.
fn is_deep(raw: &str) -> bool {
    raw.matches(['[', '{']).count() > 64
}

/// What a value is, for people.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(_, text) => match beginning(text, SHOWN) {
            whole if whole == text => format!("the string {}", toml_string(text)),
            cut => format!("a string that begins with {}", toml_string(cut)),
        },
        Value::Char(_, letter) => format!("the character '{letter}'"),
        Value::Bool(_, on) => on.to_string(),
        Value::Num(_, Num::F32(_) | Num::F64(_)) => {
            format!("the number {}", value.to_f64().unwrap_or(f64::NAN))
        }
        Value::Num(_, number) => match (number.to_u128(), number.to_i128()) {
            (Some(n), _) => format!("the number {n}"),
            (None, Some(n)) => format!("the number {n}"),
            (None, None) => "a number".to_owned(),
        },
        Value::Empty(..) => "nothing".to_owned(),
        Value::Dict(_, dict) if dict.contains_key(DATE) => "a date or time".to_owned(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(_, list) => match list.iter().find(|item| item.as_str().is_none()) {
            Some(Value::Array(..)) => "a list with a list in it".to_owned(),
            Some(item) => format!("a list with {} in it", describe(item)),
            None => "a list".to_owned(),
        },
    }
}

/// Whether the value is a table, and not a date in the form of one.
pub(super) fn is_table(value: &Value) -> bool {
    value.as_dict().is_some_and(|dict| !dict.contains_key(DATE))
}

fn count(value: &Value) -> Option<usize> {
    match value.to_num()? {
        Num::F32(_) | Num::F64(_) => None,
        number => number
            .to_u128()
            .and_then(|n| usize::try_from(n).ok())
            .or_else(|| number.to_i128().and_then(|n| usize::try_from(n).ok())),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value
        .as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn size(value: &Value) -> Option<ByteSize> {
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => count(value).map(|bytes| ByteSize::b(bytes as u64)),
    }
}

fn duration(value: &Value) -> Option<Duration> {
    // humantime takes a bare "0"; here every duration has its unit.
    let text = value.as_str().filter(|text| text.trim() != "0")?;
    humantime::parse_duration(text).ok()
}

/// A TOML basic string.
fn toml_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => {
                out.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// The largest unit that needs no fraction, so that what was read is written again.
fn written_size(size: ByteSize) -> String {
    let bytes = size.as_u64();
    [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes != 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, shift)| format!("{}{unit}", bytes >> shift),
        )
}

/// Days at most: months and years differ in length.
fn written_duration(time: Duration) -> String {
    let units = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut rest = time.as_nanos();
    let mut words = Vec::new();
    for (unit, length) in units {
        if rest >= length {
            words.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if words.is_empty() {
        words.push("0s".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        for nanos in [
            0,
            1,
            999,
            1_500_000,
            2_000_000_000,
            5_400_000_000_000,
            28 * 86_400_000_000_000,
            90_061_001_001_001,
        ] {
            let time = Duration::from_nanos(nanos);
            let text = written_duration(time);
            assert_eq!(duration(&Value::from(text.as_str())), Some(time), "{text}");
        }
        for bytes in [0, 1, 1023, 1024, 1536, 50 << 20, 1 << 30, 3 << 40, u64::MAX] {
            let text = written_size(ByteSize::b(bytes));
            assert_eq!(
                size(&Value::from(text.as_str())),
                Some(ByteSize::b(bytes)),
                "{text}"
            );
        }
    }

    #[test]
    fn defaults_are_written_as_people_write_them() {
        assert_eq!(written_duration(Duration::from_secs(28 * 86_400)), "28d");
        assert_eq!(written_duration(Duration::from_secs(5400)), "1h 30m");
        assert_eq!(written_size(ByteSize::mib(50)), "50MiB");
        assert_eq!(written_size(ByteSize::b(1000)), "1000B");
    }

    #[test]
    fn durations_need_a_unit_and_a_positive_number() {
        for text in [
            "2",
            "0",
            " 0 ",
            "-2s",
            "",
            "s",
            "2 parsecs",
            "99999999999999999999y",
        ] {
            assert_eq!(duration(&Value::from(text)), None, "{text:?}");
        }
        assert_eq!(duration(&Value::from(2)), None);
        assert_eq!(
            duration(&Value::from("1h 30m")),
            Some(Duration::from_secs(5400))
        );
    }

    #[test]
    fn a_variable_of_brackets_is_no_list() {
        let key = Key::named("images.platforms").unwrap();
        for depth in [1, 64, 65, 100_000] {
            let value = key.value_of_variable(&"[".repeat(depth));
            assert!(key.set(&mut Config::default(), &value).is_err());
        }
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(
            toml_string("a\"b\\c\nd\te\u{1b}"),
            r#""a\"b\\c\nd\te\u001B""#
        );
    }
}
