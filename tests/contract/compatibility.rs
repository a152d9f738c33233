//! The table of differences in `docs/compatibility.md`: read, and held against what was seen.

use std::collections::BTreeSet;
use std::path::Path;

/// One difference that is meant.
struct Row {
    line: usize,
    /// Cases that it is about; `*` stands for any text.
    cases: Vec<String>,
    litellm: String,
    ours: String,
}

/// The table.
pub(crate) struct Differences {
    rows: Vec<Row>,
    /// By line: the patterns that were needed.
    used: BTreeSet<(usize, String)>,
}

impl Differences {
    /// Reads the document. A row has four cells, the first three of them in backticks: cases, LiteLLM, Portcullis, why.
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<Row> = text.lines().zip(1..).filter_map(|(text, line)| row(text, line)).collect();
        assert!(!rows.is_empty(), "no table in docs/compatibility.md");
        Self { rows, used: BTreeSet::new() }
    }

    /// Whether exactly one row names this difference.
    pub(crate) fn name(&mut self, case: &str, litellm: &str, ours: &str) -> bool {
        let same = self.rows.iter().filter(|row| row.litellm == litellm && row.ours == ours);
        let named: Vec<_> = same
            .flat_map(|row| row.cases.iter().map(move |pattern| (row.line, pattern.clone())))
            .filter(|(_, pattern)| matches(pattern, case))
            .collect();
        let lines: BTreeSet<_> = named.iter().map(|(line, _)| *line).collect();
        assert!(lines.len() < 2, "{case} is named on lines {lines:?}");
        self.used.extend(named);
        !lines.is_empty()
    }

    /// Patterns, with their lines, that no difference needed.
    pub(crate) fn stale(&self) -> Vec<(usize, &str)> {
        let all = self.rows.iter().flat_map(|row| row.cases.iter().map(|pattern| (row.line, pattern.as_str())));
        all.filter(|(line, pattern)| !self.used.contains(&(*line, (*pattern).to_owned()))).collect()
    }
}

fn row(text: &str, line: usize) -> Option<Row> {
    let cells: Vec<&str> = text.strip_prefix("| `")?.split(" | ").collect();
    let [cases, litellm, ours, why] = cells[..] else { return None };
    assert!(why.trim_end_matches(" |").len() > 10, "line {line} gives no reason");
    let quoted = |cell: &str| cell.trim_matches('`').to_owned();
    let cases = cases.split(", ").map(quoted).collect();
    Some(Row { line, cases, litellm: quoted(litellm), ours: quoted(ours) })
}

/// A pattern is literal text around stars.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    true
}

#[test]
fn a_pattern_is_literal_text_around_stars() {
    for (pattern, text, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/bc", false),
        ("a/*", "a/", true),
        ("a/*_bad", "a/x_bad", true),
        ("a/*_bad", "a/x_bad_", false),
        ("a/*=x_*y", "a/1=x_2=y", true),
        ("*", "anything", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
