//! Reads the configuration file and the files that its `include` list names, and makes one tree of them.
//!
//! LiteLLM lets an included file replace a section of the main file without a word. Here lists are joined and sections
//! are merged, and a key that both give is a mistake: what an operator wrote is never dropped silently.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::document::{self, Entry, MAX_BYTES, Node, Value};
use super::reader::Mistake;

/// Reads `path` and what it includes.
pub(super) fn read(path: &Path, mistakes: &mut Vec<Mistake>) -> Option<Node> {
    let name: Arc<str> = path.display().to_string().into();
    let mut root = read_one(path, &name, mistakes)?;
    let Value::Map(entries) = &mut root.value else { return Some(root) };
    let Some(index) = entries.iter().position(|entry| entry.key == "include") else { return Some(root) };
    let include = entries.remove(index);
    let Value::List(names) = include.node.value else {
        mistakes.push(Mistake {
            path: include.key,
            at: Some(include.node.at),
            text: "expected a list of files".to_owned(),
        });
        return Some(root);
    };
    for (index, named) in names.into_iter().enumerate() {
        let path_of_name = format!("include[{index}]");
        let Value::Scalar { text, .. } = named.value else {
            let text = "expected the name of a file".to_owned();
            mistakes.push(Mistake { path: path_of_name, at: Some(named.at), text });
            continue;
        };
        let included = path.parent().unwrap_or(Path::new("")).join(&text);
        match read_one(&included, &included.display().to_string().into(), mistakes) {
            Some(Node { value: Value::Map(others), .. }) => others.into_iter().for_each(|o| join(entries, o, mistakes)),
            Some(Node { at, .. }) => {
                let text = "the file must hold keys and values".to_owned();
                mistakes.push(Mistake { path: String::new(), at: Some(at), text });
            }
            None => {}
        }
    }
    Some(root)
}

fn read_one(path: &Path, name: &Arc<str>, mistakes: &mut Vec<Mistake>) -> Option<Node> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => {
            mistakes.push(Mistake { path: name.to_string(), at: None, text: format!("cannot be read: {error}") });
            return None;
        }
    };
    let (node, flaws) = document::parse(name, &text);
    mistakes.extend(flaws.into_iter().map(Mistake::from));
    node
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = MAX_BYTES as u64 + 1;
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// Adds one top-level key of an included file.
fn join(entries: &mut Vec<Entry>, other: Entry, mistakes: &mut Vec<Mistake>) {
    let mut conflict = |path: String, at, first: &Entry| {
        let text = format!("given twice; first at {}", first.at);
        mistakes.push(Mistake { path, at: Some(at), text });
    };
    let Some(entry) = entries.iter_mut().find(|entry| entry.key == other.key) else {
        if other.key == "include" {
            let text = "an included file cannot include others".to_owned();
            mistakes.push(Mistake { path: other.key, at: Some(other.at), text });
        } else {
            entries.push(other);
        }
        return;
    };
    match (&mut entry.node.value, other.node.value) {
        (Value::List(items), Value::List(more)) => items.extend(more),
        (Value::Map(keys), Value::Map(more)) => {
            for key in more {
                match keys.iter().find(|known| known.key == key.key) {
                    Some(first) => conflict(format!("{}.{}", other.key, key.key), key.at, first),
                    None => keys.push(key),
                }
            }
        }
        _ => conflict(other.key, other.at, entry),
    }
}
