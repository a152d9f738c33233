//! Where a credential sits in a request, which one counts when there are several, and how all of them are taken out
//! again before the request leaves.
//!
//! Order decides between values that could be ours. A value whose shape cannot be (another vendor's token, a placeholder
//! word, nothing at all) does not shadow a later one that can, because real clients send two. The same list of slots
//! is read here and stripped on the way out, so that no header can be accepted as a credential and then be forwarded.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::denial::Denial;
use crate::endpoint::{Dialect, dialect_of};
use crate::head::{Lengths, RequestHead};

mod scheme;

pub use scheme::SchemeWord;
use scheme::{behind_dpop, behind_scheme};

/// A credential as presented: unverified, and borrowed from the request.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    /// The text behind any scheme word.
    pub text: &'a str,
    /// Where it was found; safe to log.
    pub slot: &'a str,
    /// How it was presented.
    pub scheme: SchemeWord,
}

/// Which shapes this configuration can verify at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shapes {
    /// Three dotted parts are a token of a configured issuer.
    pub jwt: bool,
    /// Any text may be ours: a custom authenticator is configured, somebody who is asked about opaque tokens, or a master key
    /// that does not start with `sk-`.
    pub opaque: bool,
}

/// What stands in a slot, without the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSeen<'a> {
    /// The header, `?key`, or the sub-protocol.
    pub slot: &'a str,
    /// `virtual_key`, `jwt`, `opaque`, `foreign` or `malformed`.
    pub shape: &'static str,
    /// Whether this configuration has anything that could verify such a value.
    pub could_be_ours: bool,
}

/// The places in which a credential is looked for, in order.
#[derive(Clone, Debug, Default)]
pub struct CredentialSlots {
    /// LiteLLM's `litellm_key_header_name`: when this header is present it alone decides.
    pub replacing: Option<HeaderName>,
    /// Further headers, after the known ones.
    pub additional: Vec<HeaderName>,
    /// The header in which a trusted proxy passes on the client's certificate: never a credential, never forwarded.
    pub certificate: Option<HeaderName>,
    /// What can be verified.
    pub shapes: Shapes,
}

/// How the text behind a header name is read (LiteLLM's rules, contract of 1.109.1).
#[derive(Clone, Copy)]
enum Scheme {
    /// `Bearer K`, `bearer K`, `Basic K` or an AWS signature's `Credential=K/`, and `DPoP K` in `authorization`; anything
    /// else is malformed.
    Required,
    /// As above, or the bare value.
    Optional,
    /// The bare value.
    None,
    /// Not at all: it holds a credential of some kind, which is none for us and is never forwarded.
    Unread,
}

/// Which credentials of the caller's own, sent in the head beside the one that counts here, go on to the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnCredential {
    /// None.
    #[default]
    Never,
    /// Tokens of a person, such as those of a Claude subscription.
    Tokens,
    /// These, and a provider's API keys.
    TokensAndKeys,
}

/// The names of the known headers, in the order in which they count.
const NAMES: [&str; 9] = [
    "x-litellm-api-key",
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "litellm-changed-by",
    "dpop",
];

static KNOWN: [(HeaderName, Scheme); NAMES.len()] = [
    (HeaderName::from_static(NAMES[0]), Scheme::Optional),
    (HeaderName::from_static(NAMES[1]), Scheme::Required),
    (HeaderName::from_static(NAMES[2]), Scheme::None),
    (HeaderName::from_static(NAMES[3]), Scheme::None),
    (HeaderName::from_static(NAMES[4]), Scheme::None),
    (HeaderName::from_static(NAMES[5]), Scheme::None),
    (HeaderName::from_static(NAMES[6]), Scheme::Unread),
    (HeaderName::from_static(NAMES[7]), Scheme::Unread),
    (HeaderName::from_static(NAMES[8]), Scheme::Unread),
];

/// The slots in which providers take credentials, by their place in [`KNOWN`].
const PROVIDER_SLOTS: [usize; 4] = [1, 2, 3, 4];

const LENGTHS: Lengths = Lengths::of(&NAMES);

/// Never forwarded either. Several lines of it are ordinary in HTTP/2 (RFC 9113, section 8.2.3).
const COOKIE: HeaderName = http::header::COOKIE;

/// Longest credential that is looked at, in bytes; a JWT may be longer.
pub const MAX_CREDENTIAL: usize = 4 * 1024;
/// Longest JWT that is looked at, in bytes.
pub const MAX_JWT: usize = 16 * 1024;

/// Why a value that needs a scheme word is malformed.
pub(crate) const NO_SCHEME: &str = "no scheme, or nothing behind it";

/// The WebSocket sub-protocol in which browsers carry a key, since they cannot set headers (OpenAI's convention).
const PROTOCOL_KEY: &str = "openai-insecure-api-key.";

impl CredentialSlots {
    /// The credential that counts for this request.
    ///
    /// # Errors
    /// [`Denial::MissingCredential`], [`Denial::MalformedCredential`], or [`Denial::ConflictingCredentials`] when one
    /// header comes twice with different values.
    pub fn extract<'a>(&'a self, head: &RequestHead<'a>) -> Result<Credential<'a>, Denial> {
        let known = self.known(head.headers)?;
        if let Some(name) = &self.replacing
            && let Some(value) = head.headers.get(name)
        {
            return read(value, name, Scheme::Required)
                .unwrap_or(Err(Denial::MalformedCredential("empty configured header")));
        }
        let mut second_best: Option<Result<Credential<'a>, Denial>> = None;
        for (_, found) in self.candidates(head, known) {
            match found {
                Ok(credential) if self.could_be_ours(credential.text) => return bounded(credential),
                Ok(_) if matches!(second_best, Some(Ok(_))) => {}
                Err(_) if second_best.is_some() => {}
                other => second_best = Some(other),
            }
        }
        second_best.unwrap_or(Err(Denial::MissingCredential)).and_then(bounded)
    }

    /// What stands in each slot that holds something, in order; for explanations. Where [`Self::replacing`] is present, that
    /// slot alone.
    ///
    /// # Errors
    /// [`Denial::ConflictingCredentials`].
    pub fn survey<'a>(&'a self, head: &RequestHead<'a>) -> Result<Vec<SlotSeen<'a>>, Denial> {
        let known = self.known(head.headers)?;
        let seen = |(slot, found): (&'a str, Result<Credential<'a>, Denial>)| match found {
            Ok(credential) => SlotSeen {
                slot,
                shape: shape(credential.text).name(),
                could_be_ours: self.could_be_ours(credential.text),
            },
            Err(_) => SlotSeen { slot, shape: "malformed", could_be_ours: false },
        };
        if let Some(name) = &self.replacing
            && let Some(value) = head.headers.get(name)
        {
            let only = read(value, name, Scheme::Required).map(|found| seen((name.as_str(), found)));
            return Ok(only.into_iter().collect());
        }
        Ok(self.candidates(head, known).map(seen).collect())
    }

    /// Every header that may hold a credential or say who the client is: none of them is forwarded.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let known = KNOWN.iter().map(|(name, _)| name);
        let unread = self.certificate.iter().chain(std::iter::once(&COOKIE));
        self.replacing.iter().chain(known).chain(&self.additional).chain(unread)
    }

    /// The credential that the caller sent for a provider beside the one that counts here, as the provider is to get it.
    ///
    /// It is told by its prefix, so that nothing that could be ours is ever taken for one, and it stands in another slot
    /// than what counts here (LiteLLM: contract 01, section 6).
    #[must_use]
    pub fn own_credential(
        &self,
        head: &RequestHead<'_>,
        prefixes: &[&str],
        takes: OwnCredential,
    ) -> Option<(HeaderName, HeaderValue)> {
        let counts = self.extract(head).ok()?;
        let known = self.known(head.headers).ok()?;
        let theirs = |(name, scheme): &'static (HeaderName, Scheme), value| {
            let credential = read(value?, name, *scheme)?.ok()?;
            let text = credential.text;
            let tells = prefixes.iter().any(|prefix| text.starts_with(prefix)) && shape(text) == Shape::Foreign;
            let allowed = is_token(text) || takes == OwnCredential::TokensAndKeys;
            let apart = text != counts.text && credential.slot != counts.slot;
            (tells && allowed && apart).then_some((name.clone(), text))
        };
        let (name, text) = PROVIDER_SLOTS.into_iter().find_map(|at| theirs(&KNOWN[at], known[at]))?;
        let text = if name == AUTHORIZATION { format!("Bearer {text}") } else { text.to_owned() };
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }

    /// The values of the known headers. Refuses a header of any slot that comes twice with different values.
    ///
    /// One pass over the fields: looking each of the names up in turn is most of what an extraction costs.
    fn known<'a>(&self, headers: &'a HeaderMap) -> Result<[Option<&'a HeaderValue>; NAMES.len()], Denial> {
        let mut values = [None; NAMES.len()];
        for (name, value) in headers {
            if LENGTHS.may_hold(name.as_str())
                && let Some(at) = KNOWN.iter().position(|(known, _)| known == name)
                && *values[at].get_or_insert(value) != value
            {
                return Err(Denial::ConflictingCredentials);
            }
        }
        let mut others = self.replacing.iter().chain(&self.additional);
        others.try_for_each(|name| refuse_conflict(headers, name))?;
        Ok(values)
    }

    fn candidates<'a>(
        &'a self,
        head: &RequestHead<'a>,
        known: [Option<&'a HeaderValue>; NAMES.len()],
    ) -> impl Iterator<Item = (&'a str, Result<Credential<'a>, Denial>)> {
        let (headers, path, query) = (head.headers, head.path.as_str(), head.query);
        let known = KNOWN.iter().zip(known);
        let known = known.filter_map(|((name, scheme), value)| Some((name.as_str(), read(value?, name, *scheme)?)));
        let additional = self.additional.iter();
        let additional =
            additional.filter_map(|name| Some((name.as_str(), read(headers.get(name)?, name, Scheme::Optional)?)));
        let google = query.filter(move |_| dialect_of(path, headers) == Dialect::Gemini).and_then(key_of_query);
        let google = google.map(|found| (QUERY_KEY, found));
        let browser = std::iter::once_with(|| key_of_protocols(headers)).flatten();
        let browser = browser.map(|credential| (credential.slot, Ok(credential)));
        known.chain(additional).chain(google).chain(browser)
    }

    /// Whether this configuration has anything that could verify a value of this shape.
    fn could_be_ours(&self, text: &str) -> bool {
        match shape(text) {
            Shape::Foreign => false,
            Shape::VirtualKey => true,
            Shape::Jwt => self.shapes.jwt || self.shapes.opaque,
            Shape::Opaque => self.shapes.opaque,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    VirtualKey,
    Jwt,
    Opaque,
    Foreign,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::VirtualKey => "virtual_key",
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
            Self::Foreign => "foreign",
        }
    }
}

/// Other vendors' credentials by prefix and least length. Only a tie-breaker: such a value still counts when it is the
/// only one in the request.
const FOREIGN: &[(&str, usize)] = &[
    ("sk-ant-oat", 0),
    ("sk-ant-api", 40),
    ("sk-ant-admin", 40),
    ("sk-proj-", 80),
    ("sk-svcacct-", 80),
    ("sk-or-v1-", 60),
    ("ya29.", 0),
    ("AIza", 30),
    ("auth_tokens/", 0),
];

/// What people type where an SDK insists on some key.
const PLACEHOLDERS: &[&str] = &[
    "anything",
    "dummy",
    "empty",
    "fake",
    "fake-key",
    "none",
    "not-needed",
    "not_needed",
    "no-key",
    "no-key-required",
    "null",
    "placeholder",
    "sk-dummy",
    "sk-fake",
    "sk-no-key-required",
    "sk-none",
    "sk-not-needed",
    "sk-placeholder",
    "test",
    "undefined",
    "unused",
    "your-api-key",
    "sk-your-api-key",
];

fn shape(text: &str) -> Shape {
    let foreign = |(prefix, least): &(&str, usize)| text.starts_with(prefix) && text.len() >= *least;
    if FOREIGN.iter().any(foreign) || PLACEHOLDERS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        Shape::Foreign
    } else if text.starts_with("sk-") {
        Shape::VirtualKey
    } else if text.starts_with("eyJ") && memchr::memchr_iter(b'.', text.as_bytes()).count() == 2 {
        Shape::Jwt
    } else {
        Shape::Opaque
    }
}

/// Whether this is, by its looks, a token that a vendor gave to a person for a time.
fn is_token(text: &str) -> bool {
    text.starts_with("sk-ant-oat") || text.starts_with("ya29.")
}

/// Whether this is, by its looks, an API key of a vendor or a placeholder. Google's `ya29.` is a token, about which its
/// userinfo may be asked.
pub(crate) fn is_api_key_of_others(text: &str) -> bool {
    shape(text) == Shape::Foreign && !text.starts_with("ya29.")
}

fn bounded(credential: Credential<'_>) -> Result<Credential<'_>, Denial> {
    let most = if shape(credential.text) == Shape::Jwt { MAX_JWT } else { MAX_CREDENTIAL };
    if credential.text.len() > most { Err(Denial::MalformedCredential("too long")) } else { Ok(credential) }
}

fn refuse_conflict(headers: &HeaderMap, name: &HeaderName) -> Result<(), Denial> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    let conflict = *name != COOKIE && values.any(|value| Some(value) != first);
    if conflict { Err(Denial::ConflictingCredentials) } else { Ok(()) }
}

/// `None`: the header is blank.
fn read<'a>(value: &'a HeaderValue, name: &'a HeaderName, scheme: Scheme) -> Option<Result<Credential<'a>, Denial>> {
    let value = value.as_bytes().trim_ascii();
    if value.is_empty() {
        return None;
    }
    let Ok(value) = std::str::from_utf8(value) else {
        return Some(Err(Denial::MalformedCredential("not UTF-8")));
    };
    let bare = (value, SchemeWord::None);
    let read = match scheme {
        Scheme::None => Some(bare),
        Scheme::Unread => return None,
        Scheme::Required if *name == AUTHORIZATION => behind_scheme(value).or_else(|| behind_dpop(value)),
        Scheme::Required => behind_scheme(value),
        Scheme::Optional => Some(behind_scheme(value).unwrap_or(bare)),
    };
    Some(match read.filter(|(text, _)| !text.is_empty()) {
        Some((text, scheme)) => Ok(Credential { text, slot: name.as_str(), scheme }),
        None => Err(Denial::MalformedCredential(NO_SCHEME)),
    })
}

const QUERY_KEY: &str = "?key";

/// `?key=`, which Google's REST samples and older SDKs use. Encoded characters cannot be part of a key of ours.
fn key_of_query(query: &str) -> Option<Result<Credential<'_>, Denial>> {
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("key="));
    let text = values.next()?;
    if values.any(|other| other != text) {
        return Some(Err(Denial::ConflictingCredentials));
    }
    (!text.is_empty()).then_some(Ok(Credential { text, slot: QUERY_KEY, scheme: SchemeWord::None }))
}

fn key_of_protocols(headers: &HeaderMap) -> Option<Credential<'_>> {
    let lines = headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    let mut protocols = lines.flat_map(|line| line.split(','));
    let text = protocols.find_map(|protocol| protocol.trim().strip_prefix(PROTOCOL_KEY))?;
    (!text.is_empty()).then_some(Credential { text, slot: "sec-websocket-protocol", scheme: SchemeWord::None })
}

/// The query without the parameters that may hold a credential; `None` when nothing is left.
#[must_use]
pub fn strip_query(query: &str) -> Option<String> {
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !names_credential(pair)).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

fn names_credential(pair: &str) -> bool {
    matches!(&*parameter_name(pair), "key" | "api_key" | "api-key" | "access_token")
}

/// The name of a query parameter as an upstream may read it: decoded (`%6bey`) and without regard to case.
pub(crate) fn parameter_name(pair: &str) -> String {
    let name = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.to_ascii_lowercase());
    name.unwrap_or_default()
}

/// The offered sub-protocols as one list, without the entry that holds the key; `None` when nothing is left.
#[must_use]
pub fn strip_protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    let protocols = lines.flat_map(|line| line.split(',')).map(str::trim);
    let kept: Vec<&str> = protocols.filter(|name| !name.is_empty() && !holds_key(name)).collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join(", ")).ok() }
}

/// Stripping is wider than reading: a key in a spelling that is not accepted here is still a key.
fn holds_key(protocol: &str) -> bool {
    protocol.get(..PROTOCOL_KEY.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PROTOCOL_KEY))
}

#[cfg(test)]
mod tests;
