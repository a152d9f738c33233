//! Who is asked about a token that says nothing itself: introspection (RFC 7662) and OpenID Connect's userinfo.
//!
//! An answer is remembered for a short time only: until then a token that its server took back goes on working
//! (contract 03, J10).

use std::time::Duration;

use portcullis_filters::authn::jwt::claims::ClaimPath;
use portcullis_filters::authn::jwt::identity::ClaimRules;
use portcullis_filters::policy::Policy;
use portcullis_filters::principal::Role;
use portcullis_filters::secret::Secret;
use url::Url;

use super::issuers::{self, Common};
use super::{Switch, claims, keys};
use crate::config::field::Field;
use crate::config::known::Known;
use crate::config::models;
use crate::config::reader::{Reader, Section};

/// A server that says whose a token is.
#[derive(Clone, Debug, PartialEq)]
pub struct OpaqueSettings {
    /// Where it is asked.
    pub url: Url,
    /// How it is asked.
    pub kind: OpaqueKind,
    /// What `iss` of an answer must be, where the answer has one.
    pub issuer: Option<String>,
    /// Of these `aud` of an answer must name one; empty for any.
    pub audiences: Vec<String>,
    /// How long an answer is remembered, if the token does not expire before; to 5 min.
    pub cache_ttl: Duration,
    /// How the answer becomes a principal.
    pub claims: ClaimRules,
}

/// How a server is asked about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpaqueKind {
    /// POST with the token in the form (RFC 7662, section 2.1).
    Introspection {
        /// The id of the client as which it is asked (RFC 6749, section 2.3.1).
        client_id: String,
        /// The secret that belongs to it.
        client_secret: Secret,
    },
    /// GET with the token as the bearer (OpenID Connect Core 1.0, section 5.3.1). Answers for any token that is good.
    Userinfo,
}

const USUAL_TTL: Duration = Duration::from_secs(60);
const LONGEST_TTL: Duration = Duration::from_secs(300);

/// Those of `portcullis.jwt.introspection`.
pub(super) fn listed(common: &Common<'_>, switch: &Switch<'_>) -> Vec<OpaqueSettings> {
    let entries = switch.introspection.as_ref().map(Field::list).unwrap_or_default();
    entries.iter().filter_map(|entry| own(common, &entry.section(&Known::NOTHING_ELSE))).collect()
}

fn own(common: &Common<'_>, section: &Section<'_>) -> Option<OpaqueSettings> {
    let field = section.required("url");
    let url = field.as_ref().and_then(|field| address(common.reader, field));
    let kinds = [("introspection", false), ("userinfo", true)];
    let userinfo = section.field("kind").and_then(|field| field.choice(&kinds)).unwrap_or(false);
    let id = section.field_even_empty("client_id");
    let secret = section.field_even_empty("client_secret");
    let issuer = section.field("issuer").and_then(|field| field.some_parsed(issuers::issuer_name));
    let audiences = issuers::audiences_if_given(section).unwrap_or_default();
    let cache_ttl = section.time("cache_ttl", 0..=LONGEST_TTL.as_secs(), USUAL_TTL);
    let claims = claims::of_entry(section, &common.rules);
    let kind = match (userinfo, id, secret) {
        (false, Some(id), Some(secret)) => {
            let (id, secret) = (id.some_text(), secret.secret());
            OpaqueKind::Introspection { client_id: id?, client_secret: secret? }
        }
        (false, id, _) => {
            // RFC 7662, section 2.1: whoever may ask without a word could try tokens until one is good.
            let missing = if id.is_none() { "client_id" } else { "client_secret" };
            section.mistake(missing, "is missing: introspection needs it");
            return None;
        }
        (true, None, None) => OpaqueKind::Userinfo,
        (true, id, _) => {
            let unused = if id.is_some() { "client_id" } else { "client_secret" };
            section.mistake(unused, "is not used with userinfo, which the token itself opens");
            return None;
        }
    };
    if userinfo && !audiences.is_empty() {
        section.mistake("kind", "userinfo does not say for whom a token is: no audience can be asked for");
    }
    if audiences.is_empty() {
        warn_of_strangers(common.reader, &section.path_of("url"));
    }
    Some(OpaqueSettings { url: url?, kind, issuer, audiences, cache_ttl, claims })
}

/// LiteLLM's `oidc_userinfo_endpoint`.
pub(super) fn userinfo(common: &Common<'_>, block: &Section<'_>) -> Option<OpaqueSettings> {
    let enabled = block.flag("oidc_userinfo_enabled", false);
    let endpoint = block.field("oidc_userinfo_endpoint");
    let ttl = block.field("oidc_userinfo_cache_ttl").and_then(|field| field.time(0..=86_400));
    if !enabled {
        return None;
    }
    let Some(endpoint) = endpoint else {
        block.mistake("oidc_userinfo_endpoint", "is missing: oidc_userinfo_enabled needs it");
        return None;
    };
    if ttl.is_some_and(|ttl| ttl > LONGEST_TTL) {
        common.reader.notice(format!(
            "{}: an answer is remembered for {} s at most; a token that was taken back would work for so long",
            block.path_of("oidc_userinfo_cache_ttl"),
            LONGEST_TTL.as_secs()
        ));
    }
    let url = address(common.reader, &endpoint)?;
    warn_of_strangers(common.reader, &endpoint.path);
    Some(OpaqueSettings {
        url,
        kind: OpaqueKind::Userinfo,
        issuer: None,
        audiences: Vec::new(),
        cache_ttl: ttl.unwrap_or(USUAL_TTL).min(LONGEST_TTL),
        claims: common.rules.clone(),
    })
}

const ENDPOINT: &str = "OAUTH_TOKEN_INFO_ENDPOINT";

/// LiteLLM's `enable_oauth2_auth`, which is all in variables.
pub(super) fn oauth2(reader: &Reader<'_>, general: &Section<'_>) -> Option<OpaqueSettings> {
    if !general.flag("enable_oauth2_auth", false) {
        return None;
    }
    let variable = |name: &str| reader.environment.variable(name);
    let Some(text) = variable(ENDPOINT) else {
        general.mistake("enable_oauth2_auth", format!("needs the variable {ENDPOINT}, which is not set"));
        return None;
    };
    let url = keys::address(&text).map_err(|why| reader.mistake(ENDPOINT, None, why)).ok()?;
    warn_of_plain_text(reader, ENDPOINT, &url);
    let credentials = (variable("OAUTH_CLIENT_ID"), variable("OAUTH_CLIENT_SECRET"));
    // LiteLLM tells the two by this word.
    let kind = match (text.to_ascii_lowercase().contains("introspect"), credentials) {
        (true, (Some(client_id), Some(secret))) => {
            OpaqueKind::Introspection { client_id, client_secret: secret.into() }
        }
        (true, _) => {
            reader.mistake(ENDPOINT, None, "introspection needs OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET");
            return None;
        }
        (false, credentials) => {
            if credentials != (None, None) {
                let why = "the address does not say introspect, so it is asked with the token itself";
                reader.notice(format!("OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET are not used: {why}"));
            }
            OpaqueKind::Userinfo
        }
    };
    warn_of_strangers(reader, ENDPOINT);
    Some(OpaqueSettings {
        url,
        kind,
        issuer: None,
        audiences: Vec::new(),
        cache_ttl: USUAL_TTL,
        claims: oauth2_claims(reader)?,
    })
}

/// The fields of the answer. Such a caller may call and list models, whatever its role: in LiteLLM too.
fn oauth2_claims(reader: &Reader<'_>) -> Option<ClaimRules> {
    let path = |name: &str, usual: &str| -> Option<ClaimPath> {
        let text = reader.environment.variable(name).unwrap_or_else(|| usual.to_owned());
        text.parse().map_err(|error| reader.mistake(name, None, format!("{error}"))).ok()
    };
    let user_id = path("OAUTH_USER_ID_FIELD_NAME", "sub");
    let role = path("OAUTH_USER_ROLE_FIELD_NAME", "role");
    let team = path("OAUTH_USER_TEAM_ID_FIELD_NAME", "team_id");
    let roles = [
        ("proxy_admin", Role::InternalUser),
        ("internal_user", Role::InternalUser),
        ("proxy_admin_viewer", Role::InternalUserViewer),
        ("internal_user_viewer", Role::InternalUserViewer),
        ("team", Role::Team),
    ];
    let roles = roles.map(|(name, role)| (name.to_owned(), role)).to_vec();
    Some(ClaimRules {
        user_id: Some(user_id?),
        // LiteLLM asks nobody whether it knows the user.
        enrol_users: true,
        roles: Some((role?, roles)),
        // Not `team_id`: that would refuse an answer without a team.
        team_ids: Some(team?),
        // No scope makes an admin here.
        admin_scope: String::new(),
        admin_routes: Policy::granting(None, Some(&["llm_api_routes".to_owned(), "info_routes".to_owned()])),
        ..ClaimRules::default()
    })
}

fn address(reader: &Reader<'_>, field: &Field<'_>) -> Option<Url> {
    let url = field.some_parsed(keys::address)?;
    warn_of_plain_text(reader, &field.path, &url);
    Some(url)
}

fn warn_of_plain_text(reader: &Reader<'_>, path: &str, url: &Url) {
    if models::is_plain_and_public(url) {
        reader.warn(format!("{path}: plain http to a public host; every token can be read on the way"));
    }
}

fn warn_of_strangers(reader: &Reader<'_>, path: &str) {
    reader.warn(format!(
        "{path}: no audience is asked for: every token that is good there is let in, whoever it was made for"
    ));
}
