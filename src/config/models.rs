//! `model_list`: the deployments behind each public model name, and what stands there when no list is given.

use std::time::Duration;

use portcullis_filters::client_side::ClientSideRules;
use portcullis_filters::credential::OwnCredential;
use portcullis_filters::price::Price;
use portcullis_filters::secret::Secret;
use url::{Host, Url};

use super::client_side::{self, ClientSideSettings};
use super::field::Field;
use super::litellm;
use super::providers::{self, ANTHROPIC, AZURE, GEMINI, MOCK, OPENAI, Provider, ProviderKind};
use super::reader::{Reader, Section};

/// One deployment: a model at a provider, under a public name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSettings {
    /// The public name; may be a pattern such as `openai/*`. Several deployments may share one.
    pub name: String,
    /// Whose model it is.
    pub provider: &'static Provider,
    /// The provider's name for it. A `*` takes what the `*` of the public name stood for.
    pub model: String,
    /// The provider's credential; `None` sends none.
    pub api_key: Option<Secret>,
    /// The address below which the provider's paths begin, without a slash at the end. `None` only for the mock.
    pub api_base: Option<Url>,
    /// Azure's `api-version`.
    pub api_version: Option<String>,
    /// OpenAI's `OpenAI-Organization`.
    pub organization: Option<String>,
    /// How often it is chosen, relative to the others of its name; 0 only when no other is left.
    pub weight: u32,
    /// How long an answer may take to begin; `None` leaves it to the routing.
    pub timeout: Option<Duration>,
    /// Names that keys may list instead of the model; LiteLLM's `model_info.access_groups`.
    pub access_groups: Vec<String>,
    /// Whether the provider's pass-through prefix uses this deployment's credential.
    pub pass_through: bool,
    /// What it takes of a caller in the body.
    pub client_side: ClientSideRules,
    /// Which credential of the caller's own it is sent.
    pub own_credential: OwnCredential,
    /// What it costs, where the entry itself says so.
    pub price: Option<Price>,
    /// Where it is configured, for messages: `config.yaml:3:5`, or the variable that made it.
    pub origin: String,
}

/// Reads `model_list`; without one, the providers whose keys are in the environment, and the mock.
pub(super) fn read(reader: &Reader<'_>, root: &Section<'_>, clients: &ClientSideSettings) -> Vec<ModelSettings> {
    let Some(list) = root.field("model_list") else { return from_environment(reader, clients) };
    let mut models = Vec::new();
    for item in list.list() {
        let entry = item.section(&litellm::DEPLOYMENT);
        if is_everything(&entry) {
            models.extend(from_keys(reader, clients));
        } else {
            models.extend(read_one(reader, &entry, clients));
        }
    }
    models
}

/// LiteLLM's `model_name: "*"` with `model: "*"`: all models of all providers whose keys are in the environment.
fn is_everything(entry: &Section<'_>) -> bool {
    let star = |field: Option<Field<'_>>| field.is_some_and(|field| field.is_word("*"));
    let Some(params) = entry.field("litellm_params").filter(Field::is_map) else { return false };
    let everything = star(params.section(&litellm::PARAMS).field("model"));
    everything && star(entry.field("model_name"))
}

fn read_one(reader: &Reader<'_>, entry: &Section<'_>, clients: &ClientSideSettings) -> Option<ModelSettings> {
    let name = entry.required("model_name").and_then(|field| field.text());
    let params = entry.section("litellm_params", &litellm::PARAMS);
    let info = entry.section("model_info", &litellm::INFO);
    let groups = info.field("access_groups").map(|field| field.items()).unwrap_or_default();
    let prefix = params.text("custom_llm_provider");
    let target = params.required("model").and_then(|field| field.parsed(|text| split(text, prefix.as_deref())));
    // Read before anything is given up, so that every mistake of the entry is reported.
    let api_key = params.field("api_key").and_then(|field| api_key(reader, &field));
    let api_base = params.field("api_base").or_else(|| params.field("base_url"));
    let explicit_base = api_base.as_ref().map(|field| field.parsed(base_url));
    let given_version = params.field("api_version").and_then(|field| field.parsed(version));
    let organization = params.field("organization").and_then(|field| field.parsed(visible));
    let client_side = client_side::of_deployment(reader, &params, clients);
    let own_credential = clients.own_credential(name.as_deref().unwrap_or_default());
    // LiteLLM takes prices in either place; those of `model_info` win.
    let price = Price::read(|field| info.price(field).or_else(|| params.price(field)));
    let settings = |(provider, model): (&'static Provider, String)| ModelSettings {
        client_side,
        own_credential,
        price,
        name: name.unwrap_or_default(),
        provider,
        model,
        api_key: api_key.or_else(|| key_from(reader, provider)),
        api_base: None,
        api_version: given_version.or_else(|| api_version(reader, provider)),
        organization: organization.or_else(|| usual_organization(reader, provider)),
        weight: params.whole("weight", 0..=1_000_000, 1) as u32,
        timeout: params.field("timeout").and_then(|field| field.time(1..=86_400)),
        access_groups: groups.iter().filter_map(Field::text).collect(),
        pass_through: params.flag("use_in_pass_through", false),
        origin: entry.place().map(ToString::to_string).unwrap_or_default(),
    };
    let mut model = settings(target?);
    model.api_base = match explicit_base {
        Some(base) => base,
        None => base_of(reader, model.provider, || params.mistake("api_base", "is missing")),
    };
    if let Some(base) = &mut model.api_base {
        finish_base(base, model.provider);
        warn_of_plain_text(reader, &model.origin, base, model.api_key.is_some());
    }
    Some(model)
}

/// A variable that is not set costs the calls to this deployment only; LiteLLM starts with it too.
fn api_key(reader: &Reader<'_>, field: &Field<'_>) -> Option<Secret> {
    if let Some(name) = field.missing_variable() {
        let (path, at) = (&field.path, &field.node.at);
        reader
            .warn(format!("{path} ({at}): environment variable {name} is not set; the provider will refuse the calls"));
        return None;
    }
    field.parsed(credential)
}

/// A credential as a header can carry it.
fn credential(text: &str) -> Result<Secret, &'static str> {
    let fits = text.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| Secret::from(text)).ok_or("holds white space or a character that no header can carry")
}

/// A word that needs no encoding in a query.
fn version(text: &str) -> Result<String, &'static str> {
    let fits = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    fits.then(|| text.to_owned()).ok_or("expected a version such as 2024-10-21")
}

/// Splits `provider/model`. A bare name is OpenAI's, or Anthropic's if it begins like theirs.
///
/// # Errors
/// What to write instead.
pub fn split(text: &str, prefix: Option<&str>) -> Result<(&'static Provider, String), String> {
    let (prefix, model) = match (prefix, text.split_once('/')) {
        (Some(prefix), Some((first, rest))) if first == prefix => (prefix, rest),
        (Some(prefix), _) => (prefix, text),
        (None, Some(parts)) => parts,
        (None, None) if text.contains('*') => {
            return Err("which provider's models? write openai/* or the like".to_owned());
        }
        (None, None) if text.starts_with("claude-") => ("anthropic", text),
        (None, None) if text.starts_with("gemini-") => {
            return Err(
                "bare names of Gemini models mean Vertex AI, which is not supported: write gemini/...".to_owned()
            );
        }
        (None, None) => ("openai", text),
    };
    if model.is_empty() {
        return Err("names a provider but no model".to_owned());
    }
    if let Some(provider) = providers::by_name(prefix) {
        return Ok((provider, model.to_owned()));
    }
    let known: Vec<_> = providers::names().collect();
    let known = known.join(", ");
    let shown: String = prefix.chars().take(40).flat_map(char::escape_default).collect();
    Err(if providers::UNSUPPORTED.split_ascii_whitespace().any(|name| name == prefix) {
        format!("provider {shown} is not supported by this version; supported are {known}")
    } else {
        format!("unknown provider {shown}; known are {known}; for another OpenAI-compatible one write openai/...")
    })
}

/// An address of a provider.
pub(super) fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "expected an address such as https://api.example.com/v1")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("expected an address that begins with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password: give the credential as api_key");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query or a fragment: give only the address, and api_version apart");
    }
    Ok(url)
}

/// The usual address of a provider: from its variables, else its own.
pub(super) fn base_of(reader: &Reader<'_>, provider: &Provider, missing: impl FnOnce()) -> Option<Url> {
    if provider.kind == ProviderKind::Mock {
        return None;
    }
    if let Some((name, text)) = reader.environment.first(provider.base_variables) {
        let url = base_url(&text);
        if let Err(why) = &url {
            reader.mistake(name, None, *why);
        }
        return url.ok();
    }
    let base = provider.usual_base();
    if base.is_none() {
        missing();
    }
    base
}

/// Brings an address into the form that paths are appended to.
pub(super) fn finish_base(base: &mut Url, provider: &Provider) {
    let path = base.path().trim_end_matches('/').to_owned();
    let path = if path.is_empty() && matches!(provider.name, "ollama" | "ollama_chat") { "/v1" } else { &path };
    base.set_path(path);
}

/// Without TLS everybody on the way reads the key. Within a machine or a private network that may be meant.
fn warn_of_plain_text(reader: &Reader<'_>, origin: &str, base: &Url, with_key: bool) {
    if is_plain_and_public(base) {
        let what = if with_key { "the provider's key and every prompt" } else { "every prompt" };
        reader.warn(format!("{origin}: api_base is plain http to a public host; {what} can be read on the way"));
    }
}

/// Whether an address is without TLS and, as far as its name tells, neither on this machine nor in a private network.
pub(super) fn is_plain_and_public(url: &Url) -> bool {
    let near = match url.host() {
        Some(Host::Domain(name)) => {
            !name.contains('.') || [".local", ".internal", ".localhost", ".svc"].iter().any(|end| name.ends_with(end))
        }
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        None => true,
    };
    url.scheme() == "http" && !near
}

pub(super) fn key_from(reader: &Reader<'_>, provider: &Provider) -> Option<Secret> {
    from_variable(reader, provider.key_variables, credential)
}

pub(super) fn api_version(reader: &Reader<'_>, provider: &Provider) -> Option<String> {
    let names: &[_] = if provider.kind == ProviderKind::Azure { &["AZURE_API_VERSION"] } else { &[] };
    from_variable(reader, names, version)
}

fn usual_organization(reader: &Reader<'_>, provider: &Provider) -> Option<String> {
    let names: &[_] = if provider.name == "openai" { &["OPENAI_ORGANIZATION"] } else { &[] };
    from_variable(reader, names, visible)
}

fn from_variable<T>(
    reader: &Reader<'_>,
    names: &[&str],
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Option<T> {
    let (name, text) = reader.environment.first(names)?;
    parse(&text).map_err(|why| reader.mistake(name, None, why)).ok()
}

fn visible(text: &str) -> Result<String, &'static str> {
    credential(text).map(|text| text.expose().to_owned())
}

/// The usual names of each provider's models; `provider/*` reaches the rest.
static USUAL_NAMES: [(&Provider, &str); 4] = [
    (&OPENAI, "gpt-* chatgpt-* o1* o3* o4* codex-* text-embedding-* omni-moderation-* whisper-* tts-* dall-e-* sora-*"),
    (&ANTHROPIC, "claude-*"),
    (&GEMINI, "gemini-* gemma-*"),
    (&AZURE, ""),
];

/// What is served without a `model_list`: every provider whose key is in the environment, and the mock.
fn from_environment(reader: &Reader<'_>, clients: &ClientSideSettings) -> Vec<ModelSettings> {
    let mut models = vec![implied(&MOCK, "mock", "mock", "built in", clients)];
    models.extend(from_keys(reader, clients));
    models
}

fn from_keys(reader: &Reader<'_>, clients: &ClientSideSettings) -> Vec<ModelSettings> {
    let mut models = Vec::new();
    for (provider, names) in &USUAL_NAMES {
        let Some((variable, _)) = reader.environment.first(provider.key_variables) else { continue };
        let Some(key) = key_from(reader, provider) else { continue };
        let Some(base) = base_of(reader, provider, || reader.notice(format!("{variable} is set, but no address")))
        else {
            continue;
        };
        warn_of_plain_text(reader, variable, &base, true);
        let rest = format!("{}/*", provider.name);
        for (name, model) in names.split_ascii_whitespace().map(|name| (name, name)).chain([(rest.as_str(), "*")]) {
            let mut base = base.clone();
            finish_base(&mut base, provider);
            models.push(ModelSettings {
                api_key: Some(key.clone()),
                api_base: Some(base),
                api_version: api_version(reader, provider),
                organization: usual_organization(reader, provider),
                ..implied(provider, name, model, variable, clients)
            });
        }
    }
    models
}

fn implied(
    provider: &'static Provider,
    name: &str,
    model: &str,
    origin: &str,
    clients: &ClientSideSettings,
) -> ModelSettings {
    ModelSettings {
        name: name.to_owned(),
        provider,
        model: model.to_owned(),
        api_key: None,
        api_base: None,
        api_version: None,
        organization: None,
        weight: 1,
        timeout: None,
        access_groups: Vec::new(),
        pass_through: false,
        client_side: clients.everywhere.clone(),
        own_credential: clients.own_credential(name),
        price: None,
        origin: origin.to_owned(),
    }
}
