//! `Settings`: everything that can be configured, from a LiteLLM `config.yaml`, the environment and the command line.
//!
//! One pass reads all of it and reports every mistake with its place; there is no settings value that is not valid, and
//! so no method to validate one. Each part stands in a file of its own with the function that reads it. What must stay
//! true: a setting that restricts access is either in force or stops the start (`config/litellm.rs` is the table), and
//! no message and no `Debug` shows a secret. Only `config/environment.rs` reads the process's environment.

mod callbacks;
mod client_side;
mod custom_auth;
mod document;
mod environment;
mod field;
mod files;
mod http;
mod jwt;
mod key_rules;
mod known;
mod listen;
mod litellm;
mod models;
mod notices;
mod open_paths;
mod pass_through;
mod providers;
mod reader;
mod redis;
mod routing;
mod scalar;
mod slots;
mod store;
mod summary;
mod telemetry;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use portcullis_filters::cache::CacheSettings;
use portcullis_filters::path::OpenPaths;
use portcullis_filters::secret::Secret;
use portcullis_filters::source::OpenSources;
use tracing::level_filters::LevelFilter;

pub use self::client_side::ClientSideSettings;
pub use self::custom_auth::{CustomAuthBy, CustomAuthSettings, HookAddress, HookForm, HookSettings, PythonSettings};
pub use self::document::Position;
pub use self::environment::process_environment;
pub use self::http::HttpSettings;
pub use self::jwt::{IssuerSettings, JwtSettings, KeySetSettings, KeySettings, OpaqueKind, OpaqueSettings};
pub use self::key_rules::KeyRules;
pub use self::listen::{Address, ListenSettings, NotAnAddress, TlsFiles};
pub use self::models::{ModelSettings, split as provider_of};
pub use self::notices::NoticeSettings;
pub use self::pass_through::PassThroughSettings;
pub use self::providers::{Provider, ProviderKind};
pub use self::reader::Mistake;
pub use self::routing::{Alias, RoutingSettings};
pub use self::slots::SlotSettings;
pub use self::telemetry::{LogFormat, TelemetrySettings};
pub use self::usage::UsageSettings;

use self::document::{Node, Value};
use self::environment::Environment;
use self::known::Known;
use self::reader::{Findings, Reader, Section};
use crate::shared_counters::RedisSettings;
use crate::store::StoreSettings;

/// Everything that can be configured. Each part is valid by itself and together with the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The sockets.
    pub listen: ListenSettings,
    /// Any of these is the operator. Empty when none is configured: one is then made at the first start.
    pub master_keys: Vec<Secret>,
    /// The store of keys.
    pub store: StoreSettings,
    /// The cache before it.
    pub cache: CacheSettings,
    /// The paths that the data listener serves; LiteLLM's `allowed_routes`.
    pub open_paths: OpenPaths,
    /// The addresses to which the data listener serves them; LiteLLM's `allowed_ips`.
    pub open_sources: OpenSources,
    /// The operator's own code that decides who is calling, where there is any.
    pub custom_auth: Option<CustomAuthSettings>,
    /// Whose tokens are taken; `None`: nobody's.
    pub jwt: Option<JwtSettings>,
    /// Headers that hold a credential beside the built-in ones.
    pub slots: SlotSettings,
    /// The deployments.
    pub models: Vec<ModelSettings>,
    /// The provider prefixes that are served.
    pub pass_through: Vec<PassThroughSettings>,
    /// What clients may bring of their own.
    pub client_side: ClientSideSettings,
    /// How a deployment is chosen.
    pub routing: RoutingSettings,
    /// Bounds on what clients send.
    pub http: HttpSettings,
    /// What calls cost, and where that is noted.
    pub usage: UsageSettings,
    /// Who counts limits for all nodes; `None`: each enforces its share.
    pub redis: Option<RedisSettings>,
    /// Who is told of keys that are about to end; `None`: nobody.
    pub notices: Option<NoticeSettings>,
    /// Log and metrics.
    pub telemetry: TelemetrySettings,
    /// Rules for making keys.
    pub keys: KeyRules,
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The host of the data listener.
    pub host: Option<String>,
    /// The port of the data listener.
    pub port: Option<u16>,
    /// Worker threads of the data listener.
    pub threads: Option<usize>,
    /// What is logged.
    pub log_level: Option<LevelFilter>,
}

/// A configuration that can be put into force, and what the operator should hear about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub settings: Settings,
    /// To be said loudly: it starts so, but should not stay so.
    pub warnings: Vec<String>,
    /// What the file asks for and does not get, or not in the same way. All ignored keys are one line of it.
    pub notices: Vec<String>,
}

/// The configuration cannot be put into force; every reason, in the order of the file.
#[derive(Debug)]
pub struct ConfigError {
    /// Never empty.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            write!(f, "{}{mistake}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Settings {
    /// Reads the file at `path`, or the one that `PORTCULLIS_CONFIG` names, or none.
    ///
    /// # Errors
    /// Every mistake in it, in what it includes, and in the variables and options that belong to it.
    pub fn load(
        path: Option<&Path>,
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        let named = environment("PORTCULLIS_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
        let path = path.map(Path::to_owned).or(named);
        let mut mistakes = Vec::new();
        let root = path.as_ref().and_then(|path| files::read(path, &mut mistakes));
        let directory = path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        Self::judge(root.as_ref(), directory, mistakes, overrides, environment)
    }

    /// As [`Self::load`], for a text at hand: no file is looked for, and `include` is not known.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_text(
        name: &str,
        text: &str,
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        let (root, flaws) = document::parse(&name.into(), text);
        let mistakes = flaws.into_iter().map(Mistake::from).collect();
        Self::judge(root.as_ref(), Path::new(""), mistakes, overrides, environment)
    }

    fn judge(
        root: Option<&Node>,
        directory: &Path,
        mut mistakes: Vec<Mistake>,
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        let (settings, findings) = read(root, directory, overrides, environment);
        mistakes.extend(findings.mistakes);
        if !mistakes.is_empty() {
            return Err(ConfigError { mistakes });
        }
        let mut notices = findings.notices;
        if !findings.ignored.is_empty() {
            let keys: Vec<_> = findings.ignored.into_iter().collect();
            notices.push(format!("not about this product, ignored: {}", keys.join(", ")));
        }
        Ok(Loaded { settings, warnings: findings.warnings, notices })
    }
}

/// Reads the whole tree. The settings count only if there are no mistakes.
fn read(
    root: Option<&Node>,
    directory: &Path,
    overrides: &Overrides,
    process: &dyn Fn(&str) -> Option<String>,
) -> (Settings, Findings) {
    let (variables, mistakes) = declared_variables(root, process);
    let reader = Reader::new(Environment::new(process).with(variables));
    let root = reader.root(root, &litellm::ROOT);
    root.field("environment_variables");
    let general = root.section("general_settings", &litellm::GENERAL);
    let litellm = root.section("litellm_settings", &litellm::LITELLM);
    let router = root.section("router_settings", &litellm::ROUTER);
    let own = root.section("portcullis", &Known::NOTHING_ELSE);
    callbacks::read(&litellm);
    refuse_variables(&reader);
    let client_side = client_side::read(&general, &litellm, &own);
    let models = models::read(&reader, &root, &client_side);
    let usage = usage::read(&own, directory);
    let settings = Settings {
        listen: listen::read(&reader, &own, directory, overrides),
        master_keys: slots::read_master_keys(&reader, &general, &own),
        store: store::read(&reader, &general, &own),
        cache: store::read_cache(&general, &own),
        open_paths: open_paths::read(&general),
        open_sources: open_paths::read_sources(&general),
        custom_auth: custom_auth::read(&reader, &general, &litellm, &own, directory),
        jwt: jwt::read(&reader, &general, &own, directory),
        slots: slots::read(&general, &own),
        pass_through: pass_through::read(&reader, &models),
        models,
        client_side,
        routing: routing::read(&router, &litellm),
        http: http::read(&general, &own),
        usage,
        redis: redis::read(&own),
        notices: notices::read(&own),
        telemetry: telemetry::read(&reader, &litellm, &own, overrides),
        keys: key_rules::read(&reader, &general, &litellm),
    };
    let mut findings = reader.finish();
    findings.mistakes.splice(0..0, mistakes);
    (settings, findings)
}

/// `environment_variables`: what the file sets for itself. LiteLLM writes truth values as Python does.
fn declared_variables(
    root: Option<&Node>,
    process: &dyn Fn(&str) -> Option<String>,
) -> (BTreeMap<String, String>, Vec<Mistake>) {
    let reader = Reader::new(Environment::new(process));
    let is_map = root.filter(|root| matches!(root.value, Value::Map(_)));
    let section: Section<'_> = reader.root(is_map, &litellm::ROOT);
    let entries = section.field("environment_variables").map(|field| field.entries()).unwrap_or_default();
    let variable = |(name, field): (&str, field::Field<'_>)| {
        let text = match field.truth() {
            Some(true) => "True".to_owned(),
            Some(false) => "False".to_owned(),
            None => field.text()?,
        };
        Some((name.to_owned(), text))
    };
    let variables = entries.into_iter().filter_map(variable).collect();
    (variables, reader.mistakes())
}

/// Variables by which LiteLLM restricts itself, and we would not.
fn refuse_variables(reader: &Reader<'_>) {
    let name = "DISABLE_LLM_API_ENDPOINTS";
    if reader.environment.variable(name).is_some_and(|word| listen::is_true(&word)) {
        reader.mistake(name, None, "a node without the LLM routes is not supported by this version: unset it");
    }
}
