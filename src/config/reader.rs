//! Typed reading of the tree: every mistake is collected with path and place, and no key goes unnoticed.
//!
//! A [`Section`] is a mapping, a [`Field`] one value in it. Asking for a key marks it as read; [`Reader::finish`] goes
//! over whatever nobody asked for and tells apart what is ignored, refused or unknown. Values that stand elsewhere
//! (`os.environ/NAME`, `file:/path`) are fetched here. No message repeats a value: it may be a secret.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Entry, Flaw, Node, Position, Value};
use super::environment::Environment;
use super::field::Field;
use super::known::{Class, Known};
use super::scalar;

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which key, from the root: `model_list[0].litellm_params.model`. Or the variable or option.
    pub path: String,
    /// Where it stands; `None` for what does not stand in a file.
    pub at: Option<Position>,
    /// What is wrong with it.
    pub text: String,
}

impl From<Flaw> for Mistake {
    fn from(Flaw { at, text }: Flaw) -> Self {
        Self { path: String::new(), at: Some(at), text }
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.at {
            Some(at) if self.path.is_empty() => write!(f, "{at}: {}", self.text),
            Some(at) => write!(f, "{} ({at}): {}", self.path, self.text),
            None => write!(f, "{}: {}", self.path, self.text),
        }
    }
}

/// What reading has brought to light so far.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) mistakes: Vec<Mistake>,
    /// Said loudly at start.
    pub(super) warnings: Vec<String>,
    /// Settings that are not in force, each with what that means.
    pub(super) notices: Vec<String>,
    /// Keys that are not about this product.
    pub(super) ignored: BTreeSet<String>,
    /// Every key that somebody asked for, with `[]` for an index.
    pub(super) asked: BTreeSet<String>,
}

/// Reads one configuration.
pub(super) struct Reader<'r> {
    pub(super) environment: Environment<'r>,
    findings: RefCell<Findings>,
    /// Mappings that were opened, and the keys of each that somebody asked for.
    opened: RefCell<BTreeMap<String, (Section<'r>, BTreeSet<&'static str>)>>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(environment: Environment<'r>) -> Self {
        Self { environment, findings: RefCell::default(), opened: RefCell::default() }
    }

    /// The mapping that is the whole file; an absent file is an empty one.
    pub(super) fn root(&'r self, node: Option<&'r Node>, known: &'static Known) -> Section<'r> {
        let entries = match node.map(|node| (&node.value, node)) {
            Some((Value::Map(entries), _)) => entries.as_slice(),
            None => &[],
            Some((Value::Scalar { text, plain: true }, _)) if scalar::is_null(text) => &[],
            Some((_, node)) => {
                self.mistake("", Some(&node.at), "the file must hold keys and values");
                &[]
            }
        };
        self.section(entries, String::new(), None, known)
    }

    pub(super) fn section(
        &'r self,
        entries: &'r [Entry],
        path: String,
        at: Option<&'r Position>,
        known: &'static Known,
    ) -> Section<'r> {
        let section = Section { reader: self, entries, path: path.clone(), at, known };
        self.opened.borrow_mut().entry(path).or_insert_with(|| (section.clone(), BTreeSet::new()));
        section
    }

    pub(super) fn mistake(&self, path: impl Into<String>, at: Option<&Position>, text: impl Into<String>) {
        let mistake = Mistake { path: path.into(), at: at.cloned(), text: text.into() };
        self.findings.borrow_mut().mistakes.push(mistake);
    }

    /// Something that starts, but should not stay so.
    pub(super) fn warn(&self, text: impl Into<String>) {
        self.findings.borrow_mut().warnings.push(text.into());
    }

    /// Something that is not in force, or not as it might be read.
    pub(super) fn notice(&self, text: impl Into<String>) {
        let text = text.into();
        let notices = &mut self.findings.borrow_mut().notices;
        if !notices.contains(&text) {
            notices.push(text);
        }
    }

    /// Something that is about another product.
    pub(super) fn ignore(&self, path: &str) {
        self.findings.borrow_mut().ignored.insert(shape(path));
    }

    /// What was wrong so far, without a judgement of the rest.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        self.findings.take().mistakes
    }

    /// Judges the keys that nobody asked for and hands over everything found.
    pub(super) fn finish(&self) -> Findings {
        let opened = self.opened.take();
        for (section, asked) in opened.values() {
            for entry in section.entries.iter().filter(|entry| !asked.contains(entry.key.as_str())) {
                let home = || {
                    let mut fixed = opened.iter().filter(|(path, _)| !path.is_empty() && !path.contains('['));
                    fixed.find(|(_, (_, asked))| asked.contains(entry.key.as_str())).map(|(path, _)| path.as_str())
                };
                section.judge_leftover(entry, asked, home);
            }
        }
        let mut findings = self.findings.take();
        findings.mistakes.sort_by(|a, b| a.at.cmp(&b.at));
        findings
    }
}

/// A mapping whose keys are read one by one. One that is absent is empty.
#[derive(Clone)]
pub(super) struct Section<'r> {
    pub(super) reader: &'r Reader<'r>,
    entries: &'r [Entry],
    path: String,
    at: Option<&'r Position>,
    known: &'static Known,
}

impl<'r> Section<'r> {
    /// The value of `key`; `None` where it is absent, null or empty text.
    pub(super) fn field(&self, key: &'static str) -> Option<Field<'r>> {
        self.field_even_empty(key).filter(|field| !field.is_empty())
    }

    /// As [`Self::field`], for keys where empty text must not count as absent: the default would be another store, or
    /// another master key.
    pub(super) fn field_even_empty(&self, key: &'static str) -> Option<Field<'r>> {
        if let Some((_, asked)) = self.reader.opened.borrow_mut().get_mut(&self.path) {
            asked.insert(key);
        }
        let path = self.path_of(key);
        self.reader.findings.borrow_mut().asked.insert(shape(&path));
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let field = Field { reader: self.reader, path, node: &entry.node };
        (!field.is_null()).then_some(field)
    }

    /// The mapping under `key`.
    pub(super) fn section(&self, key: &'static str, known: &'static Known) -> Section<'r> {
        match self.field(key) {
            Some(field) => field.section(known),
            None => self.reader.section(&[], self.path_of(key), self.at, known),
        }
    }

    /// Text, if given.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        self.field(key)?.text()
    }

    /// A truth value.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        self.field(key).and_then(|field| field.flag()).unwrap_or(default)
    }

    /// An amount of dollars.
    pub(super) fn price(&self, key: &'static str) -> Option<f64> {
        self.field(key)?.some_parsed(|text| {
            let dollars = text.parse::<f64>().ok().filter(|dollars| dollars.is_finite() && *dollars >= 0.0);
            dollars.ok_or("expected a number of dollars")
        })
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        self.field(key).and_then(|field| field.whole(bounds)).unwrap_or(default)
    }

    /// A length of time within bounds, in seconds.
    pub(super) fn time(&self, key: &'static str, seconds: RangeInclusive<u64>, default: Duration) -> Duration {
        self.field(key).and_then(|field| field.time(seconds)).unwrap_or(default)
    }

    /// A size within bounds, in bytes.
    pub(super) fn size(&self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        self.field(key).and_then(|field| field.size(bounds)).unwrap_or(default)
    }

    /// A key without which the section makes no sense.
    pub(super) fn required(&self, key: &'static str) -> Option<Field<'r>> {
        let field = self.field(key);
        if field.is_none() {
            self.mistake(key, "is missing");
        }
        field
    }

    /// Reports a mistake on `key`, at its value or where the section begins.
    pub(super) fn mistake(&self, key: &str, text: impl Into<String>) {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        self.reader.mistake(self.path_of(key), entry.map(|entry| &entry.at).or(self.at), text);
    }

    /// Where the section begins: `config.yaml:3:3`.
    pub(super) fn place(&self) -> Option<&'r Position> {
        self.at
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// `home` finds another section that the key belongs to.
    fn judge_leftover<'s>(
        &self,
        entry: &Entry,
        asked: &BTreeSet<&'static str>,
        home: impl FnOnce() -> Option<&'s str>,
    ) {
        let path = self.path_of(&entry.key);
        match self.known.class(&entry.key, asked) {
            Class::Ignored => self.reader.ignore(&path),
            // A switch that is off asks for nothing.
            Class::Unserved(_) | Class::Refused(_) if is_off(&entry.node) => {}
            Class::Unserved(meaning) => self.reader.notice(format!("{}: {meaning}", shape(&path))),
            Class::Refused(why) => self.reader.mistake(path, Some(&entry.at), why),
            Class::Unknown { nearest: None } => {
                let hint = home().map(|home| format!(" here; it belongs to {home}")).unwrap_or_default();
                self.reader.mistake(path, Some(&entry.at), format!("unknown key{hint}"));
            }
            Class::Unknown { nearest: Some(nearest) } => {
                self.reader.mistake(path, Some(&entry.at), format!("unknown key; did you mean {nearest}?"));
            }
        }
    }
}

/// Whether a value switches nothing on: absent, false, or empty.
pub(super) fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Scalar { text, plain } => {
            text.is_empty() || *plain && (scalar::is_null(text) || scalar::truth(text) == Some(false))
        }
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

/// A key as messages show it: whatever stands in a file must not garble a terminal or flood a log.
pub(super) fn join(path: &str, key: &str) -> String {
    const LONGEST: usize = 64;
    let key = if key.len() <= LONGEST && key.chars().all(|c| c.is_ascii_graphic()) {
        key.to_owned()
    } else {
        let shown: String = key.chars().take(LONGEST).collect();
        format!("{shown:?}")
    };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The path with every index left out, the same for all entries of a list.
fn shape(path: &str) -> String {
    let mut shape = String::with_capacity(path.len());
    let mut digits = false;
    for c in path.chars() {
        digits = c == '[' || digits && c.is_ascii_digit();
        if c == '[' || !digits {
            shape.push(c);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_indices_and_nothing_else() {
        assert_eq!(shape("model_list[12].litellm_params.s3_key"), "model_list[].litellm_params.s3_key");
    }

    #[test]
    fn a_hostile_key_is_escaped_and_cut() {
        assert_eq!(join("a", "\u{1b}[2J"), r#"a."\u{1b}[2J""#);
        assert!(join("a", &"x".repeat(10_000)).len() < 80);
    }
}
