//! Which API call a canonical path names, and in whose dialect.
//!
//! The table is closed: a path that is not in it is 404, so nothing reaches an upstream that nobody thought of. Where
//! the client's path also names the model (Azure deployments, Gemini actions) it is taken out here.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::denial::Denial;
use crate::head::RequestHead;

/// The wire format that the caller speaks: decides the shape of errors and of the model list.
///
/// Azure's error body is a subset of OpenAI's as written here, so it needs no variant of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI and Azure OpenAI.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
}

/// A vendor's API as far as pass-through prefixes and native calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// `/openai/*`
    OpenAi,
    /// `/azure/*`
    Azure,
    /// `/anthropic/*`
    Anthropic,
    /// `/gemini/*`
    Gemini,
}

/// How a call carries its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A JSON object with the model in it (or in the path).
    Json,
    /// `multipart/form-data` with a part named `model`.
    Multipart,
    /// Nothing to read: the model is in the query or there is none.
    None,
}

/// An API call that this proxy knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// An OpenAI call, by the path behind `/v1`: `/chat/completions`, `/embeddings`, ...
    OpenAi(&'static str),
    /// OpenAI's WebSocket, `/realtime`.
    Realtime,
    /// Anthropic's `/v1/messages` and what stands below it.
    Anthropic(&'static str),
    /// Gemini's `models/{model}:{action}`.
    Gemini {
        /// `v1`, `v1beta` or `v1alpha`; `None` where the client left it out.
        version: Option<&'static str>,
        /// The verb behind the colon.
        action: &'static str,
    },
    /// The models that the caller may use; answered here.
    ListModels,
    /// One of them; answered here.
    RetrieveModel,
    /// Anything of one vendor, below its prefix; the path is sent on as it is.
    PassThrough(Vendor, String),
}

/// A call as read from method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which call.
    pub call: Call,
    /// In whose wire format errors are answered.
    pub dialect: Dialect,
    /// How the arguments come.
    pub body: BodyKind,
    /// The model, where the path names it.
    pub path_model: Option<Arc<str>>,
    /// The path that route rules are matched against, without a leading `/v1`.
    pub route: Cow<'static, str>,
}

impl Endpoint {
    /// Whether the body's `model` is what the upstream goes by. Behind a vendor's prefix that is so for the calls that are
    /// known here; anywhere else a member of that name proves nothing about the models that the call uses.
    pub(crate) fn body_names_model(&self) -> bool {
        match &self.call {
            Call::PassThrough(Vendor::Gemini, _) => false,
            Call::PassThrough(Vendor::Anthropic, path) => {
                path.strip_prefix("/v1").is_some_and(|call| ANTHROPIC_CALLS.contains(&call))
            }
            Call::PassThrough(_, path) => {
                let path = path.strip_prefix("/openai").unwrap_or(path);
                openai(path, None).is_some_and(|known| known.body == BodyKind::Json)
            }
            _ => true,
        }
    }
}

/// The calls in OpenAI's form: path behind `/v1`, kind of body.
const OPENAI_CALLS: &[(&str, BodyKind)] = &[
    ("/chat/completions", BodyKind::Json),
    ("/completions", BodyKind::Json),
    ("/embeddings", BodyKind::Json),
    ("/responses", BodyKind::Json),
    ("/moderations", BodyKind::Json),
    ("/images/generations", BodyKind::Json),
    ("/images/edits", BodyKind::Multipart),
    ("/images/variations", BodyKind::Multipart),
    ("/audio/speech", BodyKind::Json),
    ("/audio/transcriptions", BodyKind::Multipart),
    ("/audio/translations", BodyKind::Multipart),
    ("/rerank", BodyKind::Json),
];

const ANTHROPIC_CALLS: &[&str] = &["/messages", "/messages/count_tokens"];

const GEMINI_ACTIONS: &[&str] = &[
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "predict",
    "predictLongRunning",
];

const GEMINI_VERSIONS: &[&str] = &["v1beta", "v1alpha", "v1"];

const VENDORS: &[(&str, Vendor)] = &[
    ("/openai/", Vendor::OpenAi),
    ("/azure/", Vendor::Azure),
    ("/anthropic/", Vendor::Anthropic),
    ("/gemini/", Vendor::Gemini),
];

/// Reads a call from method, path, query and the headers by which the vendors' SDKs tell themselves apart.
///
/// # Errors
/// [`Denial::UnknownRoute`], or [`Denial::MethodNotAllowed`] where the path exists.
pub fn classify(head: &RequestHead<'_>) -> Result<Endpoint, Denial> {
    let RequestHead { method, query, headers, .. } = *head;
    let path = head.path.as_str();
    // No path is one of OpenAI's and one of the others'; most are OpenAI's.
    let endpoint = openai(path, None)
        .or_else(|| deployment(path))
        .or_else(|| azure_sdk(path, query))
        .or_else(|| pass_through(path))
        .or_else(|| gemini(path))
        .or_else(|| models(path, headers))
        .or_else(|| anthropic(path))
        .ok_or(Denial::UnknownRoute)?;
    let expected = match endpoint.call {
        Call::ListModels | Call::RetrieveModel | Call::Realtime => Method::GET,
        Call::PassThrough(..) => return pass_through_method(method, endpoint),
        _ => Method::POST,
    };
    if *method == expected { Ok(endpoint) } else { Err(Denial::MethodNotAllowed) }
}

/// The dialect in which a refusal of this path is answered, also when the path names no call.
#[must_use]
pub fn dialect_of(path: &str, headers: &HeaderMap) -> Dialect {
    if path.starts_with("/v1/messages") || path.starts_with("/messages") || path.starts_with("/anthropic/") {
        return Dialect::Anthropic;
    }
    let google = path.starts_with("/v1beta/") || path.starts_with("/v1alpha/") || path.starts_with("/gemini/");
    if google || gemini(path).is_some() {
        return Dialect::Gemini;
    }
    let list = path == "/v1/models" || path.starts_with("/v1/models/");
    if list { dialect_of_sdk(headers) } else { Dialect::OpenAi }
}

/// `GET /v1/models` is asked by the SDKs of three vendors; their headers tell which one it is.
fn dialect_of_sdk(headers: &HeaderMap) -> Dialect {
    if headers.contains_key("x-goog-api-key") || headers.contains_key("x-goog-api-client") {
        Dialect::Gemini
    } else if headers.contains_key("anthropic-version") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// `/openai/deployments/{model}/...` (Azure SDKs) and `/engines/{model}/...` (OpenAI's oldest form).
fn deployment(path: &str) -> Option<Endpoint> {
    let rest = ["/openai/deployments/", "/engines/", "/v1/engines/"].iter().find_map(|form| path.strip_prefix(form))?;
    let (model, call) = rest.split_at(rest.find('/')?);
    let endpoint = openai(call, Some(model))?;
    (!model.is_empty() && endpoint.call != Call::Realtime).then_some(endpoint)
}

/// The Azure SDK's calls that carry the model in the body: `/openai/responses?api-version=...`.
fn azure_sdk(path: &str, query: Option<&str>) -> Option<Endpoint> {
    let call = path.strip_prefix("/openai")?;
    let versioned = query.unwrap_or_default().split('&').any(|pair| pair.starts_with("api-version="));
    openai(call, None).filter(|_| versioned)
}

fn pass_through(path: &str) -> Option<Endpoint> {
    let (rest, vendor) = VENDORS.iter().find_map(|(prefix, vendor)| Some((path.strip_prefix(prefix)?, *vendor)))?;
    let dialect = match vendor {
        Vendor::OpenAi | Vendor::Azure => Dialect::OpenAi,
        Vendor::Anthropic => Dialect::Anthropic,
        Vendor::Gemini => Dialect::Gemini,
    };
    let path_model = pass_through_model(vendor, rest)?;
    (!rest.is_empty()).then(|| Endpoint {
        call: Call::PassThrough(vendor, format!("/{rest}")),
        dialect,
        body: BodyKind::Json,
        path_model,
        route: path.to_owned().into(),
    })
}

/// The model that a vendor would read out of this path, `Some(None)` if none. Vendors compare without regard to case, so
/// that is done here too; a path with two names is no path of theirs and gets `None`.
fn pass_through_model(vendor: Vendor, path: &str) -> Option<Option<Arc<str>>> {
    let names = |segment: &str| match vendor {
        Vendor::Gemini => segment.to_ascii_lowercase().ends_with("models"),
        Vendor::Azure => segment.eq_ignore_ascii_case("deployments") || segment.eq_ignore_ascii_case("engines"),
        Vendor::OpenAi => segment.eq_ignore_ascii_case("engines"),
        Vendor::Anthropic => false,
    };
    let segments: Vec<&str> = path.split('/').collect();
    let mut named = segments.windows(2).filter(|pair| names(pair[0]) && !pair[1].is_empty());
    let Some(pair) = named.next() else { return Some(None) };
    let model = if vendor == Vendor::Gemini { pair[1].split(':').next().unwrap_or_default() } else { pair[1] };
    // `tunedModels/x` is another model than `models/x`.
    let plain = vendor != Vendor::Gemini || pair[0] == "models";
    let model = if plain { model.into() } else { format!("{}/{model}", pair[0]).into() };
    named.next().is_none().then_some(Some(model))
}

fn pass_through_method(method: &Method, endpoint: Endpoint) -> Result<Endpoint, Denial> {
    match *method {
        Method::POST | Method::PUT | Method::PATCH => Ok(endpoint),
        Method::GET | Method::DELETE => Ok(Endpoint { body: BodyKind::None, ..endpoint }),
        _ => Err(Denial::MethodNotAllowed),
    }
}

/// `/{version}/models/{model}:{action}`; the model may hold slashes (`models/vendor/name:generateContent`).
fn gemini(path: &str) -> Option<Endpoint> {
    let (version, rest) = GEMINI_VERSIONS
        .iter()
        .find_map(|version| Some((Some(*version), path.strip_prefix('/')?.strip_prefix(version)?)))
        .unwrap_or((None, path));
    let (model, action) = rest.strip_prefix("/models/")?.rsplit_once(':')?;
    let action = GEMINI_ACTIONS.iter().find(|known| **known == action)?;
    (!model.is_empty()).then(|| Endpoint {
        call: Call::Gemini { version, action },
        dialect: Dialect::Gemini,
        body: BodyKind::Json,
        path_model: Some(model.into()),
        route: rest.to_owned().into(),
    })
}

fn models(path: &str, headers: &HeaderMap) -> Option<Endpoint> {
    let (rest, dialect) = if let Some(rest) = path.strip_prefix("/v1beta/models") {
        (rest, Dialect::Gemini)
    } else {
        (path.strip_prefix("/v1/models").or_else(|| path.strip_prefix("/models"))?, dialect_of_sdk(headers))
    };
    let (call, path_model) = match rest.strip_prefix('/') {
        None if rest.is_empty() => (Call::ListModels, None),
        Some(model) if !model.is_empty() => (Call::RetrieveModel, Some(model.into())),
        _ => return None,
    };
    Some(Endpoint { call, dialect, body: BodyKind::None, path_model, route: "/models".into() })
}

fn anthropic(path: &str) -> Option<Endpoint> {
    let rest = path.strip_prefix("/v1").unwrap_or(path);
    let call = ANTHROPIC_CALLS.iter().find(|call| **call == rest)?;
    Some(Endpoint {
        call: Call::Anthropic(call),
        dialect: Dialect::Anthropic,
        body: BodyKind::Json,
        path_model: None,
        route: (*call).into(),
    })
}

fn openai(path: &str, model: Option<&str>) -> Option<Endpoint> {
    let rest = path.strip_prefix("/v1").or_else(|| path.strip_prefix("/v2").filter(|rest| *rest == "/rerank"));
    let rest = rest.unwrap_or(path);
    let (call, body, route) = if rest == REALTIME {
        (Call::Realtime, BodyKind::None, REALTIME)
    } else {
        let (call, body) = OPENAI_CALLS.iter().find(|(call, _)| *call == rest)?;
        (Call::OpenAi(call), *body, *call)
    };
    let path_model = model.map(Arc::from);
    Some(Endpoint { call, dialect: Dialect::OpenAi, body, path_model, route: route.into() })
}

const REALTIME: &str = "/realtime";
