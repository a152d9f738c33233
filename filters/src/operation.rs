//! `Operation`: what the caller wants. The shell reads the body, this module parses it: which model, streamed or not,
//! and where in the bytes the model's name stands, so that it can be replaced without touching anything else.
//!
//! The reading is as strict as the upstreams are lenient. A body that two parsers could read as two models is refused:
//! repeated members, members that differ from `model` in case only, repeated query parameters or form parts.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use crate::client_side::{CLIENT_FIELDS, COMPANIONS, ClientSide};
use crate::denial::Denial;
use crate::endpoint::{BodyKind, Call, Endpoint, Vendor};

mod json;
mod multipart;

/// What the caller wants, as far as the decision is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which call.
    pub endpoint: Endpoint,
    /// The model by the caller's name for it. `None` where the call has none.
    pub model: Option<Arc<str>>,
    /// Whether the answer is asked for as a stream. Only a hint for logs: the provider decides.
    pub stream: bool,
    /// Where model names stand in the body.
    pub names: ModelNames,
    /// How to have the answer say what it took, where it is a stream.
    pub stream_usage: StreamUsage,
    /// The most tokens that the caller wants made; the call's own name for it.
    pub most_output: Option<u64>,
    /// Further models that the body lets the upstream use instead; whoever may not use them all may not ask so.
    pub other_models: Vec<String>,
    /// What the caller brings of its own; `None` for nothing.
    pub client: Option<Box<ClientSide>>,
}

/// The places in a body that name the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelNames {
    /// There is no body, or it names none and needs none.
    #[default]
    Absent,
    /// A JSON object that must get a `model` member if the upstream wants one, behind the brace at this offset.
    Missing(usize),
    /// JSON strings (with their quotes) at these ranges, in order, behind `prefix`.
    Json {
        /// What stands before the name inside the string: empty, or Gemini's `models/`.
        prefix: &'static str,
        /// Byte ranges in the body.
        ranges: SmallVec<[Range<usize>; 1]>,
    },
    /// The bare content of a form part.
    Form(Range<usize>),
}

/// What must change in a body so that a stream ends with its usage (`stream_options.include_usage`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StreamUsage {
    /// Nothing: it is no stream, the call says it without being asked, or the caller asks for it.
    #[default]
    AsItIs,
    /// The member is missing; it may stand at this offset, behind the brace.
    Insert(usize),
    /// The member's value at this range asks for something else.
    Replace(Range<usize>),
}

impl Operation {
    /// Reads the operation of an endpoint from its query and its whole body.
    ///
    /// # Errors
    /// [`Denial::UnreadableBody`] for what cannot be read, or read in one way only; [`Denial::ForbiddenField`] for
    /// members that would redirect the request or bring a credential.
    pub fn read(
        endpoint: Endpoint,
        query: Option<&str>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, Denial> {
        let (operation, brought) = Self::parse(endpoint, query, content_type, body)?;
        match brought.iter().find(|member| CLIENT_FIELDS.contains(&member.name)) {
            Some(member) => Err(Denial::ForbiddenField(member.name.to_owned())),
            None => Ok(operation),
        }
    }

    /// As [`Operation::read`], but what the caller may bring of its own is taken out of the body, which goes on without
    /// it, and kept in the operation. Whether it may is for the deployment to say.
    ///
    /// # Errors
    /// As there, and [`Denial::InvalidField`].
    pub fn take(
        endpoint: Endpoint,
        query: Option<&str>,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<(Self, Bytes), Denial> {
        let (operation, mut brought) = Self::parse(endpoint, query, content_type, &body)?;
        if !brought.iter().any(|member| member.name == "api_key") {
            brought.retain(|member| !COMPANIONS.contains(&member.name));
        }
        if brought.is_empty() {
            return Ok((operation, body));
        }
        let json = |range: &Range<usize>| std::str::from_utf8(&body[range.clone()]).unwrap_or_default();
        let client = ClientSide::read(brought.iter().map(|member| (member.name, json(&member.value))))?;
        let body = brought.into_iter().rev().fold(body, |body, member| cut(body, member.whole));
        // Names stand elsewhere now. What is left holds nothing more of the kind, or it is refused.
        let operation = Self::read(operation.endpoint, query, content_type, &body)?;
        Ok((Self { client: Some(Box::new(client)), ..operation }, body))
    }

    fn parse(
        endpoint: Endpoint,
        query: Option<&str>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<(Self, Vec<Brought>), Denial> {
        let found = match (&endpoint.call, endpoint.body) {
            (Call::PassThrough(..), BodyKind::Json) if !is_json(content_type) || body.is_empty() => Found::default(),
            (_, BodyKind::Json) => json::read(&endpoint, body)?,
            (_, BodyKind::Multipart) => multipart::read(content_type, body)?,
            (Call::Realtime, BodyKind::None) => Found { model: model_of_query(query)?, ..Found::default() },
            (_, BodyKind::None) => Found::default(),
        };
        if contradicts(&endpoint, found.model.as_deref()) {
            return Err(unreadable("the body names another model than the path"));
        }
        // The path wins: the vendors whose paths name the model ignore the body's.
        let of_body = found.model.filter(|_| endpoint.body_names_model());
        let model = endpoint.path_model.clone().or(of_body);
        if model.as_deref().is_some_and(|name| name.len() > MAX_MODEL || name.chars().any(char::is_control)) {
            return Err(unreadable("the model's name is too long or holds control characters"));
        }
        let Found { stream, names, stream_usage, most_output, other_models, brought, .. } = found;
        Ok((Self { endpoint, model, stream, names, stream_usage, most_output, other_models, client: None }, brought))
    }

    /// Whether the body was judged as JSON, whatever the caller called it (`curl -d` calls everything a form). It must go
    /// on as JSON then: an upstream that takes forms would read another model in it.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.endpoint.body == BodyKind::Json && !matches!(self.endpoint.call, Call::PassThrough(..))
    }
}

impl StreamUsage {
    /// The body with the usage of its stream asked for; `names` are where they stand then.
    #[must_use]
    pub fn ask(&self, body: Bytes, names: &mut ModelNames) -> Bytes {
        let (mut place, text) = match self {
            Self::AsItIs => return body,
            // A body that asks for a stream has a member to stand behind this one.
            Self::Insert(at) => (*at..*at, Cow::Borrowed(ASK)),
            Self::Replace(range) => (range.clone(), json::with_usage(&body[range.clone()]).into()),
        };
        let (from, before) = (place.start, body.len());
        let body = splice(body, std::slice::from_mut(&mut place), text.as_bytes());
        if let ModelNames::Json { ranges, .. } = names {
            let moved = |at: usize| if at >= from { at + body.len() - before } else { at };
            ranges.iter_mut().for_each(|range| *range = moved(range.start)..moved(range.end));
        }
        body
    }
}

const ASK: &str = "\"stream_options\":{\"include_usage\":true},";

impl ModelNames {
    /// The body with every model name replaced by the upstream's name for it. Notes where the names stand afterwards, so
    /// that another upstream's name can take their place. A body that nobody else holds is changed where it is.
    #[must_use]
    pub fn rename(&mut self, body: Bytes, name: &str) -> Bytes {
        match self {
            Self::Absent => body,
            Self::Form(range) => splice(body, std::slice::from_mut(range), name.as_bytes()),
            Self::Json { prefix, ranges } => splice(body, ranges, json::string(prefix, name).as_bytes()),
            Self::Missing(brace) => {
                let at = *brace + 1;
                let comma = if body[at..].trim_ascii_start().starts_with(b"}") { "" } else { "," };
                let name = json::string("", name);
                let member = format!("{MODEL_MEMBER}{name}{comma}");
                let body = splice(body, std::slice::from_mut(&mut (at..at)), member.as_bytes());
                let start = at + MODEL_MEMBER.len();
                let range = start..start + name.len();
                *self = Self::Json { prefix: "", ranges: smallvec![range] };
                body
            }
        }
    }
}

const MODEL_MEMBER: &str = "\"model\":";

/// What a body says.
#[derive(Default)]
struct Found {
    model: Option<Arc<str>>,
    stream: bool,
    names: ModelNames,
    stream_usage: StreamUsage,
    most_output: Option<u64>,
    other_models: Vec<String>,
    /// In the order of the body.
    brought: Vec<Brought>,
}

/// A member by which a caller brings something of its own: one of [`CLIENT_FIELDS`], or what goes with a key.
struct Brought {
    name: &'static str,
    /// Where its value stands in the body.
    value: Range<usize>,
    /// Where it stands itself, from the quote of its name to the end of its value.
    whole: Range<usize>,
}

/// Longest model name, in bytes: it comes to stand in paths, logs and look-ups.
const MAX_MODEL: usize = 512;

/// Behind a vendor's prefix nothing is renamed, so path and body must agree. Azure alone is known to ignore the body's.
fn contradicts(endpoint: &Endpoint, of_body: Option<&str>) -> bool {
    let (Call::PassThrough(vendor, _), Some(of_path), Some(of_body)) = (&endpoint.call, &endpoint.path_model, of_body)
    else {
        return false;
    };
    *vendor != Vendor::Azure && of_body.strip_prefix("models/").unwrap_or(of_body) != &**of_path
}

/// Body members that choose where a request goes or with whose credential, and that nobody may send. Never forwarded.
pub const FORBIDDEN_FIELDS: &[&str] = &[
    "aws_access_key_id",
    "aws_role_name",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_sts_endpoint",
    "azure_ad_token",
    "client_secret",
    "fallbacks",
    "litellm_credential_name",
    "model_list",
    "vertex_credentials",
];

fn unreadable(why: impl Into<Cow<'static, str>>) -> Denial {
    Denial::UnreadableBody(why.into())
}

fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_none_or(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}

/// Whether this is the content type of a form, in which nobody reads JSON.
#[must_use]
pub fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/x-www-form-urlencoded" || essence.starts_with("multipart/")
}

/// `?model=` of a WebSocket handshake (`deployment` in Azure's form). More than one of them is refused.
fn model_of_query(query: Option<&str>) -> Result<Option<Arc<str>>, Denial> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut names = pairs.filter(|(name, _)| is_model_parameter(name));
    let first = names.next().map(|(_, model)| model.into());
    match names.next() {
        Some(_) => Err(unreadable("more than one model in the query")),
        None => Ok(first),
    }
}

fn is_model_parameter(name: &str) -> bool {
    name.eq_ignore_ascii_case("model") || name.eq_ignore_ascii_case("deployment")
}

/// Takes one member of an object out, and the comma that is too many then.
fn cut(body: Bytes, member: Range<usize>) -> Bytes {
    let behind = body[member.end..].len() - body[member.end..].trim_ascii_start().len();
    let comma_behind = body.get(member.end + behind) == Some(&b',');
    let before = body[..member.start].trim_ascii_end();
    let range = match (comma_behind, before.last()) {
        (true, _) => member.start..member.end + behind + 1,
        (false, Some(b',')) => before.len() - 1..member.end,
        (false, _) => member,
    };
    splice(body, &mut [range], b"")
}

/// Puts `with` in the place of each range, and moves the ranges to where it stands then.
fn splice(body: Bytes, ranges: &mut [Range<usize>], with: &[u8]) -> Bytes {
    if ranges.iter().all(|range| body[range.clone()] == *with) && !ranges.is_empty() {
        return body;
    }
    let body = match (body.try_into_mut(), &mut *ranges) {
        (Ok(body), [range]) => return splice_in_place(body, range, with).freeze(),
        (Ok(body), _) => body.freeze(),
        (Err(body), _) => body,
    };
    let mut spliced = BytesMut::with_capacity(body.len() + ranges.len() * with.len());
    let mut copied = 0;
    for range in ranges {
        spliced.extend_from_slice(&body[copied..range.start]);
        copied = range.end;
        *range = spliced.len()..spliced.len() + with.len();
        spliced.extend_from_slice(with);
    }
    spliced.extend_from_slice(&body[copied..]);
    spliced.freeze()
}

/// Bodies may be large and are held by nobody else, as a rule: what stands behind the name moves, nothing is copied.
fn splice_in_place(mut body: BytesMut, range: &mut Range<usize>, with: &[u8]) -> BytesMut {
    let length = body.len();
    let end = range.start + with.len();
    body.resize(length.max(length - range.len() + with.len()), 0);
    body.copy_within(range.end..length, end);
    body.truncate(length - range.len() + with.len());
    body[range.start..end].copy_from_slice(with);
    *range = range.start..end;
    body
}

#[cfg(test)]
mod tests;
