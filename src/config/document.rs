//! From YAML text to a tree in which every key and value knows its place in the file.
//!
//! Built on the parser's events, not on its loader: depth, size and the growth by aliases are bounded here before a node
//! exists, duplicate keys are reported with both places, and scalars keep their text, so that one reader can decide
//! what they mean (`scalar.rs`: as LiteLLM's PyYAML takes them). Nothing here repeats a value in a message.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

/// No configuration is larger; a larger file is not one.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Levels of nesting. LiteLLM's deepest documented key has seven.
const MAX_DEPTH: usize = 64;
/// Nodes that aliases may add.
const MAX_ALIASED: usize = 50_000;
/// Keys of one mapping: more are no configuration, and finding duplicates compares each with each.
const MAX_KEYS: usize = 5_000;
/// Mistakes of the syntax kind after which reading on is of no use.
const MAX_MISTAKES: usize = 100;

/// A place in a file, as editors count: both from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file, as it was named on the command line or in `include`.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    fn new(file: &Arc<str>, marker: Marker) -> Self {
        Self { file: Arc::clone(file), line: marker.line(), column: marker.col() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The text as written. `plain` means neither quoted nor tagged as text, so that it may mean a number, a truth
    /// value or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) node: Node,
}

/// What is wrong with the text as YAML.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) at: Position,
    pub(super) text: String,
}

/// Reads one document. `None` stands for an empty file. What could be read is returned also when there are flaws, so
/// that mistakes of meaning can be reported together with them.
pub(super) fn parse(file: &Arc<str>, text: &str) -> (Option<Node>, Vec<Flaw>) {
    let mut builder = Builder::new(file);
    if text.len() > MAX_BYTES {
        builder.flaw(Marker::new(0, 1, 0), format!("larger than {} MiB", MAX_BYTES >> 20));
        return (None, builder.flaws);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new(StrInput::new(text));
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if builder.take(event, span).is_err() || builder.flaws.len() >= MAX_MISTAKES {
                    return (None, builder.flaws);
                }
            }
            Err(error) => {
                // The parser's own sentences name characters and indicators, never values.
                builder.flaw(*error.marker(), format!("not valid YAML: {}", error.info()));
                return (None, builder.flaws);
            }
        }
    }
    (builder.root, builder.flaws)
}

/// The rest of the file cannot be understood.
struct Hopeless;

/// Collections that are still open, innermost last.
struct Builder<'a> {
    file: &'a Arc<str>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Extent)>,
    aliased: usize,
    documents: usize,
    root: Option<Node>,
    flaws: Vec<Flaw>,
}

struct Open {
    at: Position,
    anchor: usize,
    collection: Collection,
}

enum Collection {
    List(Vec<Node>),
    /// With the key that waits for its value. A key that is no text is kept as `None`, and its value dropped.
    Map {
        entries: Vec<Entry>,
        merged: Vec<Node>,
        key: Option<(Option<String>, Position)>,
    },
}

/// How much a finished subtree holds.
#[derive(Clone, Copy)]
struct Extent {
    nodes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn new(file: &'a Arc<str>) -> Self {
        Self {
            file,
            open: Vec::new(),
            anchors: HashMap::new(),
            aliased: 0,
            documents: 0,
            root: None,
            flaws: Vec::new(),
        }
    }

    fn flaw(&mut self, marker: Marker, text: impl Into<String>) {
        let at = Position::new(self.file, marker);
        self.flaws.push(Flaw { at, text: text.into() });
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Hopeless> {
        let at = Position::new(self.file, span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.flaw(span.start, "a second document begins here; a configuration is one");
                    return Err(Hopeless);
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text_tag(tag.as_deref(), span)?;
                let node = Node { at, value: Value::Scalar { text: text.into_owned(), plain } };
                self.finish(node, anchor, plain)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.is_text_tag(tag.as_deref(), span)?;
                self.open(Open { at, anchor, collection: Collection::List(Vec::new()) }, span)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.is_text_tag(tag.as_deref(), span)?;
                let collection = Collection::Map { entries: Vec::new(), merged: Vec::new(), key: None };
                self.open(Open { at, anchor, collection }, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => {
                let Some((node, extent)) = self.anchors.get(&anchor).cloned() else {
                    self.flaw(span.start, "an alias to a value that contains it");
                    return Err(Hopeless);
                };
                self.aliased += extent.nodes;
                if self.aliased > MAX_ALIASED || self.open.len() + extent.depth > MAX_DEPTH {
                    self.flaw(span.start, "aliases make this file too large");
                    return Err(Hopeless);
                }
                self.finish(Node { at, ..node }, 0, false)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// Whether the tag says that a scalar is text whatever it looks like. PyYAML's safe loader knows the core tags only.
    fn is_text_tag(&mut self, tag: Option<&Tag>, span: Span) -> Result<bool, Hopeless> {
        let Some(tag) = tag else { return Ok(false) };
        if tag.handle == "!" && tag.suffix.is_empty() {
            return Ok(true);
        }
        if tag.is_yaml_core_schema() {
            return Ok(tag.suffix == "str");
        }
        self.flaw(span.start, "tags like !this are not supported; for the environment write os.environ/NAME");
        Err(Hopeless)
    }

    fn open(&mut self, open: Open, span: Span) -> Result<(), Hopeless> {
        if self.open.len() >= MAX_DEPTH {
            self.flaw(span.start, format!("nested deeper than {MAX_DEPTH} levels"));
            return Err(Hopeless);
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Hopeless> {
        let Some(Open { at, anchor, collection }) = self.open.pop() else { return Err(Hopeless) };
        let value = match collection {
            Collection::List(items) => Value::List(items),
            Collection::Map { mut entries, merged, .. } => {
                for node in merged {
                    self.merge(&mut entries, node);
                }
                Value::Map(entries)
            }
        };
        self.finish(Node { at, value }, anchor, false)
    }

    /// `<<`: the keys of other mappings, unless given here; of several mappings the first that has a key wins.
    fn merge(&mut self, entries: &mut Vec<Entry>, node: Node) {
        match node.value {
            Value::Map(others) => {
                for other in others {
                    if entries.iter().all(|entry| entry.key != other.key) {
                        entries.push(other);
                    }
                }
            }
            Value::List(nodes) if nodes.iter().all(|node| matches!(node.value, Value::Map(_))) => {
                nodes.into_iter().for_each(|node| self.merge(entries, node));
            }
            _ => self.flaws.push(Flaw { at: node.at, text: "<< takes a mapping or a list of mappings".to_owned() }),
        }
    }

    /// Puts a finished node where it belongs: into the innermost open collection, or at the root.
    fn finish(&mut self, node: Node, anchor: usize, plain: bool) -> Result<(), Hopeless> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), extent(&node)));
        }
        let Some(innermost) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let (entries, merged, key) = match &mut innermost.collection {
            Collection::List(items) => {
                items.push(node);
                return Ok(());
            }
            Collection::Map { entries, merged, key } => (entries, merged, key),
        };
        match key.take() {
            None => match node.value {
                Value::Scalar { text, .. } if text == "<<" && plain => *key = Some((Some("<<".to_owned()), node.at)),
                Value::Scalar { text, .. } => {
                    if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                        let text = format!("given twice; first on line {}", first.at.line);
                        self.flaws.push(Flaw { at: node.at.clone(), text });
                        *key = Some((None, node.at));
                    } else {
                        *key = Some((Some(text), node.at));
                    }
                }
                Value::List(_) | Value::Map(_) => {
                    let at = node.at;
                    self.flaws.push(Flaw { at: at.clone(), text: "a key must be a single word".to_owned() });
                    *key = Some((None, at));
                }
            },
            Some((Some(word), _)) if word == "<<" => merged.push(node),
            Some((Some(word), at)) if entries.len() < MAX_KEYS => entries.push(Entry { key: word, at, node }),
            Some((Some(_), at)) => {
                self.flaws.push(Flaw { at, text: format!("more than {MAX_KEYS} keys in one mapping") });
                return Err(Hopeless);
            }
            Some((None, _)) => {}
        }
        Ok(())
    }
}

/// Recursion is bounded: nothing deeper than `MAX_DEPTH` is ever built.
fn extent(node: &Node) -> Extent {
    let children: Vec<Extent> = match &node.value {
        Value::Scalar { .. } => Vec::new(),
        Value::List(items) => items.iter().map(extent).collect(),
        Value::Map(entries) => entries.iter().map(|entry| extent(&entry.node)).collect(),
    };
    Extent {
        nodes: 1 + children.iter().map(|child| child.nodes).sum::<usize>(),
        depth: 1 + children.iter().map(|child| child.depth).max().unwrap_or(0),
    }
}
