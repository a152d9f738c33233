//! One pass over a JSON body: the members that matter are borrowed, everything else is skipped but still checked to be
//! JSON. No tree is built, so a body of 5 MB costs about a millisecond.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};

use super::{Brought, FORBIDDEN_FIELDS, Found, ModelNames, StreamUsage, unreadable};
use crate::client_side::{CLIENT_FIELDS, COMPANIONS};
use crate::denial::Denial;
use crate::endpoint::{Call, Endpoint};

/// Reads the members of the top-level object.
pub(super) fn read(endpoint: &Endpoint, body: &[u8]) -> Result<Found, Denial> {
    let text = std::str::from_utf8(body).map_err(|_| unreadable("the body is not UTF-8"))?;
    let Some(brace) = text.find(|c: char| !c.is_ascii_whitespace()).filter(|at| text[*at..].starts_with('{')) else {
        return Err(unreadable("the body must be a JSON object"));
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = Members { requests: true }.deserialize(&mut deserializer);
    let members = members.and_then(|members| deserializer.end().map(|()| members));
    let members = members.map_err(|error| unreadable(format!("the body is not valid JSON: {error}")))?;
    if let Some(field) = members.forbidden {
        return Err(Denial::ForbiddenField(field));
    }
    let brought = members.brought.iter().map(|(name, key, value)| Brought {
        name,
        value: range(text, value.get()),
        whole: range(text, key).start - 1..range(text, value.get()).end,
    });
    let found = Found { brought: brought.collect(), ..Found::default() };
    let stream = members.stream.is_some_and(|raw| raw.get() == "true");
    let found = Found {
        stream_usage: if stream {
            stream_usage(endpoint, members.stream_options, brace, text)
        } else {
            StreamUsage::AsItIs
        },
        most_output: members.most_output.iter().filter_map(|raw| raw.get().parse().ok()).max(),
        ..found
    };
    let other_models: Vec<String> = members.other_models.iter().flat_map(|raw| names_of(raw)).collect();
    match &endpoint.call {
        Call::Gemini { .. } => gemini(endpoint, &members, text).map(|names| Found { stream, names, ..found }),
        Call::PassThrough(..) if members.model.is_none() => Ok(Found { stream, other_models, ..found }),
        _ => {
            let Some(raw) = members.model.filter(|raw| raw.get() != "null") else {
                let names = match members.model {
                    Some(null) => ModelNames::Json { prefix: "", ranges: smallvec![range(text, null.get())] },
                    None => ModelNames::Missing(brace),
                };
                return Ok(Found { model: None, stream, names, other_models, ..found });
            };
            let model = string_of(raw).ok_or_else(|| unreadable("model must be a string"))?;
            Ok(Found {
                model: Some(model.into()),
                stream,
                names: ModelNames::Json { prefix: "", ranges: smallvec![range(text, raw.get())] },
                other_models,
                ..found
            })
        }
    }
}

/// Where to ask for the usage of a stream. Only OpenAI's older calls must be asked; all others say it by themselves.
fn stream_usage(endpoint: &Endpoint, options: Option<&RawValue>, brace: usize, text: &str) -> StreamUsage {
    if !matches!(endpoint.call, Call::OpenAi("/chat/completions" | "/completions")) {
        return StreamUsage::AsItIs;
    }
    let Some(raw) = options else { return StreamUsage::Insert(brace + 1) };
    match serde_json::from_str::<StreamOptions>(raw.get()) {
        Ok(StreamOptions { include_usage: Some(true) }) => StreamUsage::AsItIs,
        Ok(_) => StreamUsage::Replace(range(text, raw.get())),
        Err(_) if raw.get() == "null" => StreamUsage::Replace(range(text, raw.get())),
        // The provider says what is wrong with it.
        Err(_) => StreamUsage::AsItIs,
    }
}

#[derive(serde::Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// The value of `stream_options` with the usage asked for, everything else as it was.
pub(super) fn with_usage(options: &[u8]) -> String {
    let options: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_slice(options).unwrap_or_default();
    let mut options = options.unwrap_or_default();
    options.insert("include_usage".to_owned(), true.into());
    serde_json::Value::Object(options).to_string()
}

/// Gemini names the model in the path. Where the body repeats it (a batch of embeddings does), both must agree: the
/// permit is for the path's model.
fn gemini(endpoint: &Endpoint, members: &Read<'_>, text: &str) -> Result<ModelNames, Denial> {
    let path_model = endpoint.path_model.as_deref().unwrap_or_default();
    let mut ranges = SmallVec::new();
    let mut prefix = "models/";
    for raw in members.model.iter().chain(&members.request_models) {
        let name = string_of(raw).ok_or_else(|| unreadable("model must be a string"))?;
        if name == path_model {
            prefix = "";
        } else if name.strip_prefix("models/") != Some(path_model) {
            return Err(unreadable("the body names another model than the path"));
        }
        ranges.push(range(text, raw.get()));
    }
    Ok(if ranges.is_empty() { ModelNames::Absent } else { ModelNames::Json { prefix, ranges } })
}

/// Two parts of a string as one JSON literal, quotes included.
pub(super) fn string(prefix: &str, text: &str) -> String {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if prefix.bytes().chain(text.bytes()).all(plain) {
        return ["\"", prefix, text, "\""].concat();
    }
    serde_json::Value::from([prefix, text].concat()).to_string()
}

/// The models of a list that the upstream may fall back to (OpenRouter's `models`). What is no list
/// of names counts as one name that nobody is granted singly.
fn names_of(raw: &RawValue) -> Vec<String> {
    let names: Result<Option<Vec<String>>, _> = serde_json::from_str(raw.get());
    names.map(Option::unwrap_or_default).unwrap_or_else(|_| vec![raw.get().to_owned()])
}

fn string_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
}

/// Where a borrowed value stands in the text it was borrowed from.
fn range(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

#[derive(Default)]
struct Read<'a> {
    model: Option<&'a RawValue>,
    stream: Option<&'a RawValue>,
    stream_options: Option<&'a RawValue>,
    /// What bounds the length of an answer; calls differ in the name, and some take two.
    most_output: SmallVec<[&'a RawValue; 1]>,
    request_models: Vec<&'a RawValue>,
    other_models: Vec<&'a RawValue>,
    forbidden: Option<String>,
    /// Name, the name as it stands in the body, value.
    brought: Vec<(&'static str, &'a str, &'a RawValue)>,
}

impl<'a> Read<'a> {
    /// Keeps a member that the caller may bring. A name that is spelled with escapes has no place that could be cut out.
    fn bring<E: Error>(&mut self, member: &'static str, name: Cow<'a, str>, value: &'a RawValue) -> Result<(), E> {
        if self.brought.iter().any(|(known, ..)| *known == member) {
            return Err(E::duplicate_field(member));
        }
        match name {
            Cow::Borrowed(name) => self.brought.push((member, name, value)),
            Cow::Owned(name) => self.forbid(&name),
        }
        Ok(())
    }

    fn forbid(&mut self, name: &str) {
        self.forbidden.get_or_insert_with(|| name.to_owned());
    }
}

/// Reads the members of one object.
struct Members {
    /// Whether to look into `requests`. Not inside of one: each level would be a parser on top of the one before, and a
    /// body may be as deep as it is long.
    requests: bool,
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Read<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<'de>, A::Error> {
        let mut read = Read::default();
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "model" => once(&mut read.model, map.next_value()?, "model")?,
                "stream" => once(&mut read.stream, map.next_value()?, "stream")?,
                "stream_options" => once(&mut read.stream_options, map.next_value()?, "stream_options")?,
                "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                    read.most_output.push(map.next_value()?)
                }
                "requests" if self.requests => {
                    read.request_models.extend(models_of(map.next_value()?).map_err(A::Error::custom)?);
                }
                "models" => read.other_models.push(map.next_value()?),
                // Some upstreams (those written in Go) match members without regard to case, the last one winning.
                other if other.eq_ignore_ascii_case("model") => {
                    return Err(A::Error::custom("a member differs from model in case only"));
                }
                other => {
                    if let Some(member) = CLIENT_FIELDS.iter().chain(&COMPANIONS).find(|member| **member == other) {
                        read.bring(member, name, map.next_value()?)?;
                        continue;
                    }
                    if CONTAINERS.contains(&other) {
                        let inner: &RawValue = map.next_value()?;
                        forbidden_in(inner)?.iter().for_each(|name| read.forbid(name));
                        continue;
                    }
                    if FORBIDDEN_FIELDS.contains(&other) {
                        read.forbid(other);
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(read)
    }
}

fn once<'de, E: Error>(slot: &mut Option<&'de RawValue>, value: &'de RawValue, name: &'static str) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

/// The `model` of each element of a `requests` array; anything else called `requests` is not ours to read.
fn models_of(requests: &RawValue) -> Result<Vec<&RawValue>, &'static str> {
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(requests.get()) else { return Ok(Vec::new()) };
    let mut models = Vec::new();
    for element in elements.into_iter().filter(|element| element.get().starts_with('{')) {
        let mut deserializer = serde_json::Deserializer::from_str(element.get());
        let members = Members { requests: false }.deserialize(&mut deserializer);
        let members = members.map_err(|_| "an element of requests is ambiguous")?;
        if members.forbidden.is_some() || members.brought.iter().any(|(name, ..)| CLIENT_FIELDS.contains(name)) {
            return Err("an element of requests brings a credential or an address");
        }
        models.extend(members.model);
    }
    Ok(models)
}

/// Members in which LiteLLM looks for such fields too: SDKs and people put them there by mistake.
const CONTAINERS: [&str; 4] = ["extra_body", "litellm_embedding_config", "litellm_metadata", "metadata"];

/// The first member of an object that may not be sent at its top level either.
fn forbidden_in<E: Error>(container: &RawValue) -> Result<Option<String>, E> {
    if !container.get().starts_with('{') {
        return Ok(None);
    }
    let members: Names = serde_json::from_str(container.get()).map_err(E::custom)?;
    Ok(members.0)
}

/// Of the names of an object's members, the first that is forbidden.
struct Names(Option<String>);

impl<'de> serde::Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        let mut forbidden = None;
        while let Some((Text(name), IgnoredAny)) = map.next_entry()? {
            if FORBIDDEN_FIELDS.contains(&&*name) || CLIENT_FIELDS.contains(&&*name) {
                forbidden.get_or_insert_with(|| name.into_owned());
            }
        }
        Ok(Names(forbidden))
    }
}

/// A string, such as a member's name: borrowed unless it holds escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
