//! The issuers whose tokens count: our own list, LiteLLM's list, and the one that LiteLLM's variables describe.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use portcullis_filters::authn::jwt::algorithm::Algorithm;
use portcullis_filters::authn::jwt::claims::ClaimPath;
use portcullis_filters::authn::jwt::identity::ClaimRules;

use super::claims;
use super::keys::{self, KeySettings, Times};
use crate::config::field::Field;
use crate::config::known::Known;
use crate::config::litellm;
use crate::config::reader::{Reader, Section};

/// One issuer, with the meaning that its fields have in `portcullis_filters::authn::jwt::issuer::Issuer`.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerSettings {
    /// What `iss` must be; `None` for LiteLLM's variables without `JWT_ISSUER`.
    pub name: Option<String>,
    /// Of these `aud` must name one; empty for any.
    pub audiences: Vec<String>,
    /// The algorithms that count; never empty, and never HMAC beside others.
    pub algorithms: Vec<Algorithm>,
    /// How far the clocks may differ; to 5 min.
    pub leeway: Duration,
    /// The age since `iat` from which a token is refused.
    pub max_age: Option<Duration>,
    /// Claims that must be there.
    pub required: Vec<ClaimPath>,
    /// The types (`typ`) that count; empty for any.
    pub types: Vec<String>,
    /// Its keys.
    pub keys: KeySettings,
    /// How its claims become a principal.
    pub claims: ClaimRules,
}

/// What all issuers of a configuration have in common.
pub(super) struct Common<'r> {
    pub(super) reader: &'r Reader<'r>,
    /// Where the configuration stands.
    pub(super) directory: &'r Path,
    /// The claims of `litellm_jwtauth`, which an issuer may override.
    pub(super) rules: ClaimRules,
    pub(super) times: Times,
}

/// LiteLLM's variable with the addresses of the one key set.
pub(super) const URL: &str = "JWT_PUBLIC_KEY_URL";
const ISSUER: &str = "JWT_ISSUER";
const AUDIENCE: &str = "JWT_AUDIENCE";
/// LiteLLM has none; clocks of two machines differ all the same.
const LEEWAY: Duration = Duration::from_secs(30);

/// The issuers of our own list and of LiteLLM's.
pub(super) fn listed<'r>(
    common: &Common<'_>,
    ours: Option<&Field<'r>>,
    theirs: Option<&Field<'r>>,
) -> Vec<IssuerSettings> {
    let ours = ours.map(Field::list).unwrap_or_default();
    let ours = ours.iter().map(|entry| entry.section(&Known::NOTHING_ELSE));
    let ours = ours.map(|section| (own(common, &section), section));
    let theirs = theirs.map(Field::list).unwrap_or_default();
    let theirs = theirs.iter().map(|entry| entry.section(&litellm::JWT_ISSUER));
    let theirs = theirs.map(|section| (litellm_issuer(common, &section), section));
    let mut issuers = Vec::new();
    let mut names = HashSet::new();
    for (issuer, section) in ours.chain(theirs) {
        let Some(issuer) = issuer else { continue };
        if !names.insert(issuer.name.clone()) {
            section.mistake("issuer", "given twice: an issuer has one entry");
        }
        issuers.push(issuer);
    }
    issuers
}

/// One entry of `portcullis.jwt.issuers`.
fn own(common: &Common<'_>, section: &Section<'_>) -> Option<IssuerSettings> {
    let name = name(section);
    let audiences = audiences(section);
    let leeway = section.time("leeway", 0..=300, LEEWAY);
    let max_age = section.field("max_age").and_then(|field| field.time(1..=31_536_000));
    let required = section.field("required_claims").and_then(|field| claim_paths(&field));
    let types = section.field("token_types").and_then(|field| field.texts());
    let claims = claims::of_entry(section, &common.rules);
    let (keys, algorithms) = keys::read(common, section, name.as_deref())?;
    Some(IssuerSettings {
        name: Some(name?),
        audiences,
        algorithms,
        leeway,
        max_age,
        required: required.unwrap_or_default(),
        types: types.unwrap_or_default(),
        keys,
        claims,
    })
}

/// One entry of `litellm_jwtauth.issuers`.
fn litellm_issuer(common: &Common<'_>, section: &Section<'_>) -> Option<IssuerSettings> {
    let name = name(section);
    let audiences = audiences(section);
    let claims = claims::read_identity(section, common.rules.clone());
    claims::ask_for_address(&claims, section);
    let url = section.field("jwks_url").map(|field| keys::key_set_url(common.reader, &field));
    let name = name?;
    let keys = match url {
        Some(url) => common.times.of(vec![url?], Some(&name)),
        None => keys::at_issuer(common, section, &name)?,
    };
    Some(plain(Some(name), audiences, keys, claims))
}

/// The issuer of LiteLLM's variables. Beside issuers that are listed it counts only under a name of its own: one without
/// a name would take the tokens of all others too (contract 03, J4).
pub(super) fn from_variables(common: &Common<'_>, listed: &[IssuerSettings]) -> Option<IssuerSettings> {
    let reader = common.reader;
    let text = reader.environment.variable(URL)?;
    let name = reader.environment.variable(ISSUER);
    let audience = reader.environment.variable(AUDIENCE);
    if name.is_none() && !listed.is_empty() {
        reader.warn(format!(
            "{URL} is not used: issuers are listed, and tokens of others are refused; set {ISSUER} to make it one more"
        ));
        return None;
    }
    if name.is_some() && listed.iter().any(|issuer| issuer.name == name) {
        reader.notice(format!("{URL} is not used: the issuer of {ISSUER} is listed"));
        return None;
    }
    let addresses = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let urls: Result<Vec<_>, _> = addresses.map(keys::address).collect();
    let urls = match urls {
        Ok(urls) if !urls.is_empty() => urls,
        Ok(_) => {
            reader.mistake(URL, None, "names no address");
            return None;
        }
        Err(why) => {
            reader.mistake(URL, None, why);
            return None;
        }
    };
    urls.iter().for_each(|url| keys::warn_of_plain_text(reader, URL, url));
    match (&name, &audience) {
        (None, None) => reader.warn(format!(
            "{ISSUER} and {AUDIENCE} are not set: every token that a key of {URL} signed is let in, whoever it was made for"
        )),
        (Some(_), None) => reader.warn(format!("{AUDIENCE} is not set: {FOR_OTHERS}")),
        (_, Some(_)) => {}
    }
    let keys = common.times.of(urls, name.as_deref());
    Some(plain(name, audience.into_iter().collect(), keys, common.rules.clone()))
}

const FOR_OTHERS: &str = "tokens that this issuer made for other applications are let in too";

/// An issuer of LiteLLM's, which has no settings for the rest.
fn plain(name: Option<String>, audiences: Vec<String>, keys: KeySettings, claims: ClaimRules) -> IssuerSettings {
    IssuerSettings {
        name,
        audiences,
        algorithms: Algorithm::ASYMMETRIC.to_vec(),
        leeway: LEEWAY,
        max_age: None,
        required: Vec::new(),
        types: Vec::new(),
        keys,
        claims,
    }
}

/// `issuer`: compared with `iss` byte by byte.
fn name(section: &Section<'_>) -> Option<String> {
    section.required("issuer").and_then(|field| field.some_parsed(issuer_name))
}

pub(super) fn issuer_name(text: &str) -> Result<String, &'static str> {
    if text.len() > keys::MAX_NAME {
        return Err("longer than 2048 bytes");
    }
    let clean = text.trim() == text && !text.contains(char::is_control);
    clean.then(|| text.to_owned()).ok_or("begins or ends with white space or holds a control character")
}

/// `audiences` or `audience`, or a word that any will do. Silence is no word.
fn audiences(section: &Section<'_>) -> Vec<String> {
    let given = audiences_if_given(section);
    let any = section.flag("disable_audience_validation", false);
    match (&given, any) {
        (Some(_), false) => {}
        (None, true) => {
            section.reader.warn(format!("{}: {FOR_OTHERS}", section.path_of("disable_audience_validation")));
        }
        (Some(_), true) => section.mistake("disable_audience_validation", "contradicts the audience that is given"),
        (None, false) => {
            let text = "is missing: for whom are the tokens? Only disable_audience_validation: true lets any in";
            section.mistake("audience", text);
        }
    }
    given.unwrap_or_default()
}

pub(super) fn audiences_if_given(section: &Section<'_>) -> Option<Vec<String>> {
    let (one, several) = (section.field("audience"), section.field("audiences"));
    if let (Some(one), Some(_)) = (&one, &several) {
        one.mistake("beside audiences: keep one of the two");
    }
    one.or(several).map(|field| field.texts().unwrap_or_default())
}

fn claim_paths(field: &Field<'_>) -> Option<Vec<ClaimPath>> {
    field.some_items()?.iter().map(|item| item.some_parsed(str::parse)).collect()
}
