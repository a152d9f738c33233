//! Tokens: whose count, which keys sign them, and what their claims mean.
//!
//! LiteLLM's `enable_jwt_auth`, `litellm_jwtauth` and `enable_oauth2_auth` with their variables, and `portcullis.jwt`
//! beside them. What must stay true: no token counts that the file does not ask for, so an `enable_jwt_auth` that is
//! false switches off our own issuers too; an option that would restrict somebody is in force, stops the start, or is
//! named; keys that stand in the configuration are read here, so that bad ones are a mistake and not a refused request.

mod claims;
mod issuers;
mod keys;
mod opaque;

use std::path::Path;

use portcullis_filters::authn::jwt::cache::TokenCacheSettings;
use portcullis_filters::authn::jwt::identity::ClaimRules;
use portcullis_filters::authn::jwt::proof::ProofSettings;

pub use self::issuers::IssuerSettings;
pub use self::keys::{KeySetSettings, KeySettings};
pub use self::opaque::{OpaqueKind, OpaqueSettings};

use self::issuers::Common;
use self::keys::Times;
use super::field::Field;
use super::known::Known;
use super::litellm;
use super::reader::{Reader, Section, is_off};

/// Everything about tokens. There is at least one issuer or one server that answers for opaque tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtSettings {
    /// In the order in which they are asked whether a token is theirs. No name occurs twice, and one without a name,
    /// whose every token is, stands alone.
    pub issuers: Vec<IssuerSettings>,
    /// Who answers for tokens that say nothing themselves, in the order in which they are asked.
    pub opaque: Vec<OpaqueSettings>,
    /// What is remembered of verified tokens.
    pub cache: TokenCacheSettings,
    /// How a bearer proves to have the key that a token is bound to.
    pub proof: ProofSettings,
    /// Whether tokens are refused while the deny list is not known; else only what is known of it counts.
    pub deny_list_required: bool,
}

/// Reads everything about tokens. `None`: none is taken.
pub(super) fn read<'r>(
    reader: &'r Reader<'r>,
    general: &Section<'r>,
    own: &Section<'r>,
    directory: &'r Path,
) -> Option<JwtSettings> {
    let section = own.section("jwt", &Known::NOTHING_ELSE);
    let switch = Switch::read(general, &section);
    let times = Times::read(&section);
    let deny_list = section.field("deny_list");
    let deny_list = deny_list.and_then(|field| field.choice(&[("required", true), ("best_effort", false)]));
    let (cache, proof) = (cache(&section), proof(own, &section));
    let (issuers, mut opaque) = match switch.position() {
        Position::Off => {
            switch.name_what_is_off(reader, general);
            (Vec::new(), Vec::new())
        }
        Position::Ours => {
            switch.refuse_what_would_not_count(reader, general);
            let common = Common { reader, directory, rules: ClaimRules::default(), times };
            (issuers::listed(&common, switch.issuers.as_ref(), None), opaque::listed(&common, &switch))
        }
        Position::All => with_litellms(reader, general, &switch, times, directory),
    };
    opaque.extend(opaque::oauth2(reader, general));
    let any = !issuers.is_empty() || !opaque.is_empty();
    any.then(|| JwtSettings { issuers, opaque, cache, proof, deny_list_required: deny_list.unwrap_or(false) })
}

/// What LiteLLM's settings and ours say together.
fn with_litellms<'r>(
    reader: &'r Reader<'r>,
    general: &Section<'r>,
    switch: &Switch<'r>,
    times: Times,
    directory: &'r Path,
) -> (Vec<IssuerSettings>, Vec<OpaqueSettings>) {
    let block = general.section("litellm_jwtauth", &litellm::JWT);
    let common = Common { reader, directory, rules: claims::global(general, &block), times: times.or(&block) };
    let theirs = block.field("issuers").filter(|field| !is_off(field.node));
    let mut issuers = issuers::listed(&common, switch.issuers.as_ref(), theirs.as_ref());
    let mut opaque = opaque::listed(&common, switch);
    let global = issuers::from_variables(&common, &issuers);
    let userinfo = opaque::userinfo(&common, &block);
    if global.is_some() || userinfo.is_some() {
        claims::ask_for_address(&common.rules, &block);
    }
    issuers.extend(global);
    opaque.extend(userinfo);
    let variable = reader.environment.variable(issuers::URL).is_some();
    let asked = block.field("oidc_userinfo_enabled").is_some_and(|field| !is_off(field.node));
    if !(switch.lists() || theirs.is_some() || variable || asked) {
        general.mistake("enable_jwt_auth", NO_KEYS);
    }
    (issuers, opaque)
}

/// LiteLLM's words first, so that whoever searches for them finds this.
const NO_KEYS: &str = "Missing JWT Public Key URL: set the variable JWT_PUBLIC_KEY_URL, or list issuers in \
    general_settings.litellm_jwtauth.issuers or portcullis.jwt.issuers";

/// LiteLLM's settings, which count with `enable_jwt_auth` only.
const LITELLMS: [&str; 3] = ["litellm_jwtauth", "enforce_rbac", "role_permissions"];

/// Whether tokens are taken, and of whom.
struct Switch<'r> {
    /// `enable_jwt_auth`, where it is given.
    litellm: Option<bool>,
    /// `portcullis.jwt.issuers`.
    issuers: Option<Field<'r>>,
    /// `portcullis.jwt.introspection`.
    introspection: Option<Field<'r>>,
}

enum Position {
    Off,
    /// Our own lists switch themselves on.
    Ours,
    All,
}

impl<'r> Switch<'r> {
    fn read(general: &Section<'r>, section: &Section<'r>) -> Self {
        let listed = |key| section.field(key).filter(|field| !is_off(field.node));
        Self {
            litellm: general.field("enable_jwt_auth").and_then(|field| field.flag()),
            issuers: listed("issuers"),
            introspection: listed("introspection"),
        }
    }

    fn lists(&self) -> bool {
        self.issuers.is_some() || self.introspection.is_some()
    }

    fn position(&self) -> Position {
        match self.litellm {
            Some(true) => Position::All,
            None if self.lists() => Position::Ours,
            _ => Position::Off,
        }
    }

    /// Who writes a restriction believes in it.
    fn name_what_is_off(&self, reader: &Reader<'_>, general: &Section<'_>) {
        for field in litellms(general) {
            reader.notice(format!("{}: restricts nobody while enable_jwt_auth is not true", field.path));
        }
        for field in self.issuers.iter().chain(&self.introspection) {
            reader.notice(format!("{}: not in force while general_settings.enable_jwt_auth is false", field.path));
        }
        name_unused_url(reader);
    }

    /// Beside tokens that are taken, a restriction that does not count for them is worse than none.
    fn refuse_what_would_not_count(&self, reader: &Reader<'_>, general: &Section<'_>) {
        for field in litellms(general) {
            field
                .mistake("does not count for portcullis.jwt without enable_jwt_auth: set that to true, or remove this");
        }
        name_unused_url(reader);
    }
}

fn litellms<'r>(general: &Section<'r>) -> impl Iterator<Item = Field<'r>> {
    let fields = LITELLMS.map(|key| general.field(key));
    fields.into_iter().flatten().filter(|field| !is_off(field.node))
}

/// A variable that was left behind must not let anybody in.
fn name_unused_url(reader: &Reader<'_>) {
    if reader.environment.variable(issuers::URL).is_some() {
        reader.notice(format!("{} is not used: it counts with general_settings.enable_jwt_auth only", issuers::URL));
    }
}

fn cache(section: &Section<'_>) -> TokenCacheSettings {
    let default = TokenCacheSettings::default();
    TokenCacheSettings {
        max_tokens: section.whole("cache_size", 1..=10_000_000, default.max_tokens),
        ttl: section.time("cache_ttl", 0..=3_600, default.ttl),
    }
}

fn proof(own: &Section<'_>, section: &Section<'_>) -> ProofSettings {
    let dpop = section.section("dpop", &Known::NOTHING_ELSE);
    let default = ProofSettings::default();
    let urls = own.field("public_urls").map(|field| field.items()).unwrap_or_default();
    ProofSettings {
        public_urls: urls.iter().filter_map(|url| url.some_parsed(str::parse)).collect(),
        max_age: dpop.time("max_age", 1..=300, default.max_age),
        leeway: dpop.time("leeway", 0..=60, default.leeway),
    }
}
