//! The answers as a person reads them. What others chose (aliases, owners) is shown without control characters, which a
//! terminal would obey.

use serde_json::Value;

use crate::commands::api::plain;

/// A key that was just made or rotated, its string first.
pub(super) fn new_key(answer: &Value) -> String {
    let mut rows = vec![("key", cell(&answer["key"]))];
    rows.extend(described(answer));
    format!("{}\nThe key is shown this once. Keep it where secrets are kept.\n", pairs(&rows))
}

/// One key.
pub(super) fn key(answer: &Value) -> String {
    pairs(&described(answer))
}

/// A page of keys.
pub(super) fn keys(answer: &Value) -> String {
    let heads = ["ALIAS", "KEY", "STATUS", "EXPIRES", "SPEND", "MODELS", "HASH"];
    let names = ["key_alias", "key_name", "status", "expires", "spend", "models", "token"];
    let mut rows = vec![heads.map(str::to_owned)];
    for key in answer["keys"].as_array().into_iter().flatten() {
        rows.push(names.map(|name| cell(&key[name])));
    }
    let (page, pages, total) = (&answer["current_page"], &answer["total_pages"], &answer["total_count"]);
    format!("{}page {page} of {pages}, {total} keys in all\n", columns(&rows))
}

/// What became of the keys that were to be deleted. The keys themselves are not repeated.
pub(super) fn deletion(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_array().map_or(0, Vec::len);
    match (count("deleted_keys"), count("unknown_keys")) {
        (deleted, 0) => format!("{deleted} deleted\n"),
        (deleted, unknown) => format!("{deleted} deleted, {unknown} unknown\n"),
    }
}

fn described(key: &Value) -> Vec<(&'static str, String)> {
    let names = [
        ("hash", "token"),
        ("name", "key_name"),
        ("alias", "key_alias"),
        ("status", "status"),
        ("blocked", "blocked"),
        ("models", "models"),
        ("expires", "expires"),
        ("user", "user_id"),
        ("team", "team_id"),
        ("spend", "spend"),
        ("max budget", "max_budget"),
        ("rpm limit", "rpm_limit"),
        ("tpm limit", "tpm_limit"),
        ("created", "created_at"),
        ("updated", "updated_at"),
        ("rotations", "rotation_count"),
    ];
    let given = names.into_iter().filter(|(_, field)| !key[*field].is_null());
    given.map(|(label, field)| (label, cell(&key[field]))).collect()
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "all".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    plain(&text)
}

fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    rows.iter().map(|(label, value)| format!("{label:width$}  {value}\n")).collect()
}

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
