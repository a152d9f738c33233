//! One value of the configuration, read as what the settings need.
//!
//! Every reader returns `None` after it has reported what is wrong; the caller goes on with the default, so that the
//! next mistake is found too. A configuration with mistakes never takes effect.

use std::fmt::Display;
use std::io::Read;
use std::ops::RangeInclusive;
use std::time::Duration;

use portcullis_filters::secret::Secret;

use super::document::{Entry, Node, Value};
use super::known::Known;
use super::reader::{self, Reader, Section};
use super::scalar;

/// No secret is larger.
const MAX_FILE_VALUE: u64 = 64 * 1024;

/// A value with its path.
pub(super) struct Field<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) path: String,
    pub(super) node: &'r Node,
}

/// A scalar after `os.environ/` and `file:` have been followed.
struct Resolved {
    text: String,
    /// Whether an unquoted word may be a truth value.
    plain: bool,
}

impl<'r> Field<'r> {
    /// Reports what is wrong with this value.
    pub(super) fn mistake(&self, text: impl Into<String>) {
        self.reader.mistake(self.path.clone(), Some(&self.node.at), text);
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, plain: true } if scalar::is_null(text))
    }

    /// The truth value that stands here unquoted.
    pub(super) fn truth(&self) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, plain: true } => scalar::truth(text),
            _ => None,
        }
    }

    /// Whether it is `off` (or `false`), where something else could be switched on.
    pub(super) fn is_switched_off(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, .. } if scalar::truth(text) == Some(false))
    }

    /// Whether exactly this is written here.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(&self.node.value, Value::Scalar { text, .. } if text == word)
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, .. } if text.is_empty())
    }

    pub(super) fn is_scalar(&self) -> bool {
        matches!(self.node.value, Value::Scalar { .. })
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The environment variable that this value names, when that is not set.
    pub(super) fn missing_variable(&self) -> Option<&'r str> {
        let Value::Scalar { text, .. } = &self.node.value else { return None };
        text.strip_prefix("os.environ/").filter(|name| self.reader.environment.variable(name).is_none())
    }

    /// Text. Empty text counts as absent.
    pub(super) fn text(&self) -> Option<String> {
        self.any_text().filter(|text| !text.is_empty())
    }

    /// Text, where an absent one would mean something else: empty text is a mistake.
    pub(super) fn some_text(&self) -> Option<String> {
        let text = self.any_text()?;
        if text.is_empty() {
            self.mistake("is empty");
            return None;
        }
        Some(text)
    }

    fn any_text(&self) -> Option<String> {
        let Resolved { text, plain } = self.resolved("text")?;
        if plain && scalar::truth(&text).is_some() {
            self.mistake("expected text, found a truth value; put it in quotes");
            return None;
        }
        Some(text)
    }

    /// Text that is never shown; may not be empty.
    pub(super) fn secret(&self) -> Option<Secret> {
        let Resolved { text, .. } = self.resolved("text")?;
        if text.is_empty() {
            self.mistake("is empty");
            return None;
        }
        Some(Secret::from(text))
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let Resolved { text, .. } = self.resolved("true or false")?;
        let flag = scalar::truth(&text);
        if flag.is_none() {
            self.mistake("expected true or false");
        }
        flag
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let what = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.bounded(&what, &bounds, |text| u64::try_from(scalar::whole(text)?).ok())
    }

    /// A length of time: seconds, or a number with a unit. The bounds are seconds.
    pub(super) fn time(&self, seconds: RangeInclusive<u64>) -> Option<Duration> {
        let (least, most) = seconds.into_inner();
        let what = format!("a time from {least} to {most} seconds, as a number or like 30s, 5m, 1h");
        let bounds = Duration::from_secs(least)..=Duration::from_secs(most);
        self.bounded(&what, &bounds, scalar::duration)
    }

    /// A size within bounds: bytes, or a number with a unit.
    pub(super) fn size(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let what = format!("a size from {} to {} bytes, or like 64KiB, 100MiB", bounds.start(), bounds.end());
        self.bounded(&what, &bounds, scalar::bytes)
    }

    /// Text that `parse` understands. Its error is the message; it must not repeat the text. Empty text counts as absent.
    pub(super) fn parsed<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.understood(&self.text()?, parse)
    }

    /// As [`Self::parsed`], but empty text is a mistake.
    pub(super) fn some_parsed<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.understood(&self.some_text()?, parse)
    }

    fn understood<T, E: Display>(&self, text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(error.to_string());
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let Resolved { text, .. } = self.resolved("text")?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.mistake(format!("expected one of {}", words.join(", ")));
        }
        found
    }

    /// The entries of a list. A single value stands for a list of one, as LiteLLM often takes it.
    pub(super) fn items(&self) -> Vec<Field<'r>> {
        let Value::List(items) = &self.node.value else {
            return vec![Field { reader: self.reader, path: self.path.clone(), node: self.node }];
        };
        let item = |(index, node)| Field { reader: self.reader, path: format!("{}[{index}]", self.path), node };
        items.iter().enumerate().map(item).collect()
    }

    /// As [`Self::items`], where an empty list would mean what nobody means by it.
    pub(super) fn some_items(&self) -> Option<Vec<Field<'r>>> {
        let items = self.items();
        if items.is_empty() {
            self.mistake("is empty");
            return None;
        }
        Some(items)
    }

    /// The texts of a list that is not empty.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        self.some_items()?.iter().map(Field::some_text).collect()
    }

    /// The mapping that this value is.
    pub(super) fn section(&self, known: &'static Known) -> Section<'r> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Scalar { .. } | Value::List(_) => {
                self.mistake(format!("expected keys and values, found {}", self.kind()));
                &[]
            }
        };
        self.reader.section(entries, self.path.clone(), Some(&self.node.at), known)
    }

    /// The entries of what must be a list.
    pub(super) fn list(&self) -> Vec<Field<'r>> {
        if matches!(self.node.value, Value::List(_)) {
            return self.items();
        }
        self.mistake(format!("expected a list, found {}", self.kind()));
        Vec::new()
    }

    /// As [`Self::list`], where an empty list would mean what nobody means by it.
    pub(super) fn some_list(&self) -> Option<Vec<Field<'r>>> {
        if matches!(self.node.value, Value::List(_)) {
            return self.some_items();
        }
        self.mistake(format!("expected a list, found {}", self.kind()));
        None
    }

    /// Keys and values of a mapping whose keys the operator chooses.
    pub(super) fn entries(&self) -> Vec<(&'r str, Field<'r>)> {
        let Value::Map(entries) = &self.node.value else {
            self.mistake(format!("expected keys and values, found {}", self.kind()));
            return Vec::new();
        };
        let field = |entry: &'r Entry| {
            let path = reader::join(&self.path, &entry.key);
            (entry.key.as_str(), Field { reader: self.reader, path, node: &entry.node })
        };
        entries.iter().map(field).collect()
    }

    /// Whatever stands here, as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.node.value {
            Value::List(_) => self.items().iter().map(Field::json).collect(),
            Value::Map(_) => {
                let members = self.entries().into_iter().map(|(key, field)| (key.to_owned(), field.json()));
                serde_json::Value::Object(members.collect())
            }
            Value::Scalar { .. } => self.scalar_json(),
        }
    }

    fn scalar_json(&self) -> serde_json::Value {
        let Some(Resolved { text, plain }) = self.resolved("a value") else { return serde_json::Value::Null };
        if !plain {
            return text.into();
        }
        let number = || scalar::whole(&text).map(Into::into).or_else(|| scalar::number(&text).map(Into::into));
        scalar::truth(&text).map(Into::into).or_else(number).unwrap_or_else(|| text.into())
    }

    fn bounded<T: PartialOrd>(
        &self,
        what: &str,
        bounds: &RangeInclusive<T>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Resolved { text, .. } = self.resolved(what)?;
        let value = parse(text.trim()).filter(|value| bounds.contains(value));
        if value.is_none() {
            self.mistake(format!("expected {what}"));
        }
        value
    }

    /// The scalar, fetched from where it points to. Null and mistakes give `None`.
    fn resolved(&self, expected: &str) -> Option<Resolved> {
        let Value::Scalar { text, plain } = &self.node.value else {
            self.mistake(format!("expected {expected}, found {}", self.kind()));
            return None;
        };
        if self.is_null() {
            return None;
        }
        if let Some(name) = text.strip_prefix("os.environ/") {
            let found = self.reader.environment.variable(name);
            if found.is_none() {
                self.mistake(format!("environment variable {} is not set", name.escape_default()));
            }
            return found.map(|text| Resolved { text, plain: false });
        }
        if text.starts_with("file:/") {
            return match read_value(&text["file:".len()..]) {
                Ok(text) => Some(Resolved { text, plain: false }),
                Err(error) => {
                    self.mistake(format!("the file it names cannot be used: {error}"));
                    None
                }
            };
        }
        if text.starts_with("oidc/") {
            self.mistake("federated tokens (oidc/...) are not supported by this version");
            return None;
        }
        Some(Resolved { text: text.clone(), plain: *plain })
    }

    fn kind(&self) -> &'static str {
        match self.node.value {
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "keys and values",
        }
    }
}

/// The content of a file without the line end that editors and `echo` put there.
fn read_value(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_FILE_VALUE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_VALUE {
        return Err(std::io::Error::other(format!("larger than {MAX_FILE_VALUE} bytes")));
    }
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}
