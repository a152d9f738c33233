//! The keys of one issuer: an address from which they are fetched, or the keys themselves.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_filters::authn::jwt::algorithm::{Algorithm, KeyKind};
use portcullis_filters::authn::jwt::keys::{KeySet, NotAKeySet};
use url::Url;

use super::issuers::Common;
use crate::config::field::Field;
use crate::config::models;
use crate::config::reader::{Reader, Section};

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySettings {
    /// Fetched, and fetched again.
    Fetched(KeySetSettings),
    /// Given by the configuration; they change with it only.
    Fixed(Arc<KeySet>),
}

/// A key set that is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeySetSettings {
    /// All of them together are the set: LiteLLM's comma-separated list. One whose path ends in
    /// `.well-known/openid-configuration` names a discovery document that says where the keys are.
    pub urls: Vec<Url>,
    /// What a discovery document must give as its issuer (OpenID Connect Discovery 1.0, section 4.3).
    pub issuer: Option<String>,
    /// How long a set counts before it is fetched again.
    pub ttl: Duration,
    /// For how much longer it counts while it cannot be fetched; zero never.
    pub max_stale: Duration,
    /// Between two fetches that tokens with an unknown key cause.
    pub cooldown: Duration,
}

/// Bytes of an address, or of an issuer's name, which mostly is one.
pub(super) const MAX_NAME: usize = 2048;

/// Where a path ends so, there is a discovery document.
const DISCOVERY: &str = ".well-known/openid-configuration";

/// The times of all key sets that are fetched.
pub(super) struct Times {
    ttl: Option<Duration>,
    max_stale: Option<Duration>,
    cooldown: Duration,
}

impl Times {
    /// Those of `portcullis.jwt`.
    pub(super) fn read(section: &Section<'_>) -> Self {
        Self {
            ttl: section.field("key_set_ttl").and_then(|field| field.time(1..=86_400)),
            max_stale: section.field("max_stale").and_then(|field| field.time(0..=86_400)),
            cooldown: section.time("refresh_cooldown", 1..=3_600, Duration::from_secs(10)),
        }
    }

    /// Those of LiteLLM's block, where ours say nothing.
    pub(super) fn or(self, block: &Section<'_>) -> Self {
        let ttl = block.field("public_key_ttl").and_then(|field| field.time(1..=86_400));
        let max_stale = block.field("public_key_stale_ttl").and_then(|field| field.time(0..=86_400));
        Self { ttl: self.ttl.or(ttl), max_stale: self.max_stale.or(max_stale), ..self }
    }

    pub(super) fn of(&self, urls: Vec<Url>, issuer: Option<&str>) -> KeySettings {
        KeySettings::Fetched(KeySetSettings {
            urls,
            issuer: issuer.map(str::to_owned),
            ttl: self.ttl.unwrap_or(Duration::from_secs(600)),
            max_stale: self.max_stale.unwrap_or(Duration::from_secs(3_600)),
            cooldown: self.cooldown,
        })
    }
}

/// Every way to give keys; an issuer has one.
const SOURCES: [&str; 7] = ["key_set_url", "discovery_url", "key_set", "key_set_file", "pem", "pem_file", "secret"];

/// Reads the keys of one of our own issuers, and the algorithms that go with them.
pub(super) fn read(
    common: &Common<'_>,
    section: &Section<'_>,
    issuer: Option<&str>,
) -> Option<(KeySettings, Vec<Algorithm>)> {
    let named = algorithms(section);
    let given = SOURCES.into_iter().filter_map(|key| Some((key, section.field_even_empty(key)?)));
    let given: Vec<_> = given.collect();
    let (key, field) = match given.as_slice() {
        [] => {
            let algorithms = asymmetric(section, named);
            return Some((at_issuer(common, section, issuer?)?, algorithms));
        }
        [(key, field)] => (*key, field),
        [(first, _), (key, field), ..] => {
            field.mistake(format!("a second source of keys: keep {first} or {key}"));
            return None;
        }
    };
    if key == "secret" {
        return secret(section, field, named);
    }
    let keys = given_keys(common, key, field, issuer);
    let algorithms = asymmetric(section, named);
    let keys = keys?;
    if let KeySettings::Fixed(set) = &keys
        && !algorithms.iter().any(|algorithm| set.has(None, *algorithm))
    {
        section.mistake("algorithms", "none of these goes with the keys that are given");
    }
    Some((keys, algorithms))
}

fn given_keys(common: &Common<'_>, key: &str, field: &Field<'_>, issuer: Option<&str>) -> Option<KeySettings> {
    let set = match key {
        "key_set_url" => {
            let urls =
                field.some_items()?.iter().map(|item| key_set_url(common.reader, item)).collect::<Option<_>>()?;
            return Some(common.times.of(urls, issuer));
        }
        "discovery_url" => return Some(common.times.of(vec![discovery_url(common.reader, field)?], issuer)),
        "key_set" if field.is_scalar() => key_set(field, &field.some_text()?),
        "key_set" => key_set(field, &field.json().to_string()),
        "key_set_file" => key_set(field, &read_file(common.directory, field)?),
        "pem" => KeySet::from_pem(&field.some_text()?),
        _ => KeySet::from_pem(&read_file(common.directory, field)?),
    };
    fixed(field, set)
}

/// The discovery document that every OpenID provider has (OpenID Connect Discovery 1.0, section 4).
pub(super) fn at_issuer(common: &Common<'_>, section: &Section<'_>, issuer: &str) -> Option<KeySettings> {
    match address(&format!("{}/{DISCOVERY}", issuer.trim_end_matches('/'))) {
        Ok(url) => {
            warn_of_plain_text(common.reader, &section.path_of("issuer"), &url);
            Some(common.times.of(vec![url], Some(issuer)))
        }
        Err(_) => {
            section.mistake("issuer", "is no address at which keys could be found: say where they are");
            None
        }
    }
}

/// The address of a key set or of a discovery document.
pub(super) fn key_set_url(reader: &Reader<'_>, field: &Field<'_>) -> Option<Url> {
    let url = field.some_parsed(address)?;
    warn_of_plain_text(reader, &field.path, &url);
    Some(url)
}

fn discovery_url(reader: &Reader<'_>, field: &Field<'_>) -> Option<Url> {
    let url = key_set_url(reader, field)?;
    if !url.path().ends_with(DISCOVERY) {
        field.mistake("expected an address that ends in /.well-known/openid-configuration");
        return None;
    }
    Some(url)
}

/// An address that is asked about keys or tokens.
pub(super) fn address(text: &str) -> Result<Url, &'static str> {
    if text.len() > MAX_NAME {
        return Err("longer than 2048 bytes");
    }
    let url = Url::parse(text).map_err(|_| "expected an address such as https://idp.example.com/keys")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("expected an address that begins with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password");
    }
    if url.fragment().is_some() {
        return Err("holds a fragment");
    }
    Ok(url)
}

pub(super) fn warn_of_plain_text(reader: &Reader<'_>, path: &str, url: &Url) {
    if models::is_plain_and_public(url) {
        reader.warn(format!(
            "{path}: plain http to a public host; whoever sits on the way can put in own keys, and so sign any token"
        ));
    }
}

fn key_set(field: &Field<'_>, text: &str) -> Result<KeySet, NotAKeySet> {
    let (set, left_out) = KeySet::parse(text.as_bytes())?;
    for key in left_out {
        let shown: String = key.chars().take(200).flat_map(char::escape_default).collect();
        field.reader.warn(format!("{}: a key is left out: {shown}", field.path));
    }
    Ok(set)
}

fn fixed(field: &Field<'_>, set: Result<KeySet, NotAKeySet>) -> Option<KeySettings> {
    match set {
        Ok(set) => Some(KeySettings::Fixed(Arc::new(set))),
        Err(error) => {
            field.mistake(error.to_string());
            None
        }
    }
}

/// A secret signs with HMAC and nothing else (RFC 7518, section 3.2, asks for one as long as the digest).
fn secret(
    section: &Section<'_>,
    field: &Field<'_>,
    named: Option<Vec<Algorithm>>,
) -> Option<(KeySettings, Vec<Algorithm>)> {
    let secret = field.secret()?;
    let algorithms = named.unwrap_or_else(|| vec![Algorithm::Hs256]);
    if algorithms.iter().any(|algorithm| algorithm.key_kind() != KeyKind::Secret) {
        section.mistake("algorithms", "with secret only HS256, HS384 and HS512 count");
        return None;
    }
    if secret.expose().trim_start().starts_with("-----BEGIN") {
        field.mistake("is a key in PEM and no secret: whoever has the public key could sign; give it as pem");
        return None;
    }
    let least = algorithms.iter().map(|algorithm| digest_bytes(*algorithm)).max().unwrap_or_default();
    if secret.expose().len() < least {
        field.mistake(format!("shorter than {least} bytes, the least for these algorithms"));
        return None;
    }
    Some((fixed(field, KeySet::from_secret(&secret))?, algorithms))
}

fn digest_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs384 => 48,
        Algorithm::Hs512 => 64,
        _ => 32,
    }
}

/// The algorithms of an issuer with public keys. Whoever could choose HMAC there would sign with what everybody knows.
fn asymmetric(section: &Section<'_>, named: Option<Vec<Algorithm>>) -> Vec<Algorithm> {
    let algorithms = named.unwrap_or_else(|| Algorithm::ASYMMETRIC.to_vec());
    if algorithms.iter().any(|algorithm| algorithm.key_kind() == KeyKind::Secret) {
        section.mistake("algorithms", "HS256, HS384 and HS512 need a secret: a public key is none");
    }
    algorithms
}

/// `algorithms`, in the order of the standard.
fn algorithms(section: &Section<'_>) -> Option<Vec<Algorithm>> {
    let items = section.field("algorithms")?.some_items()?;
    let mut algorithms: Vec<Algorithm> =
        items.iter().map(|item| item.some_parsed(str::parse)).collect::<Option<_>>()?;
    algorithms.sort_unstable();
    algorithms.dedup();
    Some(algorithms)
}

/// No file of keys is larger.
const MAX_FILE: u64 = 1024 * 1024;

/// The content of the file that a value names, relative to the configuration.
fn read_file(directory: &Path, field: &Field<'_>) -> Option<String> {
    let path = directory.join(field.some_text()?);
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match read {
        Ok(read) if read as u64 > MAX_FILE => field.mistake(format!("the file is larger than {MAX_FILE} bytes")),
        Ok(_) => return Some(text),
        Err(error) => field.mistake(format!("the file cannot be read: {error}")),
    }
    None
}
