//! What a client may present, and where: the master keys, and the headers beside the built-in ones.

use http::HeaderName;
use portcullis_filters::credential::CredentialSlots;
use portcullis_filters::secret::Secret;

use super::reader::{Reader, Section};

/// Headers that hold a credential, beside the six built-in ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSettings {
    /// Comes before every other slot when it is present; LiteLLM's `litellm_key_header_name`.
    pub key_header: Option<HeaderName>,
    /// Come after the built-in headers, in this order.
    pub additional_headers: Vec<HeaderName>,
    /// In which a proxy in front hands over the client's certificate (`Client-Cert` of RFC 9440). Counts from
    /// `trusted_proxy_ranges` only; is never forwarded.
    pub certificate_header: Option<HeaderName>,
}

/// Headers that the protocol needs or that carry something else: stripped as a credential they would be missed.
const TAKEN: [&str; 17] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dpop",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
];

pub(super) fn read(general: &Section<'_>, own: &Section<'_>) -> SlotSettings {
    let names = own.field("additional_key_headers").map(|field| field.items()).unwrap_or_default();
    SlotSettings {
        key_header: general.field("litellm_key_header_name").and_then(|field| field.parsed(header_name)),
        additional_headers: names.iter().filter_map(|name| name.parsed(header_name)).collect(),
        certificate_header: certificate_header(general, own),
    }
}

fn certificate_header(general: &Section<'_>, own: &Section<'_>) -> Option<HeaderName> {
    let field = own.field("client_certificate_header")?;
    if general.field("trusted_proxy_ranges").is_none_or(|field| field.items().is_empty()) {
        field.mistake(
            "counts only from general_settings.trusted_proxy_ranges, and none is given: anybody could send it",
        );
    }
    field.parsed(|text| {
        let name = header_name(text)?;
        let holds_credential = CredentialSlots::default().headers().any(|slot| *slot == name);
        if holds_credential { Err("this header holds a credential") } else { Ok(name) }
    })
}

fn header_name(text: &str) -> Result<HeaderName, &'static str> {
    let name: HeaderName = text.parse().map_err(|_| "not a header name")?;
    if TAKEN.contains(&name.as_str()) { Err("this header has a meaning of its own") } else { Ok(name) }
}

/// No credential is longer; a longer one would be refused unread.
const LONGEST: usize = 4096;
/// What brute force may take years for, were it random.
const SHORTEST_STRONG: usize = 16;

/// The master keys: the configured one, else `LITELLM_MASTER_KEY`; and those that make rotation possible.
pub(super) fn read_master_keys(reader: &Reader<'_>, general: &Section<'_>, own: &Section<'_>) -> Vec<Secret> {
    let mut keys = Vec::new();
    let mut add = |path: &str, key: Secret, mistake: &dyn Fn(&str)| {
        let text = key.expose();
        if text.len() > LONGEST {
            mistake("longer than 4096 bytes, the most that a header may hold");
        } else if text.trim() != text || text.chars().any(char::is_control) {
            mistake("begins or ends with white space or holds a control character: no header can carry it");
        } else if !keys.contains(&key) {
            if is_weak(text) {
                reader.warn(format!(
                    "{path}: this master key is weak, and whoever guesses it may do everything; \
                     make one with: echo sk-$(openssl rand -hex 32)"
                ));
            }
            keys.push(key);
        }
    };
    if let Some(field) = general.field_even_empty("master_key") {
        if let Some(key) = field.secret() {
            add(&field.path, key, &|text| field.mistake(text));
        }
    } else if let Some(key) = reader.environment.variable("LITELLM_MASTER_KEY") {
        add("LITELLM_MASTER_KEY", key.into(), &|text| reader.mistake("LITELLM_MASTER_KEY", None, text));
    }
    for field in own.field("master_keys").map(|field| field.items()).unwrap_or_default() {
        if let Some(key) = field.secret() {
            add(&field.path, key, &|text| field.mistake(text));
        }
    }
    keys
}

/// Short, one of the articles' examples, or of few different characters.
fn is_weak(key: &str) -> bool {
    let secret = key.strip_prefix("sk-").unwrap_or(key);
    let mut characters: Vec<char> = secret.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    key.len() < SHORTEST_STRONG || characters.len() < 6 || matches!(secret, "1234567890abcdef" | "your-master-key-here")
}
